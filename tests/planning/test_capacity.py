"""How replicas split into on-demand and spot: cases by hand, and a spot market that loses nodes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.api.base import CapacityType
from trimtab.api.capacity import Fallback, SpotMode
from trimtab.planning import capacity
from trimtab.planning.capacity import PoolView, SplitConfig, SplitState
from trimtab.planning.zones import Loss, Notice, Quota, Shortage

SPOT = PoolView("spot", CapacityType.SPOT, zones=("a", "b", "c"))
ON_DEMAND = PoolView("od", CapacityType.ON_DEMAND)
POOLS = (ON_DEMAND, SPOT)
CONFIG = SplitConfig(base=1, spot_percent=100)


def settled(n: int, config: SplitConfig = CONFIG, now: float = 0.0) -> SplitState:
    """Return the state of a model whose spot replicas are all there."""
    spot = (n - min(n, config.base)) * config.spot_percent // 100
    return capacity.split(n, config, POOLS, spot, state=SplitState(), now=now)[1]


@pytest.mark.parametrize(
    ("n", "config", "on_demand", "spot"),
    [
        pytest.param(4, SplitConfig(base=1, spot_percent=0), 4, 0, id="no spot asked for"),
        pytest.param(4, SplitConfig(base=1, spot_percent=100), 1, 3, id="all above the floor"),
        pytest.param(6, SplitConfig(base=1, spot_percent=50), 4, 2, id="spot rounds down"),
        pytest.param(2, SplitConfig(base=3, spot_percent=100), 2, 0, id="below the floor"),
        pytest.param(0, SplitConfig(base=1, spot_percent=100), 0, 0, id="asleep"),
        pytest.param(4, SplitConfig(base=0, spot_percent=100), 0, 4, id="no floor"),
        pytest.param(7, SplitConfig(base=1, spot_percent=100, mode=SpotMode.GUARDED), 1, 9, id="three spares"),
    ],
)
def test_the_shares(n, config, on_demand, spot):
    """The floor and the share of the rest, when everything is there."""
    split, _ = capacity.split(n, config, POOLS, 100, state=SplitState(), now=0)
    assert (split.on_demand, split.spot, split.cover) == (on_demand, spot, 0)


@pytest.mark.parametrize(
    ("pools", "on_demand", "spot", "floor_met", "reason"),
    [
        pytest.param((), 4, 0, True, "4 on demand: there is no spot pool", id="no pools"),
        pytest.param((ON_DEMAND,), 4, 0, True, "4 on demand: there is no spot pool", id="no spot pool"),
        pytest.param(
            (SPOT,), 0, 4, False, "4 on spot: there is no on-demand pool for the floor of 1", id="no on-demand pool"
        ),
    ],
)
def test_missing_pools_are_named(pools, on_demand, spot, floor_met, reason):
    """Replicas go where there are pools, and the reason says what that breaks."""
    split, _ = capacity.split(4, CONFIG, pools, 0, state=SplitState(), now=0)
    assert (split.on_demand, split.spot, split.floor_met, split.reason) == (on_demand, spot, floor_met, reason)


def test_growth_is_not_covered_while_it_is_on_time():
    """On-demand nodes would boot as long as the spot nodes that were just ordered."""
    state = settled(2)
    split, state = capacity.split(4, CONFIG, POOLS, 1, state=state, now=10)
    assert (split.on_demand, split.spot) == (1, 3)
    late = 10 + 1.5 * 90
    split, state = capacity.split(4, CONFIG, POOLS, 1, state=state, now=late - 1)
    assert split.on_demand == 1
    split, state = capacity.split(4, CONFIG, POOLS, 1, state=state, now=late)
    assert (split.on_demand, split.cover) == (3, 2)
    assert "2 of 3 spot missing, on demand stands in" in split.reason


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Shortage("1", ("a",)), id="shortage"),
        pytest.param(Quota("1", "spot"), id="quota"),
    ],
)
def test_a_refusal_is_covered_at_once(event):
    """When the provider says no, nothing waits for the start-up to pass."""
    _, state = capacity.split(4, CONFIG, POOLS, 1, state=settled(2), now=10)
    state = capacity.on_event(state, event, 12)
    split, _ = capacity.split(4, CONFIG, POOLS, 1, state=state, now=12)
    assert (split.on_demand, split.cover) == (3, 2)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Shortage("1", ("a", "b", "c")), id="every zone short"),
        pytest.param(Quota("1", "spot"), id="over quota"),
    ],
)
def test_growth_during_a_refusal_goes_to_on_demand(event):
    """Where spot cannot grow now, a rise of the load is not sent to wait for it."""
    state = capacity.on_event(settled(2), event, 10)
    split, _ = capacity.split(4, CONFIG, POOLS, 1, state=state, now=20)
    assert (split.on_demand, split.spot) == (3, 3)


def test_a_doomed_replica_is_covered_before_it_is_lost():
    """The notice is enough: two minutes are won."""
    split, _ = capacity.split(4, CONFIG, POOLS, 3, doomed=1, state=settled(4), now=10)
    assert (split.on_demand, split.spot, split.cover) == (2, 3, 1)


def test_a_loss_during_growth_is_covered():
    """What was ready is due; what is still booting is not counted in its place."""
    _, state = capacity.split(6, CONFIG, POOLS, 3, state=settled(4), now=10)
    split, _ = capacity.split(6, CONFIG, POOLS, 2, state=state, now=12)
    assert split.cover == 1


def test_early_arrivals_are_due_from_then_on():
    """A replica that came before its time and is lost again is covered like any other."""
    _, state = capacity.split(6, CONFIG, POOLS, 3, state=settled(4), now=10)
    _, state = capacity.split(6, CONFIG, POOLS, 5, state=state, now=60)
    split, _ = capacity.split(6, CONFIG, POOLS, 4, state=state, now=62)
    assert split.cover == 1


def test_on_demand_falls_only_after_the_hold():
    """Spot that is back must stay for two minutes; a second loss begins anew."""
    state, n = settled(4), 4
    seen = []
    for now, ready in [(10, 1), (60, 3), (129, 3), (170, 3), (181, 3), (182, 2), (301, 3), (302, 3)]:
        split, state = capacity.split(n, CONFIG, POOLS, ready, state=state, now=now)
        seen.append(split.cover)
    assert seen == [2, 2, 2, 0, 0, 1, 1, 0]


def test_cover_waits_for_spot_that_still_boots():
    """A hold that ends while spot is missing takes no replica away that serves."""
    _, state = capacity.split(4, CONFIG, POOLS, 3, state=settled(4), now=0)
    split, state = capacity.split(4, CONFIG, POOLS, 2, state=state, now=10)
    assert split.on_demand == 2
    split, state = capacity.split(9, CONFIG, POOLS, 3, state=state, now=100)
    split, state = capacity.split(9, CONFIG, POOLS, 3, state=state, now=140)
    assert split.on_demand > 1, "spot has not come back as far as it should be"


def test_the_hold_is_told():
    """Why on-demand nodes still run is in the reason."""
    _, state = capacity.split(4, CONFIG, POOLS, 1, state=settled(4), now=10)
    split, _ = capacity.split(4, CONFIG, POOLS, 3, state=state, now=20)
    assert split.reason == (
        "3 on demand + 3 spot for 4; floor 1, 100 % of the rest on spot; spot is back, 2 on demand stay for 120 s"
    )


def test_wait_covers_nothing():
    """With fallback Wait on-demand keeps its share and the reason says what is missing."""
    config = replace(CONFIG, fallback=Fallback.WAIT)
    split, _ = capacity.split(4, config, POOLS, 0, state=settled(4), now=10)
    assert (split.on_demand, split.spot) == (1, 3)
    assert "3 of 3 spot missing, waiting for spot" in split.reason


def test_spares_are_never_covered():
    """On-demand stands in up to what is needed: a missing spare costs nothing extra."""
    config = replace(CONFIG, mode=SpotMode.GUARDED)
    _, state = capacity.split(7, config, POOLS, 9, state=SplitState(), now=0)
    split, _ = capacity.split(7, config, POOLS, 6, state=state, now=10)
    assert (split.on_demand, split.spot) == (1, 9)


def test_a_new_operator_keeps_the_cover_for_a_hold():
    """After a restart nothing is known of the losses; on-demand that stands in is kept until spot has held."""
    split, state = capacity.split(4, CONFIG, POOLS, 1, state=SplitState(), now=0, ordered_on_demand=3)
    assert split.on_demand == 3
    split, state = capacity.split(4, CONFIG, POOLS, 3, state=state, now=119, ordered_on_demand=3)
    assert split.on_demand == 3
    split, _ = capacity.split(4, CONFIG, POOLS, 3, state=state, now=121, ordered_on_demand=3)
    assert split.on_demand == 1


def test_an_event_counts_once():
    """A notice that the queue delivers again changes nothing."""
    once = capacity.on_event(settled(4), Notice("n", "a", "node-1"), 10)
    assert capacity.on_event(once, Notice("n", "a", "node-1"), 20) == once


@dataclass
class Market:
    """Spot and on-demand replicas that boot, get notices and go; the policy's own decisions are carried out."""

    config: SplitConfig
    n: int
    boot_s: float = 60.0
    now: float = 0.0
    spot: list[float] = field(default_factory=list)  # when each becomes ready
    doomed: list[float] = field(default_factory=list)  # when each is taken, ready until then
    on_demand: list[float] = field(default_factory=list)
    state: SplitState = field(default_factory=SplitState)
    open: bool = True

    def step(self, seconds: float = 2.0):
        self.now += seconds
        self.doomed = [until for until in self.doomed if until > self.now]
        ready = sum(1 for at in self.spot if at <= self.now) + len(self.doomed)
        split, self.state = capacity.split(
            self.n, self.config, POOLS, ready, doomed=len(self.doomed), state=self.state, now=self.now
        )
        if self.open:
            self.spot += [self.now + self.boot_s] * (split.spot - len(self.spot))
        self.spot = sorted(self.spot)[: split.spot]
        self.on_demand += [self.now + self.boot_s] * (split.on_demand - len(self.on_demand))
        self.on_demand = sorted(self.on_demand)[: split.on_demand]
        return split

    def notice(self, count: int, notice_s: float = 120.0):
        self.doomed += [self.now + notice_s] * count
        self.spot = self.spot[count:]
        for number in range(count):
            self.state = capacity.on_event(self.state, Notice(f"{self.now}/{number}", "a"), self.now)

    @property
    def serving(self) -> int:
        return sum(1 for at in (*self.spot, *self.on_demand) if at <= self.now) + len(self.doomed)


