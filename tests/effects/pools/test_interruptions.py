"""From EventBridge's event, through SQS, to a node that is marked: over real HTTP, at least once, in any order."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
import structlog

from trimtab.api.capacity import CapacityPool
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.interruptions import Interruptions
from trimtab.effects.pools.nodes import Nodes
from trimtab.effects.pools.queues import Queues

from .conftest import REGION, client
from .conftest import Nodes as FakeNodes

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
INSTANCE = "i-0123456789abcdef0"
WARNING = ("EC2 Spot Instance Interruption Warning", {"instance-id": INSTANCE, "instance-action": "terminate"})
REBALANCE = ("EC2 Instance Rebalance Recommendation", {"instance-id": INSTANCE})
HOOK = (
    "EC2 Instance-terminate Lifecycle Action",
    {
        "LifecycleActionToken": "token",
        "AutoScalingGroupName": "spot",
        "LifecycleHookName": "drain",
        "EC2InstanceId": INSTANCE,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    },
)


def body(event: tuple[str, dict[str, Any]], time: str = "2026-03-01T12:00:00Z") -> str:
    kind, detail = event
    source = "aws.autoscaling" if "Lifecycle" in kind else "aws.ec2"
    return json.dumps(
        {
            "id": f"{kind} {time}",
            "detail-type": kind,
            "source": source,
            "time": time,
            "region": REGION,
            "detail": detail,
        }
    )


def pool(queue: str | None = None, startup: str = "90s") -> CapacityPool:
    spec = {
        "capacityType": "Spot",
        "provider": {"autoScalingGroup": {"name": "spot", "region": REGION}},
        "startup": {"expected": startup},
        "interruption": {"notice": "2m", **({"queueUrl": queue} if queue else {})},
    }
    meta = {"name": "spot"}
    return CapacityPool.model_validate(
        {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": meta, "spec": spec}
    )


class Hooks:
    """AWS, as far as a lifecycle hook needs it: moto does not complete any."""

    def __init__(self) -> None:
        self.completed: list[dict[str, str]] = []

    async def call(self, service: str, region: str, ask: Any) -> None:
        assert (service, region) == ("autoscaling", REGION)
        ask(self)

    def complete_lifecycle_action(self, **said: str) -> None:
        self.completed.append(said)


@pytest.fixture
def node(cluster: FakeNodes) -> FakeNodes:
    cluster.add("n", INSTANCE, trimtab_dev__pool="spot")
    return cluster


def handler(cluster: FakeNodes, aws: Any = None, startup: str = "90s") -> Interruptions:
    return Interruptions(Nodes(cluster.world(), cluster), aws, lambda: [pool(startup=startup)])  # type: ignore[arg-type]


async def test_twice_is_once_and_the_earliest_end_counts(node: FakeNodes) -> None:
    """Delivered again, and overtaken: the node is written once, and never gets more time than it was told."""
    handle = handler(node, startup="10m")
    assert await handle(body(WARNING), REGION)
    assert await handle(body(WARNING), REGION)
    assert await handle(body(REBALANCE, "2026-03-01T11:59:00Z"), REGION)
    assert node.written == ["n"]
    assert node.taints("n") == {"trimtab.dev/interrupted": "SpotInterruption"}
    assert node.nodes["n"]["metadata"]["annotations"] == {"trimtab.dev/leaves-at": "2026-03-01T12:02:00Z"}


async def test_a_notice_overtakes_a_recommendation(node: FakeNodes) -> None:
    """What is certain and sooner replaces what was a guess; other people's taints stay."""
    node.nodes["n"]["spec"]["taints"] = [{"key": "spot", "effect": "NoSchedule"}]
    handle = handler(node, startup="10m")
    assert await handle(body(REBALANCE), REGION)
    assert node.taints("n") == {"spot": None, "trimtab.dev/interrupted": "RebalanceRecommendation"}
    assert await handle(body(WARNING), REGION)
    assert node.taints("n") == {"spot": None, "trimtab.dev/interrupted": "SpotInterruption"}


async def test_a_mark_that_was_not_written_keeps_the_message(node: FakeNodes) -> None:
    """The queue delivers it again; a conflict with another writer is no different."""
    node.refuse = 503
    handle = handler(node)
    assert not await handle(body(WARNING), REGION)
    node.refuse = None
    assert await handle(body(WARNING), REGION)
    assert node.taints("n") == {"trimtab.dev/interrupted": "SpotInterruption"}


async def test_machines_of_others_are_none_of_ours(cluster: FakeNodes) -> None:
    """A queue may serve several clusters."""
    assert await handler(cluster)(body(WARNING), REGION)


