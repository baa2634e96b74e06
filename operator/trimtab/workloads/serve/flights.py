"""Equal questions that come while the first of them is being answered: they wait for its run instead of another one.

Nobody is worse off than alone: who could be late because of another one's deadline does not join it, a question whose
client has left runs while anybody waits for the answer, and an error is one asker's own: the others run again.
"""

from __future__ import annotations

from collections.abc import Callable

from trimtab.workloads.serve.batching import Late
from trimtab.workloads.serve.datatypes import Array, Outcome
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.waiting import Job, QueueFull


class Flights:
    """The questions on their way, by key.

    `submit` queues a job, or raises QueueFull; `keep` takes each answer with its key; at most `most` jobs wait beside
    the first ones of their questions.
    """

    def __init__(self, submit: Callable[[Job], None], keep: Callable[[bytes, list[Array]], None], most: int) -> None:
        self._submit = submit
        self._keep = keep
        self._most = most
        self._going: dict[bytes, _Flight] = {}
        self._joined = 0

    def ask(self, key: bytes, job: Job) -> bool:
        """Queue a question, or let it wait for the answer to an equal one; return whether it does the latter.

        Raises:
            QueueFull: As many requests wait as may.
        """
        flight = self._going.get(key)
        if flight is None:
            self._start(key, [job])
            return False
        if self._joined >= self._most or not flight.suits(job):
            self._submit(job)
            return False
        job.feeds = flight.feeds  # they are equal: one in memory is enough
        flight.askers.append(job)
        self._joined += 1
        return True

    def _start(self, key: bytes, askers: list[Job]) -> None:
        flight = _Flight(key, askers, self)
        self._submit(flight)
        self._going[key] = flight
        self._joined += len(askers) - 1

    def landed(self, flight: _Flight) -> None:
        """Forget a question that nobody can join any more."""
        del self._going[flight.key]
        self._joined -= len(flight.askers) - 1

    def finished(self, flight: _Flight, outcome: Outcome) -> None:
        """Tell all who wait, or one of them and let the others run again."""
        self.landed(flight)
        hear, others = flight.askers, []
        if isinstance(outcome, Late):
            hear = [job for job in flight.askers if job.deadline == flight.deadline]
            others = [job for job in flight.askers if job.deadline != flight.deadline]
        elif isinstance(outcome, Exception) and not isinstance(outcome, Refused):
            hear, others = flight.askers[:1], flight.askers[1:]
        elif not isinstance(outcome, Exception):
            self._keep(flight.key, outcome)
        if others:
            self._again(flight.key, others)
        for job in hear:
            job.finish(outcome)

    def _again(self, key: bytes, askers: list[Job]) -> None:
        askers.sort(key=lambda job: float("inf") if job.deadline is None else job.deadline)
        try:
            self._start(key, askers)
        except QueueFull as full:
            for job in askers:
                job.finish(full)


class _Flight:
    """One question in the batcher's queue, for all who asked it."""

    __slots__ = ("_owner", "arrived", "askers", "client", "deadline", "feeds", "gone", "group", "key", "rows")

    gone: bool

    def __init__(self, key: bytes, askers: list[Job], owner: Flights) -> None:
        first = askers[0]
        self.key = key
        self.askers = askers
        self.feeds = first.feeds
        self.rows = first.rows
        self.group = first.group
        self.arrived = first.arrived
        self.client = first.client
        self.deadline = first.deadline  # the nearest of all
        self._owner = owner

    def suits(self, job: Job) -> bool:
        """Whether waiting here cannot make a job late: the queue knows no nearer deadline than the first one's."""
        return job.deadline is None or (self.deadline is not None and self.deadline <= job.deadline)

    @property
    def abandoned(self) -> bool:
        return all(job.abandoned for job in self.askers)

    def drop(self) -> None:
        self._owner.landed(self)
        for job in self.askers:
            job.drop()

    def finish(self, outcome: Outcome) -> None:
        self._owner.finished(self, outcome)
