"""Bounds that hold at all looks together, by exact enumeration of what chance can do."""

from collections.abc import Callable, Iterable
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, nhypergeom

from trimtab.planning.evidence import RARELY, Excess, surely_above


def ever(steps: Iterable[np.ndarray], is_proven: Callable[[int, int], bool]) -> float:
    """Return the chance that hits ever prove something.

    Args:
        steps: For each look the distribution of how many hits have been added since the last one.
        is_proven: Whether the hits so far (second argument), at a look (first one, from 0), do; more hits do, too.
    """
    going_on, proven, needed = np.ones(1), 0.0, 1
    for look, more in enumerate(steps):
        going_on = np.convolve(going_on, more)
        while needed < len(going_on) and not is_proven(look, needed):
            needed += 1
        proven += going_on[needed:].sum()
        going_on = going_on[:needed]
    return float(proven)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_a_bound_is_rarely_wrong_at_any_of_2000_looks(share: float) -> None:
    """Whoever looks after each draw sees the bound above the share once in a thousand series at most, but not never."""
    draws = [np.array([1 - share, share])] * 2000
    wrong = ever(draws, lambda look, hits: surely_above(hits, look + 1) > share)
    assert RARELY / 100 < wrong <= RARELY


@pytest.mark.parametrize("parts", [[0.1], [0.5], [0.1, 0.5, 0.02], [0.9, 0.1]])
def test_equals_are_rarely_told_apart(parts: list[float]) -> None:
    """Two that fail equally often, whatever share of the requests the first one gets in each part."""
    per_part, looks = 3, 300
    owns = [parts[look % len(parts)] for look in range(looks)]

    def worse(look: int, hits: int) -> bool:
        both = per_part * (look + 1)
        return Excess(hits, 1, both, per_part * sum(owns[: look + 1])).is_worse

    steps = [binom.pmf(range(per_part + 1), per_part, own) for own in owns]
    assert ever(steps, worse) <= RARELY


@pytest.mark.parametrize(("own", "other"), [(20, 20), (20, 180), (50, 50), (100, 900), (200, 50), (500, 500)])
def test_an_equal_is_rarely_slower(own: int, other: int) -> None:
    """As many answers as not are above another's p95: 50 to 2,000 in parts, each with a p95 that is a guess itself.

    How many of `own` are above the k-th of `other` does not depend on how both are distributed, as long as they are
    alike.
    """
    rank = min(other, ceil(0.95 * (other + 1)))
    below = np.arange(own, -1, -1)
    distribution = nhypergeom.pmf(below, own + other, own, rank)

    def slower(look: int, hits: int) -> bool:
        count = look + 1
        both = hits + 0.05 * other * count
        found = Excess(hits, own * count, both, both * own / (own + other))
        return found.least > 0.05 and found.is_worse

    assert distribution.sum() == pytest.approx(1)
    assert ever([distribution] * (2000 // own), slower) <= RARELY


def test_little_is_enough_where_it_is_clear() -> None:
    """Bounds that never prove anything would pass every test above."""
    assert surely_above(17, 100) > 0.05 > surely_above(16, 100)
    assert Excess().plus(6, 100, 0, 900).is_worse
    assert not Excess().plus(3, 100, 0, 900).is_worse
    assert not Excess().is_worse


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(2, 50))
def test_a_bound_is_below_the_share_and_comes_nearer(hits: int, misses: int, times: int) -> None:
    """The same share of more draws proves more, and never more than what was seen."""
    few, many = surely_above(hits, hits + misses), surely_above(times * hits, times * (hits + misses))
    assert 0 <= few <= many + 1e-9
    assert many <= hits / (hits + misses)
