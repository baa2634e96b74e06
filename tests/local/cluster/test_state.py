"""A cluster that keeps its state: what it acknowledged outlasts kill -9, and its pods start again as after a reboot."""

import asyncio
import base64
import contextlib
import os
import random
import ssl
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml

from trimtab.errors import Stalled
from trimtab.local.cluster import ClusterConfig, EmbeddedCluster
from trimtab.local.loopback import NoLoopbackError
from trimtab.local.state import file

pytestmark = pytest.mark.integration

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}},
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def folder():
    """A short-named folder, as socket paths are limited."""
    with tempfile.TemporaryDirectory(prefix="tt") as path:
        yield Path(path)


@contextlib.asynccontextmanager
async def process(folder):
    """A cluster as a process of its own, and a session of its API."""
    command = [sys.executable, "-m", "trimtab", "local", "up", "--foreground", "--data-dir", str(folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    running = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    try:
        async with asyncio.timeout(30):
            while b"ready:" not in (line := await running.stdout.readline()):
                assert line, "the cluster ended"
        async with session(folder / "kubeconfig") as api:
            yield running, api
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


@contextlib.asynccontextmanager
async def session(kubeconfig):
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(cluster["server"], headers=headers, connector=connector) as api:
        yield api


async def test_every_acknowledged_write_outlasts_kill_9(folder):
    """Writers write until the cluster is killed in the middle; three times, on one state."""
    expected = {}
    newest = 0
    for round_ in range(3):
        async with process(folder) as (running, api):
            if not round_:
                async with api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=DEFINITION) as made:
                    assert made.status == 201
                await served(api)
            newest = await checked(api, expected, newest)
            writers = [asyncio.create_task(write(api, expected, f"r{round_}-w{n}")) for n in range(8)]
            await asyncio.sleep(0.3 + random.random())
            running.kill()
            await asyncio.gather(*writers)
    assert len(expected) > 100
    async with process(folder) as (_, api):
        await checked(api, expected, newest)


async def served(api):
    async with asyncio.timeout(60):
        while (await api.get(WIDGETS)).status != 200:  # noqa: ASYNC110 - a question over HTTP
            await asyncio.sleep(0.02)


async def write(api, expected, prefix):
    """Create, change and delete one after the other, and note what was acknowledged, until the server is gone."""
    with contextlib.suppress(aiohttp.ClientError):
        for number in range(100_000):
            name = f"{prefix}-{number}"
            body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"n": 0}}
            # What was sent and not answered may be there or not: None says so until the answer comes.
            expected[name] = None
            async with api.post(WIDGETS, json=body) as answer:
                assert answer.status == 201
                expected[name] = await answer.json()
            before, expected[name] = expected[name], None
            if number % 3 == 0:
                async with api.delete(f"{WIDGETS}/{name}") as answer:
                    assert answer.status == 200
                    expected[name] = "deleted"
                continue
            body = {**before, "spec": {"n": 1}}
            async with api.put(f"{WIDGETS}/{name}", json=body) as answer:
                assert answer.status == 200
                expected[name] = await answer.json()


async def checked(api, expected, newest):
    """Everything that was acknowledged is there, word for word; versions went on, and old watches list again."""
    async with api.get(WIDGETS) as answer:
        listed = await answer.json()
    found = {obj["metadata"]["name"]: obj for obj in listed["items"]}
    for name, wanted in expected.items():
        if wanted == "deleted":
            assert name not in found
        elif wanted is not None:
            assert found[name] == wanted
        elif name in found:
            expected[name] = found[name]
    assert not found.keys() - expected.keys()
    version = int(listed["metadata"]["resourceVersion"])
    assert version >= max([newest, *(int(o["metadata"]["resourceVersion"]) for o in found.values())])
    if newest:
        async with api.get(f"{WIDGETS}?watch=1&resourceVersion={newest - 1}") as answer:
            event = await answer.content.readline()
        assert b'"code":410' in event
    return version


IMAGES = {"busybox*": []}


def cluster(folder, **more):
    """A cluster on the folder's state, in this process."""
    config = ClusterConfig(directory=folder, images=IMAGES, stop_grace_s=0.5, back_off_scale=0.02, keep_state=True)
    return EmbeddedCluster(config, **more)


async def until(what, seconds=60.0):
    end = asyncio.get_running_loop().time() + seconds
    while not (found := what()):
        assert asyncio.get_running_loop().time() < end, "did not come true in time"
        await asyncio.sleep(0.02)
    return found


def template(command, policy="Always", **spec):
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", command]}
    container |= spec.pop("container", {})
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"restartPolicy": policy, "containers": [container], **spec},
    }


def running(registry, selector="app=web"):
    """The pods that run, by uid, with how often they were restarted."""
    found = {}
    for pod in registry.list("pods", label_selector=selector)[0]:
        status = pod["status"].get("containerStatuses", [{}])[0]
        if "running" in status.get("state", {}):
            found[pod["metadata"]["uid"]] = status["restartCount"]
    return found


async def logged(registry, pod, count):
    """The first lines of a pod's log, as soon as they are there."""
    lines, log = [], b""
    async with asyncio.timeout(60):
        async for piece in registry.pod_logs("default", pod["metadata"]["name"], follow=True):
            log += piece
            if len(lines := log.splitlines(keepends=True)) >= count:
                break
    return b"".join(lines)


