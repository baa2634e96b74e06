"""What a node of an EC2 instance type offers to pods, known before there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.api.capacity import NodeShape
from trimtab.effects.pools.aws import Aws

_MI = 2**20


class InstanceTypes:
    """Sizes of instance types, asked once each."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._known: dict[str, NodeShape] = {}

    async def smallest(self, region: str, types: Sequence[str]) -> NodeShape:
        """Return the least of everything that a node of any of the types offers: that much any of them has."""
        unknown = sorted(set(types) - self._known.keys())
        if unknown:
            found = await self._aws.call(
                "ec2", region, lambda ec2: ec2.describe_instance_types(InstanceTypes=unknown)["InstanceTypes"]
            )
            self._known |= {entry["InstanceType"]: shape_of(entry) for entry in found}
        shapes = [self._known[name] for name in types]
        return NodeShape(
            cpu=f"{min(_thousandths(shape) for shape in shapes)}m",
            memory=str(min(int(str(shape.memory)) for shape in shapes)),
            pods=min(shape.pods for shape in shapes),
        )


def _thousandths(shape: NodeShape) -> int:
    return int(str(shape.cpu).removesuffix("m"))


def shape_of(entry: Mapping[str, Any]) -> NodeShape:
    """Return what kubelet leaves to pods of an instance type, as Amazon's EKS images reserve for the system.

    CPU: 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the others. Memory: 255 MiB and
    11 MiB per pod for the system, 100 MiB before pods are evicted; of what the machine is sold with, 7.5 % never
    reaches the kernel's count (Karpenter's default, too). Pods: an address each, of all interfaces but their first.
    """
    cores = int(entry["VCpuInfo"]["DefaultVCpus"])
    network = entry["NetworkInfo"]
    pods = network["MaximumNetworkInterfaces"] * (network["Ipv4AddressesPerInterface"] - 1) + 2
    pods = min(pods, 110 if cores <= 30 else 250)
    shares = (60, 10, 5, 5)
    reserved = sum(shares[:cores]) + 2.5 * max(0, cores - len(shares))
    memory = int(entry["MemoryInfo"]["SizeInMiB"] * 0.925) - 255 - 11 * pods - 100
    return NodeShape(cpu=f"{int(1000 * cores - reserved)}m", memory=str(max(0, memory) * _MI), pods=pods)
