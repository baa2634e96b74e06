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


def test_what_a_run_costs_whatever_its_rows_is_read_off_small_and_large_runs():
    """From 4 ms for one row and 10 ms for 13 it follows that 3.5 ms are not for rows."""
    pace = Pace()
    pace.engine_took(1, 0.004)
    assert pace.fixed_s == 0
    pace.engine_took(13, 0.010)
    assert pace.fixed_s == pytest.approx(0.0035)
    pace.new_engine()
    assert pace.fixed_s == 0
