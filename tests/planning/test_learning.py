"""What a replica answers in a second: learnt only while all of them are busy."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning.learning import Learnt, learn
from trimtab.planning.loads import Load


def look(at: float, queued: float | None, rate: float | None) -> Load:
    return Load(at, in_flight=8.0, queued=queued, rate=rate)


@pytest.mark.parametrize(
    ("looks", "found"),
    [
        pytest.param([(2, 4, 50.0), (2, 4, 50.0)], 25.0, id="a queue at both ends"),
        pytest.param([(2, 4, 50.0)], None, id="a queue at one end"),
        pytest.param([(2, 4, 50.0), (2, 0, 50.0)], None, id="a queue that went"),
        pytest.param([(2, 1, 50.0), (2, 1, 50.0)], None, id="fewer wait than there are replicas"),
        pytest.param([(2, 4, 50.0), (3, 4, 50.0)], None, id="a replica came"),
        pytest.param([(0, 4, 50.0), (0, 4, 50.0)], None, id="no replica"),
        pytest.param([(2, 4, 50.0), (2, 4, None)], None, id="no rate"),
        pytest.param([(2, 4, 50.0), (2, 4, float("nan"))], None, id="no number"),
        pytest.param([(2, 4, 50.0), (2, 4, 0.0)], None, id="replicas that hang"),
        pytest.param([(2, 4, 50.0), (2, None, 50.0), (2, 4, 50.0)], 25.0, id="a look without figures"),
    ],
)
def test_what_is_learnt(looks: list[tuple[int, float | None, float | None]], found: float | None) -> None:
    """One second apart: ready replicas, requests that wait, and their rate."""
    known = Learnt()
    for at, (ready, queued, rate) in enumerate(looks, start=1):
        known = learn(known, look(float(at), queued, rate), ready)
    assert known.rate == found
    assert Learnt(**json.loads(json.dumps(asdict(known)))) == known


def test_nothing_is_heard_twice() -> None:
    """The same look again, or none, changes nothing."""
    known = learn(learn(Learnt(), look(1.0, 4, 50.0), 2), look(2.0, 4, 60.0), 2)
    assert learn(known, look(2.0, 4, 900.0), 2) == known
    assert learn(known, None, 2) == known


def test_a_new_revision_is_known_soon() -> None:
    """Half as fast from now on: two minutes of a queue later nearly all of the difference is known."""
    known = Learnt(100.0, 0.0, 1)
    for second in range(1, 121):
        known = learn(known, look(float(second), 9, 50.0), 1)
    assert known.rate == pytest.approx(50, abs=1)


@given(st.lists(st.floats(1, 1000), min_size=2, max_size=40), st.integers(1, 9))
def test_it_stays_within_what_was_seen(rates: list[float], ready: int) -> None:
    """A mean of observations, whatever their order."""
    known = Learnt()
    for second, rate in enumerate(rates, start=1):
        known = learn(known, look(float(second), 100, rate), ready)
    assert known.rate is not None
    assert min(rates[1:]) / ready * 0.999999 <= known.rate <= max(rates[1:]) / ready * 1.000001
