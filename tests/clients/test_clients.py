"""The clients that our users and the operator are built on, on the cluster under test: the official one and Kopf."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client as official
from kubernetes.aio import config, watch

from trimtab.effects import kinds
from trimtab.effects.kubernetes import ApiError, Cluster

pytestmark = pytest.mark.integration

OPERATOR = """
import kopf

@kopf.on.create({group!r}, "gears")
async def created(body, patch, **_):
    patch.status["phase"] = "Seen"
    kopf.event(body, type="Normal", reason="Seen", message="an operator was here")

@kopf.on.delete({group!r}, "gears")
async def deleted(**_):
    pass
"""


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncIterator[official.ApiClient]:
    """The official client, as administrator."""
    configuration = official.Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    async with official.ApiClient(configuration) as made:
        yield made


async def test_the_official_client_reads_writes_and_watches(api: official.ApiClient, namespace: str) -> None:
    """Its asyncio API works unchanged."""
    core = official.CoreV1Api(api)
    body = official.V1ConfigMap(metadata=official.V1ObjectMeta(name="c"), data={"a": "1"})
    created = await core.create_namespaced_config_map(namespace, body)
    version = created.metadata.resource_version
    await core.patch_namespaced_config_map("c", namespace, {"data": {"a": "2"}})
    await core.delete_namespaced_config_map("c", namespace)
    seen = []
    stream = watch.Watch().stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=version,
        field_selector="metadata.name=c",
        timeout_seconds=1,
    )
    async with stream as events:
        async for event in events:
            seen.append((event["type"], event["object"].data["a"]))
    assert seen == [("MODIFIED", "2"), ("DELETED", "2")]
    with pytest.raises(official.ApiException) as refused:
        await core.read_namespaced_config_map("c", namespace)
    assert (refused.value.status, json.loads(refused.value.body)["reason"]) == (404, "NotFound")


async def test_the_official_client_reads_what_it_wrote(api: official.ApiClient, namespace: str) -> None:
    """Built-in kinds come back as its models, with their defaults; pages follow each other."""
    apps = official.AppsV1Api(api)
    labels = {"app": "web"}
    container = official.V1Container(name="main", image="web:1")
    template = official.V1PodTemplateSpec(
        metadata=official.V1ObjectMeta(labels=labels), spec=official.V1PodSpec(containers=[container])
    )
    selector = official.V1LabelSelector(match_labels=labels)
    spec = official.V1DeploymentSpec(replicas=0, selector=selector, template=template)
    for name in ("a", "b", "c"):
        await apps.create_namespaced_deployment(
            namespace, official.V1Deployment(metadata=official.V1ObjectMeta(name=name, labels=labels), spec=spec)
        )
    first = await apps.list_namespaced_deployment(namespace, label_selector="app=web", limit=2)
    rest = await apps.list_namespaced_deployment(
        namespace, label_selector="app=web", limit=2, _continue=first.metadata._continue
    )
    found = [*first.items, *rest.items]
    assert [item.metadata.name for item in found] == ["a", "b", "c"]
    assert found[0].spec.strategy.type == "RollingUpdate"
    assert found[0].spec.template.spec.containers[0].termination_message_policy == "File"
    scale = await apps.patch_namespaced_deployment_scale("a", namespace, {"spec": {"replicas": 0}})
    assert (scale.kind, scale.spec.replicas or 0) == ("Scale", 0)


def definition(group: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gears.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "gears", "singular": "gear", "kind": "Gear"},
            "versions": [{**version, "subresources": {"status": {}}}],
        },
    }


async def test_kopf_runs_an_operator(client: Cluster, kubeconfig: Path, namespace: str, tmp_path: Path) -> None:
    """It finds the kind, sees the object, writes its status, posts an event, and lets the object go at its deletion."""
    group = f"{namespace}.example.com"
    gears = kinds.Kind(f"{group}/v1", "Gear", "gears")
    await client.apply(definition(group))
    (tmp_path / "operator_of_gears.py").write_text(OPERATOR.format(group=group))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "kopf", "run", "--namespace", namespace, "operator_of_gears.py"),
        cwd=tmp_path,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        body = {"apiVersion": f"{group}/v1", "kind": "Gear", "metadata": {"name": "g", "namespace": namespace}}
        async with asyncio.timeout(60):
            await _served(client, gears, namespace)
            await client._json("POST", gears.path(namespace), body)
            await _first(client, gears, namespace, lambda gear: (gear.get("status") or {}).get("phase") == "Seen")
            event = await _first(client, kinds.EVENTS, namespace, lambda event: event.get("reason") == "Seen")
            assert event["involvedObject"]["kind"] == "Gear"
            await client.delete(gears, "g", namespace)
            while await client.get(gears, "g", namespace):  # noqa: ASYNC110 - Kopf takes its finalizer away
                await asyncio.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
        await client.delete(kinds.CRDS, f"gears.{group}")


async def _served(client: Cluster, kind: kinds.Kind, namespace: str) -> None:
    """Return once a kind that was just defined can be read."""
    while True:
        try:
            await client.list(kind, namespace)
        except ApiError:
            await asyncio.sleep(0.1)
        else:
            return


async def _first(client: Cluster, kind: kinds.Kind, namespace: str, fits: Callable[[Any], bool]) -> dict[str, Any]:
    """The first object of a kind that fits, once there is one."""
    async with contextlib.aclosing(client.watch(kind, namespace)) as changes:  # type: ignore[type-var]
        async for _, item in changes:
            if fits(item):
                return item
    raise AssertionError("a watch does not end")
