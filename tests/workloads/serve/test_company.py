"""Whether a free engine waits for the clients that it has just answered."""

from __future__ import annotations

import pytest

from trimtab.workloads.serve.company import Returning

SAVED_S = 0.005


@pytest.mark.parametrize(
    ("came_at", "now", "waits"),
    [
        pytest.param([], 0.0005, True, id="nobody yet"),
        pytest.param([], 0.0015, False, id="nobody for a millisecond"),
        pytest.param([0.0008, 0.0016], 0.002, True, id="one after the other"),
        pytest.param([0.0001, 0.0002, 0.0003, 0.0004], 0.0004, False, id="all are there"),
        pytest.param([0.0009, 0.0018, 0.0049], 0.0051, False, id="longer than it saves"),
    ],
)
def test_it_waits_while_they_come(came_at, now, waits):
    """Four were answered; it waits until they are back, or nobody comes, or it no longer pays."""
    returning = Returning()
    assert returning.answered(4, SAVED_S, 0.0)
    for at in came_at:
        returning.arrived(at)
    assert (returning.wait_s(now) > 0) is waits


def test_it_never_waits_where_running_together_saves_little():
    """A run that costs next to nothing beside its rows need not be shared, and one not known yet neither."""
    returning = Returning()
    assert not returning.answered(4, 0.001, 0.0)
    assert not returning.answered(4, 0.0, 0.0)
    assert returning.wait_s(0.0) == 0


def test_it_stops_waiting_for_clients_that_do_not_come_back_and_tries_again_later():
    """After a few runs for nothing it goes on at once, but for one in thirty-two."""
    returning = Returning()
    waited = [returning.answered(4, SAVED_S, float(second)) for second in range(200)]
    assert waited[0]
    assert 5 <= sum(waited) <= 12
    assert not all(waited[4:10])
    for second in range(200, 300):  # now they do
        if returning.answered(4, SAVED_S, float(second)):
            for _ in range(4):
                returning.arrived(float(second))
    assert returning.answered(4, SAVED_S, 300.0)
