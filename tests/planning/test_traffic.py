"""Desired traffic: who gets new requests, and with which weight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.serving import Policy
from trimtab.planning.traffic import WEIGHT_MAX, Duty, desired_traffic, model_of, retouched, server_weights


def a_model(name="digits", *, shares=None, avoid=(), balancing=None):
    shares = {"r1": 100} if shares is None else shares
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"serving": {"loadBalancing": balancing or {}}},
        "status": {
            "traffic": {
                "revisions": [{"revision": revision, "weight": weight} for revision, weight in shares.items()],
                "avoidNodes": list(avoid),
            }
        },
    }


def an_endpoint(number, *, ready=True, serving=None, terminating=False, node="n1"):
    return {
        "addresses": [f"10.0.0.{number}"],
        "conditions": {"ready": ready, "serving": ready if serving is None else serving, "terminating": terminating},
        "nodeName": node,
        "targetRef": {"kind": "Pod", "name": f"p{number}"},
    }


def a_slice(*endpoints, model="digits", revision="r1", ports=({"name": "http", "port": 8080},)):
    labels = {"trimtab.dev/model": model, "trimtab.dev/revision": revision}
    return {"metadata": {"name": f"{revision}-x", "labels": labels}, "ports": list(ports), "endpoints": list(endpoints)}


def duties(*models_and_slices):
    (traffic,) = desired_traffic(models_and_slices[:1], models_and_slices[1:])
    return {endpoint.pod: (str(endpoint.duty), endpoint.weight) for endpoint in traffic.endpoints}


def test_calls_over_grpc_go_where_they_are_taken():
    """To the port of that name, by the same weights; a revision from before it was asked for takes none."""
    model = a_model(shares={"r1": 50, "r2": 50})
    model["spec"]["serving"]["grpc"] = True
    both = ({"name": "http", "port": 8080}, {"name": "grpc", "port": 8001})
    slices = a_slice(an_endpoint(1)), a_slice(an_endpoint(2), revision="r2", ports=both)
    plain, calls = desired_traffic((model,), slices)
    assert (plain.route, plain.plain, plain.grpc) == ("digits", True, False)
    assert [(e.address, e.grpc, e.weight) for e in plain.endpoints] == [
        ("10.0.0.1:8080", "", 1),
        ("10.0.0.2:8080", "", 1),
    ]
    assert (calls.route, calls.plain, calls.grpc) == ("digits@/grpc", False, True)
    assert [(e.address, e.grpc, e.weight) for e in calls.endpoints] == [("10.0.0.2:8080", "10.0.0.2:8001", 1)]


LEAVING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
BOOTING = {"ready": False}


@pytest.mark.parametrize(
    ("endpoints", "avoid", "expected"),
    [
        pytest.param([an_endpoint(1)], (), {"p1": ("Active", 1)}, id="ready"),
        pytest.param(
            [an_endpoint(1), an_endpoint(2, **BOOTING)], (), {"p1": ("Active", 1), "p2": ("Starting", 0)}, id="booting"
        ),
        pytest.param(
            [an_endpoint(1), an_endpoint(2, **LEAVING)], (), {"p1": ("Active", 1), "p2": ("Drain", 0)}, id="terminating"
        ),
        pytest.param(
            [an_endpoint(1), an_endpoint(2, node="spot")],
            ("spot",),
            {"p1": ("Active", 1), "p2": ("Drain", 0)},
            id="avoided",
        ),
        pytest.param([an_endpoint(1, node="spot")], ("spot",), {"p1": ("Active", 1)}, id="avoided but the last"),
        pytest.param(
            [an_endpoint(1, node="spot"), an_endpoint(2, **LEAVING)],
            ("spot",),
            {"p1": ("Active", 1), "p2": ("Drain", 0)},
            id="avoided is better than terminating",
        ),
        pytest.param([an_endpoint(1, **LEAVING)], (), {"p1": ("Active", 1)}, id="terminating but the last"),
        pytest.param([an_endpoint(1, **GONE)], (), {"p1": ("Drain", 0)}, id="terminating and silent"),
        pytest.param(
            [an_endpoint(1, **LEAVING), an_endpoint(2, **BOOTING)],
            (),
            {"p1": ("Active", 1), "p2": ("Starting", 0)},
            id="successor still boots",
        ),
        pytest.param([], (), {}, id="nothing"),
    ],
)
def test_who_gets_new_requests(endpoints, avoid, expected):
    """Ready, not terminating, not on an avoided node; what is left over only when nothing better is there."""
    assert duties(a_model(avoid=avoid), a_slice(*endpoints)) == expected


def test_a_revision_without_a_share_stands_by():
    """Its replicas are known and checked, and get nothing; without any share nobody gets anything."""
    old, new = a_slice(an_endpoint(1)), a_slice(an_endpoint(2), revision="r2")
    assert duties(a_model(), old, new) == {"p1": ("Active", 1), "p2": ("Standby", 0)}
    assert duties(a_model(shares={"r1": 100, "r2": 0}), old, new) == {"p1": ("Active", 1), "p2": ("Standby", 0)}
    assert duties(a_model(shares={}), old, new) == {"p1": ("Standby", 0), "p2": ("Standby", 0)}


def test_avoided_replicas_keep_their_revisions_share():
    """A canary is not flooded because the other revision's nodes all go away."""
    stable, canary = a_slice(an_endpoint(1, node="spot")), a_slice(an_endpoint(2), revision="r2")
    model = a_model(shares={"r1": 90, "r2": 10}, avoid=("spot",))
    assert duties(model, stable, canary) == {"p1": ("Active", 9), "p2": ("Active", 1)}


