"""What waits for a batch, and who is next: by shape, by deadline, and fair between clients."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

from trimtab.workloads.serve.datatypes import Feeds, Outcome

Group = tuple[tuple[int, ...], ...]


class Job(Protocol):
    """One request on its way through the engine."""

    feeds: Feeds
    rows: int
    group: Group  # only equal groups may be stacked
    arrived: float
    deadline: float | None  # when its client stops waiting, by the clock of `arrived`
    client: Hashable
    gone: bool
    """The queue's own mark: whether it has left."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def drop(self) -> None:
        """Learn that an abandoned request was never run; on the event loop."""

    def finish(self, outcome: Outcome) -> None:
        """Take the answer; on the event loop."""


class QueueFull(Exception):  # noqa: N818 - says what the client hears
    """As many requests wait as may; `greedy` where this client's own are more than its share."""

    def __init__(self, *, greedy: bool = False) -> None:
        super().__init__("queue full")
        self.greedy = greedy


class Taken(NamedTuple):
    """What leaves the queue: jobs that run together, and jobs that need no run any more."""

    batch: list[Job]
    abandoned: list[Job]
    late: list[Job]


@dataclass(slots=True)
class _Lane:
    """Jobs of one group; `order`, `clients` and `due` may hold some that are gone."""

    order: deque[Job] = field(default_factory=deque)
    clients: dict[Hashable, deque[Job]] = field(default_factory=dict)
    turns: deque[Hashable] = field(default_factory=deque)
    due: list[tuple[float, int, Job]] = field(default_factory=list)
    rows: int = 0

    def oldest(self) -> float | None:
        """Return when the job that waits longest arrived; None for an empty lane."""
        while self.order and self.order[0].gone:
            self.order.popleft()
        return self.order[0].arrived if self.order else None

    def nearest_deadline(self) -> float | None:
        while self.due and self.due[0][2].gone:
            heappop(self.due)
        return self.due[0][0] if self.due else None


