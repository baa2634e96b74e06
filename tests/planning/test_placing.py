"""Which nodes a replica may be on, for every mix of providers."""

from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.planning.manifests.placing import placement

GROUP = {"autoScalingGroup": {"name": "spot", "region": "eu-west-1"}}
KARPENTER = {"karpenter": {"nodePool": "general"}}
LABELS = {"labels": {"matchLabels": {"team": "ml"}}}


def pool(name: str, provider: dict[str, Any], kind: str = "Spot", **more: Any) -> CapacityPool:
    spec = {"capacityType": kind, "provider": provider, **more}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


def placed(*pools: CapacityPool, named: tuple[str, ...] = ()) -> dict[str, Any]:
    spec = OptimizedModelSpec.model_validate(
        {
            "source": {"uri": "file:///m.onnx"},
            "compression": {"preset": "None"},
            "guardrail": {"dataset": {"uri": "file:///d.npz"}},
            "serving": {"maxReplicas": 1},
            "capacity": {"pools": list(named)},
        }
    )
    return placement(spec, CapacityType.SPOT, pools, None)


def terms(made: dict[str, Any]) -> list[dict[str, list[str]]]:
    """Return each term's labels and values."""
    required = made["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [{e["key"]: e["values"] for e in term["matchExpressions"]} for term in required["nodeSelectorTerms"]]


@pytest.mark.parametrize(
    ("pools", "selector"),
    [
        pytest.param([], None, id="no pool, no tie"),
        pytest.param([pool("a", GROUP), pool("b", GROUP)], {"trimtab.dev/capacity-type": "spot"}, id="labelled by us"),
        pytest.param([pool("a", LABELS)], {"team": "ml"}, id="known by labels"),
        pytest.param(
            [pool("a", LABELS, kind="OnDemand")], {"trimtab.dev/capacity-type": "spot"}, id="nowhere, not anywhere"
        ),
    ],
)
def test_one_label_is_enough(pools: list[CapacityPool], selector: dict[str, str] | None) -> None:
    """No affinity where a selector says it all."""
    made = placed(*pools)
    assert made.get("nodeSelector") == selector
    assert "affinity" not in made


def test_karpenter_is_asked_for_what_it_gives() -> None:
    """Its own labels, as it makes nodes for pods that ask for nothing else; zones and types narrow its choice."""
    general = pool("spot", KARPENTER, zones=["eu-west-1b", "eu-west-1a"], instanceTypes=["m7i.large"])
    assert terms(placed(general)) == [
        {
            "karpenter.sh/nodepool": ["general"],
            "karpenter.sh/capacity-type": ["spot"],
            "topology.kubernetes.io/zone": ["eu-west-1a", "eu-west-1b"],
            "node.kubernetes.io/instance-type": ["m7i.large"],
        }
    ]


def test_every_pool_is_a_term_of_its_own() -> None:
    """A node of any pool will do, and named pools keep others out."""
    made = placed(pool("k", KARPENTER), pool("l", LABELS), pool("g", GROUP), pool("h", GROUP))
    ours = {"trimtab.dev/capacity-type": ["spot"]}
    assert terms(made) == [
        {"karpenter.sh/nodepool": ["general"], "karpenter.sh/capacity-type": ["spot"]},
        {"team": ["ml"]},
        ours,
    ]
    named = placed(pool("l", LABELS), pool("g", GROUP), named=("l", "g"))
    assert terms(named) == [{"team": ["ml"]}, {**ours, "trimtab.dev/pool": ["g"]}]


def test_tolerations_of_all_pools_come_along() -> None:
    """Each once."""
    spot = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}
    made = placed(pool("k", KARPENTER, tolerations=[spot]), pool("l", LABELS, tolerations=[spot]))
    assert made["tolerations"] == [spot]
