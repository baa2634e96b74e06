"""Auto Scaling groups and EKS node groups, as moto imitates them over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from trimtab.api.base import CapacityType
from trimtab.api.capacity import EksNodegroup, NodeShape, Price
from trimtab.effects.pools.autoscalinggroup import AutoScalingGroups, failure_of, objections_to, terminate
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.eksnodegroup import EksNodegroups, health_failures
from trimtab.effects.pools.instancetypes import InstanceTypes, shape_of
from trimtab.effects.pools.prices import SpotPrices
from trimtab.effects.pools.provider import ProviderError
from trimtab.planning.groups import Failure

from .conftest import REGION, client, scaling_group

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def groups(aws: Aws, name: str, bought: CapacityType = CapacityType.SPOT) -> AutoScalingGroups:
    return AutoScalingGroups(aws, InstanceTypes(aws), SpotPrices(aws, lambda: 0.0), REGION, name, bought)


async def test_a_group_is_read_sized_and_relieved(endpoint: str, aws: Aws) -> None:
    """Its machines, its bounds, its smallest node; and the machine that goes is the one that was named."""
    scaling_group(endpoint, "spot", desired=1)
    provider = groups(aws, "spot")
    before = await provider.look()
    assert (before.desired, before.min_size, before.max_size, before.objections) == (1, 0, 5, ())
    assert before.instances[0].zone == "us-east-1a"
    assert before.shape == NodeShape(cpu="1930m", memory=str(6903 * 2**20), pods=29)
    assert before.price == Price(per_node_hour="0.000010")  # moto's market has one price
    await provider.resize(3)
    grown = await provider.look()
    assert len(grown.instances) == 3
    victim = grown.instances[1].id
    await provider.remove(victim)
    left = await provider.look()
    assert left.desired == 2
    assert {entry.id for entry in left.instances} == {entry.id for entry in grown.instances} - {victim}


async def test_a_group_that_is_not_there(endpoint: str, aws: Aws) -> None:
    """Named, with the field to correct."""
    with pytest.raises(ProviderError) as caught:
        await groups(aws, "nope").look()
    assert caught.value.reason == "GroupNotFound"
    assert caught.value.message == (
        "there is no Auto Scaling group nope in us-east-1; correct spec.provider.autoScalingGroup"
    )


def mixed(**distribution: int) -> dict[str, Any]:
    return {"MixedInstancesPolicy": {"InstancesDistribution": distribution}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(mixed(OnDemandPercentageAboveBaseCapacity=0), None, id="spot alone"),
        pytest.param(mixed(), "instances are OnDemand", id="AWS's default"),
        pytest.param(
            mixed(OnDemandPercentageAboveBaseCapacity=50),
            "mixes capacity types (OnDemandBaseCapacity 0, OnDemandPercentageAboveBaseCapacity 50); make two groups",
            id="both",
        ),
        pytest.param(
            mixed(OnDemandBaseCapacity=1, OnDemandPercentageAboveBaseCapacity=0), "make two groups", id="a base"
        ),
        pytest.param(
            {"Tags": [{"Key": "k8s.io/cluster-autoscaler/enabled", "Value": "true"}]},
            "Cluster Autoscaler resizes it; remove it",
            id="somebody else's",
        ),
        pytest.param(
            {"SuspendedProcesses": [{"ProcessName": "Launch"}, {"ProcessName": "AZRebalance"}]},
            "processes Launch are suspended; resume them",
            id="suspended",
        ),
    ],
)
def test_groups_that_are_left_alone(body: dict[str, Any], said: str | None) -> None:
    """What would make two masters, or a pool that is not what it says."""
    found = "; ".join(objections_to(body, CapacityType.SPOT))
    assert said in found if said else found == ""


def test_a_failed_activity_names_its_zone() -> None:
    """In JSON inside a string, if at all."""
    activity = {"ActivityId": "a", "StartTime": AT, "StatusMessage": "no capacity", "StatusCode": "Failed"}
    details = '{"Subnet ID":"subnet-1","Availability Zone":"eu-west-1a"}'
    assert failure_of({**activity, "Details": details}) == Failure("a", "no capacity", AT.timestamp(), "eu-west-1a")
    assert failure_of({**activity, "Details": "{broken"}).zone == ""


def test_a_machine_that_is_gone_is_as_good() -> None:
    """What EC2 took first need not be taken again; any other refusal is one."""

    class Asg:
        def __init__(self, message: str) -> None:
            self.message = message

        def terminate_instance_in_auto_scaling_group(self, **_: Any) -> None:
            answer = {"Error": {"Code": "ValidationError", "Message": self.message}}
            raise ClientError(answer, "TerminateInstanceInAutoScalingGroup")

    terminate(Asg("Instance Id not found - No managed instance found for instance ID: i-1"), "i-1")
    with pytest.raises(ClientError):
        terminate(Asg("AutoScalingGroup's min size would be violated"), "i-1")


@pytest.fixture
def nodegroup(endpoint: str) -> EksNodegroup:
    """A spot node group whose group behind it is there: moto only names one."""
    eks = client("eks", endpoint)
    subnet = client("ec2", endpoint).describe_subnets()["Subnets"][0]["SubnetId"]
    role = "arn:aws:iam::123456789012:role/r"
    eks.create_cluster(name="c", roleArn=role, resourcesVpcConfig={"subnetIds": [subnet]})
    made = eks.create_nodegroup(
        clusterName="c",
        nodegroupName="spot",
        subnets=[subnet],
        nodeRole=role,
        capacityType="SPOT",
        instanceTypes=["m5.large"],
        scalingConfig={"minSize": 0, "maxSize": 4, "desiredSize": 1},
    )
    scaling_group(endpoint, made["nodegroup"]["resources"]["autoScalingGroups"][0]["name"], desired=2)
    return EksNodegroup(cluster="c", name="spot", region=REGION)


async def test_a_node_group_is_sized_by_eks_and_relieved_by_name(
    endpoint: str, aws: Aws, nodegroup: EksNodegroup
) -> None:
    """EKS knows no call to take a certain machine; the group behind it does."""
    prices = SpotPrices(aws, lambda: 0.0)
    provider = EksNodegroups(aws, InstanceTypes(aws), prices, nodegroup, CapacityType.SPOT)
    before = await provider.look()
    assert (before.desired, before.max_size, len(before.instances), before.objections) == (2, 4, 2, ())
    await provider.resize(3)
    body = client("eks", endpoint).describe_nodegroup(clusterName="c", nodegroupName="spot")["nodegroup"]
    assert body["scalingConfig"] == {"minSize": 0, "maxSize": 4, "desiredSize": 3}
    await provider.remove(before.instances[0].id)
    after = await provider.look()
    assert [entry.id for entry in after.instances] == [before.instances[1].id]
    (said,) = (
        await EksNodegroups(aws, InstanceTypes(aws), prices, nodegroup, CapacityType.ON_DEMAND).look()
    ).objections
    assert said.startswith("the node group's capacityType is SPOT and spec.capacityType is OnDemand")


async def test_a_cluster_that_is_not_there(endpoint: str, aws: Aws) -> None:
    """EKS's own sentence, and what to do."""
    prices = SpotPrices(aws, lambda: 0.0)
    where = EksNodegroup(cluster="nope", name="spot", region=REGION)
    with pytest.raises(ProviderError, match=r"No cluster found for name: nope.*correct name and region"):
        await EksNodegroups(aws, InstanceTypes(aws), prices, where, CapacityType.SPOT).look()


