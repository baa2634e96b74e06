"""A cloud's group of nodes: what its state and its failed launches mean, and how far it may be resized."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool, Limits, NodeShape, Price
from trimtab.api.conditions import Reason
from trimtab.api.quantities import seconds
from trimtab.planning.capacity import LATE
from trimtab.planning.windows import elapsed
from trimtab.planning.zones import Quota, Shortage

LAUNCH_S = 60.0
"""An order that the provider has not begun to launch by then is a shortage, whether it says so or not."""
NEWS_S = 180.0
"""Failures older than this tell nothing about now."""

# Codes of EC2 and the sentences that Auto Scaling writes instead of them.
_SHORT = (
    "insufficientinstancecapacity",
    "insufficienthostcapacity",
    "insufficientcapacity",
    "insufficientreservedinstancecapacity",
    "insufficientfreeaddresses",
    "unfulfillablecapacity",
    "spotmaxpricetoolow",
    "do not have sufficient",
    "no spot capacity",
    "is not supported in your requested availability zone",
)
_OVER_QUOTA = (
    "maxspotinstancecountexceeded",
    "vcpulimitexceeded",
    "instancelimitexceeded",
    "vcpu capacity than your current vcpu limit",
    "max spot instance count exceeded",
)


class FailureKind(StrEnum):
    """What a failed launch says about the next one."""

    SHORTAGE = "Shortage"
    QUOTA = "Quota"
    BROKEN = "Broken"


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine of a group, on its way or there; one that the provider takes down is none any more.

    `id` is what the end of a node's `spec.providerID` says.
    """

    id: str
    zone: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A launch that failed. `id` is the same each time the provider tells of it."""

    id: str
    message: str
    at: float | None = None
    """Unix seconds; None for what stands until the provider takes it back."""
    zone: str = ""
    kind: FailureKind | None = None
    """Where it is known; else the message tells."""
    remedy: str = ""
    """Where the usual one is wrong."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its provider describes it."""

    desired: int
    min_size: int = 0
    max_size: int = 5000
    instances: tuple[Instance, ...] = ()
    failures: tuple[Failure, ...] = ()
    shape: NodeShape | None = None
    """What the smallest node of the group will offer; None where nobody knows before there is one."""
    price: Price | None = None
    """Of one node at the market; None where there is no market, or it cannot be read."""
    objections: tuple[str, ...] = ()
    """Why it is not to be resized: what, and the remedy."""


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """Since when launches have been outstanding, of how many, and when each instance was first seen (Unix seconds)."""

    since: float | None = None
    missing: int = 0
    seen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pool does not give what was ordered."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class News:
    """What a look at a group tells the planner (`events`) and people (`trouble`)."""

    events: tuple[Shortage | Quota, ...] = ()
    trouble: Trouble | None = None
    memory: GroupMemory = field(default_factory=GroupMemory)


def kind_of(failure: Failure) -> FailureKind:
    """Return what a failed launch means: a quota is raised by people, a shortage passes."""
    if failure.kind is not None:
        return failure.kind
    text = failure.message.lower()
    if any(mark in text for mark in _OVER_QUOTA):
        return FailureKind.QUOTA
    if any(mark in text for mark in _SHORT):
        return FailureKind.SHORTAGE
    return FailureKind.BROKEN


def news(pool: CapacityPool, group: Group, joined: frozenset[str], memory: GroupMemory, now: float) -> News:
    """Return what a look at a pool's group means.

    Args:
        pool: The pool.
        group: Its group.
        joined: Instances that are Ready nodes of the cluster.
        memory: What the last look returned.
        now: Unix seconds.
    """
    recent = [failure for failure in group.failures if failure.at is None or elapsed(failure.at, now) < NEWS_S]
    events: list[Shortage | Quota] = [event for failure in recent if (event := _event(pool, failure)) is not None]
    missing = max(0, group.desired - len(group.instances))
    grown = missing > memory.missing
    since = None if not missing else now if grown or memory.since is None else memory.since
    waited = elapsed(since, now) if since is not None else 0.0
    if missing and waited >= LAUNCH_S:
        events.append(Shortage(f"{pool.name} launches {since:.0f}", _zones(pool), pool.name, _is_spot(pool)))
    seen = {instance.id: memory.seen.get(instance.id, now) for instance in group.instances}
    trouble = _failing(pool, recent, missing) or _unlaunched(group, missing, waited) or _late(pool, seen, joined, now)
    return News(tuple(events), trouble, GroupMemory(since, missing, seen))


