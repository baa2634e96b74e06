"""The few values that stand for many: k-means in one dimension.

Sorted numbers make it exact and fast: a cluster is a range, and prefix sums give its mean.
Sources: Lloyd, "Least squares quantization in PCM", 1982; Arthur, Vassilvitskii, "k-means++", 2007.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 300
_SEEDING = 1 << 15  # evenly spaced numbers, in order, that seeds are drawn from
Floats = NDArray[np.float64]


def codebook(
    values: NDArray[np.float32], clusters: int, seed: int, check: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """Return at most `clusters` values, rising, that lie nearest to `values` [N] in squares; equal seeds, equal values.

    Zeros keep a value of their own where they are as many as a cluster has members: pruned weights stay zero. `check`
    is called in each round.
    """
    sparse = bool(np.count_nonzero(values == 0) * clusters >= len(values))
    return np.unique(_means(values, clusters, seed, check, pinned=sparse).astype(np.float32))


def nearest(values: NDArray[np.float32], book: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the index of the nearest of `book`'s rising values for each of `values` [N]."""
    middles = (book[1:].astype(np.float64) + book[:-1]) / 2
    return np.searchsorted(middles, values).astype(np.uint8)


def _means(values: NDArray[np.float32], clusters: int, seed: int, check: Callable[[], None], *, pinned: bool) -> Floats:
    """Return the centres; with `pinned`, one of them is 0."""
    ordered = np.sort(values.astype(np.float64))
    distinct = np.unique(ordered)
    if len(distinct) <= clusters:
        return distinct
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = _seeds(ordered, clusters, np.random.default_rng(seed), check)
    for _ in range(_ROUNDS):
        check()
        edges = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [len(ordered)]])
        counts = np.diff(bounds)
        means = np.where(counts > 0, np.diff(sums[bounds]) / np.maximum(counts, 1), centres)
        if pinned:
            means[np.abs(means).argmin()] = 0.0
        if np.array_equal(means, centres):
            break
        centres = np.sort(means)
    return centres


def _seeds(ordered: Floats, clusters: int, draw: np.random.Generator, check: Callable[[], None]) -> Floats:
    """Return first centres: each drawn with a chance that grows with the square of its distance to those before."""
    some = ordered[:: max(len(ordered) // _SEEDING, 1)]
    centres = [float(some[draw.integers(len(some))])]
    away = np.square(some - centres[0])
    while len(centres) < clusters and away.sum() > 0:
        check()
        chosen = np.searchsorted(np.cumsum(away), draw.random() * away.sum(), side="right")
        centres.append(float(some[min(chosen, len(some) - 1)]))
        away = np.minimum(away, np.square(some - centres[-1]))
    return np.sort(np.array(centres))
