"""What the autoscaler promises for any load."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.planning import autoscale, signals
from trimtab.planning.autoscale import AutoscaleConfig, AutoscaleState
from trimtab.planning.signals import Sample, SignalState

CONFIG = AutoscaleConfig(min_replicas=1, max_replicas=12, capacity_per_replica=8)
Load = int | None


def follow(loads: list[Load], config: AutoscaleConfig, start: int = 1, tick: float = 2.0) -> list[autoscale.Desired]:
    """Return the decisions over a load, one scrape and one decision per tick."""
    signal, state, decisions = SignalState(), AutoscaleState(), []
    for index, load in enumerate(loads):
        now = 1000.0 + index * tick
        signal = signals.ingest(signal, None if load is None else Sample(now, load, 0), now)
        decision, state = autoscale.desired(signal, config, state, start, now)
        decisions.append(decision)
    return decisions


def turns(replicas: list[int]) -> int:
    """Return how often the direction changes."""
    steps = [b - a for a, b in itertools.pairwise(replicas) if a != b]
    return sum(1 for a, b in itertools.pairwise(steps) if a * b < 0)


loads = st.lists(st.one_of(st.none(), st.integers(0, 300)), max_size=200)
configs = st.builds(
    lambda low, span, capacity, delay: AutoscaleConfig(
        min_replicas=low, max_replicas=max(1, low + span), capacity_per_replica=capacity, scale_down_delay=delay
    ),
    st.integers(0, 5),
    st.integers(0, 20),
    st.integers(1, 40),
    st.sampled_from([0.0, 4.0, 20.0, 300.0]),
)


@given(loads, configs, st.integers(0, 30))
def test_the_bounds_hold_from_the_first_decision(trace, config, start):
    """Never below the floor, never above the ceiling, wherever it starts."""
    replicas = [decision.replicas for decision in follow(trace, config, start)]
    assert all(config.awake <= count <= config.max_replicas for count in replicas)


@given(loads, configs)
def test_a_step_up_is_bounded(trace, config):
    """At most double or four more, and not within the short window of the step before."""
    replicas = [decision.replicas for decision in follow(trace, config, config.awake)]
    raised = [at for at in range(1, len(replicas)) if replicas[at] > replicas[at - 1]]
    assert all(replicas[at] <= max(2 * replicas[at - 1], replicas[at - 1] + 4) for at in raised)
    assert all(b - a >= 3 for a, b in itertools.pairwise(raised))


@given(loads, st.integers(1, 12), st.integers(1, 300))
def test_missing_figures_never_shrink(trace, start, holes):
    """Whatever came before, while no figures come the number stays."""
    decisions = follow([*trace, *[None] * holes], CONFIG, start)
    blind = decisions[len(trace) + 3 :]  # the last sample is fresh for six seconds
    assert all(decision.held for decision in blind)
    assert len({decision.replicas for decision in blind}) <= 1


@given(loads, st.lists(st.integers(0, 120), min_size=4, max_size=40), st.integers(0, 200))
def test_more_load_never_means_fewer_replicas(trace, tail, more):
    """From the same past, every decision rises with the load."""
    signal, state = SignalState(), AutoscaleState()
    for index, load in enumerate(trace):
        now = index * 2.0
        signal = signals.ingest(signal, None if load is None else Sample(now, load, 0), now)
        _, state = autoscale.desired(signal, CONFIG, state, 1, now)
    low = high = signal
    for index, load in enumerate(tail, start=len(trace)):
        low = signals.ingest(low, Sample(index * 2.0, load, 0), index * 2.0)
        high = signals.ingest(high, Sample(index * 2.0, load, more), index * 2.0)
    now = (len(trace) + len(tail)) * 2.0
    few, _ = autoscale.desired(low, CONFIG, state, 1, now)
    many, _ = autoscale.desired(high, CONFIG, state, 1, now)
    assert few.replicas <= many.replicas


@given(loads, configs, st.integers(1, 12))
def test_deciding_twice_at_one_moment_changes_nothing(trace, config, start):
    """A decision that is repeated with its own state is the same decision."""
    signal, state = SignalState(), AutoscaleState()
    for index, load in enumerate(trace):
        now = index * 2.0
        signal = signals.ingest(signal, None if load is None else Sample(now, load, 0), now)
        first, state = autoscale.desired(signal, config, state, start, now)
        again, same = autoscale.desired(signal, config, state, start, now)
        assert (again.replicas, same.replicas, same.peaks) == (first.replicas, state.replicas, state.peaks)


@given(loads, configs)
def test_every_state_survives_json(trace, config):
    """Any state on the way is read back as it was written."""
    signal, state = SignalState(), AutoscaleState()
    for index, load in enumerate(trace):
        signal = signals.ingest(signal, None if load is None else Sample(index * 2.0, load, 0), index * 2.0)
        _, state = autoscale.desired(signal, config, state, 1, index * 2.0)
        assert AutoscaleState.from_json(state.to_json()) == state


def bursts(rng: random.Random, hours: int) -> list[Load]:
    """A calm load with bursts of any height, length and distance."""
    ticks: list[Load] = []
    while len(ticks) < hours * 1800:
        ticks += [rng.randint(0, 8) for _ in range(rng.randint(10, 500))]
        height = rng.randint(8, 80)
        ticks += [rng.randint(0, 2 * height) for _ in range(rng.randint(2, 300))]
    return ticks[: hours * 1800]


def walk(rng: random.Random, hours: int) -> list[Load]:
    """A load that wanders."""
    level, ticks = 20.0, []
    for _ in range(hours * 1800):
        level = min(80.0, max(0.0, level + rng.gauss(0, 1.5)))
        ticks.append(int(level))
    return ticks


def square(rng: random.Random, hours: int) -> list[Load]:
    """The worst case: on and off, just longer than every window."""
    half = rng.randint(160, 420)
    return [60 if (tick // half) % 2 else 0 for tick in range(hours * 1800)]


@pytest.mark.parametrize("trace", [bursts, walk, square])
@pytest.mark.parametrize("seed", range(4))
def test_at_most_two_turns_per_hour(trace, seed):
    """With the defaults a model changes its direction at most twice per hour, whatever the load."""
    hours = 4
    replicas = [decision.replicas for decision in follow(trace(random.Random(seed), hours), CONFIG)]
    assert max(replicas) > 1  # there was something to follow
    assert turns(replicas) <= 2 * hours


@settings(max_examples=30)
@given(st.data())
def test_two_turns_per_hour_on_any_blocks(data):
    """The same for loads that hypothesis builds out of blocks, looking for the worst."""
    blocks = data.draw(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 600)), min_size=1, max_size=12))
    trace = [load for load, ticks in blocks for _ in range(ticks)][:3600]
    replicas = [decision.replicas for decision in follow(trace, CONFIG)]
    hours = -(-len(trace) // 1800)
    assert turns(replicas) <= 2 * hours


def test_a_look_leaves_everything_else_as_it_was():
    """Every field that a look does not tell, also those that come later."""
    values = {entry.name: object() for entry in dataclasses.fields(AutoscaleState)}
    told = {"peaks": (), "panic_at": 1.0, "deviation": 2.0, "jump": 3.0, "seen_at": 4.0}
    assert AutoscaleState(**values).looked(**told) == AutoscaleState(**{**values, **told})
