"""How a model's replicas split into on-demand and spot.

    on-demand = n - T + cover          T = floor((n - base) * spotPercent): what spot is to carry
    spot      = T + spares             cover = what spot should carry by now and does not, for a hold

Cover is measured against what is *due*, not against T. A replica that was ready and is lost, doomed or late is due,
so on-demand rises in the same decision: after a loss spot may well stay short. A replica that the model has just
grown by is not due yet: on-demand would boot as long as spot does, so covering it buys nothing and costs a hold of
on-demand nodes at every rise of the load. It becomes due when it has been ready once, when it is late (1.5 times
the pool's start-up), or at once when the provider is short, the quota is reached or every zone cools down.
What stands in for a loss leaves only for spot that is ready, a hold after it is.
What holds, with fallback OnDemand: on-demand + good spot + spot that is on its way and not late >= n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from trimtab.api.base import CapacityType
from trimtab.api.capacity import Fallback, SpotMode
from trimtab.planning import spares, zones
from trimtab.planning.windows import Peaks, elapsed, peak, with_value
from trimtab.planning.zones import CapacityEvent, Quota, Shortage, ZoneState

LATE = 1.5  # times the expected start-up
_SPOT = CapacityType.SPOT  # looking a member up takes longer than comparing it, and there are many pools


@dataclass(frozen=True, slots=True)
class PoolView:
    """What a split must know of a pool; a pool that names no zones is one zone of its own name."""

    name: str
    capacity_type: CapacityType
    zones: tuple[str, ...] = ()
    startup_s: float = 90.0
    notice_s: float = 120.0

    @property
    def domains(self) -> tuple[str, ...]:
        """The failure domains of the pool."""
        return self.zones or (self.name,)


@dataclass(frozen=True, slots=True)
class Pools:
    """The pools of a model, and what every split needs of its spot pools together: worked out once for many splits."""

    every: tuple[PoolView, ...]
    spot: tuple[PoolView, ...]
    startup_s: float
    """The longest of the spot pools."""
    notice_s: float
    """The shortest of theirs."""
    domains: tuple[str, ...]
    """All of their failure domains, by name."""

    @classmethod
    def of(cls, views: Sequence[PoolView]) -> Pools:
        """Return these pools."""
        spot = tuple(view for view in views if view.capacity_type is _SPOT)
        return cls(
            every=tuple(views),
            spot=spot,
            startup_s=max((view.startup_s for view in spot), default=0.0),
            notice_s=min((view.notice_s for view in spot), default=0.0),
            domains=tuple(sorted({name for view in spot for name in view.domains})),
        )


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """The model's `spec.capacity`, and for how long on-demand stays after spot came back (seconds)."""

    base: int = 1
    spot_percent: int = 0
    mode: SpotMode = SpotMode.BALANCED
    fallback: Fallback = Fallback.ON_DEMAND
    hold_s: float = 120.0


@dataclass(frozen=True, slots=True)
class SplitState:
    """What must be remembered between splits; times are those of `now`.

    `target` is the last T. `growing` are (ordered at, replicas) that are not due yet, oldest first. `covers` are
    the shortfalls within the hold. `zones` may be shared by all models that use the same pools.
    """

    target: int | None = None
    growing: tuple[tuple[float, int], ...] = ()
    covers: Peaks = ()
    zones: ZoneState = field(default_factory=ZoneState)

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "target": self.target,
            "growing": [list(batch) for batch in self.growing],
            "covers": [list(entry) for entry in self.covers],
            "zones": self.zones.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SplitState:
        """Return the state that `to_json` wrote; what is missing is as new."""
        return cls(
            target=data.get("target"),
            growing=tuple((float(at), int(count)) for at, count in data.get("growing", ())),
            covers=tuple((float(at), int(count)) for at, count in data.get("covers", ())),
            zones=ZoneState.from_json(data.get("zones", {})),
        )


class Split(NamedTuple):
    """Replicas by capacity type, and why.

    `spot` counts good replicas: those on doomed nodes are ordered again on top. `cover` is the part of `on_demand`
    that stands in for missing spot. `floor_met` is False where no pool can keep the on-demand base.
    """

    on_demand: int
    spot: int
    reason: str
    cover: int = 0
    floor_met: bool = True


def on_event(state: SplitState, event: CapacityEvent, now: float) -> SplitState:
    """Return the state with an event counted, once however often it is delivered.

    A shortage or a quota also makes due what was on its way: nothing says that it will come.
    """
    if state.zones.has_seen(event):
        return state
    known = zones.with_event(state.zones, event, now)
    growing = () if isinstance(event, Shortage | Quota) and event.spot else state.growing
    return replace(state, zones=known, growing=growing)


