"""HAProxy and its agent as they run in a pod, against a real API server."""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
import yaml

from trimtab.effects.kinds import MODELS
from trimtab.effects.kubernetes import Cluster
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry
from trimtab.workloads.gateway.configuration import CONFIG_FILE

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
NAMESPACE = "team"
SPEC = {
    "source": {"uri": "file:///models/digits"},
    "compression": {"preset": "None"},
    "guardrail": {"dataset": {"uri": "file:///data/test.npz"}, "maxDrop": "1pp"},
    "serving": {"loadBalancing": {"policy": "LeastConnections"}},
}


class Api:
    """An API server that can go away and come back at the same address."""

    def __init__(self, host):
        self.host = host
        self.registry = Registry(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
        self.server = None

    async def start(self):
        self.server = ApiServer(self.registry, host=self.host, port=6443, token="secret")
        await self.server.start()

    async def stop(self):
        if self.server:
            await self.server._runner.cleanup()
            self.server = None


@pytest.fixture
async def api(quiet_world, tmp_path):
    """Return a running API server that serves our kinds, the namespace, and a client."""
    api = Api(quiet_world.listener.host)
    await api.start()
    quiet_world.stack.push_async_callback(api.stop)
    (tmp_path / "kubeconfig").write_text(api.server.kubeconfig())
    cluster = await quiet_world.stack.enter_async_context(await Cluster.connect(str(tmp_path / "kubeconfig")))
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    await cluster.apply(yaml.safe_load((ROOT / "crds" / "trimtab.dev_optimizedmodels.yaml").read_text()))
    return api, cluster


async def start_agent(world, tmp_path, command="agent"):
    """Start the agent alone, or with `run` HAProxy and the agent."""
    log = (tmp_path / "agent.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "trimtab", "gateway", command],
        f"--directory={world.directory}",
        f"--namespace={NAMESPACE}",
        f"--kubeconfig={tmp_path / 'kubeconfig'}",
        env={"PYTHONPATH": str(ROOT / "operator"), "PATH": os.environ["PATH"], "POD_IP": world.listener.host},
        stdout=log,
        stderr=log,
    )
    log.close()

    async def stop():
        if process.returncode is None:
            process.terminate()
            await process.wait()

    world.stack.push_async_callback(stop)
    return process


def model(name):
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": SPEC,
    }


def endpoint_slice(name, *replicas):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-r1-x",
            "namespace": NAMESPACE,
            "labels": {"trimtab.dev/model": name, "trimtab.dev/revision": f"{name}-r1"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [replica.host],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": replica.pod, "namespace": NAMESPACE},
            }
            for replica in replicas
        ],
    }


async def serve(cluster, name, *replicas):
    """Say what the operator and the EndpointSlice controller would say of a model that serves."""
    if await cluster.get(MODELS, name, NAMESPACE) is None:
        await cluster.create(model(name))
    status = {"traffic": {"revisions": [{"revision": f"{name}-r1", "weight": 100}], "avoidNodes": []}}
    await cluster.merge(MODELS, name, NAMESPACE, {"status": status}, "status")
    await cluster.apply(endpoint_slice(name, *replicas))


async def scraped(world, path="/v1/stats"):
    async with world.session.get(f"http://{world.listener.host}:8090{path}") as response:
        return await (response.json() if path == "/v1/stats" else response.text())


async def answered_by(world, name):
    with contextlib.suppress(aiohttp.ClientError):
        status, answer = await world.send(name)
        return answer["by"] if status == 200 else None


