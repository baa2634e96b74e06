"""Replay what a real kube-controller-manager and kube-scheduler did; a played kubelet reports pods."""

import asyncio
import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from trimtab.local.apiserver.server import ApiServer
from trimtab.local.controllers.feed import Feed
from trimtab.local.controllers.table import controllers
from trimtab.local.machines import node_object
from trimtab.local.registry import Registry

pytestmark = pytest.mark.integration

RECORDINGS = Path(__file__).parent / "conformance" / "controllers"
NAMESPACE = "conformance"
RESOURCES = {
    "Deployment": "deployments.apps",
    "ReplicaSet": "replicasets.apps",
    "Pod": "pods",
    "Job": "jobs.batch",
    "EndpointSlice": "endpointslices.discovery.k8s.io",
    "PodDisruptionBudget": "poddisruptionbudgets.policy",
    "ConfigMap": "configmaps",
}
SETTLES_WITHIN_S = 13.0  # a Job's first back-off is 10 s
# What deliberately differs, by recording and step.
DIFFERENCES = {
    ("scheduling", 13): "pods of a vanished node are collected at once here, after about 40 s there",
    ("eviction-and-pdb", 7): "the eviction API does not write the DisruptionTarget condition",
}


class World:
    """A registry with every controller and an HTTP API, without a node agent."""

    async def __aenter__(self):
        self.registry = Registry(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
        self.registry.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.feed = Feed(self.registry)
        self.api = ApiServer(self.registry, host="127.0.0.1", port=0, token="token")
        await self.api.start()
        self.http = aiohttp.ClientSession(headers={"Authorization": "Bearer token"})
        made = controllers(self.registry, self.feed, lambda: datetime.now(UTC), 1.0)
        self.tasks = [asyncio.create_task(c.run()) for c in made]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.feed.stop()
        await self.http.close()
        await self.api.stop()

    def add_node(self, name, labels=None, taints=()):
        now = datetime.now(UTC)
        node = node_object(
            name, {"cpu": "4", "memory": "8Gi"}, host_address="127.0.0.1", now=now, labels=labels, taints=taints
        )
        self.registry.create("nodes", node)

    def listed(self, kind):
        return self.registry.list(RESOURCES[kind], NAMESPACE)[0]

    async def request(self, step):
        request = step["request"]
        path = request["path"].replace("{{namespace}}", NAMESPACE)
        if "<random>" in path:
            path = self._named(path, step["do"])
        body = json.dumps(request["body"]) if request.get("body") is not None else None
        headers = {"Content-Type": request.get("contentType", "application/json")}
        loop = asyncio.get_running_loop()
        end = loop.time() + SETTLES_WITHIN_S
        while True:
            async with self.http.request(request["method"], self.api.url + path, data=body, headers=headers) as answer:
                if answer.status == step["status"]:
                    return
                # What was read was recorded when nothing changed any more; what was written must work at once.
                last = request["method"] != "GET" or loop.time() > end
                assert not last, (step["do"], await answer.text())
            await asyncio.sleep(0.05)

    def _named(self, path, do):
        """The pod that a generated name in a recording stands for."""
        recorded = re.search(r"/pods/([^/?]+)", path)[1]
        pattern = re.compile(re.escape(recorded).replace("<hash>", "[a-z0-9]+").replace("<random>", "[a-z0-9]+"))
        found = [p for p in self.listed("Pod") if pattern.fullmatch(p["metadata"]["name"])]
        terminating = "finished" in do
        found = [p for p in found if ("deletionTimestamp" in p["metadata"]) == terminating]
        found.sort(key=lambda p: not p["status"].get("podIP"))  # the ones that run first
        silent = [p for p in found if not p["status"].get("podIP") and p["status"]["phase"] == "Pending"]
        name = (found if "evict" in do else silent or found)[0]["metadata"]["name"]
        return path.replace(recorded, name)


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
        left = list(present(kind))
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


async def settled(world, step, scenario):
    """Wait until the world is as it was recorded."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLES_WITHIN_S
    recorded = step["objects"]
    if not recorded:
        kinds = {"job-deadline-and-ttl": ("Job", "Pod"), "garbage-collection": ("ConfigMap",)}[scenario]
    while True:
        if recorded:
            wrong = difference(recorded, world.listed)
        else:
            wrong = next((f"{k} left" for k in kinds if world.listed(k)), None)
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


def add_dependent(world, do):
    """The steps of garbage-collection that the recording describes in words."""
    if do.startswith("child of "):
        name = do.removeprefix("child of ").partition(",")[0]
        owner = world.registry.get("configmaps", name, NAMESPACE)
        world.registry.create("configmaps", config_map(f"{name}-child", owner), NAMESPACE)
    else:
        gone = {"metadata": {"name": "gone", "uid": str(uuid.uuid4())}}
        world.registry.create("configmaps", config_map("lost", gone), NAMESPACE)


@pytest.mark.parametrize("recording", sorted(RECORDINGS.glob("*.json")), ids=lambda p: p.stem)
async def test_controllers_do_what_kubernetes_did(recording):
    """Every state that was recorded is reached, in the recorded order."""
    scenario = json.loads(recording.read_text())
    name = scenario["scenario"]
    async with World() as world:
        for node in ("n1", "n2"):
            world.add_node(node)
        if name == "scheduling":
            taint = {"key": "capacity", "value": "spot", "effect": "NoSchedule"}
            world.add_node("spot-1", {"capacity": "spot"}, [taint])
        for number, step in enumerate(scenario["steps"]):
            if (name, number) in DIFFERENCES:
                continue
            if "objects" in step:
                if step["observe"].startswith("the new node"):
                    world.add_node("late", {"capacity": "none"})
                await settled(world, step, name)
            elif "request" in step:
                await asyncio.sleep(0.05)  # the recorded client was slower than one turn of the loop
                await world.request(step)
            else:
                add_dependent(world, step["do"])
