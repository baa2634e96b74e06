"""The policies to compare with, each against a case worked out by hand from its source's rules."""

from __future__ import annotations

from trimtab.api.base import CapacityType
from trimtab.cli.simulate.policies.hpa import Hpa
from trimtab.cli.simulate.policies.kpa import Kpa
from trimtab.cli.simulate.policies.seen import Brain, Seen, Service
from trimtab.cli.simulate.policies.shares import FixedShare, OnDemandOnly
from trimtab.cli.simulate.policies.skyserve import RequestRate, SpotHedge
from trimtab.cli.simulate.world import Order, Replica
from trimtab.planning.zones import CapacityEvent, Loss, Shortage

SERVICE = Service(capacity=10, utilisation=0.7)  # planned for 7 requests at once


def on_demand(count: int) -> tuple[Replica, ...]:
    return tuple(Replica(f"o{i}", CapacityType.ON_DEMAND, "", 0, 0) for i in range(count))


def spot(*zones: str, noticed: bool = False) -> tuple[Replica, ...]:
    return tuple(Replica(f"s{i}", CapacityType.SPOT, zone, 0, 0, noticed=noticed) for i, zone in enumerate(zones))


def seen(
    now: float,
    load: int = 0,
    replicas: tuple[Replica, ...] = (),
    events: tuple[CapacityEvent, ...] = (),
    answered: int = 0,
) -> Seen:
    return Seen(now, load, answered, replicas, ("a", "b"), events)


def followed(brain: Brain, loads: list[tuple[float, int]], replicas: int = 2) -> list[int]:
    return [brain.replicas(seen(now, load, on_demand(replicas))) for now, load in loads]


def test_hpa_grows_by_the_larger_limit_and_holds_within_the_tolerance() -> None:
    """2 replicas, target 7: 15 requests are 1.07 of it (held); 70 want 10, of which 2 + 4 come, then 6 + 6."""
    assert followed(Hpa(SERVICE), [(0, 15), (15, 70), (30, 70)]) == [2, 6, 10]


def test_hpa_decides_every_15_s_only_and_shrinks_to_the_most_of_five_minutes() -> None:
    """The recommendation of 4 at 0 s outlives its 300 s before 1 is taken."""
    brain = Hpa(SERVICE)
    loads = [(0.0, 28), (5.0, 200), (15.0, 5), (300.0, 5), (315.0, 5)]
    assert followed(brain, loads) == [4, 4, 8, 8, 8]
    assert followed(brain, [(330.0, 5)]) == [1]


def test_kpa_panics_at_twice_what_is_ready_and_does_not_shrink_in_panic() -> None:
    """2 ready: 28 requests in the short window need 4, twice as many; for a stable window 4 stay."""
    brain = Kpa(SERVICE)
    assert followed(brain, [(0, 28), (30, 7), (59, 7)]) == [4, 4, 4]
    assert followed(brain, [(121, 7), (181, 7)]) == [1, 1]


def test_kpa_halves_at_most() -> None:
    """8 ready and no load: 4."""
    assert followed(Kpa(SERVICE), [(0, 0)], replicas=8) == [4]


def test_skyserve_grows_after_300_s_of_agreement_without_a_break() -> None:
    """15 decisions of 20 s; one decision that does not agree starts the count again."""
    brain = RequestRate(SERVICE)
    rate = 21  # per second: 3 replicas of 7
    counts, total = [], 0
    for tick in range(64):
        total += 0 if tick in (20, 21, 22, 23) else rate * 20
        counts.append(brain.replicas(seen(tick * 20.0, 0, on_demand(1), answered=total)))
    first = counts.index(3)
    assert first == 16  # from the second decision on the window asks for more than 1, and 15 have to agree
    assert counts[-1] == 3


def test_skyserve_starts_again_after_a_break() -> None:
    """Agreement that breaks before 300 s are over grows nothing."""
    brain = RequestRate(SERVICE)
    total, counts = 0, []
    for tick in range(40):
        total += 21 * 20 if tick % 12 < 9 else 0
        counts.append(brain.replicas(seen(tick * 20.0, 0, on_demand(1), answered=total)))
    assert set(counts) == {1}


def test_spothedge_over_provisions_by_one_and_covers_that_too() -> None:
    """3 wanted, none ready: 4 on spot, spread, and 3 on demand; with 2 ready on spot, 2 on demand."""
    policy = SpotHedge(("a", "b"))
    assert policy.order(3, seen(0)) == Order(3, {"a": 2, "b": 2}, 3)
    assert policy.order(3, seen(60, replicas=spot("a", "b"))) == Order(2, {"a": 2, "b": 2}, 3)


def test_spothedge_leaves_a_zone_that_lost_or_refused_until_all_did() -> None:
    """A loss in a moves all to b; when b refuses too, both are tried again."""
    policy = SpotHedge(("a", "b"))
    assert policy.order(1, seen(0, events=(Loss("1", "a"),))).spot == {"a": 0, "b": 2}
    assert policy.order(1, seen(5, events=(Shortage("2", ("b",)),))).spot == {"a": 1, "b": 1}


def test_spothedge_does_not_listen_to_notices() -> None:
    """A replica under notice is as good as any, so nothing is ordered in its place."""
    order = SpotHedge(("a", "b")).order(1, seen(0, replicas=spot("a", "b", noticed=True)))
    assert order == Order(0, {"a": 0, "b": 0}, 1)


def test_a_fixed_share_rounds_up_on_demand_and_does_not_fall_back() -> None:
    """Base 1, half of the other 4, whatever spot there is."""
    order = FixedShare(1, 50).order(5, seen(0, events=(Shortage("1", ("a",)),)))
    assert order == Order(3, {"a": 0, "b": 2}, 5)


def test_on_demand_only_takes_no_spot() -> None:
    """All of them on demand."""
    assert OnDemandOnly().order(4, seen(0)) == Order(4, {}, 4)