def test_issues_stand_until_eks_takes_them_back() -> None:
    """Not news of a moment: no time."""
    issue = {"code": "AsgInstanceLaunchFailures", "message": "VcpuLimitExceeded: no more", "resourceIds": ["g"]}
    assert health_failures({"modifiedAt": AT, "health": {"issues": [issue]}}) == (
        Failure(f"AsgInstanceLaunchFailures {AT.timestamp():.0f}", f"AsgInstanceLaunchFailures: {issue['message']}"),
    )


@pytest.mark.parametrize(
    ("cpus", "memory", "interfaces", "addresses", "shape"),
    [
        pytest.param(2, 8192, 3, 10, ("1930m", 6903, 29), id="m5.large"),
        pytest.param(4, 16384, 4, 15, ("3920m", 14162, 58), id="m5.xlarge"),
        pytest.param(96, 393216, 15, 50, ("95690m", 360619, 250), id="m5.24xlarge"),
    ],
)
def test_what_kubelet_leaves(
    cpus: int, memory: int, interfaces: int, addresses: int, shape: tuple[str, int, int]
) -> None:
    """By hand: of the cores 6, 1, 0.5, 0.5 and then 0.25 %; 355 MiB and 11 per pod of 92.5 % of the memory."""
    entry = {
        "VCpuInfo": {"DefaultVCpus": cpus},
        "MemoryInfo": {"SizeInMiB": memory},
        "NetworkInfo": {"MaximumNetworkInterfaces": interfaces, "Ipv4AddressesPerInterface": addresses},
    }
    cpu, mebibytes, pods = shape
    assert shape_of(entry) == NodeShape(cpu=cpu, memory=str(mebibytes * 2**20), pods=pods)