def split(
    n: int,
    config: SplitConfig,
    pools: Sequence[PoolView] | Pools,
    ready_spot: int,
    doomed: int = 0,
    *,
    state: SplitState,
    now: float,
    ordered_on_demand: int | None = None,
) -> tuple[Split, SplitState]:
    """Return how many of `n` replicas are to run on demand and on spot.

    `ready_spot` are the ready spot replicas, `doomed` those among them on nodes under notice. `ordered_on_demand`
    counts only where the state remembers nothing (a new operator): what stands in for spot then stays for a hold.
    On-demand never falls below the base, rises at once and falls after the hold.
    """
    pools = pools if isinstance(pools, Pools) else Pools.of(pools)
    if not pools.spot:
        why = "there is no spot pool" if config.spot_percent else f"spotPercent is {config.spot_percent}"
        return Split(n, 0, f"{n} on demand: {why}"), replace(state, target=0, growing=(), covers=())
    if len(pools.spot) == len(pools.every):
        reason = f"{n} on spot: there is no on-demand pool for the floor of {config.base}"
        floor_met = min(config.base, n) == 0
        return Split(0, n, reason, floor_met=floor_met), replace(state, target=n, growing=(), covers=())
    target = (n - min(config.base, n)) * config.spot_percent // 100
    good = max(0, ready_spot - doomed)
    if state.target is None and ordered_on_demand is not None:
        stands_in = min(max(0, ordered_on_demand - (n - target)), target)
        state = replace(state, covers=with_value(state.covers, now, stands_in, config.hold_s))
    growing = _growing(state, target, good, pools, now)
    due = target - sum(count for _, count in growing)
    shortfall = min(max(0, due - good), target)
    # What stands in already stays while any spot is missing, due or not: it serves, and its relief does not yet.
    standing_in = min(peak(state.covers), max(0, target - good))
    covers = with_value(state.covers, now, max(shortfall, standing_in), config.hold_s)
    cover = min(peak(covers), target) if config.fallback is Fallback.ON_DEMAND else 0
    spare = _spares(target, config, pools, state.zones, now)
    result = Split(
        on_demand=n - target + cover,
        spot=target + spare,
        reason=_reason(n, target, cover, shortfall, spare, config.base, config.spot_percent, config.hold_s),
        cover=cover,
    )
    return result, SplitState(target=target, growing=growing, covers=covers, zones=state.zones)


def _growing(state: SplitState, target: int, good: int, pools: Pools, now: float) -> tuple[tuple[float, int], ...]:
    """Return the batches that spot grows by and that are neither there nor late, never more than are missing."""
    grown = target - (good if state.target is None else state.target)
    if grown <= 0 and not state.growing:
        return ()
    if not _may_grow(pools, state.zones, now):
        return ()
    on_time = LATE * pools.startup_s
    batches = [batch for batch in state.growing if elapsed(batch[0], now) < on_time]
    if grown > 0:
        batches.append((now, grown))
    room = max(0, target - good)
    if sum([count for _, count in batches]) <= room:
        return tuple(batches)
    kept: list[tuple[float, int]] = []
    for at, count in reversed(batches):  # the oldest came first, so the youngest are still on their way
        if taken := min(count, room):
            kept.insert(0, (at, taken))
            room -= taken
    return tuple(kept)


def _may_grow(pools: Pools, known: ZoneState, now: float) -> bool:
    """Whether any spot pool can be expected to give nodes now."""
    if not known.zones and not known.quota_until:  # nothing happened yet: nearly always
        return True
    return any(
        not zones.is_over_quota(known, pool.name, now)
        and not all(zones.is_cooling(known, name, now) for name in pool.domains)
        for pool in pools.spot
    )


def _spares(target: int, config: SplitConfig, pools: Pools, known: ZoneState, now: float) -> int:
    if not spares.are_kept(config.mode, pools.startup_s, pools.notice_s):
        return 0
    hazards = [zones.hazard(known, name, now) for name in pools.domains]
    return spares.spare_replicas(target, config.mode, hazards, pools.startup_s, pools.notice_s)


@lru_cache(maxsize=4096)  # the same for many models, look after look
def _reason(
    n: int, target: int, cover: int, shortfall: int, spare: int, base: int, spot_percent: int, hold_s: float
) -> str:
    parts = [f"{n - target + cover} on demand + {target + spare} spot for {n}"]
    parts.append(f"floor {min(base, n)}, {spot_percent} % of the rest on spot")
    if shortfall:
        stands_in = "on demand stands in" if cover else "waiting for spot"
        parts.append(f"{shortfall} of {target} spot missing, {stands_in}")
    elif cover:
        parts.append(f"spot is back, {cover} on demand stay for {hold_s:.0f} s")
    if spare:
        parts.append(f"{spare} spare against losses")
    return "; ".join(parts)
