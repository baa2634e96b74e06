"""How long runs take, and what follows."""

from __future__ import annotations

import pytest

from trimtab.workloads.serve.pace import Pace

SHORT, LONG = 0.0001, 0.01


@pytest.mark.parametrize(
    ("taken", "rows", "short"),
    [
        pytest.param([], 1, False, id="unknown"),
        pytest.param([(1, SHORT)] * 3, 1, False, id="hardly known"),
        pytest.param([(1, SHORT)] * 7, 1, True, id="short"),
        pytest.param([(1, SHORT)] * 7, 2, False, id="larger than any"),
        pytest.param([(4, SHORT)] * 7, 7, True, id="about as large"),
        pytest.param([(64, LONG)] * 7 + [(1, SHORT)] * 7, 64, False, id="long for this size"),
        pytest.param([(1, SHORT)] * 7 + [(1, 1.0)] * 3, 1, True, id="held up for a moment"),
        pytest.param([(1, SHORT)] * 7 + [(1, LONG)] * 4, 1, False, id="no longer short"),
        pytest.param([(1, LONG)] * 7 + [(1, SHORT)] * 4, 1, True, id="short after all"),
    ],
)
def test_runs_are_short_where_others_of_their_size_were(taken, rows, short):
    """The median of the last runs of about the same size decides."""
    pace = Pace()
    for size, seconds in taken:
        pace.engine_took(size, seconds)
    assert pace.is_short(rows) is short


def test_a_new_engine_has_shown_nothing_yet():
    """What was short in one engine may be long in the next."""
    pace = Pace()
    for _ in range(7):
        pace.engine_took(1, SHORT)
    pace.new_engine()
    assert not pace.is_short(1)
