"""What a model costs: its replicas' shares of the nodes that they run on, and the same on demand alone."""

from __future__ import annotations

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import amount
from trimtab.api.status import CostStatus
from trimtab.planning.manifests.serving import requests
from trimtab.planning.scaling import usable_pools
from trimtab.planning.snapshot import Snapshot


def cost_of(snapshot: Snapshot, spec: OptimizedModelSpec) -> CostStatus | None:
    """Return the cost per hour of the replicas that have a node; None where the pools have no prices.

    A replica pays for the share of its node that it reserves (the largest of CPU, memory and pod slots): what it
    keeps others from using. The counterfactual is the same replicas on the cheapest on-demand pool.
    """
    pools = {pool.name: pool for pool in usable_pools(snapshot, spec) if pool.spec.price is not None}
    placed = [pools[pod.pool] for pod in snapshot.pods if pod.pool in pools and not pod.terminating]
    on_demand = [pool for pool in pools.values() if pool.spec.capacity_type is CapacityType.ON_DEMAND]
    if not placed or not on_demand:
        return None
    now = sum(hourly(pool, spec) for pool in placed)
    instead = len(placed) * min(hourly(pool, spec) for pool in on_demand)
    currency = placed[0].spec.price.currency if placed[0].spec.price else "USD"
    return CostStatus(per_hour=f"{now:.4f}", all_on_demand_per_hour=f"{instead:.4f}", currency=currency)


def hourly(pool: CapacityPool, spec: OptimizedModelSpec) -> float:
    """Return what one replica costs on this pool for an hour; a whole node where the node's size is not known."""
    price = float(pool.spec.price.per_node_hour) if pool.spec.price else 0.0
    shape = pool.spec.provider.embedded
    if shape is None:
        return price
    wanted = requests(spec)
    shares = (
        amount(wanted.get("cpu", 0)) / amount(shape.cpu),
        amount(wanted.get("memory", 0)) / amount(shape.memory),
        1 / shape.pods,
    )
    return price * min(1.0, max(shares))
