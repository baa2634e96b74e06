"""How many replicas a model needs: hand-computed cases, each one rule of the policy."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from steps import steps

from trimtab.planning import autoscale, signals
from trimtab.planning.autoscale import AutoscaleConfig, AutoscaleState
from trimtab.planning.signals import Sample, SignalState

CONFIG = AutoscaleConfig(min_replicas=1, max_replicas=10, capacity_per_replica=8)


def steady(total: int, until: float, seconds: float = 60.0) -> SignalState:
    """A gateway that reported the same total every two seconds."""
    state = SignalState()
    at = until - seconds
    while at <= until:
        state = signals.ingest(state, Sample(at, total, 0), at)
        at += 2.0
    return state


class Fleet:
    """A model over time: each tick one scrape and one decision."""

    def __init__(self, config=CONFIG, replicas=1, now=0.0):
        self.config, self.now = config, now
        self.signal, self.state = SignalState(), AutoscaleState(replicas=replicas)
        self.history = []

    def tick(self, total: int | None, requests: int | None = None):
        sample = None if total is None else Sample(self.now, total, 0, requests)
        self.signal = signals.ingest(self.signal, sample, self.now)
        decision, self.state = autoscale.desired(self.signal, self.config, self.state, 0, self.now)
        self.history.append(decision.replicas)
        self.now += 2.0
        return decision

    def run(self, total: int | None, seconds: float, requests: int | None = None):
        decision = None
        for _ in range(int(seconds / 2)):
            decision = self.tick(total, requests)
        return decision


@pytest.mark.parametrize(
    ("total", "replicas"),
    [
        pytest.param(0, 1, id="no load keeps the floor"),
        pytest.param(2, 1, id="one holds two, whatever chance adds"),
        pytest.param(5, 2, id="one takes 8, but five stray up to 13.2"),
        pytest.param(6, 2, id="one more request needs a second"),
        pytest.param(18, 4, id="18 stray up to 31.6: what four take, nearly"),
        pytest.param(500, 5, id="one step is four more at most"),
    ],
)
def test_totals_become_replicas(total, replicas):
    """As many as take what the total at the gateway strays up to."""
    decision, _ = autoscale.desired(steady(total, 100), CONFIG, AutoscaleState(), 1, 100)
    assert decision.replicas == replicas


@pytest.mark.parametrize(
    ("load", "deviation", "replicas"),
    [
        pytest.param(0, 0, 0, id="nothing needs nothing"),
        pytest.param(1.9, 0, 1, id="1.9 + 3.2 times their root + 1.5 are 7.8"),
        pytest.param(2.1, 0, 2, id="2.1 stray up to 8.3"),
        pytest.param(22, 0, 5, id="22 fit into four and stray up to 38.5"),
        pytest.param(560, 0, 88, id="637 would fit into 80, but no fleet is planned fuller than 80 %"),
        pytest.param(64, 8, 12, id="64 stray by 8 as Poisson's law has it: up to 91"),
        pytest.param(64, 18, 16, id="they strayed by ten more: 32 on top"),
        pytest.param(1, 2.5, 2, id="one strays up to 5.7, 3.2 more for the burst"),
    ],
)
def test_what_chance_adds_is_in_reserve(load, deviation, replicas):
    """A replica takes 8: enough of them for 3.2 deviations more than the mean."""
    assert CONFIG.replicas_for(load, deviation) == replicas


def test_tiny_replicas_keep_one_in_reserve():
    """A replica that takes two: 4.3 requests stray up to 12.5, but five are enough, one more than 70 % needs."""
    config = replace(CONFIG, capacity_per_replica=2)
    assert config.replicas_for(4.3) == 5
    assert config.replicas_for(0.1) == 1  # up to 1.3


def test_bursts_are_remembered():
    """The same mean, in bursts: a quarter of an hour later the model keeps what they need."""
    calm, bursty = Fleet(replicas=6), Fleet(replicas=6)
    for second in range(1200):
        calm.tick(24)
        bursty.tick(44 if second // 6 % 2 else 4)
    assert calm.history[-1] == 6
    assert bursty.history[-1] == 10  # the ceiling: 24 stray by 27, five times as far as chance has it


@pytest.mark.parametrize(
    ("load", "jump", "replicas"),
    [
        pytest.param(30, 0, 7, id="30 stray up to 49.1"),
        pytest.param(30, 6, 7, id="and 6 more if they jump again"),
        pytest.param(30, 8, 8, id="8 more need another"),
        pytest.param(30, 300, 8, id="whoever came from nothing does not double again: 9 at most"),
        pytest.param(0, 300, 0, id="nothing does not jump"),
    ],
)
def test_what_jumped_may_jump_again(load, jump, replicas):
    """The largest jump of the last hour is in reserve, up to three tenths of the load."""
    assert CONFIG.replicas_for(load, jump=jump) == replicas


def test_a_jump_is_remembered_for_an_hour():
    """After the load is back where it was, the model keeps one more for a while; who saw no jump does not."""
    calm, jumpy = Fleet(replicas=7), Fleet(replicas=7)
    calm.run(30, 120)
    jumpy.run(30, 120)
    jumpy.run(60, 60)
    assert calm.run(30, 1800).replicas == 7
    assert jumpy.run(30, 1800).replicas == 8
    assert jumpy.run(30, 7200).replicas == 7


def test_a_slow_rise_is_no_jump():
    """What comes slower than a replica boots needs no reserve."""
    fleet = Fleet(replicas=7)
    for load in range(30, 61):
        fleet.run(load, 60)
    assert fleet.state.jump == 0.0


def test_a_slight_rise_orders_nothing():
    """Within a tenth of what the replicas are planned for nothing grows, and nothing shrinks either."""
    fleet = Fleet(replicas=7)
    fleet.run(33, 120)  # up to 52.9
    assert fleet.history[-1] == 7
    fleet.run(38, 600)  # up to 59.3, but less than a tenth above what fits into seven
    assert fleet.history[-1] == 7
    fleet.run(42, 120)
    assert fleet.history[-1] == 8


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (18, "18.0 requests in flight and queued need 4 replicas of 8, 56% full"),
        (5, "5.0 requests in flight and queued need 2 replicas of 8, 31% full"),
    ],
)
def test_a_reason_is_a_sentence_for_people(load, reason):
    """What was measured, what it needs, and how full those are then."""
    decision, _ = autoscale.desired(steady(load, 100), CONFIG, AutoscaleState(), 1, 100)
    assert decision.reason == reason


def test_exact_fits_need_no_extra_replica():
    """Rounding errors of the division order nothing: 336 requests are exactly 140 replicas of 3 at 80 %."""
    config = replace(CONFIG, capacity_per_replica=3, max_replicas=200)
    assert config.replicas_for(336) == 140


@pytest.mark.parametrize(
    ("config", "current", "replicas"),
    [
        pytest.param(replace(CONFIG, min_replicas=3), 1, 3, id="raised floor"),
        pytest.param(replace(CONFIG, max_replicas=2), 8, 2, id="lowered ceiling"),
        pytest.param(replace(CONFIG, min_replicas=0), 0, 1, id="without idleAfter one stays"),
    ],
)
def test_bounds_hold_at_once_even_without_figures(config, current, replicas):
    """A new bound is the user's decision and waits for nothing."""
    decision, state = autoscale.desired(SignalState(), config, AutoscaleState(), current, 0)
    assert (decision.replicas, state.replicas) == (replicas, replicas)


