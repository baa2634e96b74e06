"""Who is next: by shape, by deadline, fair between clients."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.workloads.serve.waiting import QueueFull, Waiting

SHORT, LONG = ((1,),), ((2,),)


@dataclass(eq=False)
class Waiter:
    """A request that only waits."""

    client: str = "a"
    rows: int = 1
    group: tuple = SHORT
    arrived: float = 0.0
    deadline: float | None = None
    abandoned: bool = False
    feeds: dict = field(default_factory=lambda: {"x": np.zeros(1)})

    def drop(self):
        raise AssertionError("the queue tells nobody")

    finish = drop


def queue(jobs, capacity=1000):
    waiting = Waiting(capacity)
    for job in jobs:
        waiting.add(job)
    return waiting


def test_clients_take_turns():
    """One that sends a hundred requests does not keep another one's single request waiting."""
    waiting = queue([*(Waiter("greedy") for _ in range(100)), Waiter("modest")])
    taken = waiting.take(4, 0, 0)
    assert [job.client for job in taken.batch] == ["greedy", "modest", "greedy", "greedy"]
    assert len(waiting) == 97


def test_the_shape_that_waits_longest_is_next():
    """Other shapes neither join a batch nor split it."""
    waiting = queue([Waiter(group=SHORT), Waiter(group=LONG, arrived=1), Waiter(group=SHORT, arrived=2)])
    assert [job.group for job in waiting.take(8, 3, 3).batch] == [SHORT, SHORT]
    assert [job.group for job in waiting.take(8, 3, 3).batch] == [LONG]
    assert waiting.take(8, 3, 3).batch == []


def test_an_urgent_request_goes_first():
    """It would not survive another batch before its own."""
    calm = [Waiter(arrived=n) for n in range(4)]
    urgent = Waiter(group=LONG, arrived=9, deadline=10.5)
    waiting = queue([*calm, urgent])
    assert waiting.take(4, 10, urgent_before=10.2).batch == calm
    for job in calm:
        waiting.add(job)
    assert waiting.take(4, 10, urgent_before=11).batch == [urgent]


def test_short_deadlines_get_no_more_than_half_of_a_batch():
    """Otherwise everybody would set them."""
    pushy = [Waiter("pushy", deadline=5.0) for _ in range(20)]
    calm = [Waiter("calm", arrived=1) for _ in range(20)]
    batch = queue([*pushy, *calm]).take(8, 0, urgent_before=9).batch
    assert Counter(job.client for job in batch) == {"pushy": 6, "calm": 2}  # four by deadline, then turns


def test_who_left_and_who_is_late_run_no_more():
    """They are told apart: one hears that its time was over."""
    gone, late, here = Waiter(abandoned=True), Waiter(deadline=1.0), Waiter()
    taken = queue([gone, late, here]).take(4, 2, 2)
    assert (taken.abandoned, taken.late, taken.batch) == ([gone], [late], [here])


def test_deadlines_are_found_without_a_run():
    """A busy engine keeps nobody waiting beyond its time."""
    waiting = queue([Waiter(deadline=3.0), Waiter(deadline=1.0), Waiter(), Waiter(group=LONG, deadline=2.0)])
    assert waiting.next_deadline() == 1.0
    assert sorted(job.deadline for job in waiting.expired(2.5)) == [1.0, 2.0]
    assert waiting.next_deadline() == 3.0
    assert len(waiting) == 2


def test_a_full_queue_says_whose_fault_it_is():
    """Alone a client may fill it; beside others it has its share."""
    waiting = queue([Waiter("greedy") for _ in range(10)], capacity=10)
    with pytest.raises(QueueFull) as full:
        waiting.add(Waiter("modest"))
    assert not full.value.greedy
    waiting.take(2, 0, 0)
    waiting.add(Waiter("modest"))
    with pytest.raises(QueueFull) as full:
        waiting.add(Waiter("greedy"))
    assert full.value.greedy


@st.composite
def histories(draw):
    """Return a list of jobs to add and of takes (None)."""
    job = st.builds(
        Waiter,
        client=st.sampled_from("abc"),
        rows=st.integers(1, 6),
        group=st.sampled_from([SHORT, LONG]),
        arrived=st.floats(0, 10),
        deadline=st.none() | st.floats(0, 30),
        abandoned=st.booleans(),
    )
    return draw(st.lists(job | st.none(), max_size=40))


@given(history=histories(), max_rows=st.none() | st.integers(1, 8), urgent=st.floats(0, 30))
def test_every_request_leaves_exactly_once(history, max_rows, urgent):
    """Whatever comes in whatever order: none is lost, none doubled, no batch too large or of two shapes."""
    waiting, left, added, now = Waiting(1000), [], [], 5.0
    for step in [*history, *[None] * (len(history) + 1)]:
        if step is not None:
            waiting.add(step)
            added.append(step)
            continue
        before = len(waiting)
        taken = waiting.take(max_rows, now, urgent)
        assert len({job.group for job in taken.batch}) <= 1
        assert len(taken.batch) <= 1 or sum(job.rows for job in taken.batch) <= (max_rows or 0)
        assert all(not job.abandoned and (job.deadline is None or job.deadline > now) for job in taken.batch)
        leaving = [*taken.batch, *taken.abandoned, *taken.late]
        assert len(waiting) == before - len(leaving)
        left += leaving
    assert len(waiting) == waiting.rows == 0
    assert waiting.next_deadline() is None
    assert sorted(map(id, left)) == sorted(map(id, added))
