"""What happened to a pool's zones, as its status keeps it: so that a new operator cools down what the old one did.

Written when something happens, never because time passes; times are whole seconds there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from trimtab.api.conditions import moment, timestamp
from trimtab.api.status import CapacityPoolStatus, HeardStatus, ZoneStatus
from trimtab.planning import zones
from trimtab.planning.zones import Zone, ZoneState

ZONES_KEPT, HEARD_KEPT = 32, 32
FIELDS = ("zones", "quotaUntil", "heard")
"""Fields of a pool's status that are made of it."""


def written(state: ZoneState, pool: str) -> dict[str, Any]:
    """Return what a pool's status says of a state, in its JSON form; the latest, where there is more than is kept."""
    latest = sorted(state.zones.items(), key=lambda entry: (-entry[1].cooling_until, entry[0]))[:ZONES_KEPT]
    kept = [
        ZoneStatus(
            zone=name,
            since=_text(zone.since),
            updated_at=_text(zone.updated_at),
            losses=f"{zone.losses:.6f}",
            cooling_until=_text(zone.cooling_until),
            cool_down_seconds=round(zone.cool_down),
        ).wire()
        for name, zone in sorted(latest)
    ]
    quota = state.quota_until.get(pool)
    heard = [HeardStatus(id=event, at=_text(at)).wire() for event, at in state.seen[-HEARD_KEPT:]]
    return {
        **({"zones": kept} if kept else {}),
        **({"quotaUntil": _text(quota)} if quota is not None else {}),
        **({"heard": heard} if heard else {}),
    }


def read(status: CapacityPoolStatus, pool: str) -> ZoneState:
    """Return the state that was written of a pool, to the second."""
    known = {
        entry.zone: Zone(
            since=_seconds(entry.since),
            updated_at=_seconds(entry.updated_at),
            losses=float(entry.losses),
            cooling_until=_seconds(entry.cooling_until),
            cool_down=float(entry.cool_down_seconds),
        )
        for entry in status.zones
    }
    quota = {pool: _seconds(status.quota_until)} if status.quota_until is not None else {}
    return ZoneState(known, quota, tuple((entry.id, _seconds(entry.at)) for entry in status.heard))


def merged(states: Iterable[ZoneState]) -> ZoneState:
    """Return one state of several pools' together.

    A zone that several have cools for as long as the longest, and has all their losses.
    """
    known: dict[str, Zone] = {}
    quota: dict[str, float] = {}
    seen: dict[str, float] = {}
    for state in states:
        for name, zone in state.zones.items():
            known[name] = _together(known[name], zone) if name in known else zone
        quota |= state.quota_until
        seen |= {event: at for event, at in state.seen if event not in seen}
    heard = sorted(seen.items(), key=lambda entry: entry[1])
    return ZoneState(known, quota, tuple(heard[-zones.MEMORY_EVENTS :]))


def _together(one: Zone, other: Zone) -> Zone:
    at = max(one.updated_at, other.updated_at)
    longest = max(one, other, key=lambda zone: zone.cooling_until)
    return Zone(
        since=min(one.since, other.since),
        updated_at=at,
        losses=math.fsum(zones.remembered(zone, at) for zone in (one, other)),
        cooling_until=longest.cooling_until,
        cool_down=longest.cool_down,
    )


def _text(at: float) -> str:
    return timestamp(datetime.fromtimestamp(math.floor(at), UTC))  # no end is later than it was


def _seconds(text: str) -> float:
    return moment(text).timestamp()
