"""Which endpoints a Service's slices list, and in which slices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.controllers.endpointobjects import subsets_for
from trimtab.local.controllers.endpoints import (
    MOST_ENDPOINTS,
    TriggerTimes,
    bodies_for,
    endpoint,
    ports_for,
    slices_for,
)

CREATED = "2026-01-01T12:00:00Z"


def service(ports=({"name": "http", "port": 80, "targetPort": "web"},), **spec):
    metadata = {"name": "svc", "namespace": "d", "uid": "s", "creationTimestamp": CREATED}
    return {"metadata": metadata, "spec": {"ports": list(ports), **spec}}


def pod(name="p", *, ready=True, going=False, port=8080, node="n1", since=None, **spec):
    metadata = {"name": name, "namespace": "d", "uid": name, **({"deletionTimestamp": CREATED} if going else {})}
    ports = [{"name": "web", "containerPort": port}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    return {
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "main", "ports": ports}], **spec},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [condition]},
    }


@pytest.mark.parametrize(
    ("of", "spec", "conditions"),
    [
        pytest.param(pod(), {}, (True, True, False), id="ready"),
        pytest.param(pod(ready=False), {}, (False, False, False), id="not ready"),
        pytest.param(pod(going=True), {}, (False, True, True), id="terminating but serving"),
        pytest.param(pod(ready=False), {"publishNotReadyAddresses": True}, (True, False, False), id="published"),
        pytest.param(pod(going=True), {"publishNotReadyAddresses": True}, (True, True, True), id="to the end"),
    ],
)
def test_an_endpoints_conditions(of, spec, conditions):
    """Ready, serving and terminating, as the Service asks for them."""
    found = endpoint(of, service(**spec), {"n1": "zone-a"})
    assert tuple(found["conditions"].values()) == conditions
    assert (found["nodeName"], found["zone"]) == ("n1", "zone-a")


def test_ports_by_name_are_the_pods_own():
    """A name means another number in each pod; one that a pod does not have is left out."""
    of = service([{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 1, "targetPort": "dns"}])
    assert ports_for(pod(port=9090), of) == (("a", "TCP", 9090, None),)


def test_pods_with_other_ports_have_another_slice():
    """Each slice has one set of ports."""
    mine = [pod("a", port=8080), pod("b", port=9090), pod("c", port=8080)]
    plans = slices_for(bodies_for(service(), mine, {"n1": None}), [])
    assert [(len(b["endpoints"]), b["ports"][0]["port"]) for _, b in plans] == [(2, 8080), (1, 9090)]


@pytest.mark.parametrize(("unready", "listed"), [(False, 0), (True, 1)])
def test_a_pod_of_a_missing_node_is_left_out(unready, listed):
    """Nobody says any more that it serves."""
    found = bodies_for(service(publishNotReadyAddresses=unready), [pod(node="gone")], {})
    assert sum(map(len, found.values())) == listed


def test_a_hostname_counts_below_the_services_own_name():
    """Only pods that say that the Service is their subdomain."""
    zones = {"n1": None}
    assert endpoint(pod(hostname="h", subdomain="svc"), service(), zones)["hostname"] == "h"
    assert "hostname" not in endpoint(pod(hostname="h", subdomain="other"), service(), zones)


@given(st.lists(st.sets(st.integers(0, 250)), min_size=1, max_size=5))
def test_slices_keep_what_they_have_and_list_everything_once(rounds):
    """Whatever comes and goes: no slice is too full, no endpoint moves, none is missing or there twice."""
    present = []
    for alive in rounds:
        wanted = bodies_for(service(), [pod(str(n)) for n in sorted(alive)], {"n1": None})
        before = {e["targetRef"]["uid"]: s["metadata"]["name"] for s in present for e in s["endpoints"]}
        plans = slices_for(wanted, present)
        used = [old["metadata"]["name"] for old, _ in plans if old is not None]
        assert len(used) == len(set(used))
        fresh = iter(range(1000))
        present = [
            {"metadata": {"name": old["metadata"]["name"] if old else f"{id(plans)}-{next(fresh)}"}, **body}
            for old, body in plans
        ]
        listed = [e["targetRef"]["uid"] for s in present for e in s["endpoints"]]
        assert sorted(listed) == sorted(map(str, alive))
        assert all(len(s["endpoints"]) <= MOST_ENDPOINTS for s in present)
        now = {e["targetRef"]["uid"]: s["metadata"]["name"] for s in present for e in s["endpoints"]}
        assert all(now[uid] == name for uid, name in before.items() if uid in now)


def test_the_time_of_a_change_is_the_earliest_one_since_the_last_look():
    """At first the Service's own; without a change none."""
    times = TriggerTimes()
    assert times.latest(service(), [pod("a", since="2026-01-01T12:00:01Z")]) == CREATED
    assert times.latest(service(), [pod("a", since="2026-01-01T12:00:01Z")]) is None
    later = [pod("a", since="2026-01-01T12:00:09Z"), pod("b", since="2026-01-01T12:00:05Z")]
    assert times.latest(service(), later) == "2026-01-01T12:00:05Z"


def test_endpoints_objects_keep_ready_and_other_addresses_apart():
    """And leave out what is going away."""
    [subset] = subsets_for(service(), [pod("a"), pod("b", ready=False), pod("c", going=True)])
    assert [a["targetRef"]["name"] for a in subset["addresses"]] == ["a"]
    assert [a["targetRef"]["name"] for a in subset["notReadyAddresses"]] == ["b"]
    assert subset["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
