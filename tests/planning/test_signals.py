"""Samples of the gateway, and whether they can be trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning import signals
from trimtab.planning.signals import Sample, SignalState


def fed(*samples: Sample) -> SignalState:
    state = SignalState()
    for sample in samples:
        state = signals.ingest(state, sample, sample.at)
    return state


def test_only_the_window_is_remembered():
    """A day of samples leaves a minute of them."""
    state = fed(*(Sample(at, 1, 0) for at in range(0, 86_400, 2)))
    assert [state.times[0], state.times[-1]] == [86_398 - 60, 86_398]


def test_a_sample_counts_once():
    """The same scrape delivered twice changes nothing."""
    once = fed(Sample(0, 1, 0), Sample(2, 3, 4))
    assert signals.ingest(once, Sample(2, 3, 4), 2) == once


def test_the_window_ages_while_scrapes_fail():
    """Failed scrapes add nothing and let old samples go."""
    state = fed(Sample(0, 1, 0), Sample(50, 1, 0))
    state = signals.ingest(state, None, 70)
    assert state.times == (50,)


def test_a_clock_that_steps_back_starts_over():
    """Samples of a future that was taken back do not block those of the present."""
    state = signals.ingest(fed(Sample(1000, 9, 0)), Sample(400, 1, 0), 400)
    assert state.times == (400,)


def test_the_mean_is_of_totals_within_the_window():
    """In flight and queued count alike; older samples do not."""
    state = fed(Sample(0, 100, 0), Sample(10, 2, 0), Sample(12, 1, 3))
    assert signals.mean(state, 12, 6) == 3.0


@pytest.mark.parametrize(
    ("state", "now", "why"),
    [
        pytest.param(SignalState(), 0, "the gateway gives no figures", id="none"),
        pytest.param(fed(Sample(0, 1, 0), Sample(10, 1, 0)), 20, "the gateway's last figures are 10 s old", id="stale"),
        pytest.param(fed(Sample(0, 1, 0), Sample(2, 1, 0)), 2, "the gateway's figures reach back 2 of 6 s", id="young"),
        pytest.param(fed(*(Sample(at, 1, 0) for at in (0, 2, 4, 6))), 6, None, id="enough"),
    ],
)
def test_what_is_missing_is_named(state, now, why):
    """A decision needs fresh samples that reach back over the short window."""
    assert signals.missing(state, now, 6) == why


def test_quiet_needs_the_count_of_requests():
    """Requests that no scrape saw in flight still count as activity, and without a count nothing is quiet."""
    still = fed(Sample(0, 0, 0, 7), Sample(2, 0, 0, 7), Sample(4, 0, 0, 7))
    served_between = signals.ingest(still, Sample(6, 0, 0, 8), 6)
    uncounted = fed(Sample(0, 0, 0), Sample(2, 0, 0))
    quiet = [signals.quiet_for(state, 10) for state in (still, served_between, uncounted)]
    assert quiet == [10.0, 4.0, 0.0]


looks = st.lists(st.tuples(st.floats(-90, 90), st.floats(0, 50)), max_size=60)


@given(looks, st.floats(1, 60))
def test_the_window_is_what_lies_within_it(steps, window):
    """Whatever the clock does: each sample and each mean as found by looking at all of them."""
    state, now = SignalState(), 1000.0
    for step, load in steps:
        now += step
        before = zip(state.times, state.totals, strict=True)
        expected = [(at, old) for at, old in before if 0 <= now - at <= signals.WINDOW_S]
        state = signals.ingest(state, Sample(now, 0, 0, load=load), now)
        if not expected or expected[-1][0] < now:
            expected.append((now, load))
        assert list(zip(state.times, state.totals, strict=True)) == expected
        assert len(state.times) == len(state.requests) == len(expected)
        inside = [old for at, old in expected if now - window <= at <= now]
        assert signals.mean(state, now, window) == (sum(inside) / len(inside) if inside else 0.0)
