"""What NodePools and NodeClaims tell of a pool."""

from typing import Any

import pytest

from trimtab.api.capacity import CapacityPool
from trimtab.planning.groups import FailureKind, GroupMemory, Instance, news
from trimtab.planning.karpenter import group_of

AT = "2026-03-01T12:00:00Z"
NOW = 1772366400.0  # the same moment


def pool(kind: str = "Spot") -> CapacityPool:
    spec = {"capacityType": kind, "provider": {"karpenter": {"nodePool": "general"}}, "zones": ["a", "b"]}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "k"}, "spec": spec}
    return CapacityPool.model_validate(body)


def claim(name: str, *conditions: tuple[str, str, str], kind: str = "spot", **meta: Any) -> dict[str, Any]:
    labels = {"karpenter.sh/capacity-type": kind, "topology.kubernetes.io/zone": "a"}
    entries = [
        {"type": type_, "status": status, "reason": reason, "message": f"{reason} it is", "lastTransitionTime": AT}
        for type_, status, reason in conditions
    ]
    status = {"providerID": f"aws:///a/i-{name}", "conditions": entries}
    return {"metadata": {"name": name, "labels": labels, **meta}, "status": status}


LAUNCHED = ("Launched", "True", "Launched")


def test_claims_are_orders() -> None:
    """One node each; those of the other capacity type and those on their way out are not the pool's."""
    claims = [
        claim("1", LAUNCHED),
        claim("2", ("Launched", "Unknown", "AwaitingReconciliation")),
        claim("3", LAUNCHED, kind="on-demand"),
        claim("4", LAUNCHED, deletionTimestamp=AT),
    ]
    group = group_of(pool(), {}, claims)
    assert (group.desired, group.instances, group.failures) == (2, (Instance("i-1", "a"),), ())


@pytest.mark.parametrize(
    ("condition", "kind", "reason"),
    [
        (("Launched", "False", "InsufficientCapacityError"), FailureKind.SHORTAGE, "Shortage"),
        (("Launched", "Unknown", "LaunchFailed"), FailureKind.BROKEN, "LaunchFailed"),
    ],
)
def test_a_claim_that_fails_says_why(condition: tuple[str, str, str], kind: FailureKind, reason: str) -> None:
    """A shortage strikes the claim's zone."""
    group = group_of(pool(), {}, [claim("1", condition)])
    found = news(pool(), group, frozenset(), GroupMemory(), NOW)
    assert found.trouble is not None
    assert found.trouble.reason == reason
    assert f"{condition[2]} it is" in found.trouble.message
    assert [event.zones for event in found.events] == ([("a",)] if kind is FailureKind.SHORTAGE else [])  # type: ignore[union-attr]


def test_a_node_pool_at_its_limit_is_a_quota() -> None:
    """People raise it; until then nothing more is expected, and it is no trouble while nothing more is needed."""
    full = {"spec": {"limits": {"cpu": "100", "memory": "400Gi"}}, "status": {"resources": {"cpu": "100"}}}
    idle = news(pool(), group_of(pool(), full, []), frozenset(), GroupMemory(), NOW)
    assert [event.id for event in idle.events] == ["k limit cpu"]
    assert idle.trouble is None
    waiting = group_of(pool(), full, [claim("2", ("Launched", "Unknown", "AwaitingReconciliation"))])
    found = news(pool(), waiting, frozenset(), GroupMemory(), NOW)
    assert found.trouble is not None
    assert found.trouble.message == (
        "1 of the ordered nodes are missing: the NodePool's spec.limits allow cpu 100, and 100 is in use; raise them"
    )


def test_a_node_pool_that_is_not_ready_is_told() -> None:
    """Its own words, and whose turn it is."""
    broken = {"status": {"conditions": [{"type": "Ready", "status": "False", "message": "NodeClass not found"}]}}
    found = news(pool(), group_of(pool(), broken, []), frozenset(), GroupMemory(), NOW)
    assert found.trouble is not None
    assert found.trouble.message == "the NodePool is not Ready: NodeClass not found; repair it"
