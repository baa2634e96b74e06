"""EventBridge's events: read strictly, and what each means for a node."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.api.capacity import CapacityPool
from trimtab.planning.interruptions import Doom, Event, Hook, Interruption, doom, parsed

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
INSTANCE = "i-0123456789abcdef0"
TERMINATE = {
    "LifecycleActionToken": "87654321-4321-4321-4321-210987654321",
    "AutoScalingGroupName": "spot",
    "LifecycleHookName": "drain",
    "EC2InstanceId": INSTANCE,
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
}


def message(kind: str, detail: dict[str, Any], source: str = "aws.ec2", **more: Any) -> str:
    body = {
        "version": "0",
        "id": "12345678-1234-1234-1234-123456789012",
        "detail-type": kind,
        "source": source,
        "account": "123456789012",
        "time": "2026-03-01T12:00:00Z",
        "region": "eu-west-1",
        "resources": [f"arn:aws:ec2:eu-west-1a:instance/{INSTANCE}"],
        "detail": detail,
        **more,
    }
    return json.dumps(body)


WARNING = message("EC2 Spot Instance Interruption Warning", {"instance-id": INSTANCE, "instance-action": "terminate"})
REBALANCE = message("EC2 Instance Rebalance Recommendation", {"instance-id": INSTANCE})
HOOK = Hook("spot", "drain", TERMINATE["LifecycleActionToken"])


@pytest.mark.parametrize(
    ("body", "kind", "hook"),
    [
        pytest.param(WARNING, Interruption.SPOT, None, id="warning"),
        pytest.param(REBALANCE, Interruption.REBALANCE, None, id="rebalance"),
        pytest.param(
            message("EC2 Instance State-change Notification", {"instance-id": INSTANCE, "state": "shutting-down"}),
            Interruption.STOPPING,
            None,
            id="state",
        ),
        pytest.param(
            message("EC2 Instance-terminate Lifecycle Action", TERMINATE, "aws.autoscaling"),
            Interruption.LIFECYCLE,
            HOOK,
            id="lifecycle",
        ),
    ],
)
def test_losses_are_understood(body: str, kind: Interruption, hook: Hook | None) -> None:
    """Each kind of event that announces one."""
    assert parsed(body) == Event("12345678-1234-1234-1234-123456789012", kind, INSTANCE, AT, hook)


@pytest.mark.parametrize(
    "body",
    [
        message("EC2 Instance State-change Notification", {"instance-id": INSTANCE, "state": "running"}),
        message("EC2 Instance Launch Successful", {"EC2InstanceId": INSTANCE}, "aws.autoscaling"),
        message("AWS Health Event", {"service": "EC2"}, "aws.health"),
    ],
)
def test_what_tells_of_no_loss_is_done_with(body: str) -> None:
    """A rule may let more through than we need."""
    assert parsed(body) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("not json", "the message: Invalid JSON"),
        ("[]", "the message: Input should be an object"),
        (message("EC2 Instance Rebalance Recommendation", {}), "instance-id: Field required"),
        (
            message("EC2 Instance Rebalance Recommendation", {"instance-id": "eni-1"}),
            "instance-id: String should match",
        ),
        (message("EC2 Instance Rebalance Recommendation", {"instance-id": 7}), "instance-id: Input should be a valid"),
        (message("EC2 Instance Rebalance Recommendation", {}, time="yesterday"), "time: Input should be a valid"),
    ],
)
def test_what_is_no_event_is_named(body: str, said: str) -> None:
    """The field and what is wrong with it."""
    with pytest.raises(ValueError, match=said):
        parsed(body)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["id", "source", "detail-type", "time", "detail"]), st.none() | st.text()))
def test_no_message_breaks_the_reader(body: dict[str, Any]) -> None:
    """Of no interest, or refused in words; never a traceback."""
    with suppress(ValueError):
        assert parsed(json.dumps(body)) is None


def pool(startup: str) -> CapacityPool:
    spec = {
        "capacityType": "Spot",
        "provider": {"labels": {"matchLabels": {"a": "b"}}},
        "startup": {"expected": startup},
        "interruption": {"notice": "2m"},
    }
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "p"}, "spec": spec}
    return CapacityPool.model_validate(body)


def event(kind: Interruption) -> Event:
    return Event("e", kind, INSTANCE, AT)


@pytest.mark.parametrize(
    ("kind", "startup", "pending", "after"),
    [
        pytest.param(Interruption.SPOT, "90s", 0, 120, id="two minutes from when it was said"),
        pytest.param(Interruption.STOPPING, "90s", 0, 0, id="now"),
        pytest.param(Interruption.LIFECYCLE, "90s", 0, 120, id="as long as a notice"),
        pytest.param(Interruption.REBALANCE, "90s", 0, None, id="the notice will do"),
        pytest.param(Interruption.REBALANCE, "5m", 0, 420, id="the notice would come too late"),
        pytest.param(Interruption.REBALANCE, "5m", 1, None, id="one at a time"),
    ],
)
def test_what_a_loss_means(kind: Interruption, startup: str, pending: int, after: int | None) -> None:
    """When the node goes, or that it is left alone."""
    expected = None if after is None else Doom(AT + timedelta(seconds=after), kind)
    assert doom(event(kind), pool(startup), pending) == expected


def test_a_node_of_no_pool_follows_only_what_is_certain() -> None:
    """A recommendation for a node that is none of ours is nobody's business."""
    assert doom(event(Interruption.REBALANCE), None, 0) is None
    assert doom(event(Interruption.SPOT), None, 0) == Doom(AT + timedelta(minutes=2), "SpotInterruption")
