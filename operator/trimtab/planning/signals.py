"""What the gateway says about the load: samples of a sliding window, and whether they can be trusted.

What is made anew in every look at every model is a named tuple: a frozen dataclass takes thrice as long to make.
Samples are totals over all replicas of a model (in flight and queued), never averages per replica: a total does
not change when a replica comes or goes, so the autoscaler does not chase its own steps.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from trimtab.planning.windows import elapsed

WINDOW_S = 60.0


class Sample(NamedTuple):
    """One scrape of the gateway.

    `requests` is the gateway's count of all requests so far, None where it is unknown. Short requests are never
    seen in flight by a scrape; only this count shows that a model is idle.
    """

    at: float
    in_flight: int
    queued: int
    requests: int | None = None
    load: float | None = None
    """What the model's metric comes to, in requests at once; those at the gateway unless set."""

    @property
    def total(self) -> float:
        """The load: requests at the gateway, running or waiting, or what they come to."""
        return self.in_flight + self.queued if self.load is None else self.load


class SignalState(NamedTuple):
    """Samples of the last minute, oldest first, and since when no request came (None: they do, or it is unknown).

    They are kept column by column, as windows are added up by the hundred thousand: sums of floats, not of objects.
    """

    times: tuple[float, ...] = ()
    """When each was taken; they rise."""
    totals: tuple[float, ...] = ()
    """The load of each."""
    requests: tuple[int | None, ...] = ()
    """The count of requests of each."""
    quiet_since: float | None = None
    source: str = "the gateway"
    """Who tells, in words."""

    def of(self, indices: Sequence[int]) -> SignalState:
        """Return the state with these of its samples."""
        return self._replace(
            times=tuple([self.times[i] for i in indices]),
            totals=tuple([self.totals[i] for i in indices]),
            requests=tuple([self.requests[i] for i in indices]),
        )


def ingest(state: SignalState, sample: Sample | None, now: float) -> SignalState:
    """Return the state with one more scrape (None: it failed) and without what left the window.

    A sample that is not newer than the last is already there: feeding one twice changes nothing.
    """
    times = state.times
    first, end = _kept(times, now)
    if sample is None or elapsed(sample.at, now) > WINDOW_S or (first < end and sample.at <= times[end - 1]):
        return state if end - first == len(times) else state.of(range(first, end))
    total = sample.total
    return SignalState(
        (*times[first:end], sample.at),
        (*state.totals[first:end], total),
        (*state.requests[first:end], sample.requests),
        None if total or sample.requests is None else _quiet_since(state, sample),
        state.source,
    )


def _kept(times: tuple[float, ...], now: float) -> tuple[int, int]:
    """Return where the window begins and ends; times rise, so that only those at the ends can be out of it."""
    first, end = 0, len(times)
    while end and times[end - 1] > now:  # a clock step: they are yet to come
        end -= 1
    while first < end and now - times[first] > WINDOW_S:
        first += 1
    return first, end


def _quiet_since(state: SignalState, sample: Sample) -> float:
    if state.quiet_since is None or not state.requests or state.requests[-1] != sample.requests:
        return sample.at
    return state.quiet_since


def quiet_for(state: SignalState, now: float) -> float:
    """Return for how many seconds no request came; 0 while they come or it is unknown."""
    return 0.0 if state.quiet_since is None else max(0.0, now - state.quiet_since)


def mean(state: SignalState, now: float, window: float) -> float:
    """Return the mean total of the last `window` seconds; 0 where there is no sample."""
    found = mean_between(state, now - window, now)
    return 0.0 if found is None else found


def mean_between(state: SignalState, since: float, until: float) -> float | None:
    """Return the mean total of a time, its ends included; None where there is no sample."""
    times = state.times
    first, end = bisect_left(times, since), bisect_right(times, until)
    return sum(state.totals[first:end]) / (end - first) if first < end else None


def missing(state: SignalState, now: float, window: float) -> str | None:
    """Return why nothing can be decided on these samples, None if it can.

    There must be one in the last `window` seconds, and they must reach back at least as far.
    """
    if not state.times:
        return f"{state.source} gives no figures"
    age = elapsed(state.times[-1], now)
    if age > window:
        return f"{state.source}'s last figures are {age:.0f} s old"
    span = elapsed(state.times[0], now)
    if span < window:
        return f"{state.source}'s figures reach back {span:.0f} of {window:.0f} s"
    return None