async def test_another_clusters_hook_is_left_to_it(cluster: FakeNodes) -> None:
    """Events of all groups of an account arrive: whose node is in use elsewhere must not be taken down under it."""
    hooks = Hooks()
    others = (HOOK[0], {**HOOK[1], "AutoScalingGroupName": "spot-of-another-cluster"})
    assert await handler(cluster, hooks)(body(others), REGION)
    assert hooks.completed == []
    assert await handler(cluster, hooks)(body(HOOK), REGION), "a machine of our own group that is no node"
    assert [said["AutoScalingGroupName"] for said in hooks.completed] == ["spot"]


async def test_what_nobody_understands_is_left_to_the_dead_letter_queue(cluster: FakeNodes) -> None:
    """With a warning that says what is wrong."""
    with structlog.testing.capture_logs() as lines:
        assert not await handler(cluster)('{"id": "x"}', REGION)
    assert [(line["event"], line["error"]) for line in lines] == [
        ("interruption.not_understood", "source: Field required")
    ]


async def test_a_hook_is_completed_when_the_node_is_empty(node: FakeNodes) -> None:
    """Until then the message comes back; DaemonSets' pods are nobody's loss."""
    hooks = Hooks()
    handle = handler(node, hooks)
    daemon = {"metadata": {"ownerReferences": [{"kind": "DaemonSet"}]}, "spec": {"nodeName": "n"}}
    replica = {"metadata": {"ownerReferences": [{"kind": "ReplicaSet"}]}, "spec": {"nodeName": "n"}}
    node.pods = [daemon, replica]
    assert not await handle(body(HOOK), REGION)
    assert node.taints("n") == {"trimtab.dev/interrupted": "GroupTermination"}
    assert hooks.completed == []
    node.pods = [daemon]
    assert await handle(body(HOOK), REGION)
    (said,) = hooks.completed
    assert (said["LifecycleHookName"], said["LifecycleActionResult"], said["InstanceId"]) == (
        "drain",
        "CONTINUE",
        INSTANCE,
    )


@asynccontextmanager
async def listening(aws: Aws, handle: Any, *pools: CapacityPool) -> AsyncIterator[Queues]:
    queues = Queues(aws, handle, poll_s=1, visibility_s=1)
    queues.sync(pools)
    try:
        yield queues
    finally:
        await queues.close()


def messages(sqs: Any, queue: str) -> set[str]:
    """How many messages a queue holds, seen and unseen."""
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return {counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]}


async def test_events_reach_nodes_through_the_bus_and_the_queue(endpoint: str, aws: Aws, node: FakeNodes) -> None:
    """Rule, bus and queue as docs/pools.md sets them up; the message is gone when the node is marked, not before."""
    sqs, events = client("sqs", endpoint), client("events", endpoint)
    queue = sqs.create_queue(QueueName="notices", Attributes={"MessageRetentionPeriod": "300"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.ec2"], "detail-type": [WARNING[0]]}
    events.put_rule(Name="interruptions", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="interruptions", Targets=[{"Id": "queue", "Arn": arn}])
    handle, done = handler(node), asyncio.Queue[tuple[bool, bool]]()
    node.refuse = 503  # the first delivery cannot be carried out

    async def watched(text: str, region: str) -> bool:
        finished = await handle(text, region)
        done.put_nowait((finished, bool(node.written)))
        node.refuse = None
        return finished

    async with listening(aws, watched, pool(queue)):
        kind, detail = WARNING
        events.put_events(Entries=[{"Source": "aws.ec2", "DetailType": kind, "Detail": json.dumps(detail)}])
        async with asyncio.timeout(60):
            assert await done.get() == (False, False)
            assert await done.get() == (True, True)
            while messages(sqs, queue) != {"0"}:  # noqa: ASYNC110 - SQS tells nobody when it deletes
                await asyncio.sleep(0.05)
    until = datetime.fromisoformat(node.nodes["n"]["metadata"]["annotations"]["trimtab.dev/leaves-at"])
    assert until.tzinfo is not None


async def test_a_queue_that_cannot_be_read_is_told(endpoint: str, aws: Aws, cluster: FakeNodes) -> None:
    """On the pools that named it: without notices they are less than they promise."""
    named = pool(f"{endpoint}/123456789012/nope")
    async with listening(aws, handler(cluster), named) as queues, asyncio.timeout(60):
        while (trouble := queues.problem(named)) is None:  # noqa: ASYNC110 - the fleet asks every other second, too
            await asyncio.sleep(0.05)
    assert trouble.reason == "GroupNotFound"
    assert trouble.message.startswith("spec.interruption.queueUrl: sqs in us-east-1: ")
    assert trouble.message.endswith("; notices do not arrive until then")
