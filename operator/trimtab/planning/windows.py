"""Times and sliding windows, for decisions that look back."""

from __future__ import annotations

import math

Peaks = tuple[tuple[float, int], ...]
"""(time in seconds, value) pairs: times rise, values fall, so the first is the maximum and there are at most as
many as there are different values."""


def elapsed(since: float | None, now: float) -> float:
    """Return the seconds since a moment; infinite for one that never was or, after a clock step, is yet to come."""
    return math.inf if since is None or since > now else now - since


def with_value(peaks: Peaks, now: float, value: int, horizon: float) -> Peaks:
    """Return the peaks of the last `horizon` seconds with `value` seen now."""
    first, end = 0, len(peaks)
    while end and (peaks[end - 1][1] <= value or peaks[end - 1][0] > now):
        end -= 1
    while first < end and now - peaks[first][0] >= horizon:
        first += 1
    return (*peaks[first:end], (now, value))


def peak(peaks: Peaks) -> int:
    """Return the largest value of the window; 0 when it is empty."""
    return peaks[0][1] if peaks else 0
