"""AWS as moto imitates it, over real HTTP; and a cluster's nodes in a dictionary."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import pytest
import requests
from imitatedaws import moto_server

from trimtab.effects.kinds import NODES, PODS, Kind
from trimtab.effects.kubernetes import ApiError
from trimtab.effects.pools import aws as aws_module
from trimtab.effects.pools.aws import Aws
from trimtab.effects.world import World

REGION = "us-east-1"
SECRET = "wJalr-very-secret"


@pytest.fixture(scope="package")
def moto() -> Iterator[str]:
    """The address of a moto server; what is in it lasts as long as a test."""
    with moto_server() as address:
        yield address


@pytest.fixture
def endpoint(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """moto's address, to which the environment points every client."""
    credentials(monkeypatch, moto)
    yield moto
    requests.post(f"{moto}/moto-api/reset", timeout=30)


def credentials(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
async def aws(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    """Calls to AWS that fail at the first try: how often boto3 tries is boto3's matter."""
    monkeypatch.setattr(aws_module, "ATTEMPTS", 1)
    made = Aws()
    yield made
    await made.close()


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def client(service: str, endpoint: str) -> Any:
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint)


def scaling_group(endpoint: str, name: str, *, desired: int) -> None:
    """Make a spot group of at most 5 machines over three zones."""
    ec2 = client("ec2", endpoint)
    subnets = sorted(ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailabilityZone"])[:3]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    data = {"ImageId": image, "InstanceType": "m5.large"}
    ec2.create_launch_template(LaunchTemplateName=f"{name}-nodes", LaunchTemplateData=data)
    template = {"LaunchTemplateName": f"{name}-nodes", "Version": "$Latest"}
    client("autoscaling", endpoint).create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=5,
        DesiredCapacity=desired,
        VPCZoneIdentifier=",".join(subnet["SubnetId"] for subnet in subnets),
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": template,
                "Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "m5a.xlarge"}],
            },
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 0},
        },
    )


class Nodes:
    """A cluster of nodes and pods: as much of the client as marks on nodes need."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.written: list[str] = []
        self.refuse: int | None = None

    def add(self, name: str, instance: str = "", **labels: str) -> None:
        self.nodes[name] = {
            "metadata": {
                "name": name,
                "labels": {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()},
                "annotations": {},
                "creationTimestamp": "2026-03-01T12:00:00Z",
                "resourceVersion": "1",
            },
            "spec": {"providerID": f"aws:///us-east-1a/{instance}", "taints": [], "unschedulable": False},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {}},
        }

    def taints(self, name: str) -> dict[str, str | None]:
        return {taint["key"]: taint.get("value") for taint in self.nodes[name]["spec"]["taints"]}

    def world(self, **known: Any) -> World:
        fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
        return World(**{**fields, "nodes": _Index(self.nodes), **known})

    def may_change(self) -> bool:
        return True

    async def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        assert kind is NODES
        return self.nodes.get(name)

    async def list(self, kind: Kind, fields: str) -> list[dict[str, Any]]:
        assert kind is PODS
        return [pod for pod in self.pods if fields == f"spec.nodeName={pod['spec']['nodeName']}"]

    async def merge(self, kind: Kind, name: str, namespace: None, patch: dict[str, Any]) -> None:
        assert (kind, namespace) == (NODES, None)
        if self.refuse is not None:
            raise ApiError(self.refuse, "refused")
        node, meta = self.nodes[name], patch.get("metadata", {})
        if meta.get("resourceVersion", node["metadata"]["resourceVersion"]) != node["metadata"]["resourceVersion"]:
            raise ApiError(409, "the object has been modified")
        node["metadata"]["labels"] |= meta.get("labels", {})
        node["metadata"]["annotations"] |= meta.get("annotations", {})
        node["spec"] |= patch.get("spec", {})
        node["metadata"]["resourceVersion"] = str(int(node["metadata"]["resourceVersion"]) + 1)
        self.written.append(name)


class _Index(dict[str, Any]):
    """Bodies by name, as Kopf's indices give them: each in a collection."""

    def __init__(self, bodies: dict[str, Any]) -> None:
        super().__init__()
        self._bodies = bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def get(self, key: str, default: Any = ()) -> Any:
        return [self._bodies[key]] if key in self._bodies else default


@pytest.fixture
def cluster() -> Nodes:
    return Nodes()
