"""Rollouts: capacity never dips, and they end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.serving import Rollout
from trimtab.planning.rollout import shares, weights

LIMITS = Rollout()


def limits(surge: int, unavailable: int) -> Rollout:
    return Rollout(max_surge=surge, max_unavailable=unavailable)


@pytest.mark.parametrize(
    ("healthy", "left", "active", "candidate", "done"),
    [
        pytest.param(0, 3, 3, 1, False, id="one surges"),
        pytest.param(1, 3, 2, 2, False, id="one admitted, one let go, one more"),
        pytest.param(3, 1, 0, 3, False, id="all admitted, the last still drains"),
        pytest.param(3, 0, 0, 3, True, id="taken over"),
    ],
)
def test_three_replicas_roll(healthy: int, left: int, active: int, candidate: int, done: bool) -> None:
    """An old replica goes only after a new one was admitted."""
    found = shares(3, healthy=healthy, floor=1, old_left=left, limits=LIMITS)
    assert (found.active, found.candidate, found.done) == (active, candidate, done)


def test_the_first_rollout_needs_only_the_floor() -> None:
    """Where nothing serves, waiting for every replica would only keep users waiting."""
    assert not shares(3, healthy=0, floor=1, old_left=None, limits=LIMITS).done
    assert shares(3, healthy=1, floor=1, old_left=None, limits=LIMITS).done


def test_in_place_needs_no_spare_device() -> None:
    """maxSurge 0 with maxUnavailable 1: one goes, then one comes."""
    found = shares(2, healthy=0, floor=1, old_left=2, limits=limits(0, 1))
    assert (found.active, found.candidate) == (1, 1)


bounds = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(lambda pair: sum(pair) > 0)


@given(wanted=st.integers(1, 20), healthy=st.integers(0, 20), left=st.integers(0, 20), bound=bounds)
def test_capacity_never_dips(wanted: int, healthy: int, left: int, bound: tuple[int, int]) -> None:
    """Replicas that are kept and admitted ones together are enough; surge is bounded."""
    surge, unavailable = bound
    healthy = min(healthy, wanted)
    found = shares(wanted, healthy=healthy, floor=1, old_left=left, limits=limits(surge, unavailable))
    assert found.active + healthy >= wanted - unavailable
    assert found.active + found.candidate <= wanted + max(surge, 0)
    assert found.candidate >= healthy


@given(wanted=st.integers(1, 12), bound=bounds)
def test_every_rollout_ends(wanted: int, bound: tuple[int, int]) -> None:
    """When each ordered replica becomes healthy and each released one goes, the candidate takes over."""
    healthy, left = 0, wanted
    for _ in range(4 * wanted + 4):
        found = shares(wanted, healthy=healthy, floor=1, old_left=left, limits=limits(*bound))
        if found.done:
            return
        healthy, left = found.candidate, found.active
    pytest.fail(f"stuck at {healthy} healthy, {left} left of {wanted} with {bound}")


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50), min_size=1))
def test_weights_are_whole_percents(replicas: dict[str, int]) -> None:
    """They sum to 100, nobody with replicas gets nothing, nobody without gets something."""
    split = {entry.revision: entry.weight for entry in weights(replicas)}
    assert split.keys() == replicas.keys()
    if sum(replicas.values()):
        assert sum(split.values()) == 100
        assert all((split[name] > 0) == (count > 0) for name, count in replicas.items())


def test_a_candidate_that_is_overtaken_keeps_its_share(live: Any, after: Any) -> None:
    """Half of the replicas are its own when a canary of something newer begins: the others cannot take all at once."""
    life = live(replicas=4)
    life.ask(image="serve:2", rollout={"maxSurge": 1, "canary": None})
    life.looks(after, 3)
    overtaken, active = life.candidate, life.active
    there = {view.revision: view.replicas for view in life.world.deployments}
    assert there[active] < 4
    life.ask(image="serve:3", rollout={"maxSurge": 1, "canary": {"steps": [{"weight": "10%", "hold": "30s"}]}})
    life.look(after)
    assert life.candidate not in {overtaken, active}
    assert life.weights[overtaken] > 0
    for _ in range(4):
        assert sum(life.weights.values()) == 100
        life.look(after)
    assert life.weights == {active: 90, life.candidate: 10}, "its place is taken"
    assert overtaken not in {view.revision for view in life.world.deployments}


@pytest.mark.parametrize(("wanted", "unavailable"), [(1, 1), (3, 3), (3, 9)])
def test_nothing_takes_over_that_never_worked(wanted: int, unavailable: int) -> None:
    """Where all replicas may be missing at once, the candidate is still rolled back if none of its own ever serves."""
    state = shares(wanted, healthy=0, floor=wanted, old_left=0, limits=limits(0, unavailable))
    assert (state.active, state.candidate, state.done) == (0, wanted, False)
    assert shares(wanted, healthy=1, floor=wanted, old_left=0, limits=limits(0, unavailable)).done
    assert shares(0, healthy=0, floor=0, old_left=0, limits=limits(0, unavailable)).done, "asleep, nobody tries it"


def test_a_rollout_that_is_taken_back_is_not_over_at_once(live: Any, after: Any) -> None:
    """The spec asks for the active revision again, half of whose replicas are gone: the candidate serves on."""
    life = live(replicas=4)
    life.ask(image="serve:2", rollout={"maxSurge": 1, "canary": None})
    life.looks(after, 3)
    overtaken, active = life.candidate, life.active
    life.ask(image="serve:1")
    life.look(after)
    assert life.weights[overtaken] > 0
    assert (life.reason("RolledOut"), life.reason("Reconciling")) == ("RollingOut", "RollingOut")
    assert f"{overtaken} serves until then" in life.status["summary"]["message"]
    life.looks(after, 3)
    assert (life.reason(), life.weights) == ("Serving", {active: 100})
