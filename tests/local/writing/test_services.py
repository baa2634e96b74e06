"""What Services, Endpoints and EndpointSlices may be, and what of them may be changed."""

import pytest

pytestmark = pytest.mark.integration

SERVICE = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SLICE = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}
ENDPOINTS = {"metadata": {"name": "s"}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}
PORT = "must be between 1 and 65535, inclusive"
IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"spec.ports": []}, ["spec.ports: Required value"]),
        ({"spec.ports": [], "spec.clusterIP": "None"}, []),
        (
            {"spec.ports.0.port": 0},
            [f"spec.ports[0].port: Invalid value: 0: {PORT}", f"spec.ports[0].targetPort: Invalid value: 0: {PORT}"],
        ),
        (
            {"spec.ports": [{"port": 80}, {"port": 81}]},
            ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
        ),
        (
            {"spec.ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]},
            ['spec.ports[1].name: Duplicate value: "a"'],
        ),
        (
            {"spec.ports.0.protocol": "HTTP"},
            ['spec.ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"'],
        ),
        (
            {"spec.type": "Maybe"},
            [
                (
                    'spec.type: Unsupported value: "Maybe": supported values: "ClusterIP", "ExternalName", '
                    '"LoadBalancer", "NodePort"'
                )
            ],
        ),
        ({"spec.type": "ExternalName"}, ["spec.externalName: Required value"]),
        ({"spec.type": "NodePort"}, []),
        (
            {"spec.ports.0.nodePort": 30000},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            {"spec.sessionAffinity": "Maybe"},
            ['spec.sessionAffinity: Unsupported value: "Maybe": supported values: "ClientIP", "None"'],
        ),
        ({"spec.clusterIP": "x"}, [f'spec.clusterIPs[0]: Invalid value: "x": {IP}']),
        (
            {"spec.externalTrafficPolicy": "Local"},
            ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
        ),
    ],
)
async def test_services(judge, changes, wrong):
    """Ports, types and addresses."""
    assert await judge.new("services", SERVICE, changes) == wrong


async def test_addresses_of_services_stay(judge):
    """The address of a Service is given once."""
    found = await judge.update("services", SERVICE, {"spec.clusterIP": "10.96.0.9", "spec.clusterIPs": ["10.96.0.9"]})
    assert found == ['spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set']


async def test_defaults_of_a_service(send):
    """An address within the cluster, and ports that lead to themselves."""
    spec = (await send.make("services", SERVICE))["spec"]
    address = spec["clusterIP"]
    assert spec == {
        "clusterIP": address,
        "clusterIPs": [address],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"a": "b"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"subsets.0": {}}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
        (
            {"subsets.0.addresses.0.ip": "x"},
            [
                f'subsets[0].addresses[0].ip: Invalid value: "x": {IP}',
                'subsets[0].addresses[0].ip: Invalid value: "x": must be a valid IP address',
            ],
        ),
        ({"subsets.0.ports.0.port": 0}, [f"subsets[0].ports[0].port: Invalid value: 0: {PORT}"]),
    ],
)
async def test_endpoints(judge, changes, wrong):
    """Addresses and ports."""
    assert await judge.new("endpoints", ENDPOINTS, changes) == wrong


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"addressType": ""}, ["addressType: Required value"]),
        (
            {"addressType": "Maybe"},
            ['addressType: Unsupported value: "Maybe": supported values: "FQDN", "IPv4", "IPv6"'],
        ),
        (
            {"endpoints.0.addresses": []},
            ["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ),
        (
            {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]},
            ['ports[1].name: Duplicate value: "a"'],
        ),
    ],
)
async def test_slices(judge, changes, wrong):
    """Addresses of one type, and ports with names of their own."""
    assert await judge.new(SLICES, SLICE, changes) == wrong


async def test_types_of_slices_stay(judge):
    """A slice keeps its type of addresses."""
    changes = {"addressType": "IPv6", "endpoints.0.addresses": ["fd00::1"]}
    assert await judge.update(SLICES, SLICE, changes) == ['addressType: Invalid value: "IPv6": field is immutable']
