"""What nodes a platform team offers (`CapacityPool`), and what share of them a model takes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from trimtab.api.base import ApiModel, CapacityType, DnsName, Quantity, Uri, rules
from trimtab.api.compression import exactly_one
from trimtab.api.quantities import DecimalString, Duration

PROVIDERS = ("autoScalingGroup", "eksNodegroup", "karpenter", "labels", "embedded")
PROVIDER_RULE = "[" + ", ".join(f"has(self.{name})" for name in PROVIDERS) + "].filter(x, x).size() == 1"
PROVIDER_MESSAGE = f"provider takes exactly one of {', '.join(PROVIDERS)}"
Zone = Annotated[str, Field(min_length=1, max_length=63)]
LabelMap = Annotated[dict[str, str], Field(max_length=32)]


class SpotMode(StrEnum):
    """How much spare capacity guards against losses: none, by formula, or enough to lose the largest zone."""

    COST = "Cost"
    BALANCED = "Balanced"
    GUARDED = "Guarded"


class Fallback(StrEnum):
    """What covers missing spot capacity."""

    ON_DEMAND = "OnDemand"
    WAIT = "Wait"


class Capacity(ApiModel):
    """Where a model's replicas run."""

    pools: Annotated[list[DnsName], Field(max_length=32)] = Field(default_factory=list)
    """CapacityPools to use, by name; all unless set."""
    on_demand_base: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas that never run on spot: the floor."""
    spot_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the replicas above the floor that run on spot, in percent."""
    mode: SpotMode = SpotMode.BALANCED
    """How much spare spot capacity to keep."""
    fallback: Fallback = Fallback.ON_DEMAND
    """What covers missing spot replicas."""


class AutoScalingGroup(ApiModel):
    """An AWS Auto Scaling group of one capacity type."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """The group's name."""
    region: Annotated[str, Field(min_length=1, max_length=63)]
    """AWS region."""


class EksNodegroup(ApiModel):
    """An EKS managed node group."""

    cluster: Annotated[str, Field(min_length=1, max_length=100)]
    """EKS cluster."""
    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Node group."""
    region: Annotated[str, Field(min_length=1, max_length=63)]
    """AWS region."""


class Karpenter(ApiModel):
    """A Karpenter NodePool; Karpenter makes the nodes, we place pods."""

    node_pool: DnsName
    """The NodePool's name."""


class Labels(ApiModel):
    """Nodes that exist, known by labels; placement only."""

    match_labels: LabelMap
    """Labels of the nodes."""


class NodeShape(ApiModel):
    """What one node offers to pods."""

    cpu: Quantity = "4"
    """CPUs of one node."""
    memory: Quantity = "8Gi"
    """Memory of one node."""
    pods: Annotated[int, Field(ge=1, le=1000)] = 16
    """Pods on one node at most."""


class Embedded(NodeShape):
    """Simulated nodes of the embedded cluster."""

    boot_delay: Duration = "5s"
    """Time from the order to the ready node."""


class Provider(ApiModel):
    """Who makes the nodes: exactly one."""

    model_config = ConfigDict(json_schema_extra=rules((PROVIDER_RULE, PROVIDER_MESSAGE)))
    auto_scaling_group: AutoScalingGroup | None = None
    """An AWS Auto Scaling group."""
    eks_nodegroup: EksNodegroup | None = None
    """An EKS managed node group."""
    karpenter: Karpenter | None = None
    """A Karpenter NodePool."""
    labels: Labels | None = None
    """Nodes that exist."""
    embedded: Embedded | None = None
    """Simulated nodes of the embedded cluster."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        fields = ("auto_scaling_group", "eks_nodegroup", "karpenter", "labels", "embedded")
        return exactly_one(self, fields, PROVIDER_MESSAGE)


class PoolAccelerator(ApiModel):
    """Devices of each node."""

    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", max_length=253)]
    """Extended resource: nvidia.com/gpu."""
    per_node: Annotated[int, Field(ge=1, le=64)]
    """Devices of each node."""


class Toleration(ApiModel):
    """As in a pod."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """Taint key; all unless set."""
    operator: Annotated[str, Field(pattern="^(Exists|Equal)$")] | None = None
    """Exists or Equal."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Taint value for Equal."""
    effect: Annotated[str, Field(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")] | None = None
    """Taint effect; all unless set."""


class Price(ApiModel):
    """What a node costs."""

    per_node_hour: DecimalString
    """Price of one node for one hour: "0.19"."""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    """ISO 4217."""


class Limits(ApiModel):
    """How many nodes."""

    min_nodes: Annotated[int, Field(ge=0, le=5000)] = 0
    """At least."""
    max_nodes: Annotated[int, Field(ge=0, le=5000)] = 10
    """At most."""


class Startup(ApiModel):
    """How long a replica on a new node takes."""

    expected: Duration = "90s"
    """From the order of the node to the ready replica."""


class Interruption(ApiModel):
    """How the provider announces that it takes a node back."""

    notice: Duration = "2m"
    """Time between the notice and the loss."""
    taints: Annotated[list[Annotated[str, Field(max_length=317)]], Field(max_length=16)] = Field(default_factory=list)
    """Taint keys that mean a notice."""
    queue_url: Uri | None = None
    """SQS queue with EventBridge's interruption events."""


class CapacityPoolSpec(ApiModel):
    """Nodes of one kind."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.limits) || !has(self.limits.minNodes) || !has(self.limits.maxNodes)"
                    " || self.limits.minNodes <= self.limits.maxNodes"
                ),
                "limits.minNodes must not be above limits.maxNodes",
            )
        )
    )
    capacity_type: CapacityType
    """How the nodes are bought."""
    provider: Provider
    """Who makes the nodes."""
    zones: Annotated[list[Zone], Field(max_length=16)] = Field(default_factory=list)
    """Zones of the nodes; each is one failure domain."""
    instance_types: Annotated[list[Zone], Field(max_length=64)] = Field(default_factory=list)
    """Machine types."""
    accelerator: PoolAccelerator | None = None
    """Devices of each node."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = Field(default_factory=list)
    """What replicas must tolerate to run here."""
    price: Price | None = None
    """What a node costs; on AWS spot the market's own price counts while it can be read."""
    weight: Annotated[int, Field(ge=0, le=1000)] = 0
    """Pools with a higher weight are used first."""
    limits: Limits = Limits()
    """How many nodes."""
    startup: Startup = Startup()
    """How long a replica on a new node takes."""
    interruption: Interruption = Interruption()
    """How losses are announced."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.limits.min_nodes > self.limits.max_nodes:
            raise ValueError(
                f"limits.minNodes ({self.limits.min_nodes}) must not be above limits.maxNodes ({self.limits.max_nodes})"
            )
        return self


class CapacityPool(ApiModel):
    """What a platform team offers: nodes of one kind, price and limits."""

    model_config = ConfigDict(extra="ignore")
    api_version: str
    kind: str
    metadata: dict[str, Any]
    spec: CapacityPoolSpec
    """What is offered."""

    @property
    def name(self) -> str:
        return str(self.metadata["name"])
