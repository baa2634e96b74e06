"""Spot replicas beyond the needed ones."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.capacity import SpotMode
from trimtab.planning import spares

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def enumerated(replicas: int, needed: int, loss: list[float]) -> float:
    """The same by brute force: every set of lost zones."""
    counts, safest_first = spares.spread(replicas, len(loss)), sorted(loss)
    risk = 0.0
    for lost in itertools.product([False, True], repeat=len(loss)):
        left = sum(count for count, gone in zip(counts, lost, strict=True) if not gone)
        if left < needed:
            risk += math.prod(p if gone else 1 - p for p, gone in zip(safest_first, lost, strict=True))
    return risk


@given(st.integers(0, 20), st.integers(0, 20), probabilities)
def test_the_risk_is_exact(needed, extra, loss):
    """It equals the sum over all combinations of lost zones."""
    risk = spares.risk(needed + extra, needed, loss)
    assert risk == pytest.approx(enumerated(needed + extra, needed, loss), abs=1e-12)


@given(st.integers(1, 60), st.integers(2, 12))
def test_guarded_survives_the_largest_zone_and_is_minimal(needed, zones):
    """With the spares the fullest zone can go; with one less it cannot."""
    extra = spares.largest_zone_spares(needed, zones)
    assert needed + extra - max(spares.spread(needed + extra, zones)) >= needed
    assert needed + extra - 1 - max(spares.spread(needed + extra - 1, zones)) < needed


CALM, WILD = [0.01] * 3, [2.0] * 3


@pytest.mark.parametrize(
    ("mode", "hazards", "startup_s", "expected"),
    [
        pytest.param(SpotMode.COST, WILD, 600, 0, id="Cost keeps none"),
        pytest.param(SpotMode.BALANCED, WILD, 90, 0, id="the notice covers the start"),
        pytest.param(SpotMode.BALANCED, CALM, 150, 0, id="short and calm: an accepted risk"),
        pytest.param(SpotMode.BALANCED, WILD, 600, 3, id="slow and wild: one zone"),
        pytest.param(SpotMode.GUARDED, CALM, 90, 3, id="Guarded always"),
        pytest.param(SpotMode.GUARDED, [2.0], 90, 0, id="one zone: spares share its fate"),
    ],
)
def test_spares_by_mode(mode, hazards, startup_s, expected):
    """Six needed over three zones, a notice of two minutes."""
    assert spares.spare_replicas(6, mode, hazards, startup_s, 120) == expected


@given(st.integers(0, 30), st.lists(st.floats(0, 5), min_size=1, max_size=16), st.floats(0, 1800), st.floats(0, 300))
def test_balanced_is_never_dearer_than_guarded(needed, hazards, startup_s, notice_s):
    """The formula saves; it never adds beyond the largest zone."""
    modes = SpotMode.BALANCED, SpotMode.GUARDED
    balanced, guarded = (spares.spare_replicas(needed, mode, hazards, startup_s, notice_s) for mode in modes)
    assert 0 <= balanced <= guarded


@given(st.integers(1, 20), st.lists(st.floats(0, 2), min_size=2, max_size=5), st.floats(121, 1800))
def test_balanced_keeps_its_promise_or_a_whole_zone(needed, hazards, startup_s):
    """The risk that remains is accepted, unless even a zone's worth of spares leaves more; one less would not do."""
    extra = spares.spare_replicas(needed, SpotMode.BALANCED, hazards, startup_s, 120)
    loss = [1 - math.exp(-hazard * (startup_s - 120) / 3600) for hazard in hazards]
    most = spares.largest_zone_spares(needed, len(hazards))
    assert extra == most or enumerated(needed + extra, needed, loss) <= spares.ACCEPTED_RISK + 1e-12
    assert extra == 0 or enumerated(needed + extra - 1, needed, loss) > spares.ACCEPTED_RISK - 1e-12
