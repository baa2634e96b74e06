"""How far a load strays from its mean: as chance has it, and as it was seen to.

Of independent arrivals the number in service is Poisson distributed, whatever the distribution of service times: its
standard deviation is the root of its mean. That is little for a large fleet and much for a small one. Arrivals that
come in bursts stray farther; how far is learnt from what the gateway counts some seconds apart, which a slow rise
of the mean hardly changes. Some loads jump to another mean, faster than a replica boots; jumps come together, so the
largest of the last hour is kept in reserve.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from trimtab.planning.signals import WINDOW_S, SignalState, mean_between

DEVIATIONS = 3.2  # a load is higher for some seconds of an hour; tuned on traces, see docs/benchmarks.md
LAG_S = 10.0  # samples nearer to each other see the same requests
MEMORY_S = 900.0  # bursts of a quarter of an hour: a single jump of the load adds little
JUMP_MEMORY_S = 3600.0  # seconds after which a third of a jump is left; tuned with the next two
LARGEST_JUMP = 0.3  # of the load: whoever comes from nothing will not double again
_END = 0.25  # of a window: its last part is compared with its first
_NO_JUMP = 1.5  # deviations: means of some seconds differ by as much
_LEAST = 1.5  # requests: a smaller deviation is no burst
_LOPSIDED = (DEVIATIONS**2 - 1) / 6
_OF_DIFFERENCES = math.sqrt(math.pi) / 2  # two normal draws differ by 2 / sqrt(pi) deviations on average


def highest(load: float) -> float:
    """Return what Poisson draws around a mean load stay below; the last term is for their lopsidedness."""
    return load + DEVIATIONS * math.sqrt(load) + _LOPSIDED * min(1.0, load)


def beyond(load: float, deviation: float, jump: float = 0.0) -> float:
    """Return by how much more a load strays that was seen to: by a larger standard deviation, or by a jump."""
    if load <= 0:
        return 0.0
    burst = DEVIATIONS * (deviation - max(_LEAST, math.sqrt(load)))
    return max(0.0, burst, min(jump, LARGEST_JUMP * load))


def deviation_seen(before: float, signal: SignalState, since_s: float) -> float:
    """Return the standard deviation of the load with the newest sample counted, the older ones fading.

    Args:
        before: What was returned last.
        signal: Samples of the last minute.
        since_s: Seconds since then; infinite the first time.
    """
    times, totals = signal.times, signal.totals
    earlier = bisect_right(times, times[-1] - LAG_S) - 1
    if earlier < 0:
        return before
    weight = 1 - math.exp(-min(since_s, WINDOW_S) / MEMORY_S)
    return before + weight * (_OF_DIFFERENCES * abs(totals[-1] - totals[earlier]) - before)


def jump_seen(before: float, signal: SignalState, now: float, window: float, deviation: float, since_s: float) -> float:
    """Return the largest jump of the load that was seen, in requests; older ones fade.

    Args:
        before: What was returned last.
        signal: Samples of the last minute.
        now: The moment, in seconds.
        window: Seconds within which a rise is a jump.
        deviation: What `deviation_seen` returned: bursts are no jumps.
        since_s: Seconds since then; infinite the first time.
    """
    faded = before * math.exp(-since_s / JUMP_MEMORY_S) if before else 0.0
    late = mean_between(signal, now - _END * window, now)
    early = mean_between(signal, now - window, now - (1 - _END) * window)
    if late is None or early is None:
        return faded
    return max(faded, late - early - _NO_JUMP * max(math.sqrt(late), deviation, 1.0))