async def test_pods_start_again_as_after_a_reboot(folder):
    """The same pods run again, one restart older; their Service has its address, their volume its files."""
    volume = {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
    }
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template("echo run >> /data/runs; cat /data/runs; sleep 600", **volume),
    }
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    async with cluster(folder) as first:
        registry, url = first.registry, first.url
        registry.create("deployments.apps", {"metadata": {"name": "web"}, "spec": spec}, "default")
        address = registry.create("services", service, "default")["spec"]["clusterIP"]
        before = await until(lambda: len(running(registry)) == 2 and running(registry))
        uid = registry.get("nodes", "local-0")["metadata"]["uid"]
    async with cluster(folder) as second:
        registry = second.registry
        await until(lambda: running(registry) == dict.fromkeys(before, 1))
        assert second.url == url
        assert registry.get("services", "web", "default")["spec"]["clusterIP"] == address
        assert registry.get("nodes", "local-0")["metadata"]["uid"] == uid
        pod = registry.list("pods", label_selector="app=web")[0][0]
        assert "terminated" in pod["status"]["containerStatuses"][0]["lastState"]
        assert await logged(registry, pod, 2) == b"run\nrun\n"
        another = registry.create("services", {**service, "metadata": {"name": "other"}}, "default")
        assert another["spec"]["clusterIP"] != address


async def test_what_may_run_once_has_failed_and_its_job_tries_again(folder):
    """A pod that is never restarted was lost with the machine; the Job counts that and makes another."""
    job = {"metadata": {"name": "j"}, "spec": {"backoffLimit": 3, "template": template("sleep 600", "Never")}}
    async with cluster(folder) as first:
        first.registry.create("jobs.batch", job, "default")
        (lost,) = await until(lambda: running(first.registry))
        for worker in first.agent._workers.values():
            worker.abandon()  # as when the machine dies: nobody reports anything
    async with cluster(folder) as second:
        await until(lambda: running(second.registry).keys() - {lost})
        pods = {p["metadata"]["uid"]: p["status"] for p in second.registry.list("pods")[0]}
        assert pods[lost]["phase"] == "Failed"
        ended = pods[lost]["containerStatuses"][0]["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (255, "Unknown")
        assert second.registry.get("jobs.batch", "j", "default")["status"]["failed"] == 1


async def test_node_groups_and_custom_kinds_come_back(folder):
    """Machines that were ready are ready, and kinds are served as their definitions say."""
    group = {"metadata": {"name": "spot"}, "spec": {"desired": 2, "bootDelay": "0s"}}
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"n": 1}}
    async with cluster(folder) as first:
        registry = first.registry
        registry.create("nodegroups.local.trimtab.dev", group)
        await until(lambda: len(registry.list("nodes")[0]) == 3)
        registry.create("customresourcedefinitions.apiextensions.k8s.io", DEFINITION)
        registry.create("widgets.example.com", widget, "default")
        nodes = {n["metadata"]["uid"] for n in registry.list("nodes")[0]}
    async with cluster(folder) as second:
        registry = second.registry
        await asyncio.sleep(0.3)  # time in which a group that has forgotten its machines would order others
        assert {n["metadata"]["uid"] for n in registry.list("nodes")[0]} == nodes
        kept = registry.get("widgets.example.com", "w", "default")
        assert kept["spec"] == {"n": 1}
        changed = registry.update("widgets.example.com", {**kept, "spec": {"n": 2, "unknown": True}})
        assert changed["spec"] == {"n": 2}


async def test_a_state_is_used_by_one_cluster_at_a_time(folder):
    """The second is told; without state in the folder, or when the first has ended, it may start."""
    async with cluster(folder):
        with pytest.raises(Stalled, match=f"the state in {folder} is in use by another process; end that cluster"):
            await cluster(folder).__aenter__()
    async with cluster(folder):
        pass


async def test_the_addresses_of_a_state_may_be_taken(folder):
    """Services are on addresses of one 127.N.0.0/16: who else has it is to be stopped."""
    async with cluster(folder) as first:
        network = int(first.url.removeprefix("https://127.").split(".")[0])
    with tempfile.TemporaryDirectory(prefix="tt") as other:
        file.StateFile.written(Path(other) / file.NAME, network, 1, []).install(Path(other) / file.NAME)
        async with cluster(folder):
            with pytest.raises(
                NoLoopbackError, match=rf"127\.{network}\.0\.0/16, whose addresses .* cannot be claimed"
            ):
                await cluster(Path(other)).__aenter__()


async def test_old_events_are_forgotten(folder):
    """Events have an hour, in this cluster or an earlier one."""
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    now = datetime.now(UTC)
    async with cluster(folder) as first:
        for name, age in (("old.1", timedelta(hours=2)), ("new.1", timedelta(minutes=2))):
            when = (now - age).strftime("%Y-%m-%dT%H:%M:%SZ")
            event = {"metadata": {"name": name}, "involvedObject": about, "firstTimestamp": when, "lastTimestamp": when}
            first.registry.create("events", event, "default")
    async with cluster(folder) as second:
        assert second.registry.find("events", "default", "new.1") is not None
        assert second.registry.find("events", "default", "old.1") is None