def test_a_spot_node_that_is_taken_is_never_missed():
    """On-demand rises in the decision after the notice, stays while spot returns, falls after the hold."""
    market = Market(CONFIG, 6)
    for _ in range(100):
        market.step()
    assert (len(market.on_demand), len(market.spot), market.serving) == (1, 5, 6)
    market.notice(3)
    lowest, covers = market.serving, []
    for _ in range(200):
        covers.append(market.step().cover)
        lowest = min(lowest, market.serving)
    assert covers[0] == 3
    back = next(at for at, cover in enumerate(covers) if cover == 0)
    assert set(covers[:back]) == {3}
    assert set(covers[back:]) == {0}
    assert 2 * (back + 1) == 60 + 120  # start-up of the spot replacements, then the hold
    assert lowest == 6  # the replacements were ready within the notice


def test_a_market_without_spot_runs_on_demand_until_it_opens():
    """Nothing to be had for ten minutes: all on demand; when spot is back, it takes over again."""
    market = Market(CONFIG, 4)
    for _ in range(100):
        market.step()
    market.notice(3)
    market.open = False
    market.state = capacity.on_event(market.state, Shortage("s", ("a", "b", "c")), market.now)
    assert {market.step().on_demand for _ in range(300)} == {4}
    assert market.serving == 4
    market.open = True
    for _ in range(100):
        last = market.step()
    assert (last.on_demand, len(market.spot)) == (1, 3)


