"""Plays what the operator's children need to live: kubelets, the Job and Deployment controllers, and gateways.

Jobs end after a second with a result such as the compression workload writes; pods become Ready; one gateway per
namespace answers on a real port, through the agent's own server, with the endpoints that are there.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Any, Self, cast

from trimtab.api.gateway import EndpointState, EndpointStats, GatewayStats, ModelStats
from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.names import COMPONENT_LABEL, GATEWAY_STATS_PORT, MODEL_LABEL, REVISION_LABEL, SERVE_PORT
from trimtab.api.runs import RunResult
from trimtab.api.status import ArtifactStatus, GuardrailStatus
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.machines import node_object
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError
from trimtab.workloads.gateway.agent import Agent
from trimtab.workloads.gateway.server import stats_server

Object = dict[str, Any]
DEPLOYMENTS, JOBS, PODS, NODES = "deployments.apps", "jobs.batch", "pods", "nodes"
_RUN_SECONDS = 1.0
# A kubelet tells the API server that a node is as it was this often.
_NODE_STATUS_SECONDS = 300.0
_PROGRESS = (
    b'{"event": "progress", "step": "Quantize", "index": 1, "steps": 2, "percent": 50, "remaining_seconds": 1}\n'
)


def namespace_of(number: int, namespaces: int) -> str:
    return f"team-{number % namespaces}"


def _hex(text: str, digits: int = 5) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def result_of(job: str) -> str:
    """Return the termination message of a run that passed."""
    digest = hashlib.sha256(job.encode()).hexdigest()
    return RunResult(
        artifact=ArtifactStatus(
            uri=f"s3://models/artifacts/{digest[:16]}",
            digest=f"sha256:{digest}",
            bytes=70_000,
            source_bytes=290_000,
        ),
        guardrail=GuardrailStatus(
            verdict=Verdict.PASSED,
            metric=Metric.ACCURACY,
            baseline="0.9861",
            candidate="0.9850",
            drop="0.0011",
            lower="-0.0013",
            upper="0.0041",
            limit="0.0100",
            confidence="95%",
            samples=1797,
            message="accuracy fell 0.11pp (95% interval -0.13..0.41pp), limit 1pp",
        ),
        latency_ms="0.214",
        source_latency_ms="0.611",
        recipe=["Quantize INT8"],
    ).model_dump_json(by_alias=True, exclude_none=True)


class _Gateway:
    """What the agent's server asks an agent for."""

    def __init__(self) -> None:
        self._endpoints: dict[str, dict[str, EndpointStats]] = {}
        self._models: dict[str, ModelStats] = {}
        self.busy: set[str] = set()
        """Models with a request each second."""

    def note(self, pod: Object, *, ready: bool) -> None:
        """Take up a replica, or drop it; its model stays known."""
        model = pod["metadata"]["labels"][MODEL_LABEL]
        endpoints = self._endpoints.setdefault(model, {})
        if ready:
            endpoints[pod["metadata"]["name"]] = _endpoint(pod)
        else:
            endpoints.pop(pod["metadata"]["name"], None)
        self._models[model] = ModelStats(endpoints=list(endpoints.values()))

    async def stats(self, now: float) -> GatewayStats:
        for name in self.busy & self._models.keys():
            self._models[name] = self._models[name].model_copy(update={"requests_total": int(now)})
        return GatewayStats(time=now, proxy_up=True, models=self._models)

    async def metrics(self, now: float) -> str:
        del now
        return ""


