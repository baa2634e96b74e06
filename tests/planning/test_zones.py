"""Zones that lose nodes cool down, and their losses are remembered for a while."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning import zones
from trimtab.planning.zones import Loss, Notice, Quota, Shortage, ZoneState

HOUR = 3600.0


def after(*events, state=None):
    """Return the state after (moment, event) pairs."""
    state = state or ZoneState()
    for now, event in events:
        state = zones.with_event(state, event, now)
    return state


def test_a_zone_cools_for_three_minutes():
    """Nothing is ordered where a node was just lost; other zones go on."""
    state = after((0, Loss("1", "a")))
    assert [zones.is_cooling(state, "a", now) for now in (0, 179, 180)] == [True, True, False]
    assert not zones.is_cooling(state, "b", 0)


def test_the_cool_down_grows_to_five_minutes():
    """Each blow that follows soon after a cool-down makes the next longer: 3, then always 5 minutes."""
    state, now, lengths = ZoneState(), 0.0, []
    for number in range(4):
        state = after((now, Loss(str(number), "a")), state=state)
        lengths.append((state.zones["a"].cooling_until - now) / 60)
        now = state.zones["a"].cooling_until + 1
    assert lengths == [3, 5, 5, 5]


def test_a_quiet_zone_starts_over():
    """Ten minutes after the cool-down the next is short again."""
    state = after((0, Loss("1", "a")), (180 + 600, Loss("2", "a")))
    assert state.zones["a"].cool_down == 180


def test_nodes_that_go_together_are_one_blow():
    """Three notices and their losses within the cool-down do not double it, and count as one loss of the zone."""
    together = after(*((float(second), Notice(f"n{second}", "a")) for second in range(3)), (122.0, Loss("l", "a")))
    assert together.zones["a"].cool_down == 180
    assert together.zones["a"].cooling_until == 122 + 180
    assert together.zones["a"].losses == 1


def test_a_shortage_cools_zones_and_is_no_loss():
    """Where nothing can be had nothing is ordered, but no node was lost there."""
    state = after((0, Shortage("1", ("a", "b"))))
    assert all(zones.is_cooling(state, name, 1) for name in "ab")
    assert state.zones["a"].losses == 0


def test_a_quota_stops_the_pool_and_not_its_zones():
    """Another pool may still use the zone; the quota is asked again after half an hour."""
    state = after((0, Quota("1", "spot")))
    assert [zones.is_over_quota(state, "spot", now) for now in (0, 1799, 1800)] == [True, True, False]
    assert not state.zones


def test_the_hazard_starts_at_the_prior_rises_and_fades():
    """Unknown: one loss in 20 hours. A loss raises it, quiet hours lower it below the prior."""
    state = after((0, Loss("1", "a")))
    assert zones.hazard(ZoneState(), "a", 0) == 0.05
    assert zones.hazard(state, "a", 0) == pytest.approx(0.15)  # (1 + 0.5) / (0 + 10)
    # Six hours on: half a loss is remembered, over 4.33 of 8.66 hours: (0.5 + 0.5) / (4.33 + 10)
    assert zones.hazard(state, "a", 6 * HOUR) == pytest.approx(1 / 14.328, rel=1e-4)
    assert zones.hazard(state, "a", 60 * HOUR) < 0.05


@pytest.mark.parametrize("jump", [-1e6, -3600.0])
def test_a_clock_that_steps_back_stops_nothing(jump):
    """Cool-downs that would last for days after a clock step are forgotten."""
    state = after((0, Loss("1", "a")), (0, Quota("2", "spot")))
    assert not zones.is_cooling(state, "a", jump)
    assert not zones.is_over_quota(state, "spot", jump)


names = st.sampled_from("abcd")
kinds = st.one_of(
    st.builds(lambda z: lambda i: Notice(i, z), names),
    st.builds(lambda z: lambda i: Loss(i, z), names),
    st.builds(lambda z: lambda i: Shortage(i, z), st.lists(names, max_size=4).map(tuple)),
    st.builds(lambda p: lambda i: Quota(i, p), names),
)
histories = st.lists(st.tuples(st.floats(0, 900), kinds), max_size=30)


def story(history):
    """Return (moment, event) pairs with rising moments and an id each."""
    now, told = 0.0, []
    for number, (gap, make) in enumerate(history):
        now += gap
        told.append((now, make(str(number))))
    return told


@given(histories, st.randoms())
def test_events_count_once(history, rng):
    """Delivered again at any later moment, in any order, they change nothing."""
    told = story(history)
    state = after(*told)
    replayed = [event for _, event in told]
    rng.shuffle(replayed)
    now = told[-1][0] + 1 if told else 0.0
    within_memory = [event for event in replayed if now - dict(state.seen).get(event.id, -1e9) < zones.MEMORY_S]
    assert after(*((now, event) for event in within_memory), state=state) == state


@given(histories)
def test_zones_survive_json(history):
    """Any state is read back as it was written."""
    state = after(*story(history))
    assert ZoneState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_the_memory_of_events_is_bounded():
    """A flood of events leaves the newest few hundred, and none is older than an hour."""
    state = after(*((number / 100, Loss(str(number), "a")) for number in range(2000)))
    assert len(state.seen) == zones.MEMORY_EVENTS
    assert [entry[0] for entry in after((9000, Loss("x", "a")), state=state).seen] == ["x"]
