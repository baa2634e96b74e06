"""The cluster as a whole: what a user sees of it, and what it leaves behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from trimtab.local.cluster import ClusterConfig, EmbeddedCluster

pytestmark = pytest.mark.integration

ECHO = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["HOSTNAME"].encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["IP"], 8080), Answer).serve_forever()
"""


def deployment(replicas):
    container = {
        "name": "main",
        "image": "python:3",
        "args": ["-c", ECHO],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def service():
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


def ready_addresses(embedded):
    slices = embedded.list("endpointslices.discovery.k8s.io", "kubernetes.io/service-name=web")
    return {a for s in slices for e in s["endpoints"] if e["conditions"]["ready"] for a in e["addresses"]}


async def test_a_service_reaches_every_replica_and_survives_the_loss_of_one(embedded):
    """A Deployment's pods are endpoints of its Service, which forwards to them in turn."""
    embedded.create("services", service())
    embedded.create("deployments.apps", deployment(2))
    await embedded.until(lambda: len(ready_addresses(embedded)) == 2)
    address = embedded.get("services", "web")["spec"]["clusterIP"]
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def ask():
            async with http.get(f"http://{address}/") as answer:
                return await answer.text()

        await asyncio.sleep(0.05)  # the proxy hears of the endpoints in the next turns of the loop
        assert len({await ask() for _ in range(8)}) == 2
        pid = int(embedded.list("pods")[0]["status"]["containerStatuses"][0]["containerID"].removeprefix("process://"))
        os.kill(pid, signal.SIGKILL)
        assert len([await ask() for _ in range(20)]) == 20
    await embedded.until(lambda: len(ready_addresses(embedded)) == 2)


async def test_a_rolling_update_replaces_every_pod(embedded):
    """A new template goes out one pod at a time; the old ReplicaSet ends empty."""
    embedded.create("deployments.apps", deployment(2))
    await embedded.until(lambda: embedded.get("deployments.apps", "web").get("status", {}).get("readyReplicas") == 2)
    old = {p["metadata"]["uid"] for p in embedded.list("pods")}
    change = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
    embedded.registry.patch(
        "deployments.apps", "web", "default", change, "application/merge-patch+json", manager="test"
    )

    def replaced():
        now = {p["metadata"]["uid"] for p in embedded.list("pods")}
        status = embedded.get("deployments.apps", "web")["status"]
        return len(now) == 2 and not now & old and status.get("updatedReplicas") == status.get("readyReplicas") == 2

    await embedded.until(replaced, 30)


async def test_two_clusters_live_side_by_side(embedded):
    """Each cluster has its own part of the loopback network."""
    with TemporaryDirectory(prefix="tt") as folder:
        async with EmbeddedCluster(ClusterConfig(directory=Path(folder))) as other:
            assert other.url.split(".")[1] != embedded.cluster.url.split(".")[1]


ORPHANS = """
import asyncio, sys
from pathlib import Path
from trimtab.local.cluster import ClusterConfig, EmbeddedCluster

async def main():
    async with EmbeddedCluster(ClusterConfig(directory=Path(sys.argv[1]), images={"busybox": []})) as cluster:
        container = {"name": "c", "image": "busybox", "command": ["sh", "-c", sys.argv[2]]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
        cluster.registry.create("pods", pod, "default")
        while cluster.registry.get("pods", "p", "default")["status"].get("phase") != "Running":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        print("running", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def alive(marker):
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"sleep {marker}" in line]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "terminated"])
async def test_nothing_outlives_a_cluster_that_is_killed(tmp_path, number):
    """Even when it is killed without a word, nothing that it started goes on running."""
    marker = 5000 + os.getpid() % 1000 + number
    script = f"sleep {marker} & setsid sleep {marker} & exec sleep {marker}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(ORPHANS),
        str(tmp_path),
        script,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    while (await process.stdout.readline()).strip() != b"running":
        assert not process.stdout.at_eof()
    assert len(alive(marker)) == 3
    process.send_signal(number)
    await process.wait()
    end = asyncio.get_running_loop().time() + 60
    while alive(marker) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - nobody is left to say it
        await asyncio.sleep(0.05)
    assert alive(marker) == []
