"""Silent nodes and the taints that follow."""

from datetime import UTC, datetime, timedelta

import pytest

from trimtab.local.controllers.nodehealth import (
    NodeTiming,
    heard_of,
    is_silent,
    nobody_is_ready,
    silent_status,
    wanted_metadata,
    wanted_taints,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = "2026-01-01T12:00:00Z"


def node(ready=None, *others, taints=(), unschedulable=False, labels=None):
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": AT}] if ready else []
    conditions += [{"type": kind, "status": "True"} for kind in others]
    return {
        "metadata": {"name": "n", "creationTimestamp": AT, "labels": labels or {}},
        "spec": {"taints": list(taints), "unschedulable": unschedulable},
        "status": {"conditions": conditions},
    }


def lease(second):
    return {"spec": {"renewTime": f"2026-01-01T12:00:{second:02}.000000Z"}}


@pytest.mark.parametrize(
    ("of", "taints"),
    [
        pytest.param(node("True"), set(), id="healthy"),
        pytest.param(node("True", unschedulable=True), {("unschedulable", "NoSchedule")}, id="cordoned"),
        pytest.param(node("False"), {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}, id="not ready"),
        pytest.param(node("Unknown"), {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}, id="unknown"),
        pytest.param(node("True", "MemoryPressure"), {("memory-pressure", "NoSchedule")}, id="pressure"),
        pytest.param(node(), set(), id="never heard of"),
    ],
)
def test_a_node_is_tainted_by_its_conditions(of, taints):
    """The controller's taints follow the conditions; others stay."""
    of["spec"]["taints"] = [
        {"key": "mine", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
    ]
    found = {(t["key"].removeprefix("node.kubernetes.io/"), t["effect"]) for t in wanted_taints(of, NOW)}
    assert found == {("mine", "NoSchedule"), *taints}


def test_nothing_is_driven_away_while_no_node_is_ready():
    """Then the fault is likely in what listens; NoExecute taints go, NoSchedule ones stay."""
    assert nobody_is_ready(
        [node("Unknown"), node("False"), node("True", labels={"node.kubernetes.io/exclude-disruption": ""})]
    )
    of = node("Unknown", taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}])
    assert [t["effect"] for t in wanted_taints(of, NOW, evict=False)] == ["NoSchedule"]


def test_a_renewed_lease_is_a_sign_of_life():
    """Silence counts from the last one that was noticed."""
    timing = NodeTiming(grace_s=50)
    first = heard_of(node("True"), lease(0), None, NOW)
    later = NOW + timedelta(seconds=45)
    renewed = heard_of(node("True"), lease(40), first, later)
    silent = heard_of(node("True"), lease(40), renewed, NOW + timedelta(seconds=90))
    assert (first.at, renewed.at, silent.at) == (NOW, later, later)
    assert not is_silent(node("True"), silent, timing, NOW + timedelta(seconds=95))
    assert is_silent(node("True"), silent, timing, NOW + timedelta(seconds=96))


def test_a_node_that_never_said_anything_is_given_time_to_start():
    """It is waited for from its creation, and then nothing is known of it."""
    of = node()
    heard = heard_of(of, None, None, NOW + timedelta(seconds=30))
    assert not is_silent(of, heard, NodeTiming(), NOW + timedelta(seconds=60))
    assert is_silent(of, heard, NodeTiming(), NOW + timedelta(seconds=61))
    assert {c["reason"] for c in silent_status(of, NOW)["conditions"]} == {"NodeStatusNeverUpdated"}


def test_a_silent_node_is_unknown():
    """Each condition says since when, and keeps its last heartbeat."""
    later = NOW + timedelta(seconds=60)
    ready = silent_status(node("True"), later)["conditions"][0]
    assert ready == {
        "type": "Ready",
        "status": "Unknown",
        "lastHeartbeatTime": AT,
        "lastTransitionTime": "2026-01-01T12:01:00Z",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    again = silent_status({**node(), "status": {"conditions": [ready]}}, later + timedelta(seconds=9))
    assert again["conditions"][0] == ready


def test_a_node_has_the_old_labels_too():
    """As older selectors ask for them; what is there stays."""
    of = node("True", labels={"kubernetes.io/os": "linux", "mine": "1"})
    found = wanted_metadata(of)
    assert found["labels"] == {"kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux", "mine": "1"}
    assert found["annotations"] == {"node.alpha.kubernetes.io/ttl": "0"}
    assert wanted_metadata({**of, "metadata": found}) == found
