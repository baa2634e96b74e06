"""The pools whose nodes somebody else makes: a keeper for each, started and ended with the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from trimtab.api.capacity import CapacityPool, CapacityPoolSpec
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.pools.autoscalinggroup import AutoScalingGroups
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.eksnodegroup import EksNodegroups
from trimtab.effects.pools.instancetypes import InstanceTypes
from trimtab.effects.pools.karpenter import KarpenterPools
from trimtab.effects.pools.keeper import Keeper
from trimtab.effects.pools.prices import SpotPrices
from trimtab.effects.pools.provider import Provider


@dataclass(frozen=True, slots=True)
class _Kept:
    keeper: Keeper
    task: asyncio.Task[None]


class Clouds:
    """Keepers by pool."""

    def __init__(self, cluster: Cluster, aws: Aws, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """`clock` in Unix seconds; `changed` is called when a look at some group found something new."""
        self._cluster = cluster
        self._aws = aws
        self._types = InstanceTypes(aws)
        self._prices = SpotPrices(aws, clock)
        self._clock = clock
        self._changed = changed
        self._kept: dict[str, _Kept] = {}

    def sync(self, pools: Sequence[CapacityPool]) -> None:
        """Keep these pools and no others; one whose spec changed is looked at anew."""
        wanted = {pool.name: pool for pool in pools}
        for name, kept in list(self._kept.items()):
            if name not in wanted or _kept_by(wanted[name]) != _kept_by(kept.keeper.pool):
                kept.task.cancel()
                del self._kept[name]
        for name in wanted.keys() - self._kept.keys():
            provider = self._provider(wanted[name])
            if provider is not None:
                keeper = Keeper(wanted[name], provider, self._clock, self._changed, self._cluster.may_change)
                task = asyncio.create_task(keeper.run(), name=f"keep {name}")
                self._kept[name] = _Kept(keeper, task)

    def keeper(self, pool: str) -> Keeper | None:
        """Return the keeper of a pool, None for one whose nodes nobody makes or the embedded cluster does."""
        kept = self._kept.get(pool)
        return kept.keeper if kept is not None else None

    async def close(self) -> None:
        """End every keeper."""
        tasks = [kept.task for kept in self._kept.values()]
        self._kept.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    def _provider(self, pool: CapacityPool) -> Provider | None:
        provider, bought = pool.spec.provider, pool.spec.capacity_type
        if provider.auto_scaling_group is not None:
            where = provider.auto_scaling_group
            return AutoScalingGroups(self._aws, self._types, self._prices, where.region, where.name, bought)
        if provider.eks_nodegroup is not None:
            return EksNodegroups(self._aws, self._types, self._prices, provider.eks_nodegroup, bought)
        if provider.karpenter is not None:
            return KarpenterPools(self._cluster, pool, provider.karpenter)
        return None


def _kept_by(pool: CapacityPool) -> CapacityPoolSpec:
    """Return what a keeper depends on: all but the price, which it tells itself."""
    return pool.spec.model_copy(update={"price": None})
