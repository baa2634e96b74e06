"""The arithmetic of rollouts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.controllers.rollout import (
    Limits,
    available_of,
    first_size,
    limits_of,
    replicas_of,
    rolling_step,
    scaled_sizes,
)


def replica_set(name, replicas, available=0, *, created="2026-01-01T00:00:00Z", annotations=None):
    return {
        "metadata": {"name": name, "creationTimestamp": created, "annotations": annotations or {}},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available},
    }


@pytest.mark.parametrize(
    ("replicas", "rolling", "limits"),
    [
        pytest.param(3, {}, (1, 0), id="defaults: surge rounds up, unavailable down"),
        pytest.param(10, {"maxSurge": "30%", "maxUnavailable": "30%"}, (3, 3), id="percent"),
        pytest.param(4, {"maxSurge": 2, "maxUnavailable": 1}, (2, 1), id="numbers"),
        pytest.param(1, {"maxSurge": 0, "maxUnavailable": "10%"}, (0, 1), id="both nothing: one may be missing"),
    ],
)
def test_limits(replicas, rolling, limits):
    """Surge and unavailability come out as Kubernetes rounds them."""
    found = limits_of({"spec": {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}})
    assert (found.surge, found.unavailable) == limits


def test_recreate_has_no_surge():
    """Recreate never runs more than it may."""
    assert limits_of({"spec": {"replicas": 3, "strategy": {"type": "Recreate"}}}) == Limits(3, 0, 0)


@given(
    wanted=st.integers(0, 8),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
    old=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=3),
)
def test_a_rollout_keeps_its_promises_and_ends(wanted, surge, unavailable, old):
    """At no step more pods than allowed are asked for nor a working one given up; in the end all are new."""
    if surge == unavailable == 0:
        unavailable = 1
    limits = Limits(wanted, surge, min(unavailable, wanted))
    olds = [replica_set(f"o{i}", max(r, a), min(r, a)) for i, (r, a) in enumerate(old)]
    new = replica_set("new", first_size(limits, olds, recreate=False))
    for _ in range(200):
        sets = [new, *olds]
        total, available = sum(map(replicas_of, sets)), sum(map(available_of, sets))
        sizes = dict(rolling_step(new, olds, limits))
        for one in sets:
            one["spec"]["replicas"] = sizes.get(one["metadata"]["name"], replicas_of(one))
            # Kubernetes deletes pods that are not ready first.
            one["status"]["availableReplicas"] = min(available_of(one), replicas_of(one))
        assert sum(map(replicas_of, sets)) <= max(limits.most, total)
        assert sum(map(available_of, sets)) >= min(limits.fewest, available)
        if not sizes:
            if available_of(new) == replicas_of(new):
                break
            new["status"]["availableReplicas"] += 1  # one more pod became available
    assert replicas_of(new) == wanted
    assert not any(map(replicas_of, olds))


@given(before=st.integers(1, 10), after=st.integers(1, 20), new_size=st.integers(1, 10), old_size=st.integers(1, 10))
def test_scaling_in_the_middle_of_a_rollout_shares_out_the_change(before, after, new_size, old_size):
    """Whatever the shares, together they are what is allowed."""
    before = new_size + old_size - 1  # a surge of one
    noted = {
        "deployment.kubernetes.io/desired-replicas": str(before),
        "deployment.kubernetes.io/max-replicas": str(before + 1),
    }
    new = replica_set("new", new_size, annotations=noted)
    old = replica_set("old", old_size, annotations=noted)
    deployment = {"spec": {"replicas": after}, "status": {}}
    sizes = dict(scaled_sizes(deployment, new, [old], Limits(after, 1, 0)))
    assert sum(sizes.values()) == after + 1
    assert min(sizes.values()) >= 0


def test_a_single_replica_set_is_just_resized():
    """Outside a rollout scaling is one number."""
    only = replica_set("only", 3, 3)
    assert scaled_sizes({"spec": {"replicas": 5}}, only, [], Limits(5, 1, 0)) == [("only", 5)]
