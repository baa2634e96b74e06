"""A replay: what the simulated cloud does, what it bills, and what a clairvoyant would pay."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.api.base import CapacityType
from trimtab.cli.simulate import bound
from trimtab.cli.simulate.experiment import compare, peak_scaled, policies, stretches
from trimtab.cli.simulate.policies.seen import Composed, Fixed, Service
from trimtab.cli.simulate.policies.shares import FixedShare, OnDemandOnly
from trimtab.cli.simulate.policies.trimtab import Preferences, Trimtab, pools_of
from trimtab.cli.simulate.replay import TICK_S, Case, loads, replay
from trimtab.cli.simulate.traces import Demand, Supply
from trimtab.cli.simulate.world import Market, Order, World
from trimtab.planning.zones import Loss, Shortage

MARKET = Market(startup_s=90, notice_s=120, spot_price=0.3)
SERVICE = Service(capacity=10)


def steps(**zones: list[int]) -> Supply:
    """Zones that change every ten minutes."""
    length = len(next(iter(zones.values())))
    return Supply(tuple(600.0 * i for i in range(length)), {z: tuple(c) for z, c in zones.items()}, 600.0 * length)


def test_a_loss_is_noticed_ahead_and_billed_to_its_end() -> None:
    """Capacity falls at 600 s: from 480 s on the replica carries a notice, at 600 s it is gone."""
    world = World(steps(a=[1, 0]), MARKET, Random(0), 0)
    world.apply(Order(0, {"a": 1}))
    assert world.advance(475) == []
    assert not world.replicas[0].noticed
    world.advance(480)
    assert (world.replicas[0].noticed, world.replicas[0].lost_at) == (True, 600)
    assert world.advance(600) == []
    assert (world.replicas, world.bill.losses) == ((), 1)
    assert world.bill.cost == pytest.approx(600 / 3600 * 0.3)


def test_a_loss_that_nobody_announced_is_an_event() -> None:
    """Without a notice the operator hears of it when it has happened."""
    world = World(steps(a=[1, 0]), Market(told=0.0), Random(0), 0)
    world.apply(Order(0, {"a": 1}))
    world.advance(480)
    assert not world.replicas[0].noticed
    assert [type(event) for event in world.advance(600)] == [Loss]


def test_a_zone_gives_no_more_than_it_has() -> None:
    """Three are asked for, two come, and the shortage is told; on demand there is no end."""
    world = World(steps(a=[2, 2]), MARKET, Random(0), 0)
    (shortage,) = world.apply(Order(50, {"a": 3}))
    assert isinstance(shortage, Shortage)
    assert shortage.zones == ("a",)
    kinds = [one.capacity_type for one in world.replicas]
    assert (kinds.count(CapacityType.SPOT), kinds.count(CapacityType.ON_DEMAND)) == (2, 50)


def test_a_minute_is_billed_at_least() -> None:
    """A replica that is removed at once costs a minute."""
    world = World(steps(a=[1, 1]), MARKET, Random(0), 0)
    world.apply(Order(1, {}))
    world.apply(Order(0, {}))
    assert world.bill.cost == pytest.approx(1 / 60)


def test_what_runs_is_billed_by_the_second_until_it_ends() -> None:
    """A look at the bill in the middle of the first minute leaves no less to pay after it."""
    world = World(steps(a=[1, 1]), MARKET, Random(0), 0)
    world.apply(Order(1, {}))
    world.advance(20)
    assert world.bill_so_far().on_demand_s == 20


def test_a_newcomer_is_taken_where_the_others_were_not_told() -> None:
    """One zone falls from 2 to 1 at 600 s; what is launched 60 s ahead goes, not what has been there for long."""
    world = World(steps(a=[2, 1]), MARKET, Random(0), 0)
    world.apply(Order(0, {"a": 1}))
    world.advance(535)
    world.apply(Order(0, {"a": 2}))
    world.advance(540)
    assert [(one.ordered_at, one.noticed) for one in world.replicas] == [(0, False), (535, True)]


def test_replicas_that_do_not_serve_leave_first_then_the_newest() -> None:
    """Of two that serve and one that boots, the booting one goes."""
    world = World(steps(a=[9, 9]), MARKET, Random(0), 0)
    world.start(1)
    world.apply(Order(2, {}))
    world.advance(100)
    world.apply(Order(3, {}))
    world.apply(Order(2, {}))
    assert world.ready() == 2


def fixed(supply: Supply, count: int = 2, length_s: float = 3600, seed: int = 0, market: Market = MARKET) -> Case:
    return Case(SERVICE, market, length_s, supply=supply, fixed=count, warm_up_s=600, seed=seed)


def ours(case: Case) -> Trimtab:
    service = Service(10, 1, case.fixed or 1, case.fixed or 1)
    pools = pools_of(case.supply.zones, case.market.startup_s, case.market.notice_s)
    return Trimtab(service, Preferences(on_demand_base=0), pools)


@settings(max_examples=8, deadline=None)
@given(
    a=st.lists(st.integers(0, 3), min_size=3, max_size=7),
    b=st.lists(st.integers(0, 3), min_size=7, max_size=7),
    seed=st.integers(0, 99),
)
def test_with_notices_ahead_of_the_start_up_nothing_is_ever_missing(a: list[int], b: list[int], seed: int) -> None:
    """Start-up 90 s, notice 120 s: whatever the zones do, as many replicas serve as are wanted."""
    case = fixed(steps(a=(a * 3)[:7], b=b), seed=seed)
    outcome = replay(case, ours(case), loads(case))
    assert outcome.violation_s == 0


def test_a_fixed_share_misses_what_spot_does_not_give() -> None:
    """A check of the check above: a policy that does not fall back is short as long as the zone is."""
    case = fixed(steps(a=[0, 0]))
    outcome = replay(case, Composed(Fixed(2), FixedShare(0, 50)), loads(case))
    assert (outcome.unavailable, outcome.spot_h, outcome.on_demand_h) == (1.0, 0.0, 1.0)


def test_a_replay_is_the_same_again() -> None:
    """Same seed, same outcome; another seed draws other victims and loads."""
    demand = Demand((5.0, 30.0, 9.0), 300)
    case = Case(SERVICE, MARKET, 1800, supply=steps(a=[3, 1, 2]), demand=demand, warm_up_s=600, seed=4)
    assert loads(case) == loads(case)
    assert replay(case, ours(case), loads(case)) == replay(case, ours(case), loads(case))


def test_all_on_demand_costs_what_a_calculator_says() -> None:
    """Two replicas for an hour at 1 are 2."""
    case = fixed(steps(a=[1, 1]))
    outcome = replay(case, Composed(Fixed(2), OnDemandOnly()), loads(case))
    assert outcome.cost == pytest.approx(2.0)
    assert outcome.violation_s == 0


def test_the_bound_takes_spot_only_where_it_lasted_a_start_up() -> None:
    """Of an hour, a zone with 1 node gives it from 90 s on: 3510 s of spot, 90 s on demand, plus one on demand."""
    case = Case(SERVICE, MARKET, 3600, supply=Supply((0, 600), {"a": (0, 1)}, 1e9), fixed=2, warm_up_s=600)
    least = bound.lower_bound(case, loads(case))
    assert least == pytest.approx((3510 * 0.3 + 90 + 3600) / 3600)


@pytest.mark.parametrize(("lasting", "expected"), [(100, 600 - 100 + 0.3 * 190), (30, 600)])
def test_the_optimum_boots_where_it_pays(lasting: int, expected: float) -> None:
    """A boot of 90 s on spot costs 27: worth it for the last 100 s (it saves 70), not for the last 30 (21)."""
    supply = Supply((0, 600.0 + 600 - 90 - lasting), {"a": (0, 1)}, 1e9)
    case = Case(SERVICE, MARKET, 600, supply=supply, fixed=1, warm_up_s=600)
    assert bound.optimum(case, loads(case)) * 3600 == pytest.approx(expected)


@settings(max_examples=5, deadline=None)
@given(a=st.lists(st.integers(0, 2), min_size=4, max_size=4), b=st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_no_policy_beats_the_optimum_and_nothing_the_closed_form(a: list[int], b: list[int]) -> None:
    """Closed form <= exact optimum <= what a policy without a violation paid."""
    supply = Supply((0.0, 700.0, 800.0, 950.0), {"a": tuple(a), "b": tuple(b)}, 1e6)
    case = Case(SERVICE, MARKET, 600, supply=supply, fixed=2, warm_up_s=600)
    demand = loads(case)
    least, best = bound.lower_bound(case, demand), bound.optimum(case, demand)
    outcome = replay(case, ours(case), demand)
    assert least <= best + 1e-9
    if outcome.violation_s == 0:
        assert best <= outcome.cost + 1e-9


def test_an_optimum_of_a_long_stretch_is_refused() -> None:
    """An integer programme of days would not end."""
    case = fixed(steps(a=[1, 1]), length_s=TICK_S * (bound.LONGEST_TICKS + 1))
    with pytest.raises(ValueError, match="too many for an exact optimum"):
        bound.optimum(case, loads(case))


def test_a_comparison_gives_every_policy_the_same_stretches() -> None:
    """Ours is cheaper than on demand and short of nothing; the demand is scaled so that its peak needs the replicas."""
    demand = Demand(tuple([20.0] * 30 + [60.0] * 30), 60)
    case = Case(SERVICE, MARKET, 1800, supply=steps(a=[9] * 3 + [0] + [9] * 3), demand=demand, warm_up_s=600)
    case = peak_scaled(case, 4)
    assert max(case.demand.rates) == pytest.approx(4 * 7)
    made = policies(Preferences(on_demand_base=0), 120)
    results = {r.policy: r for r in compare(stretches(case, 2, seed=1), 1, made, 4)}
    assert set(results) == {"Trimtab", "HPA, on demand", "KPA, on demand", "HPA, ASG half spot", "SkyServe, SpotHedge"}
    assert results["Trimtab"].cost.value < results["HPA, on demand"].cost.value
    assert all(result.over_bound.value > 0.9 for result in results.values())
