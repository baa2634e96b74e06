"""What the pools offer a model: looked up once for all models, as they share the pools and look every second."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trimtab.api.capacity import CapacityPool
from trimtab.api.compression import Device
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import seconds
from trimtab.planning import accelerators
from trimtab.planning.capacity import Pools, PoolView
from trimtab.planning.zones import CapacityEvent, Quota, Shortage

_Wish = tuple[tuple[str, ...], bool, tuple[str, int] | None]
_WISHES = 4096  # different ones remembered; there are as many as lists of pools in specs


@dataclass(frozen=True, slots=True)
class Offer:
    """The pools that a model may use, and what its split needs to know of each."""

    pools: tuple[CapacityPool, ...]
    views: tuple[PoolView, ...]
    together: Pools


class _Newest:
    """What was worked out of the newest pools; they are known by identity, as comparing them takes longer."""

    def __init__(self) -> None:
        self._pools: tuple[CapacityPool, ...] = ()
        self._offers: dict[_Wish, Offer] = {}

    def offers(self, pools: tuple[CapacityPool, ...]) -> dict[_Wish, Offer]:
        """Return what is known of these pools, to be added to."""
        if pools is not self._pools or len(self._offers) >= _WISHES:
            self._pools, self._offers = pools, {}
        return self._offers


_newest = _Newest()


def usable(pools: tuple[CapacityPool, ...], spec: OptimizedModelSpec) -> tuple[CapacityPool, ...]:
    """Return the pools that a model may use."""
    return _offer(pools, spec).pools


def views(pools: tuple[CapacityPool, ...], spec: OptimizedModelSpec) -> tuple[PoolView, ...]:
    """Return what a model's split needs to know of the pools that it may use."""
    return _offer(pools, spec).views


def together(pools: tuple[CapacityPool, ...], spec: OptimizedModelSpec) -> Pools:
    """Return the same with what all splits need of the spot pools."""
    return _offer(pools, spec).together


def _offer(pools: tuple[CapacityPool, ...], spec: OptimizedModelSpec) -> Offer:
    asked = spec.serving.accelerator
    device = (asked.resource, asked.count) if asked is not None else None
    wish = tuple(spec.capacity.pools), spec.compression.target.device is Device.CPU, device
    known = _newest.offers(pools)
    found = known.get(wish)
    if found is None:
        chosen = accelerators.usable(spec, pools)
        seen = tuple(view(pool) for pool in chosen)
        found = known[wish] = Offer(chosen, seen, Pools.of(seen))
    return found


def view(pool: CapacityPool) -> PoolView:
    """Return what a split needs to know of a pool."""
    return PoolView(
        name=pool.name,
        capacity_type=pool.spec.capacity_type,
        zones=tuple(pool.spec.zones),
        startup_s=seconds(pool.spec.startup.expected),
        notice_s=seconds(pool.spec.interruption.notice),
    )


def uses(pools: Iterable[PoolView], zone: str) -> bool:
    """Whether any of the pools has nodes in a zone."""
    return any(zone in pool.domains for pool in pools)


def concerns(event: CapacityEvent, pools: Iterable[PoolView]) -> bool:
    """Whether an event is of one of these pools, or of one of their zones where nobody knows of which pool."""
    if event.pool:
        return any(pool.name == event.pool for pool in pools)
    struck = event.zones if isinstance(event, Shortage) else () if isinstance(event, Quota) else (event.zone,)
    return any(uses(pools, zone) for zone in struck)