def test_what_a_bare_model_gets():
    """Defaults hold for a model that says nothing; it has an entry even without replicas."""
    (traffic,) = desired_traffic([{"metadata": {"name": "m", "namespace": "d"}}], [])
    assert (traffic.model, traffic.policy, traffic.retries, traffic.endpoints) == ("m", Policy.ROUND_ROBIN, 3, ())


def test_the_spec_is_heard():
    """Policy and retries are the user's."""
    (traffic,) = desired_traffic([a_model(balancing={"policy": "LeastConnections", "retries": 0})], [])
    assert (traffic.policy, traffic.retries) == (Policy.LEAST_CONNECTIONS, 0)


def test_only_replicas_count():
    """The Service in front of the gateway, other models' slices and slices without the port are left out."""
    front = a_slice(an_endpoint(1))
    del front["metadata"]["labels"]["trimtab.dev/revision"]
    foreign = a_slice(an_endpoint(2), model="other")
    portless = a_slice(an_endpoint(3), ports=({"name": "metrics", "port": 9090},))
    empty = {**a_slice(), "endpoints": None, "ports": None}
    assert duties(a_model(), front, foreign, portless, empty) == {}


def test_an_address_belongs_to_the_pod_that_can_use_it():
    """Where an address was handed from one pod to the next, the one that is ready counts, in any order."""
    dead, alive = an_endpoint(1, **GONE), an_endpoint(1)
    alive["targetRef"]["name"] = "p2"
    for order in ((dead, alive), (alive, dead)):
        assert duties(a_model(), a_slice(order[0]), a_slice(order[1])) == {"p2": ("Active", 1)}


def test_absent_conditions_mean_ready():
    """The API says: unknown ready is ready, unknown serving is as ready, unknown terminating is not."""
    assert duties(a_model(), a_slice({"addresses": ["10.0.0.1"]})) == {"": ("Active", 1)}


def test_ipv6_addresses():
    """The address has brackets, as URLs need; the server's name has none, as HAProxy needs."""
    (traffic,) = desired_traffic([a_model()], [a_slice({"addresses": ["fd00::1"]})])
    assert (traffic.endpoints[0].address, traffic.endpoints[0].server) == ("[fd00::1]:8080", "fd00::1:8080_r1")


@pytest.mark.parametrize(
    ("shares", "replicas", "expected"),
    [
        pytest.param({"a": 100}, {"a": 5}, {"a": 1}, id="one revision"),
        pytest.param({"a": 50, "b": 50}, {"a": 3, "b": 1}, {"a": 1, "b": 3}, id="halves, unequal replicas"),
        pytest.param({"a": 75, "b": 25}, {"a": 3, "b": 1}, {"a": 1, "b": 1}, id="by replicas"),
        pytest.param({"a": 99, "b": 1}, {"a": 1, "b": 1}, {"a": 99, "b": 1}, id="canary"),
        pytest.param({"a": 100, "b": 0}, {"a": 1, "b": 1}, {"a": 1}, id="no share"),
        pytest.param({"a": 60, "b": 40}, {"b": 2}, {"b": 1}, id="no replica"),
        pytest.param({"a": 0}, {"a": 1}, {}, id="nothing"),
        pytest.param({"a": 99, "b": 1}, {"a": 1, "b": 50}, {"a": 256, "b": 1}, id="beyond HAProxy's scale"),
    ],
)
def test_server_weights(shares, replicas, expected):
    """Weights are per server, so that the servers of a revision together have its share."""
    assert server_weights(shares, replicas) == expected


@given(st.integers(1, 99), st.integers(1, 20), st.integers(1, 20))
def test_shares_are_kept(percent, old, new):
    """Within a point of the share whenever HAProxy's 256 steps allow it, and never a server without weight."""
    weights = server_weights({"old": 100 - percent, "new": percent}, {"old": old, "new": new})
    assert all(1 <= weight <= WEIGHT_MAX for weight in weights.values())
    per_server = {"old": (100 - percent) / old, "new": percent / new}
    if max(per_server.values()) / min(per_server.values()) <= WEIGHT_MAX / 2:
        share = weights["new"] * new / (weights["new"] * new + weights["old"] * old)
        assert abs(share - percent / 100) < 0.01


