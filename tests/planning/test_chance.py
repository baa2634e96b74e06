"""How far a load was seen to stray, against the definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning import chance, signals
from trimtab.planning.signals import Sample, SignalState

looks = st.lists(st.tuples(st.floats(0.1, 40), st.integers(0, 90), st.floats(0, 90)), min_size=1, max_size=60)


def mean(samples: list[tuple[float, float]], since: float, until: float) -> float | None:
    inside = [load for at, load in samples if since <= at <= until]
    return sum(inside) / len(inside) if inside else None


@given(looks, st.floats(12, 60))
def test_deviation_and_jump_are_what_looking_at_every_sample_finds(steps, window):
    """To the last bit, as replicas hang on it: the newest against the first at least ten seconds older, and so on."""
    state, now, deviation, jump = SignalState(), 1000.0, 0.0, 0.0
    for step, whole, part in steps:
        now += step
        state = signals.ingest(state, Sample(now, 0, 0, load=whole + part), now)
        seen = list(zip(state.times, state.totals, strict=True))
        older = [load for at, load in seen if at <= seen[-1][0] - chance.LAG_S]
        weight = 1 - math.exp(-min(step, signals.WINDOW_S) / chance.MEMORY_S)
        away = math.sqrt(math.pi) / 2 * abs(seen[-1][1] - older[-1]) if older else 0.0
        expected = deviation + weight * (away - deviation) if older else deviation
        deviation = chance.deviation_seen(deviation, state, step)
        assert deviation == expected
        late, early = mean(seen, now - 0.25 * window, now), mean(seen, now - window, now - 0.75 * window)
        expected = jump * math.exp(-step / chance.JUMP_MEMORY_S)
        if late is not None and early is not None:
            expected = max(expected, late - early - 1.5 * max(math.sqrt(late), deviation, 1.0))
        jump = chance.jump_seen(jump, state, now, window, deviation, step)
        assert jump == expected


@pytest.mark.parametrize(
    ("load", "deviation", "jump", "more"),
    [
        pytest.param(0.0, 9.0, 9.0, 0.0, id="nothing is no burst"),
        pytest.param(100.0, 10.0, 0.0, 0.0, id="as chance has it"),
        pytest.param(100.0, 12.0, 0.0, 6.4, id="bursts"),
        pytest.param(100.0, 12.0, 20.0, 20.0, id="a jump that is larger"),
        pytest.param(100.0, 12.0, 90.0, 30.0, id="no more of a jump than three tenths"),
    ],
)
def test_what_is_kept_beyond_chance(load, deviation, jump, more):
    """The larger of bursts and jumps."""
    assert chance.beyond(load, deviation, jump) == pytest.approx(more)
