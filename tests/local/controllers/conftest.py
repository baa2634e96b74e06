"""Controllers on a registry, with a clock that the test moves and a kubelet that the test plays."""

import asyncio
import contextlib
import inspect
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.local.controllers.feed import Feed
from trimtab.local.controllers.table import controllers
from trimtab.local.machines import node_object
from trimtab.local.registry import Registry

SETTLED_AFTER_TURNS = 40  # turns of the event loop in which nothing was written


class Stage:
    """A namespace "d" and nodes; `run()` starts every controller."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        numbers = itertools.count()
        self.registry = Registry(lambda: self.now, lambda: f"00000000-0000-4000-8000-{next(numbers):012}")
        for name in ("default", "d", "kube-node-lease"):
            self.registry.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def add_node(self, name, cpu="4", **more):
        node = node_object(name, {"cpu": cpu, "memory": "8Gi"}, host_address="127.0.0.1", now=self.now, **more)
        return self.registry.create("nodes", node)

    @contextlib.asynccontextmanager
    async def run(self):
        feed = Feed(self.registry)
        made = controllers(self.registry, feed, lambda: self.now, 1.0)
        tasks = [asyncio.create_task(c.run()) for c in made]
        self.queues = [c.queue for c in made]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await feed.stop()

    async def settle(self, seconds=0):
        """Let the controllers do what there is to do, `seconds` later."""
        self.now += timedelta(seconds=seconds)
        if seconds:
            for queue in self.queues:  # what waits for its time goes by the loop's clock
                for key in list(queue._timers):
                    queue._timers.pop(key).cancel()
                    queue.add(key)
        quiet, version = 0, self.registry.version
        while quiet < SETTLED_AFTER_TURNS:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.registry.version == version else 0
            version = self.registry.version

    def make(self, resource, kind, name, spec, api_version="v1", **metadata):
        body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
        return self.registry.create(resource, body, "d")

    def patch(self, resource, name, change, subresource=None):
        kind = "application/merge-patch+json"
        return self.registry.patch(resource, name, "d", change, kind, manager="user", subresource=subresource)

    def get(self, resource, name):
        return self.registry.get(resource, name, "d")

    def list(self, resource):
        return self.registry.list(resource, "d")[0]

    def report(self, pod, phase="Running", *, ready=True, code=None):
        """What a kubelet says of a pod."""
        ended = {"terminated": {"exitCode": code, "finishedAt": self.registry.now()}}
        state = {"running": {"startedAt": self.registry.now()}} if code is None else ended
        ready = ready and phase == "Running"
        status = {
            **pod["status"],
            "phase": phase,
            "podIP": "10.0.0.1",
            "conditions": [
                *(c for c in pod["status"].get("conditions", ()) if c["type"] != "Ready"),
                {"type": "Ready", "status": str(ready), "lastTransitionTime": self.registry.now()},
            ],
            "containerStatuses": [
                {"name": "main", "image": "i", "imageID": "i", "ready": ready, "restartCount": 0, "state": state}
            ],
        }
        return self.registry.update("pods", {**pod, "status": status}, subresource="status")

    def finish(self):
        """The kubelets end every pod that was told to go."""
        for pod in self.list("pods"):
            if "deletionTimestamp" in pod["metadata"]:
                self.registry.delete("pods", pod["metadata"]["name"], "d", grace_seconds=0)

    def condition(self, obj, kind):
        return next((c for c in obj["status"].get("conditions", ()) if c["type"] == kind), None)

    def said(self, reason):
        return [e["message"] for e in self.registry.list("events")[0] if e["reason"] == reason]

    async def until(self, holds):
        end = asyncio.get_running_loop().time() + 60
        while not holds():
            assert asyncio.get_running_loop().time() < end, inspect.getsource(holds)
            await asyncio.sleep(0.01)


@pytest.fixture
async def stage():
    """Controllers that run, with two nodes."""
    made = Stage()
    made.add_node("n1")
    made.add_node("n2")
    async with made.run():
        await made.settle()
        yield made
