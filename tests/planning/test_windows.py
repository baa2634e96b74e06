"""Peaks of a sliding window, against their definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning.windows import Peaks, elapsed, peak, with_value

looks = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, 30.0, 400.0, -3.0, -90.0]), st.integers(0, 6)), max_size=80)


@given(looks, st.sampled_from([0.0, 4.0, 60.0, 300.0]))
def test_peaks_are_what_looking_at_all_of_them_finds(steps, horizon):
    """Whatever the clock does: kept is what is larger than all that came later, and within the horizon."""
    peaks: Peaks = ()
    now = 1000.0
    for step, value in steps:
        now += step
        kept = [entry for entry in peaks if entry[1] > value and elapsed(entry[0], now) < horizon]
        peaks = with_value(peaks, now, value, horizon)
        assert peaks == (*kept, (now, value))
        assert peak(peaks) == max(entry[1] for entry in peaks)
