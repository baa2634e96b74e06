"""EKS managed node groups: sized through EKS, while the machine to lose is named to the group behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trimtab.api.base import CapacityType
from trimtab.api.capacity import EksNodegroup
from trimtab.api.conditions import Reason
from trimtab.effects.pools.autoscalinggroup import AutoScalingGroups
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.instancetypes import InstanceTypes
from trimtab.effects.pools.prices import SpotPrices
from trimtab.effects.pools.provider import ProviderError
from trimtab.planning.groups import Failure, Group

_BOUGHT = {"SPOT": CapacityType.SPOT, "ON_DEMAND": CapacityType.ON_DEMAND, "CAPACITY_BLOCK": CapacityType.RESERVED}


class EksNodegroups:
    """A node group by cluster and name."""

    resizable = True

    def __init__(
        self, aws: Aws, types: InstanceTypes, prices: SpotPrices, where: EksNodegroup, capacity_type: CapacityType
    ) -> None:
        self._aws = aws
        self._types = types
        self._prices = prices
        self._where = where
        self._capacity_type = capacity_type
        self._behind: AutoScalingGroups | None = None

    async def look(self) -> Group:
        body = await self._aws.call("eks", self._where.region, self._describe)
        self._behind = self._group_behind(body)
        group = await self._behind.look()
        scaling = body["scalingConfig"]
        types = body.get("instanceTypes") or ()
        return replace(
            group,
            min_size=scaling["minSize"],
            max_size=scaling["maxSize"],
            failures=(*group.failures, *health_failures(body)),
            shape=await self._types.smallest(self._where.region, types) if types else group.shape,
            # EKS itself tags its groups for Cluster Autoscaler and sets up their purchase options.
            objections=_objections(body, self._capacity_type),
        )

    async def resize(self, desired: int) -> None:
        await self._aws.call(
            "eks",
            self._where.region,
            lambda eks: eks.update_nodegroup_config(
                clusterName=self._where.cluster, nodegroupName=self._where.name, scalingConfig={"desiredSize": desired}
            ),
        )

    async def remove(self, instance: str) -> None:
        if self._behind is None:
            await self.look()
        if self._behind is not None:
            await self._behind.remove(instance)

    def _describe(self, eks: Any) -> Mapping[str, Any]:
        answer = eks.describe_nodegroup(clusterName=self._where.cluster, nodegroupName=self._where.name)
        body: Mapping[str, Any] = answer["nodegroup"]
        return body

    def _group_behind(self, body: Mapping[str, Any]) -> AutoScalingGroups:
        names = [entry["name"] for entry in (body.get("resources") or {}).get("autoScalingGroups", ())]
        if len(names) != 1:
            raise ProviderError(
                Reason.GROUP_UNFIT,
                f"node group {self._where.name} of cluster {self._where.cluster} is {body.get('status')} and has "
                f"{len(names)} Auto Scaling groups behind it; it takes one, as EKS makes it",
            )
        region, bought = self._where.region, self._capacity_type
        return AutoScalingGroups(self._aws, self._types, self._prices, region, names[0], bought)


def health_failures(body: Mapping[str, Any]) -> tuple[Failure, ...]:
    """Return what EKS says is wrong with a group; an issue stands until it is over."""
    at = body["modifiedAt"].timestamp()
    return tuple(
        Failure(f"{issue['code']} {at:.0f}", f"{issue['code']}: {issue.get('message', 'no message')}")
        for issue in (body.get("health") or {}).get("issues", ())
    )


def _objections(body: Mapping[str, Any], capacity_type: CapacityType) -> tuple[str, ...]:
    found = []
    status = body.get("status")
    if status not in {"ACTIVE", "UPDATING", "DEGRADED"}:
        found.append(f"the node group is {status}; wait until it is ACTIVE")
    bought = _BOUGHT[body.get("capacityType", "ON_DEMAND")]
    if bought is not capacity_type:
        found.append(
            f"the node group's capacityType is {body.get('capacityType')} and spec.capacityType is {capacity_type}; a "
            "group cannot change it: correct the pool, or make another group"
        )
    return tuple(found)