async def test_from_the_api_to_the_reply(quiet_world, api, tmp_path):
    """Model and endpoints in the API are all it takes; the stats port tells the rest, and SIGTERM ends the agent."""
    world, (_, cluster) = quiet_world, api
    one, two = await world.replica(), await world.replica(max_concurrency=7)
    await serve(cluster, "digits", one)
    agent = await start_agent(world, tmp_path)
    await world.start_proxy()

    async def first():
        return await answered_by(world, "digits") == one.address

    await world.until(first)
    await cluster.apply(endpoint_slice("digits", two))

    async def second():
        return await answered_by(world, "digits") == two.address

    await world.until(second)

    async def known():
        report = await scraped(world)
        endpoints = report["models"]["digits"]["endpoints"]
        return endpoints[0] if endpoints and endpoints[0]["state"] == "Healthy" else None

    endpoint = await world.until(known)
    assert endpoint == {
        "address": two.address,
        "pod": two.pod,
        "revision": "digits-r1",
        "node": "n1",
        "state": "Healthy",
        "inFlight": 0,
        "maxConcurrency": 7,
    }
    text = await scraped(world, "/metrics")
    assert 'trimtab_gateway_endpoints{model="digits",state="Healthy"} 1\n' in text
    agent.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(agent.wait(), 30) == 0
    assert await answered_by(world, "digits") == two.address


async def test_the_api_server_goes_away_and_comes_back(quiet_world, api, tmp_path):
    """Requests and statistics go on without it; afterwards the agent learns what it missed."""
    world, (server, cluster) = quiet_world, api
    one, two = await world.replica(), await world.replica()
    await serve(cluster, "digits", one)
    agent = await start_agent(world, tmp_path)
    await world.start_proxy()

    async def serving():
        return await answered_by(world, "digits") == one.address

    await world.until(serving)
    await server.stop()
    for _ in range(10):
        assert await answered_by(world, "digits") == one.address
        assert (await scraped(world))["proxyUp"] is True
    await server.start()
    await serve(cluster, "digits", two)

    async def moved():
        return await answered_by(world, "digits") == two.address

    await world.until(moved)
    assert agent.returncode is None


def children(process, word):
    """Return the processes that a process started and that have a word among their arguments."""
    found = []
    for number in (Path("/proc") / f"{process.pid}" / "task" / f"{process.pid}" / "children").read_text().split():
        with contextlib.suppress(OSError):  # it ended meanwhile
            if word in Path("/proc", number, "cmdline").read_text().split("\0"):
                found.append(int(number))
    return found


@pytest.fixture
async def both(quiet_world, api, tmp_path):
    """Return the process that runs both, whose model is served by one replica, and what asks the model."""
    world, (_, cluster) = quiet_world, api
    replica = await world.replica()
    await serve(cluster, "digits", replica)
    process = await start_agent(world, tmp_path, "run")

    async def serving():
        return await answered_by(world, "digits") == replica.address

    await world.until(serving)
    return process, serving


async def test_an_agent_that_dies_takes_nothing_along(quiet_world, both):
    """HAProxy answers and is ready all the time, and another agent reports, which SIGTERM ends with HAProxy."""
    world, (process, serving) = quiet_world, both
    (first,) = children(process, "agent")
    (proxy,) = children(process, CONFIG_FILE)
    ready = f"http://{world.listener.bind}/gateway/ready"

    async def another():
        assert await serving()
        async with world.session.get(ready) as response:
            assert response.status == 200
        with contextlib.suppress(aiohttp.ClientError):
            return first not in children(process, "agent") and (await scraped(world))["proxyUp"]

    os.kill(first, signal.SIGKILL)
    await world.until(another)
    (second,) = children(process, "agent")
    assert children(process, CONFIG_FILE) == [proxy]
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert not any(Path("/proc", f"{number}").exists() for number in (second, proxy))


async def test_haproxys_end_is_the_containers(both):
    """The exit code tells how it ended, and no agent is left to drive nothing."""
    process, _ = both
    (agent,) = children(process, "agent")
    os.kill(children(process, CONFIG_FILE)[0], signal.SIGKILL)
    assert await asyncio.wait_for(process.wait(), 30) == 128 + signal.SIGKILL
    assert not Path("/proc", f"{agent}").exists()
