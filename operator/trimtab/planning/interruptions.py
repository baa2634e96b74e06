"""EventBridge's events about instances: read strictly, and what each means for the node."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from trimtab.api.capacity import CapacityPool
from trimtab.api.quantities import seconds

SPOT_NOTICE = timedelta(minutes=2)
"""EC2's own, whatever a pool says."""
InstanceId = Annotated[str, Field(pattern=r"^i-[0-9a-f]{8,17}$")]


class Interruption(StrEnum):
    """What happens to an instance."""

    SPOT = "SpotInterruption"
    REBALANCE = "RebalanceRecommendation"
    STOPPING = "InstanceStopping"
    LIFECYCLE = "GroupTermination"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to an instance; `id` is EventBridge's, the same each time it is delivered."""

    id: str
    kind: Interruption
    instance: str
    at: datetime
    hook: Hook | None = None
    """What waits for us to say that the instance may go."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A lifecycle hook of an Auto Scaling group that holds a termination up until it is completed."""

    group: str
    name: str
    token: str


class _Detail(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Spot(_Detail):
    instance: InstanceId = Field(alias="instance-id")
    action: Literal["terminate", "stop", "hibernate"] = Field(alias="instance-action")


class _Rebalance(_Detail):
    instance: InstanceId = Field(alias="instance-id")


class _State(_Detail):
    instance: InstanceId = Field(alias="instance-id")
    state: str


class _Lifecycle(_Detail):
    instance: InstanceId = Field(alias="EC2InstanceId")
    group: str = Field(alias="AutoScalingGroupName")
    hook: str = Field(alias="LifecycleHookName")
    token: str = Field(alias="LifecycleActionToken")
    transition: str = Field(alias="LifecycleTransition")


class _Envelope(BaseModel):
    """What EventBridge puts around every event."""

    model_config = ConfigDict(extra="ignore")
    id: Annotated[str, Field(min_length=1, max_length=128)]
    source: str
    detail_type: str = Field(alias="detail-type")
    time: AwareDatetime
    region: str = ""
    detail: dict[str, object]


_ENVELOPE = TypeAdapter(_Envelope)
_GOING = {"shutting-down", "stopping", "stopped", "terminated"}
# A group gives its own terminations as long as the hook holds; replicas move in what a spot node would have.
_HOOKED = SPOT_NOTICE


def parsed(body: str) -> Event | None:
    """Return the event that a message holds; None for one that is whole but tells of no loss.

    Raises:
        ValueError: This is no such event; the message names what is wrong, and repeats nothing of the rest.
    """
    try:
        envelope = _ENVELOPE.validate_json(body)
        return _event(envelope)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the message"
        raise ValueError(f"{where}: {first['msg']}") from None


def _event(envelope: _Envelope) -> Event | None:
    def told(kind: Interruption, instance: str, hook: Hook | None = None) -> Event:
        return Event(envelope.id, kind, instance, envelope.time, hook)

    match envelope.source, envelope.detail_type:
        case "aws.ec2", "EC2 Spot Instance Interruption Warning":
            return told(Interruption.SPOT, _Spot.model_validate(envelope.detail).instance)
        case "aws.ec2", "EC2 Instance Rebalance Recommendation":
            return told(Interruption.REBALANCE, _Rebalance.model_validate(envelope.detail).instance)
        case "aws.ec2", "EC2 Instance State-change Notification":
            state = _State.model_validate(envelope.detail)
            return told(Interruption.STOPPING, state.instance) if state.state in _GOING else None
        case "aws.autoscaling", "EC2 Instance-terminate Lifecycle Action":
            action = _Lifecycle.model_validate(envelope.detail)
            hook = Hook(action.group, action.hook, action.token)
            return told(Interruption.LIFECYCLE, action.instance, hook)
    return None


@dataclass(frozen=True, slots=True)
class Doom:
    """When a node goes, and why."""

    until: datetime
    why: str


def doom(event: Event, pool: CapacityPool | None, others_pending: int) -> Doom | None:
    """Return what an event means for the node of the pool; None where it is to be left alone.

    A rebalance recommendation is a guess. It is followed where a replacement takes longer to start than a notice
    lasts, since then the notice comes too late, and for one node of a pool at a time (`others_pending` are under way):
    a provider that recommends whole pools would have all of them replaced by what it recommends to leave next.
    """
    match event.kind:
        case Interruption.SPOT:
            return Doom(event.at + SPOT_NOTICE, event.kind)
        case Interruption.STOPPING:
            return Doom(event.at, event.kind)
        case Interruption.LIFECYCLE:
            return Doom(event.at + _HOOKED, event.kind)
        case Interruption.REBALANCE:
            if pool is None or others_pending:
                return None
            startup = seconds(pool.spec.startup.expected)
            if startup <= seconds(pool.spec.interruption.notice):
                return None
            return Doom(event.at + SPOT_NOTICE + timedelta(seconds=startup), event.kind)
