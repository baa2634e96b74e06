"""Keeps node groups at their size: boots, interrupts, drains and removes simulated machines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.departures import disrupted, orphaned
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.controllers.owners import controller_reference
from trimtab.local.controllers.queue import Key
from trimtab.local.machines import node_object
from trimtab.local.nodegroups.definition import DRAINING_SINCE, GROUP_LABEL, RESOURCE, TERMINATES_AT
from trimtab.local.nodegroups.plan import GroupPlan, Machine, draining_annotation, plan_group
from trimtab.local.objects import Object, key_of
from trimtab.local.registry import Registry
from trimtab.local.times import stamp

_CAPACITY = {"cpu": "2", "memory": "4Gi", "pods": "110"}


class NodeGroups(Controller):
    """The embedded cloud."""

    name = "node-group-controller"

    def __init__(
        self,
        registry: Registry,
        feed: Feed,
        clock: Callable[[], datetime],
        *,
        host_address: str,
        kill_node: Callable[[str], None],
    ) -> None:
        super().__init__(registry, feed, clock)
        self._host_address = host_address
        self._kill_node = kill_node

    def subscribe(self) -> None:
        """Wake a group for itself, its nodes, and pods that leave a node (it may be draining)."""
        self.feed.subscribe(RESOURCE, self._group_changed)
        self.feed.subscribe("nodes", self._node_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _group_changed(self, change: Change) -> None:
        if change.type == "DELETED":
            self._remove_all(change.object["metadata"]["name"])
        else:
            self.queue.add(Key(*key_of(change.object)))

    def _node_changed(self, change: Change) -> None:
        if group := (change.object["metadata"].get("labels") or {}).get(GROUP_LABEL):
            self.queue.add(Key("", group))

    def _pod_changed(self, change: Change) -> None:
        name = pods.node_name(change.object)
        if name is None or (change.type != "DELETED" and not pods.is_finished(change.object)):
            return
        node = self.find("nodes", Key("", name))
        if node is not None and DRAINING_SINCE in (node["metadata"].get("annotations") or {}):
            self.queue.add(Key("", node["metadata"]["labels"].get(GROUP_LABEL, "")))

    def reconcile(self, key: Key) -> float | None:
        """Plan, then act; the status goes first, so that an ordered machine is never forgotten."""
        group = self.find(RESOURCE, key)
        if group is None:
            return None
        nodes = {
            n["metadata"]["name"]: n for n in self.registry.list("nodes", label_selector=f"{GROUP_LABEL}={key.name}")[0]
        }
        running: dict[str, list[Object]] = {}
        for pod in self.registry.list("pods")[0]:
            name = pods.node_name(pod)
            if name in nodes and not pods.is_finished(pod):
                running.setdefault(str(name), []).append(pod)
        plan = plan_group(group, nodes, running, self.clock(), lambda: f"{key.name}-{self.registry.ids()[:5]}")
        group = self.write_status(RESOURCE, group, plan.status)
        self._act(group, plan, nodes, running)
        return plan.requeue_after

    def _act(self, group: Object, plan: GroupPlan, nodes: dict[str, Object], running: dict[str, list[Object]]) -> None:
        for machine in plan.register:
            self.registry.create("nodes", self._node(group, machine), manager=self.name)
            self.events.record(group, "Normal", "NodeReady", f"Node {machine.name} is ready")
        for name, end in plan.notify:
            self._annotate(nodes[name], {TERMINATES_AT: stamp(end)})
            self.events.record(group, "Warning", "NodeInterrupted", f"Node {name} will be taken away at {stamp(end)}")
        for name in plan.drain:
            self._drain(nodes[name], running.get(name, []))
        for name in plan.remove:
            self._remove(name)
            self.events.record(group, "Normal", "NodeRemoved", f"Node {name} is gone")

    def _node(self, group: Object, machine: Machine) -> Object:
        template = group["spec"].get("template") or {}
        capacity = {k: str(v) for k, v in (template.get("capacity") or {}).items()}
        node = node_object(
            machine.name,
            {**_CAPACITY, **capacity},
            host_address=self._host_address,
            now=self.clock(),
            zone=machine.zone,
            labels={**(template.get("labels") or {}), GROUP_LABEL: group["metadata"]["name"]},
            taints=template.get("taints") or (),
        )
        node["metadata"]["ownerReferences"] = [{**controller_reference(group), "blockOwnerDeletion": False}]
        return node

    def _annotate(self, node: Object, annotations: dict[str, str], *, cordon: bool = False) -> None:
        metadata = node["metadata"]
        merged = {**(metadata.get("annotations") or {}), **annotations}
        spec = {**node["spec"], "unschedulable": True} if cordon else node["spec"]
        self.registry.update(
            "nodes", {**node, "metadata": {**metadata, "annotations": merged}, "spec": spec}, manager=self.name
        )

    def _drain(self, node: Object, busy: list[Object]) -> None:
        """Cordon the node once, then ask what runs there to go."""
        if DRAINING_SINCE not in (node["metadata"].get("annotations") or {}):
            self._annotate(node, draining_annotation(self.clock()), cordon=True)
        for pod in busy:
            if not pods.is_terminating(pod):
                status = disrupted(
                    pod.get("status", {}), "EvictionByNodeGroup", "the node group is scaled in", self.clock()
                )
                self.drop("pods", self.write_status("pods", pod, status))

    def _remove(self, name: str) -> None:
        """Take the machine away, and with it what ran there: nobody has to wait until it is missed."""
        self._kill_node(name)
        node = self.find("nodes", Key("", name))
        if node is not None:
            self.drop("nodes", node)
        for pod in self.registry.list("pods")[0]:
            if pods.node_name(pod) == name:
                status = pod.get("status", {}) if pods.is_finished(pod) else orphaned(pod, self.clock())
                self.drop("pods", self.write_status("pods", pod, status), grace_seconds=0)

    def _remove_all(self, group: str) -> None:
        for node in self.registry.list("nodes", label_selector=f"{GROUP_LABEL}={group}")[0]:
            self._remove(node["metadata"]["name"])
