"""Which pod goes first."""

from datetime import UTC, datetime

import pytest

from trimtab.local.controllers.scaledown import scale_down_order

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(name, *, node="n1", phase="Running", ready=True, cost=None, since="2026-01-01T11:00:00Z", restarts=0):
    annotations = {} if cost is None else {"controller.kubernetes.io/pod-deletion-cost": cost}
    status = {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}],
        "containerStatuses": [{"restartCount": restarts}],
    }
    metadata = {"name": name, "uid": name, "creationTimestamp": since, "annotations": annotations}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": status}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"node": None}, {}, id="not bound"),
        pytest.param({"phase": "Pending"}, {"ready": False}, id="pending before running"),
        pytest.param({"ready": False}, {"cost": "-5"}, id="not ready before cheap"),
        pytest.param({"cost": "-5"}, {}, id="cheap"),
        pytest.param({}, {"cost": "7"}, id="expensive stays"),
        pytest.param({"since": "2026-01-01T11:59:50Z"}, {}, id="ready for less time"),
        pytest.param({"restarts": 3}, {}, id="more restarts"),
        pytest.param({"cost": "-1"}, {"cost": "not a number"}, id="an unreadable cost is 0"),
    ],
)
def test_scale_down_order(first, second):
    """The rules apply in Kubernetes' order."""
    a, b = pod("z", **first), pod("a", **second)
    assert scale_down_order([b, a], [a, b], NOW)[0] is a


def test_the_crowded_node_gives_first():
    """Where siblings share a node, one of them goes before a pod that is alone on its own."""
    alone, one, other = pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n2")
    assert scale_down_order([alone, one, other], [alone, one, other], NOW)[-1] is alone
