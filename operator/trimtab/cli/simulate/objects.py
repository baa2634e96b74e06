"""What a model's manifest and the pools' say about the simulation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import yaml

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import seconds
from trimtab.api.serving import Scaling, ScalingMetric
from trimtab.cli.simulate.policies.trimtab import Preferences
from trimtab.errors import Stalled


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What a model's spec decides."""

    preferences: Preferences
    min_replicas: int
    max_replicas: int
    capacity: int | None
    """Requests at once per replica, where the spec has a target."""


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """What the pools decide: prices per node and hour, times in seconds."""

    on_demand_price: float
    spot_price: float
    startup_s: float
    notice_s: float


def read_model(path: Path, service_s: float) -> ModelChoice:
    """Return what the one OptimizedModel of a file says; `service_s` is what one request takes.

    Raises:
        Stalled: There is none, it is not valid, or its replicas follow what no trace of requests tells.
    """
    found = _objects(path, "OptimizedModel")
    if len(found) != 1:
        raise Stalled("InvalidSpec", f"{path}: has {len(found)} OptimizedModels; name a file with one")
    try:
        spec = OptimizedModelSpec.model_validate(found[0].get("spec", {}))
    except pydantic.ValidationError as error:
        raise Stalled("InvalidSpec", f"{path}: {_first(error)}") from None
    capacity = spec.capacity
    preferences = Preferences(
        on_demand_base=capacity.on_demand_base,
        spot_percent=capacity.spot_percent,
        mode=capacity.mode.value,
        fallback=capacity.fallback.value,
        scale_down_delay=spec.serving.scaling.scale_down_delay,
        idle_after=spec.serving.scaling.idle_after,
    )
    at_once = _at_once(path, spec.serving.scaling, service_s)
    return ModelChoice(preferences, spec.serving.min_replicas, spec.serving.max_replicas, at_once)


def _at_once(path: Path, scaling: Scaling, service_s: float) -> int | None:
    """Return the requests at once that a replica takes by the spec's target, None without one."""
    if scaling.metric is ScalingMetric.CONCURRENCY or scaling.target is None:
        return scaling.target
    if scaling.metric is ScalingMetric.REQUEST_RATE:
        return max(1, round(scaling.target * service_s))
    raise Stalled(
        "InvalidSpec",
        f"{path}: spec.serving.scaling.metric {scaling.metric} cannot be simulated, as a trace tells how many requests "
        "come; leave metric and target out of the manifest, and give --concurrency",
    )


def read_pools(path: Path) -> PoolChoice:
    """Return what the CapacityPools of a file say.

    It is the cheapest of each capacity type, the slowest start and the shortest notice.

    Raises:
        Stalled: There is no pool of spot, none on demand, or one without a price or not valid.
    """
    try:
        pools = [CapacityPool.model_validate(found) for found in _objects(path, "CapacityPool")]
    except pydantic.ValidationError as error:
        raise Stalled("InvalidSpec", f"{path}: {_first(error)}") from None
    for pool in pools:
        if pool.spec.price is None:
            raise Stalled("InvalidSpec", f"{path}: pool {pool.name} has no spec.price; a simulation needs one")
    return PoolChoice(
        on_demand_price=_cheapest(path, pools, CapacityType.ON_DEMAND),
        spot_price=_cheapest(path, pools, CapacityType.SPOT),
        startup_s=max(seconds(pool.spec.startup.expected) for pool in pools),
        notice_s=min(
            seconds(pool.spec.interruption.notice) for pool in pools if pool.spec.capacity_type is CapacityType.SPOT
        ),
    )


def _cheapest(path: Path, pools: Iterable[CapacityPool], kind: CapacityType) -> float:
    prices = [float(p.spec.price.per_node_hour) for p in pools if p.spec.price and p.spec.capacity_type is kind]
    if not prices:
        raise Stalled("InvalidSpec", f"{path}: no CapacityPool with capacityType {kind.value}; a simulation needs one")
    return min(prices)


def _objects(path: Path, kind: str) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Stalled("InvalidSpec", f"{path}: cannot be read as YAML: {error}") from None
    return [document for document in documents if isinstance(document, dict) and document.get("kind") == kind]


def _first(error: pydantic.ValidationError) -> str:
    found = error.errors()[0]
    return f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
