"""What counts prove of a share, however often somebody looks at them while they grow.

A test that is right once in a hundred is wrong sooner or later when it is asked each second. A mixture of likelihood
ratios is not: the chance that it ever exceeds x is at most 1/x, by Ville's inequality. Its bound is wider than that of
a single look (of 100 about 17 instead of 14 prove more than 5 %) and holds at all looks together.

Source: Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical
Statistics 41 (1970) 1397; with a beta distribution as the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log

RARELY = 0.001
"""The chance that a bound is ever wrong, over all looks."""
_PRIOR = 0.5  # Jeffreys' for a share: no limit is far from all of it
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Excess:
    """How often one of two hit, and how often it would have if it were no worse than the other one.

    It is added up from parts of the same time, in each of which every hit is the first one's with the chance that
    every draw is. So nothing is held against one that was asked more often at a bad moment. Chances that differ from
    part to part scatter the sum less than equal ones (Hoeffding, Annals of Mathematical Statistics 27 (1956) 713).
    """

    hits: float = 0.0
    total: float = 0.0
    all_hits: float = 0.0
    """Those of both."""
    expected: float = 0.0
    """The first one's part of them."""

    def plus(self, hits: float, total: float, other_hits: float, other_total: float) -> Excess:
        """Return the sum with another part."""
        own = total / (total + other_total) if total else 0.0
        both = hits + other_hits
        return Excess(self.hits + hits, self.total + total, self.all_hits + both, self.expected + both * own)

    @property
    def share(self) -> float:
        return self.hits / self.total if self.total else 0.0

    @property
    def least(self) -> float:
        """What its share of hits is surely above."""
        return surely_above(self.hits, self.total)

    @property
    def is_worse(self) -> bool:
        """Whether it hits surely more often than the other one."""
        return surely_above(self.hits, self.all_hits) * self.all_hits > self.expected


def surely_above(hits: float, total: float) -> float:
    """Return what a share is above, given that `hits` of `total` draws hit; a bound for all looks at a growing total.

    0.0 where nothing is known. Counts may be parts of one, as those read from a histogram's bucket are.
    """
    if hits <= 0:
        return 0.0
    low, high = 0.0, hits / total
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        if _evidence(hits, total, share) >= -log(RARELY):
            low = share
        else:
            high = share
    return low


def _evidence(hits: float, total: float, share: float) -> float:
    """Return the logarithm of how much likelier the counts are under the mixture than with this share."""
    misses = total - hits
    mixed = _log_beta(hits + _PRIOR, misses + _PRIOR) - _log_beta(_PRIOR, _PRIOR)
    return mixed - hits * log(share) - (misses * log(1 - share) if misses > 0 else 0.0)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
