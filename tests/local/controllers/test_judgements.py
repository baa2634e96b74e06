"""Owners, taints, budgets and queues: small decisions of controllers."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.controllers.disruptions import Wanted, budget_status, failed_status, wanted_pods
from trimtab.local.controllers.namespaces import terminating_conditions
from trimtab.local.controllers.ownership import verdict
from trimtab.local.controllers.queue import WorkQueue
from trimtab.local.controllers.taints import tolerated_s

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = frozenset({("", "ConfigMap")})


def owned(*uids, kind="ConfigMap", namespace="d", **metadata):
    references = [{"apiVersion": "v1", "kind": kind, "name": u, "uid": u} for u in uids]
    return {"metadata": {"name": "o", "namespace": namespace, "ownerReferences": references, **metadata}}


OWNER = {"metadata": {"name": "a", "namespace": "d"}}
WAITING = {"metadata": {**OWNER["metadata"], "deletionTimestamp": "x", "finalizers": ["foregroundDeletion"]}}


@pytest.mark.parametrize(
    ("obj", "present", "delete", "lose"),
    [
        pytest.param(owned(), {}, None, set(), id="nobody's"),
        pytest.param(owned("a"), {"a": OWNER}, None, set(), id="owner there"),
        pytest.param(owned("a"), {}, "Background", set(), id="owner gone"),
        pytest.param(owned("a", "b"), {"a": OWNER}, None, {"b"}, id="one of two gone"),
        pytest.param(owned("a"), {"a": WAITING}, "Background", set(), id="owner waits"),
        pytest.param(owned("a", kind="Unknown"), {}, None, set(), id="unknown kind"),
        pytest.param(owned("a", namespace="other"), {"a": OWNER}, "Background", set(), id="other namespace"),
        pytest.param(
            {"metadata": {k: v for k, v in owned("a")["metadata"].items() if k != "namespace"}},
            {"a": OWNER},
            None,
            set(),
            id="an owner in a namespace of something in none",
        ),
        pytest.param(owned("a", deletionTimestamp="x"), {}, None, set(), id="going already"),
        pytest.param(owned("a", finalizers=["orphan"]), {}, "Orphan", set(), id="keeps its own policy"),
    ],
)
def test_dependents_follow_their_owners(obj, present, delete, lose):
    """An object stays while one owner is there; references to gone ones are taken off."""
    found = verdict(obj, present, KINDS)
    assert (found.delete, set(found.lose)) == (delete, lose)


def test_a_waiting_owner_waits_for_what_its_dependents_own_too():
    """Only what owns something has to wait in turn."""
    assert verdict(owned("a"), {"a": WAITING}, KINDS, owns=True).delete == "Foreground"


TAINTS = [
    {"key": "k", "effect": "NoExecute"},
    {"key": "l", "effect": "NoExecute"},
    {"key": "m", "effect": "NoSchedule"},
]


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        pytest.param([], 0, id="not tolerated"),
        pytest.param([{"operator": "Exists", "key": "k"}], 0, id="one of two not tolerated"),
        pytest.param([{"operator": "Exists"}], None, id="for ever"),
        pytest.param([{"operator": "Exists", "tolerationSeconds": -1}], 0, id="less than nothing"),
        pytest.param(
            [{"operator": "Exists", "key": "k", "tolerationSeconds": 30}, {"operator": "Exists"}],
            30,
            id="the shortest of two taints",
        ),
        pytest.param(
            [{"operator": "Exists"}, {"operator": "Exists", "tolerationSeconds": 5}], None, id="the first toleration"
        ),
    ],
)
def test_eviction_by_taint(tolerations, seconds):
    """A pod stays as long as it tolerates every taint."""
    assert tolerated_s({"spec": {"tolerations": tolerations}}, {"spec": {"taints": TAINTS}}) == seconds


def covered(count, ready):
    owner = {"uid": "r", "kind": "ReplicaSet", "controller": True}
    conditions = lambda i: [{"type": "Ready", "status": str(i < ready)}]  # noqa: E731
    return [
        {"metadata": {"name": str(i), "ownerReferences": [owner]}, "status": {"conditions": conditions(i)}}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        pytest.param({"minAvailable": 2}, Wanted(3, 2), id="of those there are"),
        pytest.param({"minAvailable": "50%"}, Wanted(5, 3), id="percent of those asked for, rounded up"),
        pytest.param({"maxUnavailable": 1}, Wanted(5, 4), id="all but one"),
        pytest.param({"maxUnavailable": "50%"}, Wanted(5, 2), id="percent that may be missing, rounded up"),
        pytest.param({"maxUnavailable": 9}, Wanted(5, 0), id="more than there are"),
        pytest.param({}, Wanted(0, 0), id="nothing said"),
    ],
)
def test_what_a_budget_asks_for(spec, wanted):
    """Three pods of a set of five."""
    assert wanted_pods({"spec": spec}, covered(3, 3), lambda o: (o["uid"], 5)) == wanted


@given(count=st.integers(0, 6), ready=st.integers(0, 6), least=st.integers(0, 6), evicted=st.integers(0, 6))
def test_a_budget_never_admits_too_much(count, ready, least, evicted):
    """However many go on their way at once, the healthy ones stay enough."""
    mine = covered(count, min(ready, count))
    at = {str(i): "2026-01-01T12:00:00Z" for i in range(min(evicted, count))}
    budget = {"metadata": {"generation": 1}, "spec": {"minAvailable": least}, "status": {"disruptedPods": at}}
    status = budget_status(budget, mine, Wanted(count, least), NOW)
    staying = sum(i < ready and str(i) not in at for i in range(count))
    assert status["disruptionsAllowed"] <= max(0, staying - least)
    condition = status["conditions"][0]
    assert (condition["status"] == "True") == (status["disruptionsAllowed"] > 0)


def test_a_budget_that_cannot_be_counted_allows_nothing():
    """And says why."""
    status = failed_status({"status": {"disruptionsAllowed": 3}}, "jobs.batch does not implement scale", NOW)
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"


def test_a_namespace_says_what_keeps_it():
    """How many of what are left, and who holds them."""
    left = {"pods.": [{"metadata": {}}], "widgets.x.io": [{"metadata": {"finalizers": ["x.io/hold"]}}] * 2}
    found = {c["type"]: (c["status"], c["reason"], c["message"]) for c in terminating_conditions([], left, NOW)}
    assert found["NamespaceContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: pods. has 1 resource instances, widgets.x.io has 2 resource instances",
    )
    assert found["NamespaceFinalizersRemaining"] == (
        "True",
        "SomeFinalizersRemain",
        "Some content in the namespace has finalizers remaining: x.io/hold in 2 resource instances",
    )
    assert found["NamespaceDeletionContentFailure"][0] == "False"


async def test_a_queue_coalesces_and_tries_again():
    """A key that is added many times is reconciled once; a failure is tried again; a wait is kept."""
    seen = []
    done = asyncio.Event()

    def reconcile(key):
        seen.append(key)
        if seen == ["a", "b"]:
            raise ValueError("for once")
        if len(seen) == 4:
            done.set()
        return 0.01 if key == "a" and seen.count("a") == 1 else None

    queue = WorkQueue("test")
    for key in ("a", "a", "b", "a"):
        queue.add(key)
    task = asyncio.create_task(queue.run(reconcile))
    await asyncio.wait_for(done.wait(), 60)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert seen[:2] == ["a", "b"]
    assert sorted(seen[2:]) == ["a", "b"]