@pytest.mark.parametrize(
    "signal",
    [
        pytest.param(SignalState(), id="none"),
        pytest.param(steady(0, 80), id="stale"),
        pytest.param(steady(0, 100, seconds=2), id="after a restart"),
    ],
)
def test_missing_figures_hold(signal):
    """Nothing known is no reason to go down, or up."""
    decision, _ = autoscale.desired(signal, CONFIG, AutoscaleState(), 4, 100)
    assert (decision.replicas, decision.held) == (4, True)
    assert decision.reason.endswith("holding 4")


def test_a_burst_is_answered_in_spaced_steps():
    """Each step waits until the short window holds only samples taken after the one before."""
    fleet = Fleet(replace(CONFIG, max_replicas=40))
    fleet.run(0, 60)
    fleet.history.clear()
    fleet.run(200, 24)
    assert fleet.history[0] == 5  # one sample in four: 50 requests are enough to ask for more than four more
    assert sorted(set(fleet.history)) == [5, 10, 20, 36]
    assert fleet.history.index(20) - fleet.history.index(10) == 3  # six seconds


def test_queueing_is_answered_before_the_long_window_sees_it():
    """When more waits than all replicas take at once, the short window decides, burst or not."""
    fleet = Fleet(replicas=4)
    fleet.run(16, 60)
    assert fleet.run(40, 8).replicas == 5  # after four seconds the short mean was 28: 17.4 are no chance
    assert fleet.run(40, 2).replicas == 7  # six seconds later it is 40, of which 27.4 are no chance; a jump, too
    assert fleet.state.panic_at is None


def test_nothing_shrinks_for_a_minute_after_a_burst():
    """In a burst the number never falls, whatever the load does then."""
    fleet = Fleet(replace(CONFIG, scale_down_delay=0.0))
    fleet.run(0, 60)
    top = fleet.run(50, 10).replicas
    fleet.history.clear()
    fleet.run(0, 50)
    assert set(fleet.history) == {top}
    assert fleet.run(0, 30).replicas < top


@pytest.mark.parametrize(
    ("total", "replicas"),
    [pytest.param(1, 1, id="calm: three go"), pytest.param(22, 4, id="a short rise: all stay")],
)
def test_what_a_short_rise_needs_is_not_given_away(total, replicas):
    """The long mean alone would let replicas go that the last seconds need."""
    fleet = Fleet(replace(CONFIG, scale_down_delay=6.0), replicas=4)
    fleet.signal, fleet.now = steady(1, 100), 102.0
    fleet.run(total, 20)
    assert fleet.history[-1] == min(fleet.history) == replicas


