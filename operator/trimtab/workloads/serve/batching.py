"""Which requests run together, when, and where.

An idle engine takes whatever waits, up to the largest batch, at once. Batches fill by themselves while the engine is
busy, so that waiting on purpose (`max_wait_s`) only pays where a model is far cheaper per row in a batch. The exception
is the moment after a run, when those that it answered may be coming back (company.py).

Engines run in a thread of their own. Runs that are known to be short happen on the event loop: to the thread and back
takes longer than they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from trimtab.workloads.serve.artifact import ModelSpec
from trimtab.workloads.serve.company import Returning
from trimtab.workloads.serve.datatypes import Outcome, Run
from trimtab.workloads.serve.pace import Pace
from trimtab.workloads.serve.running import run_together
from trimtab.workloads.serve.waiting import Job, Waiting

_JOIN_S = 1.0  # the engine is idle when the batcher is closed, unless the drain timed out


def max_concurrency(max_batch: int) -> int:
    """Return how many requests a pod should be given at once.

    One batch runs while the next one fills: fewer leave the engine idle between batches, more only queue here instead
    of at the gateway, where the first free pod could take them. Measured with batches of 16 on one CPU: 16 at once
    reach 77 to 91 % of the highest throughput, 24 reach 88 to 100 %, 32 reach 99 to 100 %; 48 only wait longer.
    """
    return 2 * max_batch


class Late(Exception):  # noqa: N818 - says what the client hears
    """The deadline of a request was over before its turn came."""

    def __init__(self) -> None:
        super().__init__("the request's time was over before it ran")


class Observer(Protocol):
    """Hears what the batcher does, for metrics."""

    def batch_started(self, requests: int, rows: int) -> None: ...
    def queue_left(self, seconds: Sequence[float]) -> None: ...


@dataclass(frozen=True, slots=True)
class BatchRules:
    """Bounds of a batch and of the queue before it; `capacity` counts requests."""

    max_batch: int
    max_wait_s: float
    capacity: int
    stackable: bool
    even: bool = False
    """Whether all runs with as many rows take about as long."""
    spec: ModelSpec | None = None
    """Where inputs are filled up to stack them; None stacks equal shapes only."""


class _Batch(NamedTuple):
    jobs: Sequence[Job]
    run: Run
    rows: int
    started: float


class Batcher:
    """Feeds an engine from a queue; everything but its longer runs happens on the event loop.

    Without an engine jobs wait: for one that is still loading.
    """

    def __init__(self, rules: BatchRules, observer: Observer, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rules = rules
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._waiting = Waiting(rules.capacity)
        self._inbox: SimpleQueue[_Batch | None] = SimpleQueue()
        self._run: Run | None = None
        self._busy = False
        self._pump_due = False
        self._gathered = 0
        self._company: asyncio.TimerHandle | None = None
        self._alarm: tuple[float, asyncio.TimerHandle] | None = None
        self._pace = Pace()
        self._returning = Returning()
        self._thread: threading.Thread | None = None
        self._quiet: list[asyncio.Future[None]] = []
        self._after_run: list[asyncio.Future[None]] = []

    @property
    def waiting(self) -> int:
        """Requests that no batch has taken yet."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        return not self._busy and not len(self._waiting)

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which what waits now will have run, by the speed so far."""
        return self._pace.retry_after_s(self._waiting.rows)

    def attach(self, run: Run) -> None:
        """Run batches with this engine from now on; a batch that runs ends in the one it began in."""
        self._run = run
        self._pace.new_engine()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(self._inbox,), name="engine", daemon=True)
            self._thread.start()
        self._soon()

    def detach(self) -> Run | None:
        """Let go of the engine and return it; jobs wait until there is another one."""
        run, self._run = self._run, None
        if self._thread is not None:
            self._inbox.put(None)
            self._inbox = SimpleQueue()
            self._thread = None
        return run

    def submit(self, job: Job) -> None:
        """Queue a job; exactly one of its `finish` and `drop` is called, unless the batcher is closed first.

        Raises:
            QueueFull: As many requests wait as may.
        """
        self._waiting.add(job)
        if self._returning.expected:
            self._returning.arrived(self._clock())
        if job.deadline is not None:
            self._wake_at(job.deadline)
        if not self._busy and not self._pump_due:
            self._soon()

    async def quiet(self) -> None:
        """Wait until nothing runs and nothing waits."""
        while not self.idle:
            self._quiet.append(self._loop.create_future())
            await self._quiet[-1]

    async def after_run(self) -> None:
        """Wait until the run that goes on, or the next one, is answered; return at once where nothing waits for one."""
        if not self.idle:
            self._after_run.append(self._loop.create_future())
            await self._after_run[-1]

    def fail(self, error: Exception) -> None:
        """Answer everything that waits with an error."""
        for job in self._waiting.clear():
            job.finish(error)
        self._notice_quiet()

    def close(self) -> None:
        """End the engine's thread; what still waits is never answered."""
        for timer in (self._company, self._alarm and self._alarm[1]):
            if timer:
                timer.cancel()
        self._waiting.clear()
        thread = self._thread
        self.detach()
        if thread:
            thread.join(_JOIN_S)

    def _soon(self) -> None:
        # Not at once: requests that arrived in the same turn of the loop belong in the same batch.
        if not self._pump_due:
            self._pump_due = True
            self._gathered = 0
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Go on once the loop has read what came while it read: one more look at the sockets costs less than a run.

        A request that is alone does not wait for that.
        """
        waiting = len(self._waiting)
        if max(1, self._gathered) < waiting < self._rules.max_batch and self._rules.stackable and not self._busy:
            self._gathered = waiting
            self._loop.call_soon(self._gather)
        else:
            self._pump()

    def _pump(self) -> None:
        self._pump_due = False
        now = self._clock()
        urgent_before = now + 2 * self._pace.run_s  # it would not survive another batch before its own
        if self._busy or self._run is None or self._waits_for_company(now, urgent_before):
            return
        taken = self._waiting.take(self._rules.max_batch if self._rules.stackable else None, now, urgent_before)
        for job in taken.abandoned:
            job.drop()
        if taken.batch:
            self._start(taken.batch, self._run, now)
        for job in taken.late:
            job.finish(Late())
        self._notice_quiet()

    def _start(self, jobs: Sequence[Job], run: Run, now: float) -> None:
        if self._company is not None:  # for whoever waits next it would come at the wrong time
            self._company.cancel()
            self._company = None
        batch = _Batch(jobs, run, sum(job.rows for job in jobs), now)
        self._observer.batch_started(len(jobs), batch.rows)
        self._observer.queue_left([now - job.arrived for job in jobs])
        if not (self._rules.even and self._pace.is_short(batch.rows)):
            self._busy = True
            self._inbox.put(batch)
            return
        outcomes = run_together(run, jobs, self._rules.max_batch, self._rules.spec)
        took = self._clock() - now
        self._pace.ran(batch.rows, took)
        self._pace.engine_took(batch.rows, took)
        if len(self._waiting):
            self._soon()  # not now: others use the loop, too
        _answer(batch, outcomes)

    def _waits_for_company(self, now: float, urgent_before: float) -> bool:
        if not self._rules.stackable:
            return False
        left_s = self._returning.wait_s(now)
        if not self._rules.max_wait_s and left_s <= 0:
            return False
        first = self._waiting.first(urgent_before)
        if first is None:
            return False
        oldest, rows = first
        left_s = max(left_s, oldest + self._rules.max_wait_s - now)
        deadline = self._waiting.next_deadline()
        if left_s <= 0 or rows >= self._rules.max_batch or (deadline is not None and deadline < urgent_before + left_s):
            return False
        if self._company is None:
            self._company = self._loop.call_later(left_s, self._company_came_or_not)
        return True

    def _company_came_or_not(self) -> None:
        self._company = None
        self._pump()

    # --- deadlines ---

    def _wake_at(self, deadline: float) -> None:
        if self._alarm is not None:
            if self._alarm[0] <= deadline:
                return
            self._alarm[1].cancel()
        timer = self._loop.call_later(max(0.0, deadline - self._clock()), self._expire)
        self._alarm = deadline, timer

    def _expire(self) -> None:
        self._alarm = None
        for job in self._waiting.expired(self._clock()):
            if job.abandoned:
                job.drop()
            else:
                job.finish(Late())
        following = self._waiting.next_deadline()
        if following is not None:
            self._wake_at(following)
        self._notice_quiet()

    # --- the engine's side ---

    def _finished(self, batch: _Batch, outcomes: list[Outcome], run_s: float) -> None:
        self._busy = False
        if batch.run is self._run:
            self._pace.engine_took(batch.rows, run_s)
        now = self._clock()
        self._pace.ran(batch.rows, now - batch.started)
        if self._rules.stackable and self._returning.answered(len(batch.jobs), self._pace.fixed_s, now):
            _answer(batch, outcomes)
            self._soon()
        else:
            self._pump()  # before the answers are written: the engine works meanwhile
            _answer(batch, outcomes)
        _tell(self._after_run)
        self._notice_quiet()

    def _notice_quiet(self) -> None:
        if self.idle:
            _tell(self._after_run)
            _tell(self._quiet)

    def _work(self, inbox: SimpleQueue[_Batch | None]) -> None:
        largest = self._rules.max_batch if self._rules.stackable else None
        while (batch := inbox.get()) is not None:
            began = self._clock()
            outcomes = run_together(batch.run, batch.jobs, largest, self._rules.spec)
            with contextlib.suppress(RuntimeError):  # the loop is closed: a drain timed out and nobody listens
                self._loop.call_soon_threadsafe(self._finished, batch, outcomes, self._clock() - began)
            del batch, outcomes  # an idle thread holds on to nothing


def _tell(waiting: list[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
    waiting.clear()


def _answer(batch: _Batch, outcomes: list[Outcome]) -> None:
    for job, outcome in zip(batch.jobs, outcomes, strict=True):
        job.finish(outcome)