endpoints = st.lists(
    st.builds(
        an_endpoint,
        st.integers(1, 6),
        ready=st.booleans(),
        serving=st.booleans(),
        terminating=st.booleans(),
        node=st.sampled_from(["n1", "n2", "spot"]),
    ),
    max_size=6,
    unique_by=lambda endpoint: endpoint["addresses"][0],
)


@given(st.dictionaries(st.sampled_from(["r1", "r2"]), st.integers(0, 100)), endpoints, st.booleans(), st.randoms())
def test_properties(shares, items, avoided, rng):
    """Order is irrelevant; weight means Active; who can serve well is never passed over for one who cannot."""
    model = a_model(shares=shares, avoid=["spot"] if avoided else [])
    slices = [a_slice(*items[::2]), a_slice(*items[1::2], revision="r2")]
    (traffic,) = desired_traffic([model], slices)
    shuffled = [
        {**item, "endpoints": rng.sample(item["endpoints"], len(item["endpoints"]))} for item in reversed(slices)
    ]
    assert desired_traffic([model], shuffled) == (traffic,)
    by_address = {item["addresses"][0] + ":8080": item for item in items}
    for endpoint in traffic.endpoints:
        assert (endpoint.weight > 0) == (endpoint.duty is Duty.ACTIVE)
        item = by_address[endpoint.address]
        conditions = item["conditions"]
        good = conditions["ready"] and not conditions["terminating"] and not (avoided and item["nodeName"] == "spot")
        if good and shares.get(endpoint.revision, 0) > 0:
            assert endpoint.duty is Duty.ACTIVE
        if not conditions["ready"] and not conditions["serving"]:
            assert endpoint.duty in {Duty.STARTING, Duty.DRAIN}


@pytest.mark.parametrize(
    ("shares", "policy"),
    [
        pytest.param({"r1": 50, "r2": 50}, Policy.LEAST_CONNECTIONS, id="equal weights"),
        pytest.param({"r1": 90, "r2": 10}, Policy.ROUND_ROBIN, id="a canary"),
        pytest.param({"r1": 100, "r2": 0}, Policy.LEAST_CONNECTIONS, id="no share"),
    ],
)
def test_shares_need_turns(shares, policy):
    """HAProxy's leastconn keeps no shares, so a canary takes turns by weight."""
    model = a_model(shares=shares, balancing={"policy": "LeastConnections"})
    slices = [a_slice(an_endpoint(1)), a_slice(an_endpoint(2), revision="r2")]
    (traffic,) = desired_traffic([model], slices)
    assert traffic.policy is policy
    assert traffic.revisions == ("r1", "r2")


def test_sessions_have_a_route_of_their_own():
    """The same replicas with the same shares, in weights that place them well on a ring; the header in lower case."""
    model = a_model(shares={"r1": 75, "r2": 25}, balancing={"sessionAffinity": {"header": "X-Session"}})
    slices = [a_slice(an_endpoint(1)), a_slice(an_endpoint(2), revision="r2")]
    plain, sessions = desired_traffic([model], slices)
    assert (plain.route, sessions.route) == ("digits", "digits@x-session")
    assert [e.weight for e in plain.endpoints] == [3, 1]
    assert [e.weight for e in sessions.endpoints] == [48, 16]
    assert (model_of(plain.route), model_of(sessions.route)) == ("digits", "digits")


@given(st.lists(st.sampled_from("abc"), unique=True), st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 2))
def test_one_model_anew_is_all_anew(names, touched, replicas):
    """Deciding a model alone gives what deciding all of them gives: it came, changed or went."""
    before = {name: a_model(name) for name in names}
    slices = {name: a_slice(an_endpoint(1), model=name) for name in names}
    traffic = desired_traffic(before.values(), slices.values())
    after = {name: model for name, model in before.items() if name != touched or replicas}
    if replicas:
        after[touched] = a_model(touched, balancing={"sessionAffinity": {"header": "X-A"}})
        slices[touched] = a_slice(*(an_endpoint(number) for number in range(replicas)), model=touched)
    assert retouched(traffic, {touched}, after, slices) == desired_traffic(after.values(), slices.values())


def test_a_model_that_may_sleep_has_somebody_to_wait_with():
    """Without a replica the agent holds its requests, once there is a revision; with one it does not."""
    model = a_model(shares={"r1": 0}, balancing={"sessionAffinity": {"header": "X-A"}})
    model["spec"]["serving"] |= {"minReplicas": 0, "scaling": {"idleAfter": "1m"}}
    (asleep,) = desired_traffic([model], [])
    (hold,) = asleep.endpoints
    assert (hold.server, hold.address, hold.weight) == ("hold_", "unix@hold.digits.sock", 1)
    assert (asleep.sleeps, asleep.revisions) == (True, ())
    model["status"]["traffic"]["revisions"][0]["weight"] = 100
    awake = desired_traffic([model], [a_slice(an_endpoint(1))])
    assert [[e.pod for e in item.endpoints] for item in awake] == [["p1"], ["p1"]]
    new = desired_traffic([a_model(shares={}) | {"spec": model["spec"]}], [])[0]
    assert new.endpoints == (), "no revision, no use in waiting"
