"""What the gateway says about the load: samples of a sliding window, and whether they can be trusted.

Samples are totals over all replicas of a model (in flight and queued), never averages per replica: a total does
not change when a replica comes or goes, so the autoscaler does not chase its own steps.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from operator import attrgetter

from trimtab.planning.windows import elapsed

WINDOW_S = 60.0
_AT = attrgetter("at")


@dataclass(frozen=True, slots=True)
class Sample:
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

    total: float = field(init=False, compare=False, repr=False)
    """The load: requests at the gateway, running or waiting, or what they come to. Kept: windows add it up often."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.in_flight + self.queued if self.load is None else self.load)


@dataclass(frozen=True, slots=True)
class SignalState:
    """Samples of the last minute, oldest first, and since when no request came (None: they do, or it is unknown)."""

    samples: tuple[Sample, ...] = ()
    quiet_since: float | None = None
    source: str = "the gateway"
    """Who tells, in words."""


def ingest(state: SignalState, sample: Sample | None, now: float) -> SignalState:
    """Return the state with one more scrape (None: it failed) and without what left the window.

    A sample that is not newer than the last is already there: feeding one twice changes nothing.
    """
    kept = _kept(state.samples, now)
    if sample is None or elapsed(sample.at, now) > WINDOW_S or (kept and sample.at <= kept[-1].at):
        return state if kept is state.samples else replace(state, samples=kept)
    last = state.samples[-1] if state.samples else None
    quiet_since = _quiet_since(state.quiet_since, last, sample)
    return SignalState((*kept, sample), quiet_since, state.source)


def _kept(samples: tuple[Sample, ...], now: float) -> tuple[Sample, ...]:
    """Return the samples of the window; they rise in time, so that only those at the ends can be out of it."""
    first, end = 0, len(samples)
    while first < end and elapsed(samples[end - 1].at, now) > WINDOW_S:  # a clock step: they are yet to come
        end -= 1
    while first < end and elapsed(samples[first].at, now) > WINDOW_S:
        first += 1
    return samples[first:end]


def _quiet_since(since: float | None, last: Sample | None, sample: Sample) -> float | None:
    if sample.total or sample.requests is None:
        return None
    if since is None or last is None or last.requests != sample.requests:
        return sample.at
    return since


def quiet_for(state: SignalState, now: float) -> float:
    """Return for how many seconds no request came; 0 while they come or it is unknown."""
    return 0.0 if state.quiet_since is None else max(0.0, now - state.quiet_since)


def mean(state: SignalState, now: float, window: float) -> float:
    """Return the mean total of the last `window` seconds; 0 where there is no sample."""
    found = mean_between(state, now - window, now)
    return 0.0 if found is None else found


def mean_between(state: SignalState, since: float, until: float) -> float | None:
    """Return the mean total of a time, its ends included; None where there is no sample."""
    samples = state.samples
    first, end = bisect_left(samples, since, key=_AT), bisect_right(samples, until, key=_AT)
    totals = [sample.total for sample in samples[first:end]]
    return sum(totals) / len(totals) if totals else None


def missing(state: SignalState, now: float, window: float) -> str | None:
    """Return why nothing can be decided on these samples, None if it can.

    There must be one in the last `window` seconds, and they must reach back at least as far.
    """
    if not state.samples:
        return f"{state.source} gives no figures"
    age = elapsed(state.samples[-1].at, now)
    if age > window:
        return f"{state.source}'s last figures are {age:.0f} s old"
    span = elapsed(state.samples[0].at, now)
    if span < window:
        return f"{state.source}'s figures reach back {span:.0f} of {window:.0f} s"
    return None
