"""Accelerators: what a model asks for, which pools have it, and what a pod with it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trimtab.api.capacity import CapacityPool
from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.serving import Accelerator
from trimtab.errors import Stalled
from trimtab.planning.devices import FOREIGN

JUDGED_ON = frozenset({Device.GPU, Device.NPU})
"""Devices that an engine of ours runs on: the Job needs one, because the verdict is taken there."""


def allowed(spec: OptimizedModelSpec, pools: Iterable[CapacityPool]) -> tuple[CapacityPool, ...]:
    """Return the pools that the spec names; all where it names none."""
    named = set(spec.capacity.pools)
    return tuple(pool for pool in pools if not named or pool.name in named)


def wanted(spec: OptimizedModelSpec, pools: Iterable[CapacityPool]) -> Accelerator | None:
    """Return what each replica gets: what the spec says, else one of what its pools offer for a device.

    None for a CPU, and where pools do not tell: they offer nothing, or devices of several kinds.
    """
    if spec.serving.accelerator is not None or spec.compression.target.device is Device.CPU:
        return spec.serving.accelerator
    offered = {pool.spec.accelerator.resource for pool in allowed(spec, pools) if pool.spec.accelerator is not None}
    return Accelerator(resource=offered.pop()) if len(offered) == 1 else None


def offers(pool: CapacityPool, resource: str, count: int) -> bool:
    """Whether one node of a pool has so many devices."""
    offered = pool.spec.accelerator
    return offered is not None and offered.resource == resource and offered.per_node >= count


def usable(spec: OptimizedModelSpec, pools: Iterable[CapacityPool]) -> tuple[CapacityPool, ...]:
    """Return the pools for a model's replicas.

    Those with the accelerator that it wants; without one, those without accelerators, which are dearer, and those that
    it names.
    """
    pools = tuple(pools)
    accelerator = wanted(spec, pools)
    if accelerator is not None:
        return tuple(pool for pool in allowed(spec, pools) if offers(pool, accelerator.resource, accelerator.count))
    return tuple(pool for pool in allowed(spec, pools) if pool.spec.accelerator is None or spec.capacity.pools)


def require_offered(spec: OptimizedModelSpec, pools: Sequence[CapacityPool]) -> None:
    """Check that some pool has what the model wants; a cluster without pools may have it on nodes of its own.

    Raises:
        Stalled: InvalidSpec, a device without a resource to ask for, or without an image that runs on it. NoPool, no
            pool has it, or not the Job's.
    """
    device = spec.compression.target.device
    if device in FOREIGN and spec.serving.image is None:
        raise Stalled(
            Reason.INVALID_SPEC,
            f"spec.serving.image: not set, and no image of ours runs on a device of kind {device}; set it to one that "
            "takes the arguments of trimtab serve and answers over the Open Inference Protocol",
        )
    accelerator = wanted(spec, pools)
    if accelerator is None:
        if device is Device.CPU:
            return
        raise Stalled(
            Reason.INVALID_SPEC,
            f"spec.serving.accelerator: not set, and spec.compression.target.device {device} needs one; pools offer "
            f"{_offered(allowed(spec, pools))}; set it to what nodes call the device, such as "
            "{resource: nvidia.com/gpu}, or name pools with one kind in spec.capacity.pools",
        )
    asked = f"{accelerator.count} {accelerator.resource}"
    if pools and not usable(spec, pools):
        raise Stalled(
            Reason.NO_POOL,
            f"spec.serving.accelerator: no pool that this model may use has {asked} per node; pools offer "
            f"{_offered(allowed(spec, pools))}; lower the count, or create a CapacityPool with that spec.accelerator",
        )
    name = spec.compression.job.pool
    own = next((pool for pool in pools if pool.name == name), None)
    if device in JUDGED_ON and own is not None and not offers(own, accelerator.resource, accelerator.count):
        raise Stalled(
            Reason.NO_POOL,
            f"spec.compression.job.pool: {name} has no {asked} per node, and the verdict is taken on the {device}; "
            "name a pool that has, or leave it out",
        )


def _offered(pools: Iterable[CapacityPool]) -> str:
    named = [
        f"{pool.name}: {pool.spec.accelerator.per_node} {pool.spec.accelerator.resource}"
        for pool in pools
        if pool.spec.accelerator is not None
    ]
    return ", ".join(named) or "none"


def job_accelerator(spec: OptimizedModelSpec, pools: Iterable[CapacityPool]) -> Accelerator | None:
    """Return what the compression Job's pod gets: the replicas' device where the verdict is taken on it."""
    return wanted(spec, pools) if spec.compression.target.device in JUDGED_ON else None


def job_pools(spec: OptimizedModelSpec, pools: Iterable[CapacityPool]) -> tuple[CapacityPool, ...]:
    """Return the pools whose taints the Job's pod has to tolerate for its accelerator."""
    if job_accelerator(spec, pools := tuple(pools)) is None:
        return ()
    name = spec.compression.job.pool
    return tuple(pool for pool in pools if pool.name == name) if name else usable(spec, pools)


def tolerations(pools: Iterable[CapacityPool]) -> list[dict[str, Any]]:
    """Return what a pod on any of the pools tolerates, each once."""
    found = [toleration.wire() for pool in pools for toleration in pool.spec.tolerations]
    return [toleration for index, toleration in enumerate(found) if toleration not in found[:index]]
