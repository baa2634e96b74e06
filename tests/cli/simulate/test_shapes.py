"""Loads of every shape, through the whole policy: what it promises holds on traces that nobody tuned it on."""

from __future__ import annotations

import math
from random import Random

import pytest

from trimtab.cli.simulate.policies.seen import Policy, Seen, Service
from trimtab.cli.simulate.policies.trimtab import Preferences, Trimtab, pools_of
from trimtab.cli.simulate.replay import Case, loads, replay
from trimtab.cli.simulate.traces import Demand, Supply
from trimtab.cli.simulate.world import Market, Order

HOURS = 3
MINUTES = HOURS * 60
SERVICE = Service(capacity=10, min_replicas=2, max_replicas=16)
# Three zones, one of which goes or comes every ten minutes.
SUPPLY = Supply(
    tuple(600.0 * step for step in range(6)),
    {"a": (9, 0, 9, 9, 9, 9), "b": (9, 9, 9, 0, 9, 9), "c": (9, 9, 9, 9, 9, 2)},
    3600.0,
)
RNG = Random(7)
SHAPES = {
    "steps": [20.0 if minute // 30 % 2 else 70.0 for minute in range(MINUTES)],
    "ramp": [5.0 + 80.0 * minute / MINUTES for minute in range(MINUTES)],
    "flash crowds": [60.0 if minute % 50 < 4 else 15.0 for minute in range(MINUTES)],
    "noise": [RNG.uniform(5, 80) for _ in range(MINUTES)],
    "on and off": [50.0 if minute // 7 % 2 else 0.0 for minute in range(MINUTES)],
    "dips": [15.0 if minute % 40 < 11 else 70.0 for minute in range(MINUTES)],
    "a wave with noise": [
        (40 + 30 * math.sin(minute / 30)) * math.exp(RNG.gauss(0, 0.15)) for minute in range(MINUTES)
    ],
}


class Watched:
    """A policy whose orders are kept."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.orders: list[Order] = []

    def decide(self, seen: Seen) -> Order:
        self.orders.append(self._policy.decide(seen))
        return self.orders[-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_number_turns_twice_an_hour_at_most_and_keeps_the_floor(shape: str) -> None:
    """Growing and shrinking in turns is churn; a load that does so is followed upwards, and down once an hour."""
    case = Case(SERVICE, Market(), HOURS * 3600.0, supply=SUPPLY, demand=Demand(tuple(SHAPES[shape]), 60.0))
    policy = Watched(Trimtab(SERVICE, Preferences(on_demand_base=1), pools_of(SUPPLY.zones, 90.0, 120.0)))
    outcome = replay(case, policy, loads(case))
    assert outcome.losses > 0  # spot was used, and taken
    assert outcome.turns_per_hour <= 2
    assert all(order.on_demand >= 1 for order in policy.orders)
    assert all(SERVICE.min_replicas <= order.replicas <= SERVICE.max_replicas for order in policy.orders)


def test_a_load_within_what_is_planned_is_never_above_capacity_by_chance_or_loss() -> None:
    """A steady load for three hours of losses: not one moment with more requests than the ready replicas take."""
    case = Case(SERVICE, Market(), HOURS * 3600.0, supply=SUPPLY, demand=Demand((34.0, 34.0), 60.0))
    policy = Trimtab(SERVICE, Preferences(on_demand_base=0), pools_of(SUPPLY.zones, 90.0, 120.0))
    outcome = replay(case, policy, loads(case))
    assert outcome.losses > 0
    assert outcome.violation_s == 0
