"""Where a Service listens, and who gets the next connection."""

import pytest

from trimtab.local.proxy.services import Listener, affinity_of, listeners_of

ENDPOINTS = [("127.1.1.1", 80), ("127.1.1.2", 80), ("127.1.1.3", 80)]


def service(**spec):
    ports = [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    return {"spec": {"clusterIP": "127.1.255.9", "ports": ports, **spec}}


@pytest.mark.parametrize(
    ("spec", "node", "where"),
    [
        ({}, "", [("127.1.255.9", 80, "http")]),
        ({}, "127.1.0.1", [("127.1.255.9", 80, "http"), ("127.1.0.1", 30080, "http")]),
        ({"clusterIP": "None"}, "127.1.0.1", []),
    ],
)
def test_a_service_listens_inside_and_on_the_nodes(spec, node, where):
    """TCP only; a headless Service nowhere."""
    assert listeners_of(service(**spec), node) == where


def test_endpoints_take_turns():
    """Without affinity every connection goes to the next one, and may fall back on the others."""
    listener = Listener(list(ENDPOINTS))
    orders = [listener.candidates("127.0.0.1", float(n)) for n in range(6)]
    assert sorted(order[0] for order in orders) == sorted(ENDPOINTS * 2)
    assert all(set(order) == set(ENDPOINTS) for order in orders)


def test_a_client_stays_until_its_time_is_over():
    """With ClientIP affinity the endpoint changes only when it goes or nobody came for long enough."""
    listener = Listener(list(ENDPOINTS), affinity_s=10)
    first = listener.candidates("127.0.0.1", 0)[0]
    assert [listener.candidates("127.0.0.1", t)[0] for t in (5, 14, 23)] == [first] * 3
    assert listener.candidates("127.0.0.1", 40)[0] != first
    second = listener.candidates("127.0.0.1", 41)[0]
    listener.endpoints.remove(second)
    assert listener.candidates("127.0.0.1", 42)[0] != second


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, None),
        ({"sessionAffinity": "None"}, None),
        ({"sessionAffinity": "ClientIP"}, 10_800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}, 5),
    ],
)
def test_affinity(spec, seconds):
    """Three hours where the Service does not say."""
    assert affinity_of(service(**spec)) == seconds
