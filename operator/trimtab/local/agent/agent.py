"""The node agent: runs the pods that are bound to the cluster's nodes, and serves their logs."""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime

import structlog

from trimtab.local import pods
from trimtab.local.agent.addresses import PodAddresses
from trimtab.local.agent.container import Container
from trimtab.local.agent.environment import Sources
from trimtab.local.agent.launching import Host, Launcher
from trimtab.local.agent.logs import since_instant
from trimtab.local.agent.memory import MemoryWatch
from trimtab.local.agent.worker import PodWorker
from trimtab.local.controllers.events import EventRecorder
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.entering import NotRunnableError, Session, Streams
from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError, bad_request

_WAITING = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}

log = structlog.get_logger(__name__)


class NodeAgent:
    """Takes the part of kubelet for every node of the cluster; a pod is a set of processes."""

    def __init__(
        self,
        registry: Registry,
        feed: Feed,
        clock: Callable[[], datetime],
        host: Host,
        addresses: PodAddresses,
        *,
        host_address: str,
        back_off_scale: float = 1.0,
    ) -> None:
        self._registry = registry
        self._feed = feed
        self._clock = clock
        self._host = host
        self._addresses = addresses
        self._host_address = host_address
        self._back_off_scale = back_off_scale
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._memory = MemoryWatch()
        self._removing: set[asyncio.Task[None]] = set()
        self._events = EventRecorder(registry, clock, "kubelet")

    def start(self) -> None:
        """Begin to run pods and to serve logs."""
        self._registry.pod_logs = self.pod_logs
        self._registry.pod_access = self
        self._feed.subscribe("pods", self._pod_changed)
        for resource in ("configmaps", "secrets", "serviceaccounts"):
            self._feed.subscribe(resource, functools.partial(self._source_changed, resource))

    async def stop(self, grace_s: float) -> None:
        """End every pod: SIGTERM, and SIGKILL after `grace_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        containers = [c for w in self._workers.values() for c in (*w.inits, *w.mains)]
        await asyncio.gather(*(c.stop(deadline) for c in containers), return_exceptions=True)
        for worker in self._workers.values():
            worker.abandon()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.gather(*self._removing, return_exceptions=True)
        self._memory.stop()
        self._registry.pod_logs = None
        self._registry.pod_access = None

    def kill_node(self, name: str) -> None:
        """A machine vanishes: its processes die at once, and nobody reports anything."""
        for worker in self._workers.values():
            if pods.node_name(worker.pod) == name:
                worker.abandon()
        log.info("node.killed", node=name)

    def _pod_changed(self, change: Change) -> None:
        pod, uid = change.object, change.object["metadata"]["uid"]
        worker = self._workers.get(uid)
        if change.type == "DELETED":
            if worker is not None:
                self._forget(uid, worker)
            return
        if worker is not None:
            worker.changed(pod)
        elif pods.node_name(pod) is not None and not pods.is_finished(pod):
            self._begin(pod)

    def _begin(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if pods.is_terminating(pod):
            self._remove(pod)  # nothing of it has run here
            return
        on_host = bool(pod["spec"].get("hostNetwork"))
        address = self._host_address if on_host else self._addresses.take()
        launcher = Launcher(pod, address, self._host, self._sources(pod, address))
        worker = PodWorker(
            pod,
            address,
            self._host_address,
            launcher,
            back_off_scale=self._back_off_scale,
            memory=self._memory,
            clock=self._clock,
            report=self._report,
            finished=self._pod_finished,
            tell=self._tell,
        )
        self._workers[uid] = worker
        task = asyncio.create_task(worker.run(), name=f"pod {pod['metadata']['name']}")
        self._tasks[uid] = task
        task.add_done_callback(_log_failure)

    def _forget(self, uid: str, worker: PodWorker) -> None:
        """The object is gone: so is everything of it, once its processes are."""
        worker.abandon()
        task = self._tasks[uid]

        def clean(_: object = None) -> None:
            worker.close_logs()
            # Removing a large volume takes long, and Services forward on this loop.
            removing = asyncio.create_task(asyncio.to_thread(worker.remove_files))
            self._removing.add(removing)
            removing.add_done_callback(self._removing.discard)
            if worker.address != self._host_address:
                self._addresses.give_back(worker.address)
            self._workers.pop(uid, None)
            self._tasks.pop(uid, None)

        if task.done():
            clean()
        else:
            task.add_done_callback(clean)

    def _sources(self, pod: Object, address: str) -> Sources:
        namespace = pod["metadata"]["namespace"]

        def data(resource: str, name: str) -> Mapping[str, str] | None:
            try:
                found = self._registry.get(resource, name, namespace)
            except ApiError:
                return None
            if resource == "secrets":
                return dict(found.get("data") or {})
            binary = {
                k: base64.b64decode(v).decode(errors="surrogateescape")
                for k, v in (found.get("binaryData") or {}).items()
            }
            return {**binary, **(found.get("data") or {})}

        return Sources(
            pod=pod,
            facts={
                "status.podIP": address,
                "status.podIPs": address,
                "status.hostIP": self._host_address,
                "status.hostIPs": self._host_address,
            },
            config_map=lambda name: data("configmaps", name),
            secret=lambda name: data("secrets", name),
            allocatable=self._allocatable(pods.node_name(pod) or ""),
            services=lambda: self._services(pod),
        )

    def _services(self, pod: Object) -> Sequence[Object]:
        """The API server's Service always, and those of the namespace unless the pod wants none."""
        namespace = pod["metadata"]["namespace"]
        own: list[Object] = []
        if pod["spec"].get("enableServiceLinks", True):
            own = self._registry.list("services", namespace)[0]
        main = self._registry.find("services", "default", "kubernetes")
        return own if main is None or main in own else [main, *own]

    def _allocatable(self, node: str) -> Mapping[str, str]:
        try:
            found: Mapping[str, str] = self._registry.get("nodes", node).get("status", {}).get("allocatable") or {}
        except ApiError:
            return {}
        return found

    def _source_changed(self, resource: str, change: Change) -> None:
        metadata = change.object["metadata"]
        for worker in self._workers.values():
            if worker.pod["metadata"]["namespace"] == metadata["namespace"]:
                worker.source_changed(resource, metadata["name"])

    def _report(self, pod: Object, status_of: Callable[[Object], Object]) -> None:
        metadata = pod["metadata"]
        try:
            current = self._registry.get("pods", metadata["name"], metadata["namespace"])
            if current["metadata"]["uid"] != metadata["uid"]:
                return
            status = status_of(current)
            if status != current.get("status"):
                self._registry.update("pods", {**current, "status": status}, subresource="status", manager="kubelet")
        except ApiError as error:
            if error.status != 404:
                log.warning("pod.status_refused", pod=metadata["name"], error=error.message)

    def _pod_finished(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            current = self._registry.get("pods", metadata["name"], metadata["namespace"])
        except ApiError:
            return
        if current["metadata"]["uid"] == metadata["uid"] and pods.is_terminating(current):
            self._remove(current)

    def _remove(self, pod: Object) -> None:
        """The last word on a pod that was told to go."""
        metadata = pod["metadata"]
        try:
            self._registry.delete(
                "pods",
                metadata["name"],
                metadata["namespace"],
                grace_seconds=0,
                preconditions={"uid": metadata["uid"]},
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def _tell(self, pod: Object, kind: str, reason: str, message: str, part: str) -> None:
        host = pods.node_name(pod) or ""
        self._events.record(pod, "Warning" if kind == "Warning" else "Normal", reason, message, part=part, host=host)

    def pod_logs(
        self,
        namespace: str,
        pod: str,
        container: str | None = None,
        follow: bool = False,
        tail_lines: int | None = None,
        previous: bool = False,
        timestamps: bool = False,
        since_seconds: int | None = None,
        limit_bytes: int | None = None,
        since_time: datetime | None = None,
    ) -> AsyncIterator[bytes]:
        """The log of a container, as `kubectl logs` asks for it.

        Raises:
            ApiError: 400 when the container has no log (yet), or the question names none of several.
        """
        obj = self._registry.get("pods", pod, namespace)
        name = container or _only_container(obj)
        worker = self._workers.get(obj["metadata"]["uid"])
        found = worker.container(name) if worker is not None else None
        if found is None and not _has_container(obj, name):
            msg = f"container {name} is not valid for pod {pod}"
            raise bad_request(msg)
        record = found.log_of(previous=previous) if found is not None else None
        if record is None:
            raise bad_request(_why_no_log(found, name, pod, previous=previous))
        return record.read(
            follow=follow,
            tail_lines=tail_lines,
            since=since_time or since_instant(self._clock(), since_seconds),
            timestamps=timestamps,
            limit_bytes=limit_bytes,
        )

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], streams: Streams) -> Session:
        """Start a command in a running container. Raises NotRunnableError."""
        return self._container(namespace, pod, container).execute(command, streams)

    def attach(self, namespace: str, pod: str, container: str, streams: Streams) -> Session:
        """Join a running container. Raises NotRunnableError."""
        return self._container(namespace, pod, container).attach(streams)

    def _container(self, namespace: str, pod: str, name: str) -> Container:
        uid = self._registry.get("pods", pod, namespace)["metadata"]["uid"]
        worker = self._workers.get(uid)
        found = worker.container(name) if worker is not None else None
        if found is None:
            msg = f'container not found ("{name}")'
            raise NotRunnableError(msg)
        return found


def _only_container(pod: Object) -> str:
    names = [c["name"] for c in pods.containers(pod)]
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in names:
        return str(default)
    if len(names) == 1:
        return str(names[0])
    msg = f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: [{' '.join(names)}]"
    raise bad_request(msg)


def _has_container(pod: Object, name: str) -> bool:
    return any(c["name"] == name for c in (*pods.containers(pod), *pods.init_containers(pod)))


def _why_no_log(container: Container | None, name: str, pod: str, *, previous: bool) -> str:
    if previous:
        return f'previous terminated container "{name}" in pod "{pod}" not found'
    waiting = container.record.waiting if container is not None else None
    reason = waiting[0] if waiting else "ContainerCreating"
    return f'container "{name}" in pod "{pod}" is waiting to start: {_WAITING.get(reason, reason)}'


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("pod.worker_failed", task=task.get_name(), exc_info=error)
