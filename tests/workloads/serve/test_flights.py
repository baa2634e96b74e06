"""Equal questions that come while the first of them is being answered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.workloads.serve.batching import Late
from trimtab.workloads.serve.flights import Flights
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.waiting import QueueFull


class Asker:
    """One who asks, and what it heard."""

    rows, group, arrived = 1, ((3,),), 0.0

    def __init__(self, client="c", deadline=None):
        self.feeds = {"x": np.zeros((1, 3), np.float32)}
        self.client = client
        self.deadline = deadline
        self.abandoned = False
        self.heard = []

    def finish(self, outcome):
        self.heard.append(outcome)

    def drop(self):
        self.heard.append("dropped")


class Queue:
    """Takes flights, up to a capacity, and hears what is kept."""

    def __init__(self, capacity=100, most=100):
        self.jobs, self.kept, self.capacity = [], {}, capacity
        self.flights = Flights(self.submit, self.kept.__setitem__, most)

    def submit(self, job):
        if len(self.jobs) >= self.capacity:
            raise QueueFull
        self.jobs.append(job)

    def next(self):
        return self.jobs.pop(0)


def asked(queue, *askers, key=b"k"):
    return [queue.flights.ask(key, asker) for asker in askers]


def test_equal_questions_run_once_and_all_hear_the_answer():
    """Other questions run for themselves; once it is answered a question is a new one."""
    queue, first, second, other = Queue(), Asker(), Asker("d"), Asker()
    assert asked(queue, first, second) == [False, True]
    assert asked(queue, other, key=b"other") == [False]
    assert len(queue.jobs) == 2
    assert second.feeds is first.feeds
    queue.next().finish(["answer"])
    assert (first.heard, second.heard, other.heard) == ([["answer"]], [["answer"]], [])
    assert queue.kept == {b"k": ["answer"]}
    assert asked(queue, Asker()) == [False]


def test_an_error_is_one_askers_own():
    """The others run again, and nothing is kept."""
    queue, askers = Queue(), [Asker() for _ in range(3)]
    asked(queue, *askers)
    failure = ValueError("thirteen")
    queue.next().finish(failure)
    assert [asker.heard for asker in askers] == [[failure], [], []]
    queue.next().finish(["answer"])
    assert [asker.heard for asker in askers[1:]] == [[["answer"]]] * 2
    assert queue.kept == {b"k": ["answer"]}


def test_a_refusal_is_everyones():
    """That the model cannot be loaded is no one's fault, and trying again would say the same."""
    queue, askers = Queue(), [Asker() for _ in range(3)]
    asked(queue, *askers)
    refusal = Refused(503, "the model is still loading", 5)
    queue.next().finish(refusal)
    assert [asker.heard for asker in askers] == [[refusal]] * 3
    assert queue.jobs == []


def test_who_was_in_a_hurry_does_not_make_others_late():
    """Those with more time run again, the nearest deadline first."""
    queue, hasty, patient, later = Queue(), Asker(deadline=1.0), Asker(), Asker(deadline=2.0)
    assert asked(queue, hasty, patient, later) == [False, True, True]
    flight = queue.next()
    assert flight.deadline == 1.0
    flight.finish(Late())
    assert isinstance(hasty.heard[0], Late)
    assert patient.heard == later.heard == []
    again = queue.next()
    assert again.deadline == 2.0
    again.finish(["answer"])
    assert patient.heard == later.heard == [["answer"]]


def test_who_is_in_a_hurry_does_not_join_those_who_are_not():
    """The queue puts it first only where it knows its deadline."""
    queue = Queue()
    assert asked(queue, Asker(deadline=2.0), Asker(deadline=1.0), Asker(deadline=3.0)) == [False, False, True]
    assert [job.deadline for job in queue.jobs] == [2.0, 1.0]
    assert asked(queue, Asker(), Asker(deadline=9.0), key=b"other") == [False, False]


def test_a_question_runs_while_anybody_waits_for_it():
    """That the first client left is not the second one's fault."""
    queue, first, second = Queue(), Asker(), Asker()
    asked(queue, first, second)
    first.abandoned = True
    flight = queue.next()
    assert not flight.abandoned
    second.abandoned = True
    assert flight.abandoned
    flight.drop()
    assert first.heard == second.heard == ["dropped"]
    assert asked(queue, Asker()) == [False]


def test_what_waits_is_bounded():
    """Beyond that a question is a request like any other, which a full queue refuses."""
    queue = Queue(capacity=2, most=1)
    assert asked(queue, Asker(), Asker(), Asker()) == [False, True, False]
    with pytest.raises(QueueFull):
        queue.flights.ask(b"k", Asker())
    with pytest.raises(QueueFull):
        queue.flights.ask(b"other", Asker())


def test_those_who_run_again_hear_of_a_full_queue():
    """Nobody waits for ever."""
    queue, askers = Queue(capacity=1), [Asker(), Asker()]
    asked(queue, *askers)
    flight = queue.next()
    asked(queue, Asker(), key=b"other")
    flight.finish(ValueError())
    assert isinstance(askers[1].heard[0], QueueFull)


outcomes = st.sampled_from(["answer", "failure", "late", "refusal"])
steps = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from([b"a", b"b"]), st.none() | st.integers(1, 3)),
    st.tuples(st.just("leave"), st.integers(0, 20), st.none()),
    st.tuples(st.just("run"), st.integers(0, 20), outcomes),
)


@given(st.lists(steps, max_size=40), st.integers(1, 4), st.integers(0, 3))
def test_everybody_hears_exactly_once_and_the_answer_to_the_own_question(done, capacity, most):
    """Whatever happens in whatever order; and nobody is late before the own deadline."""
    queue, askers = Queue(capacity, most), []
    for what, first, second in done:
        if what == "ask":
            asker = Asker(deadline=second)
            try:
                queue.flights.ask(first, asker)
            except QueueFull:
                continue
            asker.feeds = {**asker.feeds, "key": first}
            askers.append((first, asker))
        elif what == "leave" and askers:
            askers[first % len(askers)][1].abandoned = True
        elif what == "run" and queue.jobs:
            run(queue.jobs.pop(first % len(queue.jobs)), second)
    while queue.jobs:
        run(queue.next(), "answer")
    for key, asker in askers:
        (heard,) = asker.heard
        assert heard != "dropped" or asker.abandoned
        assert not isinstance(heard, Late) or asker.deadline is not None
        assert not isinstance(heard, list) or heard == [key]
    assert all(kept == [key] for key, kept in queue.kept.items())
    assert (queue.flights._going, queue.flights._joined) == ({}, 0)


def run(job, outcome):
    """End a job as the batcher does."""
    key = getattr(job, "key", None) or job.feeds["key"]
    if job.abandoned:
        job.drop()
    elif outcome == "late" and job.deadline is not None:
        job.finish(Late())
    else:
        job.finish({"failure": ValueError(), "refusal": Refused(503, "no")}.get(outcome, [key]))