configs = st.builds(
    SplitConfig,
    base=st.integers(0, 6),
    spot_percent=st.integers(0, 100),
    mode=st.sampled_from(SpotMode),
    fallback=st.just(Fallback.ON_DEMAND),
    hold_s=st.sampled_from([0.0, 30.0, 120.0]),
)
zone_names = st.sampled_from(["a", "b", "c"])
happenings = st.one_of(
    st.none(),
    zone_names.map(lambda zone: lambda i: Notice(i, zone)),
    zone_names.map(lambda zone: lambda i: Loss(i, zone)),
    zone_names.map(lambda zone: lambda i: Shortage(i, (zone,))),
    st.just(lambda i: Quota(i, "spot")),
)
steps = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 15), st.integers(0, 15), st.floats(0.5, 200), happenings), max_size=30
)


def told(config, story):
    """Yield (n, good, split, state before, state after, now) along a story."""
    state, now = SplitState(), 0.0
    for number, (n, ready, doomed, gap, make) in enumerate(story):
        now += gap
        if make:
            state = capacity.on_event(state, make(str(number)), now)
        before = state
        split, state = capacity.split(n, config, POOLS, ready, doomed=doomed, state=state, now=now)
        yield n, max(0, ready - doomed), split, before, state, now


@given(configs, steps)
def test_the_floor_and_the_sum_hold(config, story):
    """On-demand keeps the floor whatever happens to spot, and what is ordered covers n."""
    for n, _, split, *_ in told(config, story):
        assert min(config.base, n) <= split.on_demand <= n
        assert split.on_demand + split.spot >= n
        assert split.on_demand + split.spot - split.cover >= n


