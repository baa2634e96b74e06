"""Costs: rate times time, added up once whatever is restarted, repeated or late."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import timestamp
from trimtab.api.status import CostStatus
from trimtab.planning.costing import Rate, accrued, costed, is_material, pool_rate, rate_of, spent_by
from trimtab.planning.snapshot import PodView

START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


def rate(replicas: int, price: str = "0.06", on_demand: str = "0.2", pool: str = "spot") -> Rate:
    rows = {pool: (replicas, replicas * Decimal(price))} if replicas else {}
    return Rate("USD", rows, replicas * Decimal(on_demand))


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def told(rates: list[tuple[float, Rate]]) -> CostStatus:
    cost: CostStatus | None = None
    for at, each in rates:
        cost = accrued(cost, each, after(at))
    assert cost is not None
    return cost


def test_two_hours_by_hand() -> None:
    """Two replicas for an hour, three for half of one: 2 * 0.06 + 1.5 * 0.06, against 0.2 each."""
    cost = told([(0, rate(2)), (3600, rate(3)), (5400, rate(0))])
    assert (Decimal(cost.spent), Decimal(cost.all_on_demand_spent)) == (Decimal("0.21"), Decimal("0.7"))
    assert (cost.per_hour, cost.since) == ("0.0000", timestamp(START))
    assert [(row.pool, row.replicas, Decimal(row.spent)) for row in cost.pools] == [("spot", 0, Decimal("0.21"))]


@pytest.mark.parametrize(
    ("now", "seconds", "worth_it"),
    [
        pytest.param(rate(2), 86_399, False, id="nothing changed"),
        pytest.param(rate(2), 86_400, True, id="a day"),
        pytest.param(rate(3), 1, True, id="another replica"),
        pytest.param(rate(2, pool="od"), 1, True, id="another pool"),
        pytest.param(rate(2, price="0.063"), 3600, False, id="a price that moved a little"),
        pytest.param(rate(2, price="0.0631"), 1, True, id="a price that moved"),
        pytest.param(rate(2, on_demand="0.18"), 1, True, id="what it is compared with"),
        pytest.param(Rate("EUR", {"spot": (2, Decimal("0.12"))}, Decimal("0.4")), 1, True, id="another currency"),
        pytest.param(None, 1, True, id="no price any more"),
    ],
)
def test_what_is_worth_a_write(now: Rate | None, seconds: int, worth_it: bool) -> None:
    """Little and steady changes are not; with another write the sums come along."""
    first = told([(0, rate(2))])
    assert is_material(first, now, after(seconds)) is worth_it
    alone = costed(first, now, after(seconds), lambda cost: (1, cost), (1, first))
    assert (alone[1] is first) is not worth_it
    _, brought = costed(first, now, after(seconds), lambda cost: (2, cost), (1, first))
    assert brought is not None
    assert brought.measured_at == timestamp(after(seconds))


def test_readers_add_what_passed_since() -> None:
    """A clock that went back adds nothing."""
    first = told([(0, rate(2))])
    assert Decimal(spent_by(first, after(1800)).spent) == Decimal("0.06")
    assert Decimal(spent_by(first, after(-5)).spent) == 0


def test_idle_pools_are_never_written() -> None:
    """Nothing runs, nothing is added: not even once a day; nor after the price was taken away."""
    idle = told([(0, rate(1)), (60, rate(0))])
    assert not is_material(idle, rate(0), after(1_000_000))
    unpriced = accrued(idle, None, after(60))
    assert not is_material(unpriced, None, after(1_000_000))
    assert not is_material(None, rate(0), after(0))


def test_nothing_without_prices() -> None:
    """Nothing is said where nothing is known; what was spent is kept when prices are taken away."""
    assert accrued(None, None, START) is None
    assert accrued(None, rate(0), START) is None
    cost = accrued(told([(0, rate(1))]), None, after(3600))
    assert cost is not None
    assert (cost.per_hour, Decimal(cost.spent)) == ("0.0000", Decimal("0.06"))


def test_a_clock_that_went_back_counts_nothing_twice() -> None:
    """An hour, then the clock is half an hour early: only what lies beyond the hour is new."""
    cost = told([(0, rate(1)), (3600, rate(2)), (1800, rate(1)), (3600, rate(2)), (7200, rate(0))])
    assert Decimal(cost.spent) == Decimal("0.06") + Decimal("0.12")


def test_another_currency_begins_anew() -> None:
    """Sums of two currencies are no sum."""
    cost = told([(0, rate(1)), (3600, Rate("EUR", {"spot": (1, Decimal(1))}, Decimal(2)))])
    assert (cost.currency, Decimal(cost.spent), cost.since) == ("EUR", 0, timestamp(after(3600)))


changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 5), st.sampled_from(["spot", "od"])), max_size=12)


@given(changes, st.lists(st.integers(0, 50_000), max_size=20), st.booleans())
def test_looks_and_restarts_in_between_change_no_sum(
    steps: list[tuple[int, int, str]], looks: list[int], restarts: bool
) -> None:
    """However often it is looked at, and whether the status went through JSON: the integral, to a billionth a look."""
    at, moments = 0, []
    for span, replicas, pool in steps:
        moments.append((at, rate(replicas, pool=pool)))
        at += span
    moments.append((at, rate(0)))
    exact = sum(
        (Decimal(later - earlier) / 3600 * Decimal("0.06") * sum(count for count, _ in each.pools.values()))
        for (earlier, each), (later, _) in itertools.pairwise(moments)
    )
    cost: CostStatus | None = None
    for moment, each in sorted([*moments, *[(look, None) for look in looks if look < at]], key=lambda entry: entry[0]):
        current = each if each is not None else [r for m, r in moments if m <= moment][-1]
        cost = accrued(cost, current, after(moment))
        cost = accrued(cost, current, after(moment))
        if restarts and cost is not None:
            cost = CostStatus.model_validate(cost.wire())
    spent = Decimal(cost.spent) if cost is not None else Decimal(0)
    assert abs(spent - exact) < Decimal("1e-7")


def pool(name: str, kind: str, price: str | None) -> CapacityPool:
    spec: dict[str, Any] = {"capacityType": kind, "provider": {"embedded": {}}}
    if price is not None:
        spec["price"] = {"perNodeHour": price}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


@pytest.mark.parametrize(
    ("price", "others", "expected"),
    [
        pytest.param("0.06", ["0.25", "0.2"], ("0.12", "0.4"), id="the cheapest on demand"),
        pytest.param("0.06", [], ("0.12", "0.12"), id="nothing to compare with"),
        pytest.param(None, ["0.2"], None, id="no price"),
    ],
)
def test_pools_pay_for_every_node(price: str | None, others: list[str], expected: tuple[str, str] | None) -> None:
    """Used or not; against the cheapest on-demand nodes."""
    found = pool_rate(spot := pool("spot", "Spot", price), 2, [spot, *[pool(f"od{p}", "OnDemand", p) for p in others]])
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.pools["spot"][1], found.all_on_demand) == tuple(map(Decimal, expected))


def priced(name: str, kind: str, currency: str, **embedded: str) -> CapacityPool:
    price = {"perNodeHour": "0.2", "currency": currency}
    spec = {"capacityType": kind, "provider": {"embedded": embedded}, "price": price}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


@pytest.mark.parametrize(
    ("pools", "per_hour"),
    [
        pytest.param((priced("spot", "Spot", "USD"), priced("od", "OnDemand", "USD")), "0.025", id="one currency"),
        pytest.param((priced("spot", "Spot", "USD"), priced("od", "OnDemand", "EUR")), None, id="two currencies"),
        pytest.param((priced("spot", "Spot", "USD", cpu="0"), priced("od", "OnDemand", "USD")), "0.2", id="no CPUs"),
    ],
)
def test_a_sum_is_of_one_currency(a_snapshot: Any, pools: Any, per_hour: str | None) -> None:
    """As where spot is bought at a market in dollars and on demand by a contract in euros; no figure, no wrong one."""
    pod = PodView("p", "r", CapacityType.SPOT, "n", "a", ready=True, terminating=False, age_s=60, pool="spot")
    world = a_snapshot(pools=pools, pods=(pod,))
    found = rate_of(world, world.spec)
    assert (found.per_hour if found else None) == (Decimal(per_hour) if per_hour else None)