def test_down_comes_after_the_delay_in_small_steps():
    """The most that was needed in the last five minutes stays; then one replica at a time."""
    fleet = Fleet(replicas=8)
    fleet.run(40, 120)
    fleet.history.clear()
    fleet.run(0, 300)
    assert set(fleet.history) == {8}
    fleet.run(0, 340)
    steps = [b - a for a, b in itertools.pairwise(fleet.history)]
    assert fleet.history[-1] == 1
    assert min(steps) == -1


def test_shrinking_again_soon_after_growing_again_waits():
    """The second turn from growing to shrinking within an hour is put off, and says so."""
    fleet = Fleet()
    fleet.run(30, 120)
    fleet.run(0, 900)
    low = fleet.history[-1]
    fleet.run(30, 120)
    high = fleet.history[-1]
    decision = fleet.run(0, 900)
    assert (low, decision.replicas) == (1, high)
    assert "grew again" in decision.reason
    assert fleet.run(0, 3600).replicas == 1


def test_observed_pods_do_not_scale_a_model():
    """Once decided, the number of pods seen (fewer in a loss, more while covered) is no reason to change it."""
    _, state = autoscale.desired(steady(18, 100), CONFIG, AutoscaleState(), 4, 100)
    seen = {autoscale.desired(steady(18, 102), CONFIG, state, pods, 102)[0].replicas for pods in (0, 2, 4, 9)}
    assert seen == {4}


def test_a_new_operator_keeps_what_runs_and_waits_for_the_whole_delay():
    """A restart begins by holding; a low load shrinks nothing before the delay has been watched."""
    fleet = Fleet()
    fleet.state = AutoscaleState()
    fleet.signal = SignalState()
    decision, fleet.state = autoscale.desired(fleet.signal, CONFIG, fleet.state, 6, fleet.now)
    assert (decision.replicas, decision.held) == (6, True)
    fleet.run(1, 298)
    assert set(fleet.history) == {6}
    fleet.run(1, 10)
    assert fleet.history[-1] == 5


@pytest.mark.parametrize(
    ("delay", "gap"),
    [pytest.param(300.0, 600, id="longer than every window"), pytest.param(20.0, 50, id="longer than the delay only")],
)
def test_a_gap_counts_as_full_need(delay, gap):
    """Time without figures does not make the delay pass."""
    fleet = Fleet(replace(CONFIG, scale_down_delay=delay), replicas=6)
    fleet.run(30, 120)
    fleet.run(None, gap)
    fleet.history.clear()
    fleet.run(0, delay - 2)
    assert set(fleet.history) == {6}


SLEEPER = replace(CONFIG, min_replicas=0, idle_after=600.0)


def test_an_idle_model_sleeps_and_the_first_request_wakes_it():
    """No request for idleAfter: zero. A held request: replicas at once, without waiting for history."""
    fleet = Fleet(SLEEPER)
    fleet.run(0, 590, requests=7)
    assert fleet.history[-1] == 1
    assert fleet.run(0, 20, requests=7).replicas == 0
    assert fleet.run(0, 100, requests=7).replicas == 0
    assert fleet.tick(1, requests=8).replicas == 1


def test_a_model_that_serves_too_fast_to_be_seen_does_not_sleep():
    """Every scrape finds nothing in flight, but the count of requests rises."""
    fleet = Fleet(SLEEPER)
    for count in range(600):
        fleet.tick(0, requests=count)
    assert set(fleet.history) == {1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_replicas": 11}, "minReplicas 11 is not within 0..10"),
        ({"capacity_per_replica": 0}, "a replica must take some requests"),
        ({"panic_window": 90.0}, "windows must be within 60 s"),
    ],
)
def test_nonsense_is_refused(change, message):
    """A configuration that no decision could honour is named."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


def test_a_decision_takes_no_longer_the_more_there_was_before():
    """Full windows and a long memory included: hours later it takes as few steps, and reads a state as small."""
    fleet, taken, sizes = Fleet(replace(CONFIG, max_replicas=1000)), [], []
    for _ in range(4):
        for at in range(1000):
            fleet.tick(max(0, 4000 - 10 * at))
        taken.append(steps(lambda: autoscale.desired(fleet.signal, fleet.config, fleet.state, 0, fleet.now), most=1000))
        sizes.append(len(fleet.signal.times) + len(json.dumps(fleet.state.to_json())))
    assert max(taken) <= 1.5 * min(taken), taken
    assert max(sizes) <= 1.5 * min(sizes), sizes


def test_the_state_survives_json():
    """What is written to a status is read back equal, and an empty one is new."""
    fleet = Fleet()
    fleet.run(0, 60)
    fleet.run(50, 60)
    fleet.run(0, 500)
    assert AutoscaleState.from_json(json.loads(json.dumps(fleet.state.to_json()))) == fleet.state
    assert AutoscaleState.from_json({}) == AutoscaleState()