class Waiting:
    """A bounded queue of jobs. Clients take turns; up to half of a batch goes to those whose deadline is nearest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lanes: dict[Group, _Lane] = {}
        self._held: dict[Hashable, int] = {}
        self._size = 0
        self._sequence = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> int:
        return sum(lane.rows for lane in self._lanes.values())

    def add(self, job: Job) -> None:
        """Queue a job.

        Raises:
            QueueFull: As many requests wait as may, or half of it and this client has its share already.
        """
        held = self._held.get(job.client, 0)
        if self._size >= self._capacity // 2:
            sharing = len(self._held) + (not held)
            greedy = sharing > 1 and held >= self._capacity // sharing
            if self._size >= self._capacity or greedy:
                raise QueueFull(greedy=greedy)
        lane = self._lanes.get(job.group)
        if lane is None:
            lane = self._lanes[job.group] = _Lane()
        job.gone = False
        lane.order.append(job)
        lane.rows += job.rows
        mine = lane.clients.get(job.client)
        if mine is None:
            mine = lane.clients[job.client] = deque()
            lane.turns.append(job.client)
        mine.append(job)
        if job.deadline is not None:
            self._sequence += 1
            heappush(lane.due, (job.deadline, self._sequence, job))
        self._held[job.client] = held + 1
        self._size += 1

    def first(self, urgent_before: float) -> tuple[float, int] | None:
        """Return when the oldest job of the lane that is next arrived, and how many rows wait there."""
        found = self._next_lane(urgent_before)
        if found is None:
            return None
        lane = self._lanes[found]
        oldest = lane.oldest()
        return None if oldest is None else (oldest, lane.rows)

    def next_deadline(self) -> float | None:
        """Return the nearest deadline of all that wait."""
        found = [at for lane in self._lanes.values() if (at := lane.nearest_deadline()) is not None]
        return min(found, default=None)

    def take(self, max_rows: int | None, now: float, urgent_before: float) -> Taken:
        """Take what runs next: jobs of one group, up to `max_rows` together; None takes one job.

        A job whose deadline is below `urgent_before` goes first, but for at most half of the rows: a client that sets
        short deadlines on everything gets no more than that.
        """
        taken = Taken([], [], [])
        while not taken.batch:
            group = self._next_lane(urgent_before)
            if group is None:
                break
            self._fill(taken, self._lanes[group], max_rows, now, urgent_before)
            if self._lanes[group].oldest() is None:
                del self._lanes[group]
        return taken

    def expired(self, now: float) -> list[Job]:
        """Take the jobs whose deadline is over."""
        late: list[Job] = []
        for group, lane in list(self._lanes.items()):
            while (deadline := lane.nearest_deadline()) is not None and deadline <= now:
                job = lane.due[0][2]
                self._leave(lane, job)
                late.append(job)
            if lane.oldest() is None:
                del self._lanes[group]
        return late

    def clear(self) -> list[Job]:
        """Take everything, in no order."""
        jobs = [job for lane in self._lanes.values() for job in lane.order if not job.gone]
        self._lanes.clear()
        self._held.clear()
        self._size = 0
        return jobs

    def _next_lane(self, urgent_before: float) -> Group | None:
        """Return the group of the most urgent job, else of the oldest one."""
        if len(self._lanes) == 1:
            return next(iter(self._lanes))
        best: tuple[tuple[bool, float], Group] | None = None
        for group, lane in self._lanes.items():
            oldest, deadline = lane.oldest(), lane.nearest_deadline()
            if oldest is None:
                continue
            urgent = deadline is not None and deadline < urgent_before
            rank = (not urgent, deadline if urgent and deadline is not None else oldest)
            if best is None or rank < best[0]:
                best = rank, group
        return best[1] if best else None

    def _fill(self, taken: Taken, lane: _Lane, max_rows: int | None, now: float, urgent_before: float) -> None:
        if not lane.due:
            self._fill_by_turn(taken, lane, max_rows)
            return
        rows = 0
        half = None if max_rows is None else max(1, max_rows // 2)
        sources: list[tuple[Callable[[], Job | None], int | None]] = [
            (lambda: _by_deadline(lane, urgent_before), half),
            (lambda: _by_turn(lane), max_rows),
        ]
        for pick, most in sources:
            while (job := pick()) is not None:
                late = job.deadline is not None and job.deadline <= now
                useless = job.abandoned or late
                if not useless and taken.batch and (most is None or rows + job.rows > most):
                    break
                self._leave(lane, job)
                if useless:
                    (taken.late if late and not job.abandoned else taken.abandoned).append(job)
                else:
                    taken.batch.append(job)
                    rows += job.rows

    def _fill_by_turn(self, taken: Taken, lane: _Lane, max_rows: int | None) -> None:
        """The same where nobody has a deadline; most requests go this way, so it is short."""
        rows = left = left_rows = 0
        turns, clients, held = lane.turns, lane.clients, self._held
        while turns:
            client = turns[0]
            mine = clients[client]
            job = mine[0]
            if job.abandoned:
                taken.abandoned.append(job)
            elif taken.batch and (max_rows is None or rows + job.rows > max_rows):
                break
            else:
                taken.batch.append(job)
                rows += job.rows
            job.gone = True
            left += 1
            left_rows += job.rows
            while mine and mine[0].gone:
                mine.popleft()
            if mine:
                turns.rotate(-1)
            else:
                del clients[client]
                turns.popleft()
            held[client] -= 1
            if not held[client]:
                del held[client]
        self._size -= left
        lane.rows -= left_rows

    def _leave(self, lane: _Lane, job: Job) -> None:
        """Take a job out; who has more moves to the end of the turns."""
        job.gone = True
        client = job.client
        mine = lane.clients[client]
        if mine[0] is job:
            mine.popleft()
        while mine and mine[0].gone:
            mine.popleft()
        if lane.turns[0] == client:
            lane.turns.rotate(-1)
        if not mine:
            del lane.clients[client]
            lane.turns.remove(client)
        lane.rows -= job.rows
        self._size -= 1
        if self._held[client] == 1:
            del self._held[client]
        else:
            self._held[client] -= 1


def _by_turn(lane: _Lane) -> Job | None:
    return lane.clients[lane.turns[0]][0] if lane.turns else None


def _by_deadline(lane: _Lane, urgent_before: float) -> Job | None:
    deadline = lane.nearest_deadline()
    return lane.due[0][2] if deadline is not None and deadline < urgent_before else None
