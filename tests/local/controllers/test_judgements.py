"""Owners, taints, budgets and queues: small decisions of controllers."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest

from trimtab.local.controllers.disruptions import budget_status, expected_pods
from trimtab.local.controllers.nodes import wanted_taints
from trimtab.local.controllers.ownership import verdict
from trimtab.local.controllers.queue import WorkQueue
from trimtab.local.controllers.taints import evicted_in

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


TAINT = {"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T11:59:50Z"}


@pytest.mark.parametrize(
    ("tolerations", "left"),
    [
        pytest.param([], 0, id="not tolerated"),
        pytest.param([{"key": "k", "operator": "Exists"}], None, id="for ever"),
        pytest.param([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}], 20, id="for a while"),
        pytest.param([{"key": "k", "operator": "Exists", "tolerationSeconds": 5}], 0, id="no longer"),
    ],
)
def test_eviction_by_taint(tolerations, left):
    """A pod stays as long as it tolerates the taint, counted from when it was put there."""
    assert evicted_in({"spec": {"tolerations": tolerations}}, {"spec": {"taints": [TAINT]}}, NOW) == left


@pytest.mark.parametrize(
    ("ready", "unschedulable", "taints"),
    [
        ("True", False, set()),
        ("True", True, {("unschedulable", "NoSchedule")}),
        ("False", False, {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}),
        (None, False, {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}),
    ],
)
def test_a_node_is_tainted_by_its_conditions(ready, unschedulable, taints):
    """The controller's taints follow the conditions; others stay."""
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    present = [{"key": "mine", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    node = {"spec": {"taints": present, "unschedulable": unschedulable}, "status": {"conditions": conditions}}
    found = {(t["key"].removeprefix("node.kubernetes.io/"), t["effect"]) for t in wanted_taints(node, NOW)}
    assert found == {("mine", "NoSchedule"), *taints}


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
