"""One replay: a policy against a world over a stretch of the traces, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from trimtab.api.base import CapacityType
from trimtab.cli.simulate.policies.seen import Policy, Seen, Service
from trimtab.cli.simulate.traces import NO_SPOT, QUIET, Demand, Supply
from trimtab.cli.simulate.world import Bill, Market, World
from trimtab.planning.zones import CapacityEvent

TICK_S = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is replayed: traces from `offset_s` on for `length_s` seconds, the first `warm_up_s` of them unmeasured.

    With `fixed` replicas there is no demand: as many must be ready all the time.
    """

    service: Service
    market: Market
    length_s: float
    supply: Supply = NO_SPOT
    demand: Demand = QUIET
    fixed: int | None = None
    offset_s: float = 0.0
    warm_up_s: float = 1800.0
    seed: int = 0

    def rate(self, at: float) -> float:
        """Return the requests per second at a moment."""
        return self.demand.rate(at)


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of the curves."""

    at: float
    needed: int
    ready: int
    on_demand: int
    spot: int
    per_hour: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy cost and missed. `cost` is in the market's unit; shares are within 0 and 1."""

    cost: float
    violation_s: float
    measured_s: float
    overload: float
    """Share of the requests that arrived above what the ready replicas take."""
    on_demand_h: float
    spot_h: float
    launches: int
    losses: int
    turns_per_hour: float
    """Changes of direction of the number that the policy decides for."""
    points: tuple[Point, ...] = field(default=(), repr=False)

    @property
    def unavailable(self) -> float:
        """Share of the time with fewer ready replicas than needed."""
        return self.violation_s / self.measured_s


def loads(case: Case) -> list[int]:
    """Return the requests at once of every tick: as many as Poisson's law draws around the rate.

    With independent arrivals the number of requests in service is Poisson distributed around rate times service time
    (M/G/infinity), whatever the distribution of service times.
    """
    rng = Random(f"load {case.seed}")  # noqa: S311 - a simulation
    ticks = int((case.warm_up_s + case.length_s) / TICK_S)
    means = (case.rate(case.offset_s + tick * TICK_S) * case.service.service_s for tick in range(ticks))
    return [_poisson(mean, rng) for mean in means]


def _poisson(mean: float, rng: Random) -> int:
    if mean > 50:  # the normal law is within a percent of Poisson's there
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count


def replay(case: Case, policy: Policy, demand: list[int], every: Callable[[float], bool] | None = None) -> Outcome:
    """Run a policy over a case; `demand` is what `loads` returned for it.

    Args:
        case: What to replay.
        policy: A new one: policies remember.
        demand: Requests at once of every tick.
        every: Says at which moments a point of the curves is kept; none without it.
    """
    world = World(case.supply, case.market, Random(f"world {case.seed}"), case.offset_s)  # noqa: S311 - a simulation
    service = case.service
    world.start(case.fixed or max(service.min_replicas, math.ceil(demand[0] / service.planned)))
    meter = _Meter(case, world)
    answered = 0.0
    events: list[CapacityEvent] = []
    for tick, load in enumerate(demand):
        now = case.offset_s + tick * TICK_S
        events += world.advance(now)
        answered += case.rate(now) * TICK_S
        measured = tick * TICK_S >= case.warm_up_s
        if measured:
            meter.read(now, load, every)
        order = policy.decide(Seen(now, load, int(answered), world.replicas, world.zones, tuple(events)))
        events = world.apply(order)
        meter.count_turn(order.replicas, measured)
    world.advance(case.offset_s + len(demand) * TICK_S)
    return meter.outcome()


class _Meter:
    """Sums up what a world does while it is measured."""

    def __init__(self, case: Case, world: World) -> None:
        self._case, self._world = case, world
        self._start: Bill | None = None
        self._violation_s = self._over = self._offered = 0.0
        self._turns = self._direction = 0
        self._ordered: int | None = None
        self._points: list[Point] = []

    def read(self, now: float, load: int, every: Callable[[float], bool] | None) -> None:
        """Take one tick, before the policy acts on it."""
        case, world = self._case, self._world
        if self._start is None:
            self._start = world.bill_so_far()
        ready = world.ready()
        needed = case.fixed if case.fixed is not None else math.ceil(load / case.service.capacity)
        self._violation_s += TICK_S if ready < needed else 0.0
        self._over += max(0.0, load - ready * case.service.capacity)
        self._offered += load
        if every and every(now):
            self._points.append(_point(now - case.offset_s - case.warm_up_s, needed, world, case.market))

    def count_turn(self, ordered: int, measured: bool) -> None:
        """Take the number that the policy decided for."""
        if self._ordered is not None and ordered != self._ordered:
            towards = 1 if ordered > self._ordered else -1
            self._turns += measured and self._direction not in (0, towards)
            self._direction = towards
        self._ordered = ordered

    def outcome(self) -> Outcome:
        """Return the sums up to now."""
        bill, start, measured_s = self._world.bill_so_far(), self._start or Bill(), self._case.length_s
        return Outcome(
            cost=bill.cost - start.cost,
            violation_s=self._violation_s,
            measured_s=measured_s,
            overload=self._over / self._offered if self._offered else 0.0,
            on_demand_h=(bill.on_demand_s - start.on_demand_s) / 3600,
            spot_h=(bill.spot_s - start.spot_s) / 3600,
            launches=bill.launches - start.launches,
            losses=bill.losses - start.losses,
            turns_per_hour=self._turns / (measured_s / 3600),
            points=tuple(self._points),
        )


def _point(at: float, needed: int, world: World, market: Market) -> Point:
    kinds = [one.capacity_type for one in world.replicas]
    on_demand, spot = kinds.count(CapacityType.ON_DEMAND), kinds.count(CapacityType.SPOT)
    per_hour = on_demand * market.on_demand_price + spot * market.spot_price
    return Point(at, needed, world.ready(), on_demand, spot, per_hour)
