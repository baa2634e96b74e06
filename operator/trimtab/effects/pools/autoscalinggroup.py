"""AWS Auto Scaling groups: one of them is one pool, of one capacity type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trimtab.api.base import CapacityType
from trimtab.api.capacity import NodeShape
from trimtab.api.conditions import Reason
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.instancetypes import InstanceTypes
from trimtab.effects.pools.prices import SpotPrices
from trimtab.effects.pools.provider import ProviderError
from trimtab.planning.groups import Failure, Group, Instance

_ACTIVITIES = 20
# On their way out; whatever waits in Standby or a warm pool carries no replica either.
_GONE = ("Terminating", "Terminated", "Detach", "Warmed", "Standby", "EnteringStandby")
_CLUSTER_AUTOSCALER = "k8s.io/cluster-autoscaler/enabled"


class AutoScalingGroups:
    """A group by its name."""

    resizable = True

    def __init__(
        self, aws: Aws, types: InstanceTypes, prices: SpotPrices, region: str, name: str, capacity_type: CapacityType
    ) -> None:
        self._aws = aws
        self._types = types
        self._prices = prices
        self._region = region
        self._name = name
        self._capacity_type = capacity_type

    async def look(self) -> Group:
        body = await self._aws.call("autoscaling", self._region, self._describe)
        failures = await self._aws.call("autoscaling", self._region, self._failures)
        types = _instance_types(body)
        objections = objections_to(body, self._capacity_type)
        template = body.get("LaunchTemplate")
        if template and not body.get("MixedInstancesPolicy"):
            data = await self._aws.call("ec2", self._region, lambda ec2: _template(ec2, template))
            types = types or [data["InstanceType"]] if "InstanceType" in data else types
            spot = (data.get("InstanceMarketOptions") or {}).get("MarketType") == "spot"
            objections += _mismatch(self._capacity_type, spot=spot)
        shape = await self._types.smallest(self._region, types) if types else None
        group = group_of(body, failures, shape, objections)
        if self._capacity_type is not CapacityType.SPOT or not types:
            return group
        return replace(group, price=await self._prices.price(self._region, types, group))

    async def resize(self, desired: int) -> None:
        await self._aws.call(
            "autoscaling",
            self._region,
            lambda asg: asg.set_desired_capacity(
                AutoScalingGroupName=self._name, DesiredCapacity=desired, HonorCooldown=False
            ),
        )

    async def remove(self, instance: str) -> None:
        await self._aws.call("autoscaling", self._region, lambda asg: terminate(asg, instance))

    def _describe(self, asg: Any) -> Mapping[str, Any]:
        found = asg.describe_auto_scaling_groups(AutoScalingGroupNames=[self._name])["AutoScalingGroups"]
        if not found:
            raise ProviderError(
                Reason.GROUP_NOT_FOUND,
                f"there is no Auto Scaling group {self._name} in {self._region}; correct "
                "spec.provider.autoScalingGroup",
            )
        body: Mapping[str, Any] = found[0]
        return body

    def _failures(self, asg: Any) -> tuple[Failure, ...]:
        answer = asg.describe_scaling_activities(AutoScalingGroupName=self._name, MaxRecords=_ACTIVITIES)
        return tuple(failure_of(entry) for entry in answer["Activities"] if entry["StatusCode"] == "Failed")


def terminate(asg: Any, instance: str) -> None:
    """Take one instance out of its group, which shrinks by it."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        asg.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)
    except ClientError as error:
        if "not found" not in str(error.response["Error"].get("Message", "")).lower():
            raise


def group_of(
    body: Mapping[str, Any], failures: tuple[Failure, ...], shape: NodeShape | None, objections: tuple[str, ...]
) -> Group:
    """Return a group as `describe_auto_scaling_groups` tells it."""
    return Group(
        desired=body["DesiredCapacity"],
        min_size=body["MinSize"],
        max_size=body["MaxSize"],
        instances=tuple(
            Instance(entry["InstanceId"], entry.get("AvailabilityZone", ""), entry.get("InstanceType", ""))
            for entry in body.get("Instances", ())
            if not entry["LifecycleState"].startswith(_GONE)
        ),
        failures=failures,
        shape=shape,
        objections=objections,
    )


def failure_of(activity: Mapping[str, Any]) -> Failure:
    """Return a failed scaling activity; its `Details` are JSON that names the zone."""
    try:
        zone = str(json.loads(activity.get("Details") or "{}").get("Availability Zone", ""))
    except ValueError:
        zone = ""
    message = str(activity.get("StatusMessage") or activity.get("Description") or "no message")
    return Failure(activity["ActivityId"], message, activity["StartTime"].timestamp(), zone)


def objections_to(body: Mapping[str, Any], capacity_type: CapacityType) -> tuple[str, ...]:
    """Return why a group must not be resized by us."""
    found = []
    if any(tag["Key"] == _CLUSTER_AUTOSCALER for tag in body.get("Tags", ())):
        found.append(f"the group carries the tag {_CLUSTER_AUTOSCALER}, so Cluster Autoscaler resizes it; remove it")
    stopped = {entry["ProcessName"] for entry in body.get("SuspendedProcesses", ())} & {"Launch", "Terminate"}
    if stopped:
        found.append(f"the group's processes {', '.join(sorted(stopped))} are suspended; resume them")
    policy = body.get("MixedInstancesPolicy")
    if policy:
        shares = policy.get("InstancesDistribution") or {}
        base = shares.get("OnDemandBaseCapacity", 0)
        above = shares.get("OnDemandPercentageAboveBaseCapacity", 100)
        if above not in {0, 100} or (above == 0 and base):
            found.append(
                f"the group mixes capacity types (OnDemandBaseCapacity {base}, OnDemandPercentageAboveBaseCapacity "
                f"{above}); make two groups, and a pool of each"
            )
        else:
            found += _mismatch(capacity_type, spot=above == 0)
    return tuple(found)


def _mismatch(capacity_type: CapacityType, *, spot: bool) -> tuple[str, ...]:
    if spot is (capacity_type is CapacityType.SPOT):
        return ()
    bought = "Spot" if spot else "OnDemand"
    return (f"the group's instances are {bought} and spec.capacityType is {capacity_type}; correct one of them",)


def _instance_types(body: Mapping[str, Any]) -> list[str]:
    template = (body.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    named = [entry["InstanceType"] for entry in template.get("Overrides", ()) if "InstanceType" in entry]
    return named or sorted({entry["InstanceType"] for entry in body.get("Instances", ()) if "InstanceType" in entry})


def _template(ec2: Any, template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a launch template's data; an unspecified version is the default one."""
    answer = ec2.describe_launch_template_versions(
        LaunchTemplateId=template["LaunchTemplateId"], Versions=[template.get("Version", "$Default")]
    )
    data: Mapping[str, Any] = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data