class Played:
    """Follows Jobs and Deployments and does what a cluster would, until the block ends."""

    def __init__(self, registry: Registry, feed: Feed, clock: Callable[[], datetime], nodes: int) -> None:
        self._registry = registry
        self._feed = feed
        self._clock = clock
        self._nodes = [f"node-{number}" for number in range(nodes)]
        self._gateways: dict[str, _Gateway] = {}
        self._open: set[str] = set()
        self._due: asyncio.PriorityQueue[tuple[float, int, Callable[[], None]]] = asyncio.PriorityQueue()
        self._number = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._servers = AsyncExitStack()
        self._starting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for name in self._nodes:
            if self._registry.find(NODES, "", name) is None:
                made = node_object(name, {"cpu": "64", "memory": "256Gi"}, host_address="127.0.0.1", now=self._clock())
                self._registry.create(NODES, made)
        self._registry.pod_logs = _logs
        for resource, listener in ((JOBS, self._job), (DEPLOYMENTS, self._deployment), (PODS, self._pod)):
            self._feed.subscribe(resource, listener)
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._tasks, *self._starting):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._starting, return_exceptions=True)
        await self._servers.aclose()

    def busy(self, models: Iterable[tuple[str, str]]) -> None:
        """From now on these models, by namespace and name, have requests, and no others."""
        for gateway in self._gateways.values():
            gateway.busy = set()
        for namespace, name in models:
            self._gateways[namespace].busy.add(name)

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        self._number += 1
        self._due.put_nowait((time.monotonic() + seconds, self._number, step))

    async def _work(self) -> None:
        while True:
            at, _, step = await self._due.get()
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            try:
                step()
            except ApiError as error:
                if error.status not in (404, 409):
                    raise

    async def _beat(self) -> None:
        """Write every node's status now and then, as kubelets do; only the times in it change."""
        while True:
            for name in self._nodes:
                await asyncio.sleep(_NODE_STATUS_SECONDS / len(self._nodes))
                body = copy.deepcopy(self._registry.get(NODES, name))
                for entry in body["status"]["conditions"]:
                    entry["lastHeartbeatTime"] = self._registry.now()
                self._registry.update(NODES, body, subresource="status", manager="kubelet")

    # Jobs.

    def _job(self, change: Change) -> None:
        job = change.object
        if change.type == "DELETED":
            self._collect(job)
        if change.type == "DELETED" or (job.get("status") or {}).get("conditions"):
            return
        if change.type == "ADDED":
            self._after(0.05, lambda: self._start_job(job))
            self._after(0.05 + _RUN_SECONDS, lambda: self._end_job(job))

    def _start_job(self, job: Object) -> None:
        self._make_pod(job, "Job", f"{job['metadata']['name']}-{_hex(job['metadata']['uid'])}")
        status = {"active": 1, "ready": 1, "startTime": self._registry.now(), "terminating": 0}
        self._status(JOBS, job, {**status, "uncountedTerminatedPods": {}})

    def _end_job(self, job: Object) -> None:
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        pod = self._registry.get(PODS, f"{name}-{_hex(job['metadata']['uid'])}", namespace)
        now = self._registry.now()
        ended = {
            "exitCode": 0,
            "reason": "Completed",
            "message": result_of(name),
            "startedAt": pod["metadata"]["creationTimestamp"],
            "finishedAt": now,
        }
        self._status(
            PODS, pod, {**self._pod_status(pod, ready=False, state={"terminated": ended}), "phase": "Succeeded"}
        )
        done = [
            {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
        started = {"startTime": pod["metadata"]["creationTimestamp"], "completionTime": now}
        self._status(JOBS, job, {**started, "succeeded": 1, "terminating": 0, "conditions": done})

    # Deployments.

    def _deployment(self, change: Change) -> None:
        body = change.object
        if change.type == "DELETED":
            self._collect(body)
            return
        if change.old and change.old["spec"] == body["spec"]:
            return
        if change.type == "ADDED" and (body.get("status") or {}).get("observedGeneration"):
            return
        self._after(0.05, lambda: self._replicas(body))

    def _replicas(self, body: Object) -> None:
        meta, wanted = body["metadata"], int(body["spec"].get("replicas", 1))
        names = [f"{meta['name']}-{_hex(meta['uid'], 8)}-{_hex(str(place))}" for place in range(64)]
        there = [name for name in names if self._registry.find(PODS, meta["namespace"], name)]
        for name in names[len(there) : wanted]:
            self._make_pod(body, "ReplicaSet", name)
        for name in there[wanted:]:
            self._registry.delete(PODS, name, meta["namespace"], grace_seconds=0)
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted)
        now = self._registry.now()
        since = {"status": "True", "lastUpdateTime": now, "lastTransitionTime": now}
        conditions = [
            {"type": "Available", "reason": "MinimumReplicasAvailable", "message": "it is", **since},
            {"type": "Progressing", "reason": "NewReplicaSetAvailable", "message": "it has", **since},
        ]
        status = {"observedGeneration": meta["generation"], **counts, "conditions": conditions}
        self._status(DEPLOYMENTS, body, status)

    # Pods.

    def _collect(self, owner: Object) -> None:
        """Delete the pods of what is gone."""
        meta = owner["metadata"]
        for pod in self._registry.list(PODS, meta["namespace"])[0]:
            if any(reference["uid"] == meta["uid"] for reference in pod["metadata"]["ownerReferences"]):
                name = pod["metadata"]["name"]
                self._after(0.05, partial(self._registry.delete, PODS, name, meta["namespace"], grace_seconds=0))

    def _make_pod(self, owner: Object, kind: str, name: str) -> None:
        template, meta = owner["spec"]["template"], owner["metadata"]
        reference = {"apiVersion": "apps/v1", "kind": kind, "name": meta["name"], "uid": meta["uid"]}
        metadata = {
            "name": name,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
        }
        node = self._nodes[int(_hex(name), 16) % len(self._nodes)]
        spec = {**copy.deepcopy(template["spec"]), "nodeName": node}
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        pod = self._registry.create(PODS, made, meta["namespace"], manager="kube-controller-manager")
        self._status(
            PODS,
            pod,
            {
                **self._pod_status(pod, ready=True, state={"running": {"startedAt": self._registry.now()}}),
                "phase": "Running",
            },
        )

    def _pod_status(self, pod: Object, *, ready: bool, state: Object) -> Object:
        now = self._registry.now()
        word = "True" if ready else "False"
        conditions = [
            {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": now}
            for kind, status in (
                ("PodReadyToStartContainers", "True"),
                ("Initialized", "True"),
                ("Ready", word),
                ("ContainersReady", word),
                ("PodScheduled", "True"),
            )
        ]
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": f"{container['image']}@sha256:{_hex(container['image'], 64)}",
                "containerID": f"containerd://{_hex(pod['metadata']['uid'], 64)}",
                "ready": ready,
                "started": ready,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }
            for container in pod["spec"]["containers"]
        ]
        address = _address(pod)
        return {
            "hostIP": "10.0.0.1",
            "hostIPs": [{"ip": "10.0.0.1"}],
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "qosClass": "Burstable",
            "conditions": conditions,
            "containerStatuses": containers,
        }

    def _pod(self, change: Change) -> None:
        pod = change.object
        labels, namespace = pod["metadata"].get("labels") or {}, pod["metadata"]["namespace"]
        status = pod.get("status") or {}
        ready = change.type != "DELETED" and status.get("phase") == "Running"
        if labels.get(COMPONENT_LABEL) == "gateway" and ready and status["podIP"] not in self._open:
            if namespace not in self._gateways:
                self._gateways[namespace] = self._gateway(namespace)
            self._open.add(status["podIP"])
            task = asyncio.create_task(self._listen(namespace, status["podIP"]))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        elif REVISION_LABEL in labels and namespace in self._gateways:
            self._gateways[namespace].note(pod, ready=ready)

    def _gateway(self, namespace: str) -> _Gateway:
        made = _Gateway()
        for pod in self._registry.list(PODS, namespace, REVISION_LABEL)[0]:
            made.note(pod, ready=True)
        return made

    async def _listen(self, namespace: str, address: str) -> None:
        agent = cast("Agent", self._gateways[namespace])
        await self._servers.enter_async_context(stats_server(agent, address, GATEWAY_STATS_PORT))

    def _status(self, resource: str, body: Object, status: Object) -> None:
        fresh = self._registry.get(resource, body["metadata"]["name"], body["metadata"].get("namespace"))
        self._registry.update(resource, {**fresh, "status": status}, subresource="status", manager="kubelet")


def _endpoint(pod: Object) -> EndpointStats:
    return EndpointStats(
        address=f"{_address(pod)}:{SERVE_PORT}",
        pod=pod["metadata"]["name"],
        revision=pod["metadata"]["labels"][REVISION_LABEL],
        node=pod["spec"]["nodeName"],
        state=EndpointState.HEALTHY,
        max_concurrency=4,
    )


def _address(pod: Object) -> str:
    number = int(_hex(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", 6), 16)
    return f"127.{64 + number % 128}.{number // 128 % 256}.{1 + number // 32768 % 250}"


async def _logs(*_: Any, **__: Any) -> AsyncIterator[bytes]:
    yield _PROGRESS
