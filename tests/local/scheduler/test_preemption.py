"""Which pods give way to a more important one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.scheduler.choosing import choose_node, unfit
from trimtab.local.scheduler.fitting import node_views, unschedulable_message
from trimtab.local.scheduler.preemption import Preemption, ineligible, preempt


def node(name, cpu="4", **labels):
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"allocatable": amounts}}


def pod(name, cpu="1", *, on=None, priority=0, started="2026-01-01T12:00:00Z", app="x", **spec):
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    return {
        "metadata": {"name": name, "uid": name, "namespace": "d", "labels": {"app": app}},
        "spec": {"containers": [container], "nodeName": on, "priority": priority, **spec},
        "status": {"startTime": started},
    }


def budget(allowed, app="x"):
    selector = {"matchLabels": {"app": app}}
    return {"metadata": {"namespace": "d"}, "spec": {"selector": selector}, "status": {"disruptionsAllowed": allowed}}


def chosen(wanted, nodes, bound, budgets=()):
    views = node_views(nodes, bound)
    found, why = preempt(wanted, choose_node(wanted, views).refused, views, budgets, unfit)
    return (
        ((found.node, [p["metadata"]["name"] for p in found.victims]), why)
        if isinstance(found, Preemption)
        else (None, why)
    )


IMPORTANT = pod("important", "2", priority=10)


@pytest.mark.parametrize(
    ("bound", "budgets", "result"),
    [
        pytest.param([pod("a", "4", on="n")], [], ("n", ["a"]), id="one is in the way"),
        pytest.param([pod(x, "1", on="n") for x in "abcd"], [], ("n", ["c", "d"]), id="no more than needed"),
        pytest.param(
            [pod("a", "2", on="n", priority=5), pod("b", "2", on="n", priority=1)],
            [],
            ("n", ["b"]),
            id="least important",
        ),
        pytest.param(
            [pod("a", "2", on="n", started="2026-01-01T13:00:00Z"), pod("b", "2", on="n")],
            [],
            ("n", ["a"]),
            id="youngest",
        ),
        pytest.param(
            [pod("a", "2", on="n", app="guarded"), pod("b", "2", on="n", priority=1)],
            [budget(0, "guarded")],
            ("n", ["b"]),
            id="not the guarded one",
        ),
        pytest.param([pod("a", "4", on="n", app="g")], [budget(0, "g")], ("n", ["a"]), id="budgets are no promise"),
        pytest.param([pod("a", "4", on="n", priority=10)], [], None, id="nobody is less important"),
    ],
)
def test_who_gives_way(bound, budgets, result):
    """The fewest, least important, youngest pods, without breaking a budget where that is possible."""
    assert chosen(IMPORTANT, [node("n")], bound, budgets)[0] == result


@pytest.mark.parametrize(
    ("bound", "result"),
    [
        pytest.param([pod("a", "4", on="n"), pod("b", "4", on="m", priority=5)], "n", id="the less important victim"),
        pytest.param([*(pod(x, "1", on="m") for x in "abcd"), pod("e", "4", on="n")], "n", id="fewer victims"),
    ],
)
def test_where_room_is_made(bound, result):
    """The node that loses least."""
    assert chosen(IMPORTANT, [node("m"), node("n")], bound)[0][0] == result


def test_why_nobody_can_give_way():
    """Each node says it in its own words, as the condition shows them."""
    bound = [pod("a", "3", on="big"), pod("b", "3", on="full", priority=10)]
    bound += [pod("c", "1", on="both"), pod("d", "3", on="both", priority=10)]
    _, why = chosen(IMPORTANT, [node("small", "1"), node("full"), node("both")], bound)
    assert why == (
        "0/3 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_a_pod_that_made_room_says_no_more_than_what_was_missing():
    """And one that may not preempt says so."""
    views = node_views([node("n")], [pod("a", "4", on="n")])
    refused = [why for _, why in choose_node(IMPORTANT, views).refused]
    assert unschedulable_message(refused, None) == "0/1 nodes are available: 1 Insufficient cpu."
    polite = pod("polite", "2", priority=10, preemptionPolicy="Never")
    assert unschedulable_message(refused, ineligible(polite, views)) == (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
        "preemption: not eligible due to preemptionPolicy=Never."
    )


@given(
    running=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3), st.sampled_from("mn")), max_size=8),
    priority=st.integers(0, 4),
)
def test_preemption_makes_room_at_the_cost_of_the_less_important_only(running, priority):
    """After the victims are gone the pod fits, and none of them could have stayed."""
    bound, free = [], {"m": 4, "n": 4}
    for number, (cpu, other, where) in enumerate(running):
        if cpu <= free[where]:
            free[where] -= cpu
            bound.append(pod(str(number), str(cpu), on=where, priority=other))
    wanted = pod("new", "3", priority=priority)
    nodes = [node("m"), node("n")]
    views = node_views(nodes, bound)
    refused = choose_node(wanted, views).refused
    if not refused:
        return
    found, _ = preempt(wanted, refused, views, [], unfit)
    if found is None:
        return
    assert all(p["spec"]["priority"] < priority for p in found.victims)
    gone = {p["metadata"]["name"] for p in found.victims}
    left = node_views(nodes, [p for p in bound if p["metadata"]["name"] not in gone])
    assert not unfit(wanted, next(v for v in left if v.name == found.node), left)
    for one in found.victims:
        kept = node_views(nodes, [p for p in bound if p["metadata"]["name"] not in gone or p is one])
        assert unfit(wanted, next(v for v in kept if v.name == found.node), kept)


def test_preferred_company():
    """A pod goes where those are that it likes, and where it is liked; away from those it does not."""

    def term(weight, app):
        selector = {"matchLabels": {"app": app}}
        return [{"weight": weight, "podAffinityTerm": {"topologyKey": "host", "labelSelector": selector}}]

    nodes = [node("m", host="m"), node("n", host="n")]
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    near = {"podAffinity": {preferred: term(10, "db")}}
    away = {"podAntiAffinity": {preferred: term(10, "db")}}
    database = [pod("db", on="n", app="db")]
    assert choose_node(pod("p", affinity=near), node_views(nodes, database)).node == "n"
    assert choose_node(pod("p", affinity=away), node_views(nodes, [pod("db", on="m", app="db")])).node == "n"
    fond = [pod("fond", on="n", affinity={"podAffinity": {preferred: term(10, "web")}})]
    assert choose_node(pod("p", app="web"), node_views(nodes, fond)).node == "n"


def test_host_ports_are_taken_once():
    """The same port of the same protocol, unless the addresses differ."""

    def asking(name, on=None, **port):
        made = pod(name, "0", on=on)
        made["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80, **port}]
        return made

    views = node_views([node("n")], [asking("a", "n")])
    [(_, [refusal])] = choose_node(asking("b"), views).refused
    assert refusal.reason == "node(s) didn't have free ports for the requested pod ports"
    assert choose_node(asking("b", protocol="UDP"), views).node == "n"
    apart = node_views([node("n")], [asking("a", "n", hostIP="10.0.0.1")])
    assert choose_node(asking("b", hostIP="10.0.0.2"), apart).node == "n"
