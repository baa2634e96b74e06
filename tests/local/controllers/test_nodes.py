"""The life of nodes, on a registry with a clock that the test moves."""

import asyncio
import contextlib
import inspect
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.local.agent.heartbeats import Heartbeats
from trimtab.local.controllers.feed import Feed
from trimtab.local.controllers.nodehealth import NodeTiming
from trimtab.local.controllers.nodes import Nodes, OrphanedPods
from trimtab.local.controllers.taints import TaintEvictions
from trimtab.local.machines import node_object
from trimtab.local.registry import Registry

TIMING = NodeTiming(monitor_s=0.01)


class World:
    """Two nodes with a pod on the first, and the controllers that look after nodes."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        numbers = itertools.count()
        self.registry = Registry(lambda: self.now, lambda: f"uid-{next(numbers)}")
        for name in ("default", "kube-node-lease"):
            self.registry.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in ("a", "b"):
            self.registry.create("nodes", node_object(name, {"cpu": "4"}, host_address="127.0.0.1", now=self.now))
        container = {"name": "main", "image": "i"}
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [container], "nodeName": "a"}}
        self.registry.create("pods", {"apiVersion": "v1", "kind": "Pod", **pod}, "default")
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        self.registry.update("pods", {**self.pod, "status": status}, subresource="status")

    @property
    def pod(self):
        return self.registry.get("pods", "p", "default")

    def node(self, name):
        return self.registry.get("nodes", name)

    def condition(self, of, kind):
        return next(c for c in of["status"]["conditions"] if c["type"] == kind)

    @contextlib.asynccontextmanager
    async def running(self):
        feed = Feed(self.registry)
        clock = lambda: self.now  # noqa: E731 - three controllers share it
        made = [
            Nodes(self.registry, feed, clock, TIMING),
            OrphanedPods(self.registry, feed, clock, NodeTiming(quarantine_s=0.2)),
            TaintEvictions(self.registry, feed, clock),
        ]
        tasks = [asyncio.create_task(c.run()) for c in made]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await feed.stop()

    async def until(self, holds):
        end = asyncio.get_running_loop().time() + 60
        while not holds():
            assert asyncio.get_running_loop().time() < end, inspect.getsource(holds)
            await asyncio.sleep(0.01)


@pytest.fixture
def world():
    return World()


async def test_a_silent_node_loses_its_pods_after_their_toleration(world):
    """Unknown after 50 s, its pods not ready and the node tainted; they go when they tolerate it no longer."""
    async with world.running():
        await world.until(lambda: "taints" not in world.node("a")["spec"])
        beats = asyncio.create_task(Heartbeats(world.registry, lambda: world.now, renewed_every_s=0.01).run())
        world.now += timedelta(seconds=45)
        await world.until(lambda: world.registry.list("leases.coordination.k8s.io")[0])
        lease = world.registry.get("leases.coordination.k8s.io", "a", "kube-node-lease")
        assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == ("a", 40)
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
        await asyncio.sleep(0.05)  # the last renewal is noticed
        ready = {**world.node("b")["status"]["conditions"][3], "lastHeartbeatTime": "2026-01-01T12:02:00Z"}
        world.now += timedelta(seconds=51)
        world.registry.update(
            "nodes",
            {**world.node("b"), "status": {**world.node("b")["status"], "conditions": [ready]}},
            subresource="status",
        )
        await world.until(lambda: world.condition(world.node("a"), "Ready")["status"] == "Unknown")
        await world.until(lambda: world.condition(world.pod, "Ready")["status"] == "False")
        await world.until(lambda: len(world.node("a")["spec"].get("taints", ())) == 2)
        assert world.condition(world.node("b"), "Ready")["status"] == "True"
        assert "deletionTimestamp" not in world.pod["metadata"]
        said = {e["reason"] for e in world.registry.list("events")[0]}
        assert {"RegisteredNode", "NodeNotReady"} <= said


async def test_a_node_that_speaks_again_is_taken_back(world):
    """Its agent posts its conditions anew, and the taints go."""
    world.now += timedelta(seconds=1)
    async with world.running():
        await world.until(lambda: "taints" not in world.node("a")["spec"])
        world.now += timedelta(seconds=60)
        await world.until(lambda: world.condition(world.node("a"), "Ready")["status"] == "Unknown")
        beats = asyncio.create_task(Heartbeats(world.registry, lambda: world.now).run())
        await world.until(lambda: world.condition(world.node("a"), "Ready")["reason"] == "KubeletReady")
        await world.until(lambda: "taints" not in world.node("a")["spec"])
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)


async def test_pods_of_a_vanished_node_are_collected_after_a_while(world):
    """First nothing happens; then the pod fails with the reason, and goes without a grace period."""
    last = []
    async with world.running():
        watch = world.registry.watch("pods")
        world.registry.delete("nodes", "a")
        await asyncio.sleep(0.1)
        assert world.pod["status"]["phase"] == "Running"
        world.now += timedelta(seconds=1)
        await world.until(lambda: not world.registry.list("pods")[0])
        while (event := watch.ready()) is not None:
            last.append(event.object)
        watch.close()
    assert last[-1]["status"]["phase"] == "Failed"
    assert world.condition(last[-1], "DisruptionTarget")["reason"] == "DeletionByPodGC"
