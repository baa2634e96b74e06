"""Which DaemonSets have a pod on a node: as their controller decides by labels."""

from typing import Any

import pytest

from trimtab.api.capacity import CapacityPool
from trimtab.planning.daemons import is_for, sure_labels

LABELS = {"zone": "a", "gpu": "yes", "cores": "8"}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    chosen = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": chosen}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def by(*expressions: dict[str, Any]) -> dict[str, Any]:
    return required({"matchExpressions": list(expressions)})


PREFERRED = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}


@pytest.mark.parametrize(
    ("pod", "runs"),
    [
        pytest.param({}, True, id="everywhere"),
        pytest.param({"nodeSelector": {"zone": "a", "gpu": "yes"}}, True, id="selected"),
        pytest.param({"nodeSelector": {"zone": "a", "disk": "ssd"}}, False, id="not selected"),
        pytest.param(by(expression("zone", "In", "a", "b")), True, id="in"),
        pytest.param(by(expression("disk", "In", "ssd")), False, id="in, unknown"),
        pytest.param(by(expression("zone", "NotIn", "a")), False, id="not in"),
        pytest.param(by(expression("eks.amazonaws.com/compute-type", "NotIn", "fargate")), True, id="not in, unknown"),
        pytest.param(by(expression("gpu", "Exists")), True, id="exists"),
        pytest.param(by(expression("gpu", "DoesNotExist")), False, id="does not exist"),
        pytest.param(by(expression("cores", "Gt", "4")), True, id="more"),
        pytest.param(by(expression("cores", "Lt", "8")), False, id="less"),
        pytest.param(by(expression("zone", "Gt", "4")), False, id="no number"),
        pytest.param(by(expression("zone", "In", "a"), expression("gpu", "In", "no")), False, id="all expressions"),
        pytest.param(
            required(
                {"matchExpressions": [expression("gpu", "In", "no")]},
                {"matchExpressions": [expression("gpu", "Exists")]},
            ),
            True,
            id="any term",
        ),
        pytest.param(required({"matchFields": [expression("metadata.name", "In", "n")]}), False, id="one node by name"),
        pytest.param(required({}), False, id="empty term"),
        pytest.param({"affinity": PREFERRED}, True, id="preferred only"),
        pytest.param({**by(expression("gpu", "Exists")), "nodeSelector": {"zone": "b"}}, False, id="both must hold"),
    ],
)
def test_where_daemons_run(pod: dict[str, Any], runs: bool) -> None:
    """Selector and required affinity; what is preferred keeps none away."""
    assert is_for(pod, LABELS) is runs


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        pytest.param({"embedded": {}}, {}, id="embedded"),
        pytest.param(
            {"karpenter": {"nodePool": "np"}},
            {"karpenter.sh/nodepool": "np", "karpenter.sh/capacity-type": "spot"},
            id="Karpenter",
        ),
        pytest.param({"labels": {"matchLabels": {"team": "ml"}}}, {"team": "ml"}, id="labels"),
    ],
)
def test_what_every_node_of_a_pool_is_called(provider: dict[str, Any], more: dict[str, str]) -> None:
    """Before there is one."""
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "p"}}
    pool = CapacityPool.model_validate({**body, "spec": {"capacityType": "Spot", "provider": provider}})
    ours = {"kubernetes.io/os": "linux", "trimtab.dev/pool": "p", "trimtab.dev/capacity-type": "spot"}
    assert sure_labels(pool) == {**ours, **more}