def _event(pool: CapacityPool, failure: Failure) -> Shortage | Quota | None:
    match kind_of(failure):
        case FailureKind.QUOTA:
            return Quota(f"{pool.name} {failure.id}", pool.name, _is_spot(pool))
        case FailureKind.SHORTAGE:
            return Shortage(f"{pool.name} {failure.id}", _zones(pool, failure.zone), pool.name, _is_spot(pool))
        case FailureKind.BROKEN:
            return None


def _is_spot(pool: CapacityPool) -> bool:
    return pool.spec.capacity_type is CapacityType.SPOT


def _zones(pool: CapacityPool, zone: str = "") -> tuple[str, ...]:
    """Return the failure domains that a failure concerns: the zone that it names, if the pool does, too."""
    named = tuple(pool.spec.zones)
    return (zone,) if zone in named else named or (pool.name,)


def _failing(pool: CapacityPool, recent: Sequence[Failure], missing: int) -> Trouble | None:
    """Return the newest failure's trouble, while it keeps nodes away or stands."""
    found = [failure for failure in recent if missing or failure.at is None]
    if not found:
        return None
    newest = max(found, key=lambda failure: math.inf if failure.at is None else failure.at)
    kind = kind_of(newest)
    if newest.at is None and not missing and kind is FailureKind.QUOTA:  # exactly what is needed is not too little
        return None
    where = f" in {newest.zone}" if newest.zone else ""
    said = f"{missing} of the ordered nodes are missing{where}: {newest.message}" if missing else newest.message
    match kind:
        case FailureKind.QUOTA:
            remedy = newest.remedy or "have the quota raised, or lower spec.limits.maxNodes"
            return Trouble(Reason.QUOTA_REACHED, f"{said}; {remedy}")
        case FailureKind.SHORTAGE:
            covered = "on-demand pools stand in; " if _is_spot(pool) else ""
            return Trouble(Reason.SHORTAGE, f"{said}; {covered}more zones and instance types make this rarer")
        case FailureKind.BROKEN:
            remedy = newest.remedy or "correct the group's launch template or rights"
            return Trouble(Reason.LAUNCH_FAILED, f"{said}; {remedy}")


def _unlaunched(group: Group, missing: int, waited: float) -> Trouble | None:
    if not missing or waited < LAUNCH_S:
        return None
    said = f"{missing} of {group.desired} ordered nodes have not been launched in {LAUNCH_S:.0f} s"
    return Trouble(Reason.SHORTAGE, f"{said}, and the provider does not say why; look at the group's activities")


def _late(pool: CapacityPool, seen: Mapping[str, float], joined: frozenset[str], now: float) -> Trouble | None:
    usual = LATE * seconds(pool.spec.startup.expected)
    late = sorted(name for name, at in seen.items() if name not in joined and elapsed(at, now) > usual)
    if not late:
        return None
    return Trouble(
        Reason.SLOW_START,
        f"{', '.join(late)} launched more than {usual:.0f} s ago and is no Ready node yet; raise spec.startup.expected "
        f"({pool.spec.startup.expected}) if that is usual, else look at the node's bootstrap",
    )


def bounded(desired: int, doomed: int, limits: Limits, group: Group) -> tuple[int, Trouble | None]:
    """Return the size that a group can be given, within its own bounds and the pool's, and what stands in the way.

    `doomed` nodes are on top of the pool's limit, as what replaces them runs beside them, but not of the group's own.
    """
    highest = min(limits.max_nodes + doomed, group.max_size)
    size = min(max(desired, limits.min_nodes, group.min_size), highest)
    if desired <= group.max_size:
        return size, None
    return size, Trouble(
        Reason.LIMIT_REACHED,
        f"{desired} nodes are needed, and spec.limits.maxNodes allows {limits.max_nodes}, but the group's own maximum "
        f"is {group.max_size}: raise that one",
    )


def without(group: Group, instance: str) -> Group:
    """Return the group after an instance was taken off it and its size."""
    left = tuple(entry for entry in group.instances if entry.id != instance)
    return replace(group, desired=group.desired - 1, instances=left)


@dataclass(frozen=True, slots=True)
class Steps:
    """How a group comes to its size: machines that go by name, each taking one off the size, then the size itself."""

    remove: tuple[str, ...] = ()
    resize: int | None = None


def steps(group: Group, size: int, victims: Sequence[str]) -> Steps:
    """Return how a group comes to `size`, losing no machine but `victims`.

    The size is lowered only where nothing runs that would have to go for it: for machines that were never launched.
    """
    present = {instance.id for instance in group.instances}
    removable = [victim for victim in victims if victim in present][: max(0, group.desired - group.min_size)]
    after = group.desired - len(removable)
    idle_order = size < after and len(present) - len(removable) <= size
    return Steps(tuple(removable), size if size > after or idle_order else None)
