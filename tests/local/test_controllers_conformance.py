"""Replay what a real kube-controller-manager and kube-scheduler did; a played kubelet reports pods.

Against the embedded controllers; with KUBEBUILDER_ASSETS, or with KUBECONFIG of a cluster without nodes, against the
real ones, which have to do everything as recorded.
"""

import asyncio
import contextlib
import dataclasses
import json
import re
import secrets
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clusters.access import access
from clusters.undertest import is_given

from trimtab.local.apiserver.server import ApiServer
from trimtab.local.controllers.feed import Feed
from trimtab.local.controllers.table import controllers
from trimtab.local.machines import node_object
from trimtab.local.registry import Registry

pytestmark = pytest.mark.integration

RECORDINGS = Path(__file__).parent / "conformance" / "controllers"
RESOURCES = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
}
SETTLES_WITHIN_S = 120.0  # a Job's first back-off is 10 s; on a real cluster a lost node takes 40 s
MORE_COME_WITHIN_S = 5.0  # pods, after the first
STARTS = "kubelet reports Running"
ROOT_CA = "kube-root-ca.crt"  # Kubernetes puts it into every namespace
# What deliberately differs, by recording and step; nothing where the controllers are real.
DIFFERENCES: dict[tuple[str, int], str] = {}


class World:
    """A namespace of a cluster with every controller and without nodes of its own, over HTTP."""

    def __init__(self, server, namespace):
        self.server = server
        self.namespace = namespace
        self.nodes = []

    async def send(self, method, path, body=None, content_type="application/json"):
        """Status and answer."""
        raw = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self.server.admin.request(method, self.server.url + path, data=raw, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def make(self, path, body):
        """Create an object that is no step of a recording."""
        status, answer = await self.send("POST", path, body)
        assert status == 201, answer
        return answer

    async def add_node(self, name, labels=None, taints=()):
        now = datetime.now(UTC)
        node = node_object(
            name, {"cpu": "4", "memory": "8Gi"}, host_address="127.0.0.1", now=now, labels=labels, taints=taints
        )
        await self.make("/api/v1/nodes", node)
        self.nodes.append(name)
        # A real node is not ready before a controller has seen it.
        while len((await self.send("GET", f"/api/v1/nodes/{name}"))[1]["spec"].get("taints", ())) > len(taints):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def listed(self, kind):
        _, answer = await self.send("GET", RESOURCES[kind].format(self.namespace))
        items = [{"kind": kind, **item} for item in answer["items"]]
        return [item for item in items if item["metadata"]["name"] != ROOT_CA]

    async def clear(self):
        """Take away what outlives the namespace, or would keep it where no kubelet ends pods."""
        for pod in await self.listed("Pod"):
            path = f"{RESOURCES['Pod'].format(self.namespace)}/{pod['metadata']['name']}"
            await self.send("DELETE", f"{path}?gracePeriodSeconds=0")
        for name in self.nodes:
            await self.send("DELETE", f"/api/v1/nodes/{name}")
        await self.send("DELETE", f"/api/v1/namespaces/{self.namespace}")

    async def request(self, step):
        request = step["request"]
        path, body = request["path"].replace("{{namespace}}", self.namespace), request.get("body")
        if "<random>" in path:
            recorded, name = await self._named(path, step["do"])
            path = path.replace(recorded, name)
            if body is not None and (body.get("metadata") or {}).get("name") == recorded:
                body = {**body, "metadata": {**body["metadata"], "name": name}}
        content_type = request.get("contentType", "application/json")
        loop = asyncio.get_running_loop()
        end = loop.time() + SETTLES_WITHIN_S
        while True:
            status, answer = await self.send(request["method"], path, body, content_type)
            if status == step["status"]:
                return
            # What was read was recorded when nothing changed any more; what was written must work at once.
            last = request["method"] != "GET" or loop.time() > end
            assert not last, (step["do"], answer)
            await asyncio.sleep(0.05)

    async def _named(self, path, do):
        """A generated name in a recording, and the pod that it stands for."""
        recorded = re.search(r"/pods/([^/?]+)", path)[1]
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            silent, found = fitting(await self.listed("Pod"), recorded, do)
            if silent or (found and (do != STARTS or loop.time() > began + MORE_COME_WITHIN_S)):
                return recorded, (silent or found)[0]["metadata"]["name"]
            assert loop.time() < began + SETTLES_WITHIN_S, f"{do}: no pod is {recorded}"
            await asyncio.sleep(0.05)


def fitting(pods, recorded, do):
    """The pods that a step may mean: those that nobody has reported yet, and all."""
    found = [p for p in pods if masked(p["metadata"]["name"], recorded)]
    terminating = "finished" in do
    found = [p for p in found if ("deletionTimestamp" in p["metadata"]) == terminating]
    found.sort(key=lambda p: not p["status"].get("podIP"))  # the ones that run first
    silent = [p for p in found if not p["status"].get("podIP") and p["status"]["phase"] == "Pending"]
    return ([] if "evict" in do else silent), found


@pytest.fixture
async def embedded(tmp_path):
    """The embedded API server and controllers, without a node agent; a kubeconfig and the URL."""
    registry = Registry(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
    feed = Feed(registry)
    api = ApiServer(registry, host="127.0.0.1", port=0, token="token")
    await api.start()
    tasks = [asyncio.create_task(c.run()) for c in controllers(registry, feed, lambda: datetime.now(UTC), 1.0)]
    (tmp_path / "kubeconfig").write_text(api.kubeconfig())
    yield tmp_path / "kubeconfig", api.url
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await feed.stop()
    await api.stop()


@pytest.fixture
def place(request):
    """A kubeconfig, and the URL of the embedded server unless another is given."""
    if not is_given():
        return request.getfixturevalue("embedded")
    cluster = request.getfixturevalue("cluster_under_test")
    if reason := cluster.lacks(("controllers", "scheduler", "no-nodes")):
        pytest.skip(reason)
    return cluster.kubeconfig, None


@pytest.fixture
async def world(place):
    kubeconfig, url = place
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(access(kubeconfig))
        server = dataclasses.replace(server, url=url or server.url)
        made = World(server, f"conformance-{secrets.token_hex(4)}")
        await made.make("/api/v1/namespaces", {"metadata": {"name": made.namespace}})
        stack.push_async_callback(made.clear)
        yield made


def masked(name, recorded):
    """Whether a name is one that the recording stands for."""
    pattern = re.escape(recorded).replace("<hash>", "[a-z0-9]+").replace("<random>", "[a-z0-9]+")
    return re.fullmatch(pattern, name) is not None


def mismatch(expected, actual, path=""):
    """The first place where `actual` is not what was recorded, or None."""
    if isinstance(expected, str) and expected.startswith("<") and expected.endswith(">"):
        return None if actual else f"{path}: nothing, recorded {expected}"
    if path.endswith(("nodeName", "podIP", ".ip", "addresses", "uid", "namespace", "startedAt", "finishedAt")):
        return None if bool(actual) == bool(expected) or not expected else f"{path}: {actual}, recorded {expected}"
    if isinstance(expected, dict):
        for key, value in expected.items():
            if (wrong := mismatch(value, (actual or {}).get(key), f"{path}.{key}")) is not None:
                return wrong
        return None
    if isinstance(expected, list):
        actual = actual or []
        if expected and isinstance(expected[0], dict) and "type" in expected[0]:
            expected = sorted(expected, key=lambda c: c["type"])
            actual = sorted(actual, key=lambda c: c["type"])
        if len(expected) != len(actual):
            return f"{path}: {len(actual)} items, recorded {len(expected)}: {actual}"
        found = (mismatch(e, a, f"{path}[{i}]") for i, (e, a) in enumerate(zip(expected, actual, strict=True)))
        return next((wrong for wrong in found if wrong is not None), None)
    if isinstance(expected, str) and isinstance(actual, str):
        if masked(actual, expected):
            return None
        hidden = re.compile(r'"web-[a-z0-9]+"')  # a message's hash of the template
        expected, actual = hidden.sub('"web-"', expected), hidden.sub('"web-"', actual)
    return None if expected == actual else f"{path}: {actual!r}, recorded {expected!r}"


def reduced(obj, recorded):
    """An object in the form in which recordings keep it."""
    metadata = obj["metadata"]
    out = {
        "kind": obj["kind"],
        "deleting": "deletionTimestamp" in metadata,
        **{k: metadata.get(k) for k in ("labels", "annotations", "finalizers", "generation", "ownerReferences")},
        **{k: v for k, v in obj.items() if k not in ("metadata", "status")},
    }
    status = dict(obj.get("status") or {})
    if recorded["kind"] in ("Deployment", "ReplicaSet", "Job", "PodDisruptionBudget"):
        # In these a field that Kubernetes leaves out has to be left out here as well.
        out["unrecorded"] = sorted(set(status) - set(recorded.get("status") or {}))
    return {**out, "status": status}


def difference(recorded, present):
    """What keeps the objects that exist from being the recorded ones, or None."""
    for kind in {o["kind"] for o in recorded}:
        wanted = [o for o in recorded if o["kind"] == kind]
        left = list(present[kind])
        if len(left) != len(wanted):
            return f"{len(left)} of kind {kind}, recorded {len(wanted)}"
        for one in wanted:
            wrongs = []
            for obj in left:
                expected = {k: v for k, v in one.items() if k != "name"} | {"unrecorded": None}
                got = reduced(obj, one)
                if got.get("unrecorded"):
                    wrongs.append(f"{obj['metadata']['name']}: has {got['unrecorded']}")
                    continue
                expected.pop("unrecorded")
                wrong = mismatch(expected, got) if masked(obj["metadata"]["name"], one["name"]) else "another name"
                if wrong is None:
                    left.remove(obj)
                    break
                wrongs.append(f"{obj['metadata']['name']}{wrong}")
            else:
                return f"no {kind} is {one['name']}: {wrongs}"
    return None


async def settled(world, step):
    """Wait until the world is as it was recorded."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLES_WITHIN_S
    recorded = step["objects"]
    kinds = {o["kind"] for o in recorded} or {"Job", "Pod", "ConfigMap"}
    while True:
        present = {kind: await world.listed(kind) for kind in kinds}
        wrong = difference(recorded, present) if recorded else next((f"{k} left" for k in kinds if present[k]), None)
        if wrong is None:
            return
        assert loop.time() < end, f"{step['observe']}: {wrong}"
        await asyncio.sleep(0.05)


def config_map(name, owner):
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"name": name, "ownerReferences": [reference]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def add_dependent(world, do):
    """The steps of garbage-collection that the recording describes in words."""
    path = RESOURCES["ConfigMap"].format(world.namespace)
    if do.startswith("child of "):
        name = do.removeprefix("child of ").partition(",")[0]
        _, owner = await world.send("GET", f"{path}/{name}")
        await world.make(path, config_map(f"{name}-child", owner))
    else:
        gone = {"metadata": {"name": "gone", "uid": str(uuid.uuid4())}}
        await world.make(path, config_map("lost", gone))


@pytest.mark.parametrize("recording", sorted(RECORDINGS.glob("*.json")), ids=lambda p: p.stem)
async def test_controllers_do_what_kubernetes_did(recording, world):
    """Every state that was recorded is reached, in the recorded order."""
    scenario = json.loads(recording.read_text())
    name = scenario["scenario"]
    for node in ("n1", "n2"):
        await world.add_node(node)
    if name == "scheduling":
        taint = {"key": "capacity", "value": "spot", "effect": "NoSchedule"}
        await world.add_node("spot-1", {"capacity": "spot"}, [taint])
    for number, step in enumerate(scenario["steps"]):
        if (name, number) in DIFFERENCES and not is_given():
            continue
        if "objects" in step:
            if step["observe"].startswith("the new node"):
                await world.add_node("late", {"capacity": "none"})
            await settled(world, step)
        elif "request" in step:
            await asyncio.sleep(0.05)  # the recorded client was slower than one turn of the loop
            await world.request(step)
        else:
            await add_dependent(world, step["do"])
