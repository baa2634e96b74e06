"""Where spot capacity can be had: zones that lost nodes cool down, and each zone has a rate of losses.

A zone is one failure domain: replayed traces show zones losing capacity nearly independently of each other, but
most of a zone at a time. A pool that names no zones is one zone, called after the pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trimtab.planning.windows import elapsed

COOL_DOWN_S = 180.0
LONGEST_COOL_DOWN_S = 300.0  # longer ones cost more on demand than refused orders do on every replayed trace
QUOTA_BACK_OFF_S = 1800.0  # a quota is raised by people, not by waiting a few minutes
MEMORY_S = 3600.0  # queues deliver again for minutes at most
MEMORY_EVENTS = 512
HALF_LIFE_H = 6.0
TIME_CONSTANT_H = HALF_LIFE_H / math.log(2)
PRIOR_LOSSES, PRIOR_HOURS = 0.5, 10.0  # one loss per zone in 20 h, until the zone shows otherwise


@dataclass(frozen=True, slots=True)
class Notice:
    """The provider will take a node back. `id` is the same each time the event is delivered.

    `pool` is the pool whose node, or capacity, it is; empty where nobody knows.
    """

    id: str
    zone: str
    node: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Loss:
    """A spot node is gone, announced or not."""

    id: str
    zone: str
    node: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Shortage:
    """The provider has no such machine now in these zones."""

    id: str
    zones: tuple[str, ...]
    pool: str = ""
    spot: bool = True
    """Whether it is one of spot; what is short on demand says nothing of the zone's spot capacity."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The account may not have more of a pool; other zones would not help, so it is no shortage."""

    id: str
    pool: str
    spot: bool = True


CapacityEvent = Notice | Loss | Shortage | Quota


@dataclass(frozen=True, slots=True)
class Zone:
    """What is known of one zone; times are those of `now`.

    `losses` forget half of themselves in six hours and were last updated at `updated_at`.
    """

    since: float
    updated_at: float
    losses: float = 0.0
    cooling_until: float = 0.0
    cool_down: float = 0.0

    def to_json(self) -> dict[str, float]:
        """Return the zone as JSON values."""
        return {
            "since": self.since,
            "updatedAt": self.updated_at,
            "losses": self.losses,
            "coolingUntil": self.cooling_until,
            "coolDown": self.cool_down,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, float]) -> Zone:
        """Return the zone that `to_json` wrote."""
        return cls(data["since"], data["updatedAt"], data["losses"], data["coolingUntil"], data["coolDown"])


@dataclass(frozen=True, slots=True)
class ZoneState:
    """What is known of all zones, pools over their quota (until when), and the events already counted (and when)."""

    zones: Mapping[str, Zone] = field(default_factory=dict)
    quota_until: Mapping[str, float] = field(default_factory=dict)
    seen: tuple[tuple[str, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "zones": {name: zone.to_json() for name, zone in self.zones.items()},
            "quotaUntil": dict(self.quota_until),
            "seen": [list(entry) for entry in self.seen],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ZoneState:
        """Return the state that `to_json` wrote; what is missing is as new."""
        return cls(
            zones={name: Zone.from_json(zone) for name, zone in data.get("zones", {}).items()},
            quota_until=dict(data.get("quotaUntil", {})),
            seen=tuple((str(event), float(at)) for event, at in data.get("seen", ())),
        )

    def has_seen(self, event: CapacityEvent) -> bool:
        """Whether the event was counted before."""
        return any(event.id == known for known, _ in self.seen)


def with_event(state: ZoneState, event: CapacityEvent, now: float) -> ZoneState:
    """Return the state with an event counted, once however often it is delivered."""
    if state.has_seen(event):
        return state
    recent = [entry for entry in state.seen if elapsed(entry[1], now) < MEMORY_S][-(MEMORY_EVENTS - 1) :]
    state = replace(state, seen=(*recent, (event.id, now)))
    match event:
        case Shortage(spot=False) | Quota(spot=False):  # on demand is asked all the same: nothing stands in for it
            return state
        case Quota():
            return replace(state, quota_until={**state.quota_until, event.pool: now + QUOTA_BACK_OFF_S})
        case Shortage():
            struck = {name: _cooled(_zone(state, name, now), now) for name in event.zones}
        case Notice() | Loss():
            struck = {event.zone: _struck(_zone(state, event.zone, now), now)}
    return replace(state, zones={**state.zones, **struck})


def _zone(state: ZoneState, name: str, now: float) -> Zone:
    return state.zones.get(name) or Zone(since=now, updated_at=now)


def _cooled(zone: Zone, now: float) -> Zone:
    """Return the zone cooling from now on: twice as long as before if it hurt again soon after it had cooled down.

    Several nodes of a zone that go together are one blow; only one that comes after the cool-down doubles it.
    """
    if now < zone.cooling_until:
        return replace(zone, cooling_until=max(zone.cooling_until, now + zone.cool_down))
    soon = now - zone.cooling_until < LONGEST_COOL_DOWN_S
    cool_down = min(2 * zone.cool_down, LONGEST_COOL_DOWN_S) if soon and zone.cool_down else COOL_DOWN_S
    return replace(zone, cooling_until=now + cool_down, cool_down=cool_down)


def _struck(zone: Zone, now: float) -> Zone:
    """Return the zone after a loss or a notice; what falls into a running cool-down is the same blow."""
    if now >= zone.cooling_until:
        zone = replace(zone, losses=remembered(zone, now) + 1, updated_at=now)
    return _cooled(zone, now)


def remembered(zone: Zone, now: float) -> float:
    """Return the losses of a zone that are not forgotten yet."""
    hours = max(0.0, now - zone.updated_at) / 3600
    return zone.losses * math.exp(-hours / TIME_CONSTANT_H)


def hazard(state: ZoneState, name: str, now: float) -> float:
    """Return the losses per hour to expect in a zone: those seen over the hours watched, both fading, with a prior."""
    zone = state.zones.get(name)
    if zone is None:
        return PRIOR_LOSSES / PRIOR_HOURS
    watched = max(0.0, now - zone.since) / 3600
    hours = TIME_CONSTANT_H * (1 - math.exp(-watched / TIME_CONSTANT_H))
    return (remembered(zone, now) + PRIOR_LOSSES) / (hours + PRIOR_HOURS)


def is_cooling(state: ZoneState, name: str, now: float) -> bool:
    """Whether nothing is ordered in a zone for now; a cool-down that a clock step made endless does not count."""
    zone = state.zones.get(name)
    return zone is not None and now < zone.cooling_until <= now + LONGEST_COOL_DOWN_S


def is_over_quota(state: ZoneState, pool: str, now: float) -> bool:
    """Whether a pool may not grow for now."""
    until = state.quota_until.get(pool)
    return until is not None and now < until <= now + QUOTA_BACK_OFF_S
