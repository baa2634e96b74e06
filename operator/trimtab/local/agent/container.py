"""One container: its runs, its probes, its hooks, its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from trimtab.local.agent.backoff import BackOff, go_seconds
from trimtab.local.agent.environment import ConfigError, MountError
from trimtab.local.agent.executing import Attachment, Execution
from trimtab.local.agent.handlers import ActionFailedError, Surroundings, act
from trimtab.local.agent.health import Health
from trimtab.local.agent.images import UnknownImageError
from trimtab.local.agent.logs import ContainerLog
from trimtab.local.agent.memory import Limit, MemoryWatch
from trimtab.local.agent.podstatus import ContainerRecord, Ended
from trimtab.local.agent.processes import Process, StartError
from trimtab.local.entering import NotRunnableError, Session, Streams
from trimtab.local.objects import Object
from trimtab.local.quantities import quantity

log = structlog.get_logger(__name__)

_NEVER = datetime.fromtimestamp(0, UTC)  # when a container began that could not be started
LONGEST_MESSAGE = 4_096  # bytes of a termination message
_LOG_TAIL_LINES, _LOG_TAIL_BYTES = 80, 2_048  # what FallbackToLogsOnError takes
_IMAGE_RETRY_S = 10.0
_SOURCE_RETRY_S = 10.0  # a path of this machine appears without an event


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything one run needs.

    Attributes:
        message_path: where the container may leave its termination message.
    """

    argv: list[str]
    around: Surroundings
    message_path: Path


