"""The same replay in the simulator: its world and the operator's decisions, second by second."""

from __future__ import annotations

import math
from random import Random

from live_inputs import (
    DRAIN_S,
    EXPECTED_STARTUP_S,
    MAX_REPLICAS,
    MIN_REPLICAS,
    NODE_HOLD_S,
    NOTICE_S,
    ON_DEMAND_HOLD_S,
    ON_DEMAND_PRICE,
    SCALE_DOWN_DELAY_S,
    SETTLE_S,
    SPOT_PRICE,
    TARGET,
    ZONES,
    Inputs,
)
from live_recording import Point, Recording

from trimtab.api.base import CapacityType
from trimtab.cli.simulate.policies.seen import Seen, Service
from trimtab.cli.simulate.policies.trimtab import Preferences, Trimtab, pools_of
from trimtab.cli.simulate.traces import Supply
from trimtab.cli.simulate.world import Market, Replica, World
from trimtab.planning.zones import CapacityEvent

_WARM_UP_S = 120
"""The model has stood without a request for the first part of it; the load begins when it does live."""
_UNLIMITED = 1000


class _Provider(Supply):
    """Has every zone's nodes for the asking, and takes one back when it is told to."""

    def __init__(self) -> None:
        super().__init__((0.0,), dict.fromkeys(ZONES, (_UNLIMITED,)), 1.0)
        object.__setattr__(self, "_taken", {})

    def take(self, zone: str, at: float, left: int) -> None:
        """Let the zone have so many nodes at a moment, and as many as anybody wants afterwards."""
        self._taken[zone] = (at, left)

    def changes(self, zone: str, since: float, until: float) -> list[tuple[float, int]]:
        at, left = self._taken.get(zone, (0.0, _UNLIMITED))
        return [(at, left)] if since < at <= until else []

    def capacity(self, zone: str, at: float) -> int:
        return _UNLIMITED


def simulate(inputs: Inputs, service_s: float, startup_s: float, seed: int) -> Recording:
    """Replay with requests that take `service_s` seconds and replicas that start within `startup_s`."""
    market = Market(startup_s=startup_s, notice_s=NOTICE_S, on_demand_price=ON_DEMAND_PRICE, spot_price=SPOT_PRICE)
    service = Service(float(TARGET), service_s, MIN_REPLICAS, MAX_REPLICAS)
    preferences = Preferences(on_demand_base=1, spot_percent=100, scale_down_delay=f"{SCALE_DOWN_DELAY_S}s")
    policy = Trimtab(service, preferences, pools_of(ZONES, EXPECTED_STARTUP_S, NOTICE_S), ON_DEMAND_HOLD_S)
    rng, provider = Random(f"live {seed}"), _Provider()
    world = World(provider, market, rng, 0.0)
    demand, due = inputs.demand(), inputs.notices()
    world.start(MIN_REPLICAS)
    recording, released = Recording(), _Released()
    events: list[CapacityEvent] = []
    answered = 0.0
    for second in range(_WARM_UP_S + int(inputs.length_s)):
        now, at = float(second), second - _WARM_UP_S  # the policy's clock knows no moment before 0
        if due and at >= due[0] and _interrupt(world, provider, now):
            recording.notices.append(at)
            due.pop(0)
        events += world.advance(now)
        rate = demand.rate(max(0, at)) if at >= -SETTLE_S else 0.0
        answered += rate
        before = world.replicas
        load = _poisson(rate * service_s, rng)
        order = policy.decide(Seen(now, load, int(answered), before, ZONES, tuple(events)))
        events = world.apply(order)
        released.note(before, world.replicas, now)
        if at >= 0:
            recording.points.append(_point(now, at, world, released, load))
    return recording


def _interrupt(world: World, provider: _Provider, now: float) -> bool:
    """Take the spot node away that has been in service for longest, as the live run does."""
    found = [one for one in world.replicas if _is_spot(one) and one.ready_at <= now and not one.noticed]
    if not found:
        return False
    zone = min(found, key=lambda one: (one.ordered_at, one.zone)).zone
    there = sum(1 for one in world.replicas if one.zone == zone and not one.noticed and _is_spot(one))
    provider.take(zone, now + NOTICE_S, there - 1)
    return True


def _is_spot(one: Replica) -> bool:
    return one.capacity_type is CapacityType.SPOT


class _Released:
    """Nodes that replicas have left and that are still paid for: they drain, and stay for a hold in case of need."""

    def __init__(self) -> None:
        self._until: list[tuple[float, CapacityType]] = []

    def note(self, before: tuple[Replica, ...], after: tuple[Replica, ...], now: float) -> None:
        self._until = [entry for entry in self._until if entry[0] > now]
        here, there = {one.name for one in after}, {one.name for one in before}
        for one in after:
            if one.name not in there:
                self._take(one.capacity_type)
        for one in before:
            if one.name not in here:
                self._until.append((now + DRAIN_S + NODE_HOLD_S, one.capacity_type))

    def _take(self, kind: CapacityType) -> None:
        """Let a new replica have a node that stands empty."""
        held = next((entry for entry in self._until if entry[1] is kind), None)
        if held is not None:
            self._until.remove(held)

    def count(self, kind: CapacityType, now: float) -> int:
        return sum(1 for until, of in self._until if of is kind and until > now)


def _point(now: float, at: float, world: World, released: _Released, load: int) -> Point:
    staying = sum(1 for one in world.replicas if one.ready_at <= now and not one.noticed)
    spot = sum(1 for one in world.replicas if _is_spot(one))
    return Point(
        at,
        staying,
        len(world.replicas) - spot + released.count(CapacityType.ON_DEMAND, now),
        spot + released.count(CapacityType.SPOT, now),
        load,
    )


def _poisson(mean: float, rng: Random) -> int:
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count
