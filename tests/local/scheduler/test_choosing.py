"""Which node a pod goes to, and why none."""

import pytest

from trimtab.local.scheduler.choosing import choose_node, unfit
from trimtab.local.scheduler.fitting import node_views, requests_of, tolerates, unschedulable_message
from trimtab.local.scheduler.preemption import preempt


def node(name, *, cpu="4", labels=None, taints=(), **spec):
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
    metadata = {"name": name, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"taints": list(taints), **spec}, "status": {"allocatable": amounts}}


def pod(name="p", *, cpu=None, on=None, owner=None, labels=None, **spec):
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}} if cpu else {}}
    references = [{"uid": owner, "controller": True}] if owner else []
    metadata = {"name": name, "namespace": "d", "labels": labels or {}, "ownerReferences": references}
    return {"metadata": metadata, "spec": {"containers": [container], "nodeName": on, **spec}, "status": {}}


SPOT = {"key": "spot", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("wanted", "nodes", "bound", "chosen"),
    [
        pytest.param(pod(cpu="3"), [node("a", cpu="2"), node("b")], [], "b", id="room"),
        pytest.param(pod(cpu="3"), [node("a")], [pod("q", cpu="2", on="a")], None, id="full"),
        pytest.param(pod(), [node("a", taints=[SPOT]), node("b")], [], "b", id="taint"),
        pytest.param(pod(tolerations=[{"operator": "Exists"}]), [node("a", taints=[SPOT])], [], "a", id="tolerated"),
        pytest.param(pod(nodeSelector={"x": "1"}), [node("a"), node("b", labels={"x": "1"})], [], "b", id="selector"),
        pytest.param(pod(), [node("a", unschedulable=True), node("b")], [], "b", id="cordoned"),
        pytest.param(pod(), [node("a"), node("b")], [pod("q", cpu="2", on="a")], "b", id="emptier"),
        pytest.param(pod(owner="r"), [node("a"), node("b")], [pod("q", on="a", owner="r")], "b", id="apart"),
    ],
)
def test_choose_node(wanted, nodes, bound, chosen):
    """A pod goes where it fits, apart from its siblings, onto the emptier node."""
    assert choose_node(wanted, node_views(nodes, bound)).node == chosen


def test_a_pod_that_fits_nowhere_is_told_why():
    """Every node's reason is counted; room that others take could become free."""
    views = node_views([node("a", taints=[SPOT]), node("b", cpu="1"), node("c")], [pod("q", cpu="3", on="c")])
    wanted = pod(cpu="2")
    refused = choose_node(wanted, views).refused
    _, why_none = preempt(wanted, refused, views, [], unfit)
    assert unschedulable_message([why for _, why in refused], why_none) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, "
        "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, "
        "2 Preemption is not helpful for scheduling."
    )


def test_spread_over_zones_is_kept():
    """A DoNotSchedule constraint keeps the skew, even where the node is emptier."""
    zones = [node("a", labels={"z": "1"}), node("b", labels={"z": "2"}, cpu="2")]
    constraint = {
        "maxSkew": 1,
        "topologyKey": "z",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "w"}},
    }
    bound = [pod("q", on="a", labels={"app": "w"})]
    wanted = pod(labels={"app": "w"}, topologySpreadConstraints=[constraint])
    assert choose_node(wanted, node_views(zones, bound)).node == "b"
    assert choose_node(
        {**wanted, "spec": {**wanted["spec"], "nodeSelector": {"z": "1"}}}, node_views(zones, bound)
    ).node


ALONE = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "w"}}}
        ]
    }
}
TOGETHER = {"podAffinity": ALONE["podAntiAffinity"]}


@pytest.mark.parametrize(
    ("mine", "theirs", "chosen"),
    [
        pytest.param(ALONE, {}, "b", id="keeps away"),
        pytest.param({}, ALONE, "b", id="is kept away"),
        pytest.param(TOGETHER, {}, "a", id="joins"),
    ],
)
def test_company(mine, theirs, chosen):
    """Required affinity and anti-affinity hold for the pod's terms and for those of pods that are there."""
    nodes = [node(n, labels={"kubernetes.io/hostname": n}) for n in "ab"]
    bound = [pod("q", cpu="3", on="a", labels={"app": "w"}, affinity=theirs)]
    assert choose_node(pod(labels={"app": "w"}, affinity=mine), node_views(nodes, bound)).node == chosen


def test_the_first_of_a_group_goes_anywhere():
    """A pod that wants to be with its like is not stuck when it is the first."""
    nodes = [node("a", labels={"kubernetes.io/hostname": "a"})]
    assert choose_node(pod(labels={"app": "w"}, affinity=TOGETHER), node_views(nodes, [])).node == "a"


def test_requests_are_the_larger_of_init_and_main():
    """An init container runs alone, so only the largest one counts."""
    spec = pod(cpu="1")
    spec["spec"]["initContainers"] = [{"name": "i", "resources": {"requests": {"cpu": "3"}}}]
    assert requests_of(spec)["cpu"] == 3


@pytest.mark.parametrize(
    ("toleration", "covered"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "other"}, False),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration, covered):
    """A toleration covers a taint by key, value and effect; what it leaves out matches all."""
    assert tolerates([toleration], {"key": "k", "value": "v", "effect": "NoSchedule"}) is covered


def test_spreading_counts_pods_that_are_alike():
    """With matchLabelKeys only pods of the same revision count."""
    zones = [node("a", labels={"z": "1"}), node("b", labels={"z": "2"}, cpu="2")]
    constraint = {
        "maxSkew": 1,
        "topologyKey": "z",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "w"}},
        "matchLabelKeys": ["pod-template-hash"],
    }
    old = [pod("o", on="a", labels={"app": "w", "pod-template-hash": "1"})]
    wanted = pod(labels={"app": "w", "pod-template-hash": "2"}, topologySpreadConstraints=[constraint])
    views = node_views(zones, old)
    assert unfit(wanted, views[0], views) == []
    del constraint["matchLabelKeys"]
    assert [r.reason for r in unfit(wanted, views[0], views)] == [
        "node(s) didn't match pod topology spread constraints"
    ]