@dataclass(slots=True)
class Container:
    """Runs a container as its restart policy says.

    Attributes:
        spec: the container's part of the pod spec.
        pod: name_namespace(uid), as messages name the pod.
        launch: makes a run; raises ConfigError or UnknownImageError where that is not possible (yet).
        open_log: opens the log of run number n.
        changed: tells that the record changed.
        memory: ends it where it uses more than its limit.
        not_begun: the reason to wait before anything was tried.
        tell: says something in the pod's events: type, reason, message.
    """

    spec: Object
    record: ContainerRecord
    restart_policy: str
    pod: str
    back_off: BackOff
    grace_s: Callable[[], float]
    launch: Callable[[int], Launch]
    open_log: Callable[[int], ContainerLog]
    clock: Callable[[], datetime]
    changed: Callable[[], None]
    tell: Callable[[str, str, str], None]
    memory: MemoryWatch
    not_begun: str = "ContainerCreating"
    waits_for_sources: bool = False
    has_started: asyncio.Event = field(default_factory=asyncio.Event)
    log: ContainerLog | None = None
    previous_log: ContainerLog | None = None
    _process: Process | None = None
    _around: Surroundings | None = None
    _stopping: bool = False
    _retry: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: asyncio.Task[None] | None = None
    _out_of_memory: bool = False
    _attached: set[Attachment] = field(default_factory=set)

    async def run(self) -> None:
        """Run until the restart policy or `stop` ends it."""
        while not self._stopping:
            launch = await self._launchable()
            if launch is None:
                return
            began = asyncio.get_running_loop().time()
            ended = await self._run_once(launch)
            ran_for = asyncio.get_running_loop().time() - began
            self.record.ended = ended
            self.record.running_since = None
            self.record.ready = self.record.started = False
            if self._stopping or not self._restarts(ended):
                self.changed()
                return
            await self._back_off(ended, ran_for)

    def log_of(self, *, previous: bool) -> ContainerLog | None:
        """The log of the present run or the one before; while it waits to run again, both are the last one."""
        waits = self.record.waiting is not None and self.record.last is not None
        return self.previous_log if previous and not waits else self.log

    def tell_stopping(self) -> None:
        """Announce the end of what runs."""
        if self.record.running_since is not None:
            self.tell("Normal", "Killing", f"Stopping container {self.record.name}")

    def retry(self) -> None:
        """Something it waited for may be there now."""
        self._retry.set()

    async def _launchable(self) -> Launch | None:
        """The next run, as soon as its configuration is complete; None when stopped before."""
        while not self._stopping:
            self._retry.clear()
            try:
                launch = self.launch(self.record.restarts)
                image = f'Container image "{self.record.image}"'
                self.tell("Normal", "Pulled", f"{image} already present on machine and can be accessed by the pod")
                return launch
            except UnknownImageError as error:
                await self._without_image(error)
            except MountError as error:
                words = f'MountVolume.SetUp failed for volume "{error.volume}" : {error}'
                await self._without_source(self.not_begun, "", "FailedMount", words)
            except ConfigError as error:
                await self._without_source("CreateContainerConfigError", str(error), "Failed", f"Error: {error}")
        return None

    async def _without_source(self, waiting: str, message: str, reason: str, words: str) -> None:
        """A change of what it names is a reason to try again."""
        self._wait_with(waiting, message)
        self.tell("Warning", reason, words)
        self.waits_for_sources = True
        await self._pause(_SOURCE_RETRY_S)
        self.waits_for_sources = False

    async def _without_image(self, error: UnknownImageError) -> None:
        """The mapping does not change while the cluster runs, so nothing is tried again."""
        image = self.record.image
        self._wait_with("ErrImagePull", str(error))
        self.tell("Warning", "Failed", f'Failed to pull image "{image}": {error}')
        self.tell("Warning", "Failed", "Error: ErrImagePull")
        await self._pause(_IMAGE_RETRY_S)
        self._wait_with("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {error}')
        self.tell("Normal", "BackOff", f'Back-off pulling image "{image}"')
        self.tell("Warning", "Failed", "Error: ImagePullBackOff")
        await self._pause(None)

    def _wait_with(self, reason: str, message: str) -> None:
        self.record.waiting = (reason, message)
        self.changed()

    async def _pause(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._retry.wait()

    def _restarts(self, ended: Ended) -> bool:
        return self.restart_policy == "Always" or (self.restart_policy == "OnFailure" and ended.exit_code != 0)

    async def _back_off(self, ended: Ended, ran_for: float) -> None:
        wait, self.back_off = self.back_off.after_run(ran_for)
        self.record.last, self.record.ended = ended, None
        if wait > 0:
            name, length = self.record.name, go_seconds(self.back_off.unscaled(wait))
            message = f"back-off {length} restarting failed container={name} pod={self.pod}"
            self.record.waiting = ("CrashLoopBackOff", message)
            self.tell("Warning", "BackOff", f"Back-off restarting failed container {name} in pod {self.pod}")
            self.changed()
            self._retry.clear()
            await self._pause(wait)
        self.record.restarts += 1
        self.record.waiting = (self.not_begun, "")

    async def _run_once(self, launch: Launch) -> Ended:
        began = self.clock()
        run = self.record.restarts
        self.previous_log, self.log = self.log, self.open_log(run)
        identity = f"process://{self.record.name}/{run}"
        try:
            self._process = Process(
                launch.argv,
                launch.around.env,
                launch.around.cwd,
                self._wrote,
                stdin=bool(self.spec.get("stdin")),
                terminal=bool(self.spec.get("tty")),
            )
        except StartError as error:
            self.log.close()
            self.tell("Warning", "Failed", f"Error: {error}")
            self.record.waiting = None
            return Ended(128, "StartError", _NEVER, self.clock(), str(error), identity)
        self._around = launch.around
        self.record.waiting, self.record.running_since = None, began
        self.record.container_id = identity = f"process://{self._process.pid}"
        self.tell("Normal", "Created", "Container created")
        self.tell("Normal", "Started", "Container started")
        health = Health(
            self.spec, self.record, launch.around, changed=self._noticed, tell=self.tell, end=self._end_early
        )
        health.begin()
        self._limit_memory(self._process)
        self._noticed()
        try:
            code = await self._process.wait()
        finally:
            self.memory.forget(self._process.pid)
            await health.stop()
            if self._ending is not None:
                self._ending.cancel()
            self._process.kill()
            self.log.close()
            for client in self._attached:
                client.over()
        reason = "OOMKilled" if self._out_of_memory else "Completed" if code == 0 else "Error"
        message = self._message(launch.message_path, code)
        log.debug("container.ended", container=self.record.name, exit_code=code)
        return Ended(code, reason, began, self.clock(), message, identity)

    def _noticed(self) -> None:
        if self.record.started:
            self.has_started.set()
        self.changed()

    def _limit_memory(self, process: Process) -> None:
        self._out_of_memory = False
        limit = ((self.spec.get("resources") or {}).get("limits") or {}).get("memory")
        if limit is None:
            return

        def exceeded() -> None:
            log.info("container.out_of_memory", container=self.record.name, limit=limit)
            self._out_of_memory = True
            process.kill()

        self.memory.watch(Limit(process.pid, int(quantity(str(limit))), exceeded))

    def _wrote(self, data: bytes) -> None:
        if self.log is not None:
            self.log.write(data)
        for client in self._attached:
            client.show(data)

    def execute(self, command: Sequence[str], streams: Streams) -> Session:
        """Run a command beside the container's own. Raises NotRunnableError."""
        self._running()
        if self._around is None:
            raise self._not_there()
        return Execution(command, self._around, streams)

    def attach(self, streams: Streams) -> Session:
        """Let a client see what the container writes and, where its spec says stdin, write to it.

        Raises NotRunnableError.
        """
        process = self._running()
        once = bool(self.spec.get("stdinOnce"))
        client = Attachment(process, streams, stdin_once=once, forget=self._attached.discard)
        self._attached.add(client)
        return client

    def _running(self) -> Process:
        if self._process is None or not self._process.running:
            raise self._not_there()
        return self._process

    def _not_there(self) -> NotRunnableError:
        return NotRunnableError(f'container not found ("{self.record.name}")')

    def _message(self, path: Path, code: int) -> str:
        text = ""
        with contextlib.suppress(OSError):
            text = path.read_bytes()[:LONGEST_MESSAGE].decode(errors="replace")
        fallback = self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not text and fallback and code != 0 and self.log is not None:
            text = self.log.tail(_LOG_TAIL_LINES, _LOG_TAIL_BYTES)
        return text

    def _end_early(self, words: str, grace_s: float | None) -> None:
        """A probe or the start hook has failed for good."""
        self.tell("Normal", "Killing", words)
        if self._process is not None and self._around is not None:
            grace = self.grace_s() if grace_s is None else grace_s
            deadline = asyncio.get_running_loop().time() + grace
            self._ending = asyncio.create_task(self._end_process(self._process, self._around, deadline))

    async def stop(self, deadline: float) -> None:
        """End the container: preStop, SIGTERM, and SIGKILL at `deadline` (loop time). `run` returns then."""
        self._stopping = True
        self._retry.set()
        process, around = self._process, self._around
        if process is not None and around is not None and process.running:
            await self._end_process(process, around, deadline)

    async def _end_process(self, process: Process, around: Surroundings, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.create_task(process.ended())
        try:
            if hook := (self.spec.get("lifecycle") or {}).get("preStop"):
                await self._pre_stop(hook, around, deadline, ending)
            process.terminate()
            await asyncio.wait({ending}, timeout=max(0.0, deadline - loop.time()))
        finally:
            process.kill()
            ending.cancel()

    async def _pre_stop(self, hook: Object, around: Surroundings, deadline: float, ending: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        acting = asyncio.create_task(act(hook, around, max(0.01, deadline - loop.time())))
        await asyncio.wait({acting, ending}, return_when=asyncio.FIRST_COMPLETED)
        acting.cancel()
        outcome = (await asyncio.gather(acting, return_exceptions=True))[0]
        if isinstance(outcome, ActionFailedError):
            self.tell("Warning", "FailedPreStopHook", "PreStopHook failed")

    def kill(self) -> None:
        """End the container now, without a word."""
        self._stopping = True
        self._retry.set()
        if self._process is not None:
            self._process.kill()
