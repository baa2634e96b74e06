"""The ground that every API type stands on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trimtab.api.quantities import no_less_than_nothing


class ApiModel(BaseModel):
    """A typed part of the API: camelCase on the wire, unknown fields refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def wire(self) -> dict[str, Any]:
        """Return the JSON form: camelCase, nothing that is unset or null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rules(*checks: tuple[str, str]) -> dict[str, Any]:
    """Return the schema extra that makes an API server check CEL `(rule, message)` pairs."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in checks]}


class CapacityType(StrEnum):
    """How a node is bought."""

    SPOT = "Spot"
    ON_DEMAND = "OnDemand"
    RESERVED = "Reserved"

    @property
    def label(self) -> str:
        """Return the label value on nodes, spelled as Karpenter's users know it."""
        return {"Spot": "spot", "OnDemand": "on-demand", "Reserved": "reserved"}[self.value]

    @property
    def short(self) -> str:
        """Return the suffix of a Deployment's name."""
        return {"Spot": "spot", "OnDemand": "od", "Reserved": "rsv"}[self.value]


Uri = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^[a-z][a-z0-9+.-]*://.+$")]
DnsName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Quantity = Annotated[
    int | str,
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}, union_mode="left_to_right"),
    AfterValidator(no_less_than_nothing),
]
ResourceList = Annotated[dict[str, Quantity], Field(max_length=16)]


class Resources(ApiModel):
    """Compute resources of a container, as in a pod: amounts by resource name."""

    requests: ResourceList | None = None
    """What the scheduler reserves, for example {cpu: 500m, memory: 256Mi}."""
    limits: ResourceList | None = None
    """What the container may use at most."""


class SecretRef(ApiModel):
    """A Secret in the model's namespace; its keys become environment variables of the pod that reads the source."""

    name: DnsName
    """The Secret's name, for example one with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
