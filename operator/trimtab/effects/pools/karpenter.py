"""Karpenter's NodePools: read only, since Karpenter makes nodes for the pods that wait."""

from __future__ import annotations

from trimtab.api.capacity import CapacityPool, Karpenter
from trimtab.api.conditions import Reason
from trimtab.effects.kinds import NODE_CLAIMS, NODE_POOLS
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.effects.pools.provider import ProviderError
from trimtab.errors import NotYet
from trimtab.planning.groups import Group
from trimtab.planning.karpenter import NODE_POOL_LABEL, group_of


class KarpenterPools:
    """A NodePool by its name."""

    resizable = False

    def __init__(self, cluster: Cluster, pool: CapacityPool, where: Karpenter) -> None:
        self._cluster = cluster
        self._pool = pool
        self._name = where.node_pool

    async def look(self) -> Group:
        try:
            found = await self._cluster.get(NODE_POOLS, self._name)
            if found is None:
                raise ProviderError(
                    Reason.GROUP_NOT_FOUND,
                    f"there is no Karpenter NodePool {self._name} (karpenter.sh/v1); correct "
                    "spec.provider.karpenter.nodePool, or install Karpenter 1.0 or newer",
                )
            claims = await self._cluster.list(NODE_CLAIMS, labels=f"{NODE_POOL_LABEL}={self._name}")
        except ApiError as error:
            raise ProviderError(
                Reason.ACCESS_DENIED if error.status == 403 else Reason.GROUP_UNFIT, error.message
            ) from None
        except NotYet as error:
            raise ProviderError(Reason.PROVIDER_UNREACHABLE, error.message) from None
        return group_of(self._pool, found, claims)

    async def resize(self, desired: int) -> None:
        raise NotImplementedError(f"Karpenter sizes NodePool {self._name} itself, not to {desired}")

    async def remove(self, instance: str) -> None:
        raise NotImplementedError(f"Karpenter takes down {instance} itself")
