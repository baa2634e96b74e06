"""Ports, proxies and node ports: requests that the cluster passes on to pods."""

import asyncio
import os

import aiohttp
import pytest
from containers import a_web_server, kubectl, official, started

pytestmark = pytest.mark.integration


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize(
    "path",
    [
        "services/web/proxy/",
        "services/web:80/proxy/",
        "services/web:http/proxy/",
        "pods/web:8080/proxy/",
        "pods/web/proxy/",
    ],
)
async def test_the_api_server_passes_requests_on(embedded, path):
    """What `kubectl proxy` and `get --raw` reach a server by."""
    await a_web_server(embedded)
    code, out, err = await kubectl(embedded, "get", "--raw", f"/api/v1/namespaces/default/{path}some/thing?x=1")
    if path == "services/web/proxy/":
        assert 'no endpoints available for service "web"' in err  # the port has a name: it must be given
    else:
        assert (code, out) == (0, "/some/thing?x=1" * 20_000), err


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("services/web:81/proxy/", 'no service port 81 found for service "web"'),
        ("services/gone:80/proxy/", 'services "gone" not found'),
        ("services/a:b:c/proxy/", 'invalid service request "a:b:c"'),
        ("pods/web:9/proxy/", "error trying to reach service: dial tcp 127."),
    ],
)
async def test_requests_that_cannot_be_passed_on(embedded, path, words):
    """The reason is the API server's."""
    await a_web_server(embedded)
    code, _, err = await kubectl(embedded, "get", "--raw", f"/api/v1/namespaces/default/{path}")
    assert code == 1
    assert words in err


FORWARDS = """
forwarding = portforward(api.connect_get_namespaced_pod_portforward, "web", "default", ports="8080")
connection = forwarding.socket(8080)
connection.setblocking(True)
connection.sendall(b"GET /x HTTP/1.0\\r\\n\\r\\n")
seen = b""
while piece := connection.recv(65_536):
    seen += piece
print(json.dumps([len(seen.partition(b"\\r\\n\\r\\n")[2])]))
"""


async def test_the_official_client_forwards_ports(embedded):
    """It has channels per port, where kubectl has streams."""
    await a_web_server(embedded)
    assert await official(embedded, FORWARDS) == [40_000]


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize("websockets", ["true", "false"])
@pytest.mark.parametrize("target", ["pod/web", "svc/web"])
async def test_port_forward(embedded, target, websockets):
    """Connections reach the pod, several at once, through a WebSocket and through SPDY of its own."""
    await a_web_server(embedded)
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        "port-forward",
        target,
        ":8080" if target == "pod/web" else ":80",
        env={
            **os.environ,
            "KUBECONFIG": str(embedded.cluster.kubeconfig_path),
            "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets,
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        port = int(line.split(b" -> ")[0].rpartition(b":")[2])
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http:

            async def ask(path):
                async with http.get(url + path) as response:
                    return await response.text()

            paths = [f"/{n}" for n in range(8)]
            assert await asyncio.gather(*(ask(p) for p in paths)) == [p * 20_000 for p in paths]
    finally:
        process.kill()
        await process.wait()


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_a_port_nobody_listens_on(embedded, websockets):
    """kubectl prints why."""
    await started(embedded)
    environment = {"KUBECONFIG": str(embedded.cluster.kubeconfig_path), "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets}
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        "port-forward",
        "p",
        ":9",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        port = int(line.split(b" -> ")[0].rpartition(b":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        words = await asyncio.wait_for(process.stderr.readline(), 60)
        writer.close()
        assert b"error forwarding port 9 to pod p: failed to connect to 127." in words
    finally:
        process.kill()
        await process.wait()


async def test_a_node_port_is_open_on_the_node(embedded):
    """Every node has the cluster's first address, and the port is open there."""
    await a_web_server(embedded)
    service = embedded.get("services", "web")
    embedded.registry.update("services", {**service, "spec": {**service["spec"], "type": "NodePort"}})
    port = embedded.get("services", "web")["spec"]["ports"][0]["nodePort"]
    address = embedded.get("pods", "web")["status"]["hostIP"]

    async def answer():
        async with aiohttp.ClientSession() as http, http.get(f"http://{address}:{port}/x") as response:
            return await response.text()

    async with asyncio.timeout(60):
        while True:
            try:
                assert await answer() == "/x" * 20_000
                return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
