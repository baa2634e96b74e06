"""How many replicas a model needs.

Two windows as in Knative's autoscaler: the long one follows the load, the short one answers bursts, and after a
burst nothing shrinks for a full long window. Up at once, in steps that each rest on samples taken after the step
before; down slowly, to the most that was needed during the delay. Without figures everything stays as it is. What
chance does to a load is kept in reserve, and is no reason to grow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from trimtab.api.quantities import counted
from trimtab.planning import chance, signals
from trimtab.planning.signals import SignalState
from trimtab.planning.windows import Peaks, elapsed, peak, with_value

UP, DOWN = 1, -1
TURN_DELAYS = 12  # a delay of 5 min makes an hour: at most two changes of direction in it
RISE_DEVIATIONS = 2.0  # of the last seconds' mean, which strays less than a single draw
TOLERANCE = 0.1  # HPA's: a mean of a minute strays, too
ROUNDING = 1e-9  # 1.4 / 0.7 is a little above 2 and must not need a third replica


@dataclass(frozen=True, slots=True)
class AutoscaleConfig:
    """What the user asked for, and the constants of the policy. Times are in seconds.

    `capacity_per_replica` is how many requests one replica takes at once (or the spec's target). One more replica than
    `utilisation` of it needs is in reserve against chance at most; what the load was seen to stray beyond chance comes
    on top. No fleet is planned fuller than `fullest`, however large. `idle_after` is the time without a request after
    which a model with `min_replicas` 0 sleeps; without it, one replica always stays.
    """

    min_replicas: int
    max_replicas: int
    capacity_per_replica: float
    scale_down_delay: float = 300.0
    idle_after: float | None = None
    utilisation: float = 0.7
    fullest: float = 0.8
    stable_window: float = signals.WINDOW_S
    panic_window: float = 6.0
    panic_threshold: float = 2.0
    planned: float = field(init=False)
    """Requests at once that a replica is planned for."""
    sleeps: bool = field(init=False)
    """Whether the model may go to zero."""
    awake: int = field(init=False)
    """Replicas at least while requests come."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError(f"minReplicas {self.min_replicas} is not within 0..{self.max_replicas}")
        if self.capacity_per_replica <= 0 or not 0 < self.utilisation <= self.fullest <= 1:
            raise ValueError(
                f"a replica must take some requests: capacity {self.capacity_per_replica}, "
                f"utilisation {self.utilisation}"
            )
        if not 0 < self.panic_window <= self.stable_window <= signals.WINDOW_S:
            raise ValueError(f"windows must be within {signals.WINDOW_S:.0f} s, the short one shorter")
        object.__setattr__(self, "planned", self.capacity_per_replica * self.utilisation)
        object.__setattr__(self, "sleeps", self.min_replicas == 0 and self.idle_after is not None)
        object.__setattr__(self, "awake", min(max(self.min_replicas, 1), self.max_replicas))

    def replicas_for(self, load: float, deviation: float = 0.0, jump: float = 0.0) -> int:
        """Return the replicas that take a mean load and what it strays by.

        `deviation` is the standard deviation that was seen; what is more than Poisson's is a burst that will be back.
        `jump` is the largest rise that was seen to come faster than a replica boots.
        """
        each = self.capacity_per_replica
        peak_load = min(chance.highest(load), load / self.utilisation + each) + chance.beyond(load, deviation, jump)
        enough, least = math.ceil(peak_load / each - ROUNDING), math.ceil(load / (each * self.fullest) - ROUNDING)
        return max(least, enough)

    @property
    def turn_interval(self) -> float:
        """Time between two turns from growing to shrinking at least.

        A load with bursts farther apart than the delay would otherwise make the model grow and shrink with each.
        """
        return TURN_DELAYS * self.scale_down_delay

    @property
    def down_spacing(self) -> float:
        """Time between two steps down at least."""
        return min(max(self.scale_down_delay / 10, 2.0), 30.0)


@dataclass(frozen=True, slots=True)
class AutoscaleState:
    """What must be remembered between decisions; times are those of `now`.

    `replicas` is the last decision, `peaks` the needs within the delay, `direction` the last step's. `deviation` is the
    standard deviation that the load was seen to have, `jump` the largest rise, `seen_at` when both were last updated.
    """

    replicas: int | None = None
    peaks: Peaks = ()
    panic_at: float | None = None
    raised_at: float | None = None
    lowered_at: float | None = None
    turned_at: float | None = None
    direction: int = 0
    deviation: float = 0.0
    seen_at: float | None = None
    jump: float = 0.0

    def looked(
        self, peaks: Peaks, panic_at: float | None, deviation: float, jump: float, seen_at: float
    ) -> AutoscaleState:
        """Return the state after a look: done for every model every second, and `replace` takes thrice as long."""
        return AutoscaleState(
            self.replicas,
            peaks,
            panic_at,
            self.raised_at,
            self.lowered_at,
            self.turned_at,
            self.direction,
            deviation,
            seen_at,
            jump,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "replicas": self.replicas,
            "peaks": [list(entry) for entry in self.peaks],
            "deviation": self.deviation,
            "seenAt": self.seen_at,
            "jump": self.jump,
            "panicAt": self.panic_at,
            "raisedAt": self.raised_at,
            "loweredAt": self.lowered_at,
            "turnedAt": self.turned_at,
            "direction": self.direction,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AutoscaleState:
        """Return the state that `to_json` wrote; what is missing is as new."""
        return cls(
            replicas=data.get("replicas"),
            peaks=tuple((float(at), int(value)) for at, value in data.get("peaks", ())),
            deviation=data.get("deviation", 0.0),
            seen_at=data.get("seenAt"),
            jump=data.get("jump", 0.0),
            panic_at=data.get("panicAt"),
            raised_at=data.get("raisedAt"),
            lowered_at=data.get("loweredAt"),
            turned_at=data.get("turnedAt"),
            direction=data.get("direction", 0),
        )


class Desired(NamedTuple):
    """A decision and its reason, a sentence for people. `held`: kept as it is for want of figures."""

    replicas: int
    reason: str
    held: bool = False


class _Need(NamedTuple):
    replicas: int
    why: str


def desired(
    signal: SignalState, config: AutoscaleConfig, state: AutoscaleState, current: int, now: float
) -> tuple[Desired, AutoscaleState]:
    """Return how many replicas the model is to have, ready and booting together.

    `current` counts only where the state remembers no decision (a new operator): what is observed dips when a pod
    is replaced and swells when a lost one is covered, and neither is a reason to scale. The result is within the
    bounds, rises with the load, and never falls for want of figures.
    """
    ordered = current if state.replicas is None else state.replicas
    bounded = min(max(ordered, 0 if config.sleeps else config.awake), config.max_replicas)
    if bounded != ordered:
        limit = f"{config.min_replicas} to {config.max_replicas} replicas are allowed"
        return _decided(bounded, f"{limit}, {ordered} were ordered", config, state, ordered, now)
    if why := signals.missing(signal, now, config.panic_window):
        state = replace(state, replicas=ordered, peaks=_seen(state, ordered, ordered, config, now))
        return Desired(ordered, f"{why}: holding {ordered}", held=True), state
    if config.idle_after is not None and config.sleeps:
        quiet = signals.quiet_for(signal, now)  # also while it sleeps: the windows still hold what it was like before
        if quiet >= config.idle_after:
            return _decided(0, f"no request for {quiet:.0f} s", config, state, ordered, now)
    need, state = _need(signal, config, state, ordered, now)
    if need.replicas > ordered:
        return _up(need, config, state, ordered, now)
    return _down(need, config, state, ordered, now)


def _seen(state: AutoscaleState, ordered: int, need: int, config: AutoscaleConfig, now: float) -> Peaks:
    """Return the needs within the delay; a time that was not watched counts as one that needed all there was."""
    peaks = state.peaks
    if not peaks or elapsed(peaks[-1][0], now) > config.stable_window:
        peaks = with_value((), now, ordered, config.scale_down_delay)
    return with_value(peaks, now, need, config.scale_down_delay)


def _need(
    signal: SignalState, config: AutoscaleConfig, state: AutoscaleState, ordered: int, now: float
) -> tuple[_Need, AutoscaleState]:
    """Return the replicas that the load needs now, within the bounds, and the state with this look."""
    stable = signals.mean(signal, now, config.stable_window)
    short = signals.mean(signal, now, config.panic_window)
    since = elapsed(state.seen_at, now)
    deviation = chance.deviation_seen(state.deviation, signal, since)
    jump = chance.jump_seen(state.jump, signal, now, config.stable_window, deviation, since)
    burst = math.ceil(short / config.planned - ROUNDING)
    panic_at = now if burst >= config.panic_threshold * max(ordered, 1) else state.panic_at
    panicking = elapsed(panic_at, now) < config.stable_window
    waiting = short > ordered * config.capacity_per_replica  # more than all replicas take at once
    # What chance cannot explain of the last seconds is a rise. A slighter one orders nothing, but what it needs is not
    # given away either.
    risen = max(short - RISE_DEVIATIONS * max(math.sqrt(short), deviation), stable / (1 + TOLERANCE))
    at_once = burst if panicking or waiting else 0
    fresh = elapsed(state.raised_at, now) < config.panic_window  # what was just ordered is not taken back at once
    here = burst if fresh else math.ceil(short / config.capacity_per_replica - ROUNDING)
    replicas = max(config.replicas_for(risen, deviation, jump), at_once)
    if replicas < ordered:  # of what there is, what the mean needs is kept
        replicas = max(replicas, min(max(config.replicas_for(stable, deviation, jump), here), ordered))
    load = max(stable, short)
    full = load / (replicas * config.capacity_per_replica) if replicas else 0.0
    why = (
        f"{load:.1f} requests in flight and queued need {counted(replicas, 'replica')} of "
        f"{config.capacity_per_replica:g}, {full:.0%} full"
    )
    if panicking and replicas < ordered:
        replicas, why = ordered, f"{why}; {ordered} stay for {config.stable_window:.0f} s after a burst"
    least = config.awake if ordered else 0
    replicas = min(max(replicas, least), config.max_replicas)
    peaks = _seen(state, ordered, replicas, config, now)
    return _Need(replicas, why), state.looked(peaks, panic_at, deviation, jump, now)


def _up(
    need: _Need, config: AutoscaleConfig, state: AutoscaleState, ordered: int, now: float
) -> tuple[Desired, AutoscaleState]:
    """Return the next step up: at most double or four more, once the short window has seen the step before."""
    if ordered and elapsed(state.raised_at, now) < config.panic_window:
        return _decided(ordered, f"{need.why}; the last step is still fresh", config, state, ordered, now)
    step = min(need.replicas, max(2 * ordered, ordered + 4))
    return _decided(step, need.why, config, state, ordered, now)


def _down(
    need: _Need, config: AutoscaleConfig, state: AutoscaleState, ordered: int, now: float
) -> tuple[Desired, AutoscaleState]:
    """Return the next step down: a tenth at most, to what the delay needed, and rarely after growing."""
    target = peak(state.peaks)
    if target >= ordered:
        return _decided(ordered, need.why, config, state, ordered, now)
    if state.direction == UP and elapsed(state.turned_at, now) < config.turn_interval:
        ago = elapsed(state.turned_at, now)
        why = f"{need.why}; shrank {ago:.0f} s ago and grew again, so {ordered} stay"
        return _decided(ordered, why, config, state, ordered, now)
    if elapsed(state.lowered_at, now) < config.down_spacing:
        return _decided(ordered, f"{need.why}; the last step is still fresh", config, state, ordered, now)
    step = max(target, ordered - max(1, ordered // 10))
    why = f"{need.why}, for {config.scale_down_delay:.0f} s no more than {target}"
    return _decided(step, why, config, state, ordered, now)


def _decided(
    replicas: int, why: str, config: AutoscaleConfig, state: AutoscaleState, ordered: int, now: float
) -> tuple[Desired, AutoscaleState]:
    peaks = state.peaks or with_value((), now, replicas, config.scale_down_delay)
    if replicas > ordered:
        state = replace(state, replicas=replicas, peaks=peaks, raised_at=now, direction=UP)
    elif replicas < ordered:
        turned_at = state.turned_at if state.direction == DOWN else now
        state = replace(state, replicas=replicas, peaks=peaks, lowered_at=now, turned_at=turned_at, direction=DOWN)
    elif state.replicas != replicas or state.peaks is not peaks:
        state = replace(state, replicas=replicas, peaks=peaks)
    return Desired(replicas, why), state
