"""What is watched while a container runs: its start hook and its three probes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trimtab.local.agent.handlers import ActionFailedError, Surroundings, act
from trimtab.local.agent.podstatus import ContainerRecord
from trimtab.local.agent.probes import watch_probe
from trimtab.local.objects import Object


class Health:
    """The probes of one run. They write `started` and `ready` into the record, and ask for the end of what fails.

    `changed` tells that the record changed, `tell` says something in the pod's events (type, reason,
    message), and `end` is asked once to end the container: a reason for the event, and the grace period
    that the probe has of its own.
    """

    def __init__(
        self,
        spec: Object,
        record: ContainerRecord,
        around: Surroundings,
        *,
        changed: Callable[[], None],
        tell: Callable[[str, str, str], None],
        end: Callable[[str, float | None], None],
    ) -> None:
        self._spec = spec
        self._record = record
        self._around = around
        self._changed = changed
        self._tell = tell
        self._end = end
        self._ending = False
        self._began = asyncio.get_running_loop().time()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Start with what comes first: the hook, and the start-up probe where there is one."""
        if hook := (self._spec.get("lifecycle") or {}).get("postStart"):
            self._tasks.append(asyncio.create_task(self._post_start(hook)))
        if self._spec.get("startupProbe"):
            self._watch("startup", self._startup_believed, until_healthy=True)
        else:
            self._has_started()

    async def stop(self) -> None:
        """Ask no more."""
        me = asyncio.current_task()
        tasks = [t for t in self._tasks if t is not me]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _watch(self, kind: str, believed: Callable[[bool], None], *, until_healthy: bool = False) -> None:
        probe = self._spec[f"{kind}Probe"]
        delay = self._began + float(probe.get("initialDelaySeconds") or 0) - asyncio.get_running_loop().time()
        watching = watch_probe(
            probe,
            self._around,
            delay_s=max(0.0, delay),
            believed=believed,
            failed=lambda words: self._tell("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {words}"),
            until_healthy=until_healthy,
        )
        self._tasks.append(asyncio.create_task(watching))

    def _startup_believed(self, healthy: bool) -> None:
        if healthy:
            self._has_started()
            self._changed()
        else:
            self._unhealthy("startup")

    def _has_started(self) -> None:
        self._record.started = True
        if self._spec.get("readinessProbe"):
            self._watch("readiness", self._ready_believed)
        else:
            self._record.ready = True
        if self._spec.get("livenessProbe"):
            self._watch("liveness", lambda healthy: None if healthy else self._unhealthy("liveness"))

    def _ready_believed(self, healthy: bool) -> None:
        if self._record.ready != healthy:
            self._record.ready = healthy
            self._changed()

    def _unhealthy(self, kind: str) -> None:
        if self._ending:
            return  # it is being ended for that already
        self._ending = True
        own = self._spec[f"{kind}Probe"].get("terminationGracePeriodSeconds")
        words = f"Container {self._record.name} failed {kind} probe, will be restarted"
        self._end(words, None if own is None else float(own))

    async def _post_start(self, hook: Object) -> None:
        try:
            await act(hook, self._around, None)
        except ActionFailedError:
            self._tell("Warning", "FailedPostStartHook", "PostStartHook failed")
            self._ending = True
            self._end("FailedPostStartHook", None)
