"""Nodes that show by themselves that they go away."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.api.capacity import CapacityPool
from trimtab.planning.notices import TAINTS, leaves_at

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def pool(name: str, notice: str, *taints: str) -> CapacityPool:
    spec = {
        "capacityType": "Spot",
        "provider": {"labels": {"matchLabels": {"a": "b"}}},
        "interruption": {"notice": notice, "taints": list(taints)},
    }
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


def node(*taints: str, own: str | None = None, said: str | None = None, **conditions: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "n",
            "labels": {"trimtab.dev/pool": own} if own else {},
            "annotations": {"trimtab.dev/leaves-at": said} if said else {},
        },
        "spec": {"taints": [{"key": taint, "effect": "NoSchedule"} for taint in taints]},
        "status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]},
    }


@pytest.mark.parametrize(
    ("shown", "after"),
    [
        pytest.param(node(), None, id="it stays"),
        pytest.param(node("example.com/gpu"), None, id="any other taint"),
        pytest.param(node("example.com/going"), 45, id="a pool's own taint"),
        pytest.param(node("aws-node-termination-handler/spot-itn", own="gke"), 30, id="its pool's notice"),
        pytest.param(node("karpenter.sh/disrupted"), 120, id="of no pool"),
        pytest.param(node("node.kubernetes.io/unreachable"), 0, id="unreachable"),
        pytest.param(node(PreemptScheduled="True", own="gke"), 30, id="a condition"),
        pytest.param(node(PreemptScheduled="False"), None, id="a condition that does not hold"),
        pytest.param(node("trimtab.dev/interrupted", said="2026-03-01T12:01:30Z"), 90, id="a message said when"),
        pytest.param(node(said="2026-03-01T12:01:30Z"), None, id="what is left of an old message"),
        pytest.param(node("trimtab.dev/interrupted", said="soon"), 120, id="no time"),
        pytest.param(node("trimtab.dev/interrupted", said="2026-03-01T12:01:30"), 120, id="a time of no zone"),
    ],
)
def test_when_a_node_goes(shown: dict[str, Any], after: int | None) -> None:
    """By taint, condition or message; None while it stays."""
    pools = [pool("own", "45s", "example.com/going"), pool("gke", "30s")]
    assert leaves_at(shown, pools, NOW) == (None if after is None else NOW + timedelta(seconds=after))


@pytest.mark.parametrize("taint", sorted(TAINTS))
def test_known_taints_need_no_mention(taint: str) -> None:
    """Those of the usual agents count without a pool that names them."""
    assert leaves_at(node(taint), [], NOW) == NOW + timedelta(minutes=2)