@given(configs, steps)
def test_what_serves_or_comes_in_time_is_enough(config, story):
    """On-demand, good spot and spot on its way and not late make up n."""
    for n, good, split, _, after, now in told(config, story):
        coming = sum(count for at, count in after.growing)
        assert all(now - at < 1.5 * SPOT.startup_s for at, _ in after.growing)
        assert split.on_demand + good + coming >= n


@given(configs, steps, st.integers(0, 12))
def test_losing_all_spot_leaves_the_floor_and_covers_what_was_ready(config, story, n):
    """After any past: with no spot left the next decision puts everything that was there on demand."""
    past = list(told(config, story))
    state, now = past[-1][-2:] if past else (SplitState(), 0.0)
    target = (n - min(config.base, n)) * config.spot_percent // 100
    _, state = capacity.split(n, config, POOLS, target, state=state, now=now + 1)
    split, _ = capacity.split(n, config, POOLS, 0, state=state, now=now + 2)
    assert split.on_demand == n


@given(configs, steps)
def test_splitting_twice_at_one_moment_changes_nothing(config, story):
    """Repeated with its own state, a split is the same, and so is the state."""
    state, now = SplitState(), 0.0
    for number, (n, ready, doomed, gap, make) in enumerate(story):
        now += gap
        if make:
            state = capacity.on_event(state, make(str(number)), now)
        first, state = capacity.split(n, config, POOLS, ready, doomed=doomed, state=state, now=now)
        assert capacity.split(n, config, POOLS, ready, doomed=doomed, state=state, now=now) == (first, state)


@given(configs, steps)
def test_the_state_survives_json(config, story):
    """Any state on the way is read back as it was written."""
    for *_, state, _ in told(config, story):
        assert SplitState.from_json(json.loads(json.dumps(state.to_json()))) == state


def covers_by_hand(config, target, story):
    """Yield (cover of the split, cover expected) for eight replicas whose share stays.

    Worst of the hold: what was missing and due, or what stood in already while as much spot was missing, due or not.
    """
    owed: list[tuple[float, int]] = []
    standing = 0
    for _, good, split, _, after, now in told(config, [(8, *rest) for _, *rest in story]):
        coming = sum(count for _, count in after.growing)
        missing = max(0, target - good)
        owed.append((now, max(0, missing - coming, min(standing, missing))))
        standing = max(count for at, count in owed if at == now or now - at < config.hold_s)
        yield split.cover, standing


@given(configs, steps)
@example(  # one of two that were due is back, and six that are not due are missing: what stands in goes on serving
    SplitConfig(base=0, spot_percent=100, hold_s=0.0),
    [(8, 1, 0, 1.0, None), (8, 0, 0, 1.0, None), (8, 1, 0, 1.0, None)],
)
def test_cover_is_the_most_that_was_missing_within_the_hold(config, story):
    """While the share stays, on-demand stands in for exactly the worst shortfall of the hold."""
    target = (8 - config.base) * config.spot_percent // 100
    for cover, expected in covers_by_hand(config, target, story):
        assert cover == expected
