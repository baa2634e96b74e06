"""What a model costs: its replicas' shares of the nodes that they run on, and the same on demand alone.

Money is added up as rate times time: what was known until now held until now. The sums and the moment up to which
they reach stand in the status, so that a new operator goes on where the last one stopped, and nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import moment, timestamp
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import amount
from trimtab.api.status import CostStatus, PoolCostStatus
from trimtab.planning import offers
from trimtab.planning.manifests.serving import requests
from trimtab.planning.snapshot import Snapshot

# A steady rate needs no bookkeeping: readers of the status can add what passed since. Rarely, as each write is a
# watch event for the gateways, and markets' prices move a little all the time.
_WRITTEN_EVERY_S = 86_400
_MATERIAL = Decimal("0.05")
_NANO = Decimal("1e-9")
_MICRO = Decimal("1e-6")
_SHOWN = Decimal("1e-4")
_HOUR_S = 3600

_Said = TypeVar("_Said")


@dataclass(frozen=True, slots=True)
class Rate:
    """What runs now costs, per hour."""

    currency: str
    pools: Mapping[str, tuple[int, Decimal]] = field(default_factory=dict)
    """Replicas or nodes, and what they cost together, by pool."""
    all_on_demand: Decimal = Decimal(0)
    """The same on on-demand nodes alone."""

    @property
    def per_hour(self) -> Decimal:
        """All pools together."""
        return sum((each for _, each in self.pools.values()), Decimal(0))


def costed(
    before: CostStatus | None, rate: Rate | None, now: datetime, made: Callable[[CostStatus | None], _Said], said: _Said
) -> _Said:
    """Return the status that `made` makes of a cost: the one that was `said` last, as long as nothing needs a write.

    Cost alone is written where it changed materially, and once a day; with anything else it is brought up to now.
    Until then the rate that was written is what counts, for the sums as for those who read them.
    """
    status = made(before)
    return status if status == said and not is_material(before, rate, now) else made(accrued(before, rate, now))


def rate_of(snapshot: Snapshot, spec: OptimizedModelSpec) -> Rate | None:
    """Return the cost per hour of the replicas that have a node; None where the pools have no prices.

    Neither is there a sum of prices in several currencies.

    A replica pays for the share of its node that it reserves (the largest of CPU, memory and pod slots): what it
    keeps others from using. The counterfactual is the same replicas on the cheapest on-demand pool.
    """
    pools = {pool.name: pool for pool in offers.usable(snapshot.pools, spec) if pool.spec.price is not None}
    on_demand = [pool for pool in pools.values() if pool.spec.capacity_type is CapacityType.ON_DEMAND]
    if not on_demand or len({pool.spec.price.currency for pool in pools.values() if pool.spec.price}) > 1:
        return None
    placed = [pod for pod in snapshot.pods if pod.pool in pools and not pod.terminating]
    rows = {}
    for name, pool in sorted(pools.items()):
        if own := [pod for pod in placed if pod.pool == name]:
            costs = (hourly(pool, spec) if pod.share is None else _price(pool, pod.share) for pod in own)
            rows[name] = len(own), sum(costs, Decimal(0)).quantize(_MICRO)
    instead = len(placed) * min(hourly(pool, spec) for pool in on_demand)
    price = on_demand[0].spec.price
    return Rate(price.currency if price else "USD", rows, instead.quantize(_MICRO))


def hourly(pool: CapacityPool, spec: OptimizedModelSpec) -> Decimal:
    """Return what one replica costs on this pool for an hour; a whole node where the node's size is not known."""
    shape = pool.spec.provider.embedded
    if shape is None:
        return _price(pool, 1.0)
    wanted = requests(spec)
    asked = (amount(wanted.get("cpu", 0)), amount(wanted.get("memory", 0)), 1.0)
    there = (amount(shape.cpu), amount(shape.memory), float(shape.pods))
    shares = (taken / whole if whole > 0 else 1.0 for taken, whole in zip(asked, there, strict=True))
    return _price(pool, min(1.0, max(shares)))


def _price(pool: CapacityPool, share: float) -> Decimal:
    """Return what so much of a node costs for an hour."""
    return Decimal(pool.spec.price.per_node_hour) * Decimal(str(share)) if pool.spec.price else Decimal(0)


