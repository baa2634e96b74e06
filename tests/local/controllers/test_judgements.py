"""Owners, taints, budgets and queues: small decisions of controllers."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest

from trimtab.local.controllers.disruptions import budget_status, expected_pods
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
        pytest.param(owned("a"), {"a": WAITING}, "Foreground", set(), id="owner waits"),
        pytest.param(owned("a", kind="Unknown"), {}, None, set(), id="unknown kind"),
        pytest.param(owned("a", namespace="other"), {"a": OWNER}, "Background", set(), id="other namespace"),
        pytest.param(owned("a", deletionTimestamp="x"), {}, None, set(), id="going already"),
        pytest.param(owned("a", finalizers=["orphan"]), {}, "Orphan", set(), id="keeps its own policy"),
    ],
)
def test_dependents_follow_their_owners(obj, present, delete, lose):
    """An object stays while one owner is there; references to gone ones are taken off."""
    found = verdict(obj, present, KINDS)
    assert (found.delete, set(found.lose)) == (delete, lose)


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


@pytest.mark.parametrize(
    ("spec", "allowed"), [({"minAvailable": 2}, 1), ({"minAvailable": "50%"}, 1), ({"maxUnavailable": 1}, 0)]
)
def test_disruption_budgets(spec, allowed):
    """Three of four pods are ready: what may be disrupted follows from the budget."""
    made = [
        {
            "metadata": {"name": str(i), "ownerReferences": [{"uid": "r", "kind": "ReplicaSet", "controller": True}]},
            "status": {"conditions": [{"type": "Ready", "status": str(i > 0)}]},
        }
        for i in range(4)
    ]
    budget = {"metadata": {"generation": 1}, "spec": spec}
    expected = expected_pods(budget, made, lambda _: 4)
    assert budget_status(budget, made, expected, NOW)["disruptionsAllowed"] == allowed


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
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert seen[:2] == ["a", "b"]
    assert sorted(seen[2:]) == ["a", "b"]
