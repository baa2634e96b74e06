"""One pod on its node: from being bound to having left nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine
from datetime import datetime

import structlog

from trimtab.local import pods
from trimtab.local.agent.backoff import BackOff
from trimtab.local.agent.container import Container, Launch
from trimtab.local.agent.environment import ConfigError
from trimtab.local.agent.launching import Launcher
from trimtab.local.agent.logs import ContainerLog
from trimtab.local.agent.memory import MemoryWatch
from trimtab.local.agent.podstatus import ContainerRecord, final_phase, pod_phase, pod_status
from trimtab.local.agent.resuming import resume
from trimtab.local.agent.volumes import followed_sources
from trimtab.local.objects import Object

log = structlog.get_logger(__name__)


class PodWorker:
    """Owns a pod's processes. `report` writes a status; `finished` says that nothing runs any more."""

    def __init__(
        self,
        pod: Object,
        address: str,
        host_address: str,
        launcher: Launcher,
        *,
        back_off_scale: float,
        memory: MemoryWatch,
        clock: Callable[[], datetime],
        report: Callable[[Object, Callable[[Object], Object]], None],
        finished: Callable[[Object], None],
        tell: Callable[[Object, str, str, str, str], None],
    ) -> None:
        self.pod = pod
        self.address = address
        self._host_address = host_address
        self._launcher = launcher
        self._clock = clock
        self._report = report
        self._finished = finished
        self._tell = tell
        self._back_off_scale = back_off_scale
        self._memory = memory
        self._policy = str(pod["spec"].get("restartPolicy") or "Always")
        self._phase: str | None = None
        self._reason: tuple[str, str] | None = None
        self._deadline: float | None = None
        self._followed = followed_sources(pod)
        self._told_to_stop = asyncio.Event()
        self._stop_ordered = asyncio.Event()  # once, and for good
        self._abandoned = False
        self._ordered_end = False
        self.inits = [self._container(spec, init=True) for spec in pods.init_containers(pod)]
        self.mains = [self._container(spec, init=False) for spec in pods.containers(pod)]
        self._runs = resume(pod, self._records(self.inits), self._records(self.mains), clock())

    def _container(self, spec: Object, *, init: bool) -> Container:
        sidecar = init and spec.get("restartPolicy") == "Always"
        policy = "Always" if sidecar else "OnFailure" if init and self._policy != "Never" else self._policy
        record = ContainerRecord(
            spec["name"],
            spec["image"],
            initial=init and not sidecar,
            sidecar=sidecar,
            resources=spec.get("resources") or {},
        )
        not_begun = "PodInitializing" if pods.init_containers(self.pod) else "ContainerCreating"
        record.waiting = (not_begun, "")
        metadata = self.pod["metadata"]
        part = f"spec.{'initContainers' if init else 'containers'}{{{spec['name']}}}"
        return Container(
            spec=spec,
            record=record,
            restart_policy=policy,
            pod=f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})",
            not_begun=not_begun,
            memory=self._memory,
            back_off=BackOff(scale=self._back_off_scale),
            grace_s=lambda: float(self.pod["spec"].get("terminationGracePeriodSeconds", 30)),
            launch=lambda run: self._launch(spec, run),
            open_log=lambda run: self._open_log(spec["name"], run),
            clock=self._clock,
            changed=self.publish,
            tell=lambda kind, reason, message: self._tell(self.pod, kind, reason, message, part),
        )

    def _launch(self, spec: Object, run: int) -> Launch:
        return self._launcher.launch(spec, run)

    def _open_log(self, name: str, run: int) -> ContainerLog:
        for old in self._launcher.root.glob(f"{name}.*.log"):
            if old.name not in (f"{name}.{run}.log", f"{name}.{run - 1}.log"):
                old.unlink()
        return ContainerLog(self._launcher.root / f"{name}.{run}.log", self._clock)

    def container(self, name: str) -> Container | None:
        """The container of that name."""
        return next((c for c in (*self.inits, *self.mains) if c.record.name == name), None)

    async def run(self) -> None:
        """Run the pod to its end."""
        running = asyncio.create_task(self._run_containers())
        stopping = asyncio.create_task(self._stop_when_told())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await running  # what was told to stop ends as well
        finally:
            for task in (running, stopping):
                task.cancel()
            await asyncio.gather(running, stopping, return_exceptions=True)
            for container in (*self.inits, *self.mains):
                container.kill()
        if self._abandoned:
            return
        self._phase = self._final_phase()
        self.publish()
        self._finished(self.pod)

    def _final_phase(self) -> str:
        """A Job counts on this: what never ran to its end has failed, whatever it would have been."""
        if self._reason is not None:
            return "Failed"
        if self._ordered_end or not self._runs:
            return final_phase([c.record for c in self.mains])
        return pod_phase(self._policy, self._records(self.inits), self._records(self.mains))

    async def _run_containers(self) -> None:
        if not self._runs:
            return
        self.publish()
        sidecars: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(self.pod["spec"].get("activeDeadlineSeconds")):
                if not await self._initialize(sidecars):
                    return
                await asyncio.gather(*(c.run() for c in self.mains if c.record.ended is None))
        except TimeoutError:
            self._reason = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            self._tell(self.pod, "Normal", *self._reason, "")
            await self._stop_all(asyncio.get_running_loop().time() + self._grace())
        finally:
            deadline = self._deadline or asyncio.get_running_loop().time() + self._grace()
            for sidecar in reversed([c for c in self.inits if c.record.sidecar]):
                await sidecar.stop(deadline)  # those that came first may be needed by the others
            for task in sidecars:
                task.cancel()
            await asyncio.gather(*sidecars, return_exceptions=True)

    async def _initialize(self, sidecars: list[asyncio.Task[None]]) -> bool:
        for container in self.inits:
            if self._stop_ordered.is_set():
                return False
            if container.record.sidecar:
                sidecars.append(asyncio.create_task(container.run()))
                await self._unless_stopped(container.has_started.wait())
                continue
            await container.run()
            ended = container.record.ended
            if ended is None or ended.exit_code != 0:
                return False
        return not self._stop_ordered.is_set()

    async def _unless_stopped(self, what: Coroutine[None, None, bool]) -> None:
        """Wait for something, or for the order to stop."""
        waiting = {asyncio.create_task(what), asyncio.create_task(self._stop_ordered.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _grace(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def changed(self, pod: Object) -> None:
        """The object changed; a deletion starts the grace period, a shorter one cuts it."""
        before, self.pod = self.pod, pod
        if any(before["metadata"].get(k) != pod["metadata"].get(k) for k in ("labels", "annotations")):
            self._launcher.follow(pod)
            self._refresh_volumes("pods", "")
        if pod["spec"].get("readinessGates"):
            self.publish()  # whether it is ready depends on conditions that others write
        if not pods.is_terminating(pod):
            return
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        deadline = asyncio.get_running_loop().time() + grace
        if self._deadline is None or deadline < self._deadline - 0.5:
            self._deadline = deadline
            self._ordered_end = True
            self._stop_ordered.set()
            self._told_to_stop.set()

    def source_changed(self, resource: str, name: str) -> None:
        """A ConfigMap or Secret of the namespace changed: volumes follow, and who waits for it tries again."""
        self._refresh_volumes(resource, name)
        for container in (*self.inits, *self.mains):
            waiting = container.record.waiting
            if waiting is not None and waiting[0] != "CrashLoopBackOff" and container.waits_for_sources:
                container.retry()

    def _refresh_volumes(self, resource: str, name: str) -> None:
        """What runs keeps what it has where a source is gone."""
        if (resource, name) in self._followed and any(
            c.record.running_since is not None for c in (*self.inits, *self.mains)
        ):
            with contextlib.suppress(ConfigError, OSError):
                self._launcher.refresh()

    async def _stop_when_told(self) -> None:
        ending: asyncio.Task[None] | None = None
        try:
            while True:
                await self._told_to_stop.wait()
                self._told_to_stop.clear()
                if self._abandoned:
                    return
                if ending is None:
                    for container in (*self.mains, *self.inits):
                        container.tell_stopping()
                else:
                    ending.cancel()  # a shorter grace period: begin again with the new deadline
                ending = asyncio.create_task(self._stop_all(self._deadline or 0.0))
                waiting = asyncio.create_task(self._told_to_stop.wait())
                await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if ending.done():
                    return
        finally:
            if ending is not None:
                ending.cancel()

    async def _stop_all(self, deadline: float) -> None:
        order = [c for c in (*self.mains, *self.inits) if not c.record.sidecar]
        await asyncio.gather(*(c.stop(deadline) for c in order))

    def abandon(self) -> None:
        """Kill everything now and write nothing: the node or the object is gone."""
        self._abandoned = True
        for container in (*self.inits, *self.mains):
            container.kill()
        self._stop_ordered.set()
        self._told_to_stop.set()

    def close_logs(self) -> None:
        """Nobody writes any more; who follows a log has reached its end."""
        for container in (*self.inits, *self.mains):
            if container.log is not None:
                container.log.close()

    def remove_files(self) -> None:
        """Remove what the pod left on disk; touches nothing else, so any thread may do it."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self._launcher.root)

    def publish(self) -> None:
        """Write the status as it is now."""
        if self._abandoned:
            return
        self._report(self.pod, self._status)

    def _records(self, containers: list[Container]) -> list[ContainerRecord]:
        return [c.record for c in containers]

    def _status(self, pod: Object) -> Object:
        inits, mains = self._records(self.inits), self._records(self.mains)
        phase = self._phase or pod_phase(self._policy, inits, mains)
        return pod_status(
            pod,
            phase=phase,
            address=self.address,
            host=self._host_address,
            inits=inits,
            mains=mains,
            now=self._clock(),
            reason=self._reason,
        )