def pool_rate(pool: CapacityPool, nodes: int, pools: Iterable[CapacityPool]) -> Rate | None:
    """Return the cost per hour of a pool's nodes; None where it has no price.

    The counterfactual is as many nodes of the cheapest on-demand pool in the same currency; where there is none, the
    pool itself.
    """
    price = pool.spec.price
    if price is None:
        return None
    others = [
        Decimal(other.spec.price.per_node_hour)
        for other in pools
        if other.spec.price is not None
        and other.spec.price.currency == price.currency
        and other.spec.capacity_type is CapacityType.ON_DEMAND
    ]
    here = Decimal(price.per_node_hour)
    return Rate(price.currency, {pool.name: (nodes, nodes * here)} if nodes else {}, nodes * min(others, default=here))


def is_material(before: CostStatus | None, rate: Rate | None, now: datetime) -> bool:
    """Whether a cost is worth a write of its own: other replicas or nodes, a rate moved by a twentieth, a day."""
    if before is None:
        return rate is not None and bool(rate.pools)
    rate = rate or Rate(before.currency)
    if before.measured_at is None or before.currency != rate.currency:
        return True
    counts = {row.pool: row.replicas for row in before.pools if row.replicas}
    if counts != {name: count for name, (count, _) in rate.pools.items()}:
        return True
    rates = [(before.per_hour, rate.per_hour), (before.all_on_demand_per_hour, rate.all_on_demand)]
    if any(abs(new - Decimal(old)) > _MATERIAL * Decimal(old) for old, new in rates):
        return True
    return bool(rate.pools) and (now - moment(before.measured_at)).total_seconds() >= _WRITTEN_EVERY_S


def accrued(before: CostStatus | None, rate: Rate | None, now: datetime) -> CostStatus | None:
    """Return the cost up to now and what it grows by from now on.

    What `before` says held since its `measured_at` is added. A clock that went back adds nothing until it has caught
    up. Another currency begins anew.
    """
    if before is not None and rate is None:
        rate = Rate(before.currency)
    if rate is None or (before is None and not rate.pools):
        return None
    if before is None or before.measured_at is None or before.currency != rate.currency:
        return _status(rate, {}, Decimal(0), since=timestamp(now), until=timestamp(now))
    elapsed_s = (moment(timestamp(now)) - moment(before.measured_at)).total_seconds()
    hours = Decimal(max(0.0, elapsed_s)) / _HOUR_S
    spent = {row.pool: Decimal(row.spent) + hours * Decimal(row.per_hour) for row in before.pools}
    instead = Decimal(before.all_on_demand_spent) + hours * Decimal(before.all_on_demand_per_hour)
    until = timestamp(now) if elapsed_s >= 0 else before.measured_at
    return _status(rate, spent, instead, since=before.since or until, until=until)


def _status(rate: Rate, spent: Mapping[str, Decimal], instead: Decimal, *, since: str, until: str) -> CostStatus:
    rows = [
        PoolCostStatus(
            pool=name,
            replicas=rate.pools.get(name, (0, Decimal(0)))[0],
            per_hour=_text(rate.pools.get(name, (0, Decimal(0)))[1]),
            spent=str(spent.get(name, Decimal(0)).quantize(_NANO)),
        )
        for name in sorted({*rate.pools, *spent})
    ]
    return CostStatus(
        per_hour=_text(rate.per_hour),
        all_on_demand_per_hour=_text(rate.all_on_demand),
        currency=rate.currency,
        spent=str(sum((Decimal(row.spent) for row in rows), Decimal(0)).quantize(_NANO)),
        all_on_demand_spent=str(instead.quantize(_NANO)),
        since=since,
        measured_at=until,
        pools=rows,
    )


def _text(rate: Decimal) -> str:
    """Return a rate with the digits that it has, four after the point at least."""
    return str(rate.quantize(_SHOWN)) if rate == rate.quantize(_SHOWN) else str(rate.quantize(_MICRO))


def spent_by(cost: CostStatus, now: datetime) -> CostStatus:
    """Return a status's cost brought up to a moment: what its rates add until then; for those who only read."""
    if cost.measured_at is None:
        return cost
    hours = Decimal(max(0.0, (now - moment(cost.measured_at)).total_seconds())) / _HOUR_S

    def grown(spent: str, per_hour: str) -> str:
        return str((Decimal(spent) + hours * Decimal(per_hour)).quantize(_NANO))

    rows = [row.model_copy(update={"spent": grown(row.spent, row.per_hour)}) for row in cost.pools]
    return cost.model_copy(
        update={
            "spent": grown(cost.spent, cost.per_hour),
            "all_on_demand_spent": grown(cost.all_on_demand_spent, cost.all_on_demand_per_hour),
            "measured_at": timestamp(now),
            "pools": rows,
        }
    )
