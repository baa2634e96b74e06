"""What the pools offer a model: looked up once for all models, as they share the pools and look every second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from trimtab.api.capacity import CapacityPool
from trimtab.api.compression import Device
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import seconds
from trimtab.planning import accelerators
from trimtab.planning.capacity import PoolView

_Wish = tuple[tuple[str, ...], Device, tuple[str, int] | None]
_WISHES = 4096  # different ones remembered; there are as many as lists of pools in specs


@dataclass(frozen=True, slots=True)
class Offer:
    """The pools that a model may use, and what its split needs to know of each."""

    pools: tuple[CapacityPool, ...]
    views: tuple[PoolView, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """Pools as a key: equal only to themselves, as comparing them takes longer than what is remembered of them."""

    pools: tuple[CapacityPool, ...]

    def __hash__(self) -> int:
        return id(self.pools)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.pools is self.pools


def usable(pools: tuple[CapacityPool, ...], spec: OptimizedModelSpec) -> tuple[CapacityPool, ...]:
    """Return the pools that a model may use."""
    return _offer(pools, spec).pools


def views(pools: tuple[CapacityPool, ...], spec: OptimizedModelSpec) -> tuple[PoolView, ...]:
    """Return what a model's split needs to know of the pools that it may use."""
    return _offer(pools, spec).views


def _offer(pools: tuple[CapacityPool, ...], spec: OptimizedModelSpec) -> Offer:
    asked = spec.serving.accelerator
    device = (asked.resource, asked.count) if asked is not None else None
    wish = tuple(spec.capacity.pools), spec.compression.target.device, device
    known = _offers(_Same(pools))
    found = known.get(wish)
    if found is None:
        chosen = accelerators.usable(spec, pools)
        found = Offer(chosen, tuple(view(pool) for pool in chosen))
        if len(known) < _WISHES:
            known[wish] = found
    return found


@lru_cache(maxsize=2)  # the newest, and those of a look that is under way
def _offers(_: _Same) -> dict[_Wish, Offer]:
    return {}


def view(pool: CapacityPool) -> PoolView:
    """Return what a split needs to know of a pool."""
    return PoolView(
        name=pool.name,
        capacity_type=pool.spec.capacity_type,
        zones=tuple(pool.spec.zones),
        startup_s=seconds(pool.spec.startup.expected),
        notice_s=seconds(pool.spec.interruption.notice),
    )


def uses(pools: Sequence[PoolView], zone: str) -> bool:
    """Whether any of the pools has nodes in a zone."""
    return any(zone in pool.domains for pool in pools)
