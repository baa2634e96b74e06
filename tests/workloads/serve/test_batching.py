"""Which requests run together."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from trimtab.workloads.serve.batching import Batcher, BatchRules, max_concurrency
from trimtab.workloads.serve.running import run_together
from trimtab.workloads.serve.waiting import QueueFull


class Request:
    """One job whose outcome can be awaited."""

    def __init__(self, values, group=((3,),), arrived=0.0):
        self.feeds = {"x": np.array(values, np.float32)}
        self.rows = len(values)
        self.group = group
        self.arrived = arrived
        self.deadline = None
        self.client = "c"
        self.abandoned = False
        self.dropped = False
        self.outcome = asyncio.get_running_loop().create_future()

    def drop(self):
        self.dropped = True

    def finish(self, outcome):
        self.outcome.set_result(outcome)


class Engine:
    """Doubles; keeps the sizes of its batches; `gate` holds it while a run is going on."""

    def __init__(self):
        self.sizes = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)

    def __call__(self, feeds):
        self.started.release()
        assert self.gate.wait(5)
        if np.any(feeds["x"] == 13):
            raise ValueError("thirteen")
        self.sizes.append(len(feeds["x"]))
        return [feeds["x"] * 2]


class Silence:
    """Hears the batcher and says nothing."""

    def batch_started(self, requests, rows):
        pass

    def queue_left(self, seconds):
        pass


@pytest.fixture
async def start():
    """Start batchers that end with the test."""
    batchers = []

    def make(engine, max_batch=4, max_wait_s=0.0, capacity=100, stackable=True, clock=lambda: 0.0, even=False):
        batcher = Batcher(BatchRules(max_batch, max_wait_s, capacity, stackable, even), Silence(), clock)
        batcher.attach(engine)
        batchers.append((batcher, engine))
        return batcher

    yield make
    for batcher, engine in batchers:
        engine.gate.set()
        batcher.close()


async def submitted(batcher, requests):
    for request in requests:
        batcher.submit(request)
    return [outcome[0].tolist() for outcome in await asyncio.gather(*(request.outcome for request in requests))]


async def test_requests_of_one_turn_of_the_loop_run_together(start):
    """An idle engine starts with everything that is there."""
    engine = Engine()
    outcomes = await submitted(start(engine), [Request([[1]]), Request([[2], [3]])])
    assert outcomes == [[[2.0]], [[4.0], [6.0]]]
    assert engine.sizes == [3]


@pytest.mark.parametrize(
    ("at_once", "sizes"),
    [pytest.param(2, [4], id="company is waited for"), pytest.param(1, [1, 3], id="nobody waits alone")],
)
async def test_what_the_loop_reads_next_joins_those_that_are_there(start, at_once, sizes):
    """As long as each turn of the loop brings another request."""
    engine = Engine()
    batcher = start(engine, max_batch=8)
    requests = [Request([[n]]) for n in range(4)]
    engine.gate.clear()

    def submit(later):
        batcher.submit(later[0])
        if later[1:]:
            asyncio.get_running_loop().call_soon(submit, later[1:])
        else:
            engine.gate.set()

    for request in requests[: at_once - 1]:
        batcher.submit(request)
    submit(requests[at_once - 1 :])
    await asyncio.gather(*(request.outcome for request in requests))
    assert engine.sizes == sizes


async def test_what_comes_during_a_run_runs_next_and_together(start):
    """The batch fills while the engine is busy, up to its largest size."""
    engine = Engine()
    engine.gate.clear()
    batcher = start(engine, max_batch=4)
    first = Request([[0]])
    batcher.submit(first)
    await asyncio.to_thread(engine.started.acquire)
    later = [Request([[n]]) for n in range(6)]
    for request in later:
        batcher.submit(request)
    assert batcher.waiting == 6
    engine.gate.set()
    await asyncio.gather(*(request.outcome for request in later))
    assert engine.sizes == [1, 4, 2]
    assert batcher.waiting == 0


async def test_other_shapes_wait_for_their_own_batch(start):
    """Sentences of different length cannot be stacked, and do not keep those that can apart."""
    engine = Engine()
    requests = [Request([[1]], ((1,),)), Request([[1]], ((1,),)), Request([[1, 2]], ((2,),)), Request([[1]], ((1,),))]
    await submitted(start(engine), requests)
    assert engine.sizes == [3, 1]


async def test_a_model_with_a_fixed_batch_runs_each_request_alone(start):
    """What cannot be stacked is not."""
    engine = Engine()
    await submitted(start(engine, stackable=False), [Request([[1]]), Request([[2]])])
    assert engine.sizes == [1, 1]


async def test_more_rows_than_a_batch_run_in_pieces(start):
    """Memory is bounded by the batch, whatever a client sends."""
    engine = Engine()
    rows = [[n] for n in range(10)]
    assert await submitted(start(engine, max_batch=4), [Request(rows)]) == [[[2.0 * n] for n in range(10)]]
    assert engine.sizes == [4, 4, 2]


async def test_a_failing_request_fails_alone(start):
    """Its neighbours in the batch get their answers."""
    engine = Engine()
    batcher = start(engine)
    good, bad, other = Request([[1]]), Request([[13]]), Request([[2]])
    for request in (good, bad, other):
        batcher.submit(request)
    outcomes = await asyncio.gather(good.outcome, bad.outcome, other.outcome)
    assert outcomes[0][0].tolist() == [[2.0]]
    assert str(outcomes[1]) == "thirteen"
    assert outcomes[2][0].tolist() == [[4.0]]


async def test_a_request_whose_client_left_is_not_run(start):
    """Work for nobody delays somebody."""
    engine = Engine()
    batcher = start(engine)
    gone, here = Request([[1]]), Request([[2], [3]])
    gone.abandoned = True
    batcher.submit(gone)
    batcher.submit(here)
    await here.outcome
    assert engine.sizes == [2]
    assert gone.dropped
    assert not here.dropped


async def test_a_full_queue_refuses(start):
    """Waiting is bounded: the gateway knows a better place."""
    engine = Engine()
    batcher = start(engine, capacity=2)
    batcher.submit(Request([[1]]))
    batcher.submit(Request([[1]]))
    with pytest.raises(QueueFull):
        batcher.submit(Request([[1]]))


async def test_requests_wait_for_company_at_most_as_long_as_they_may(start):
    """With max_wait an idle engine waits for a full batch or for the time to pass."""
    engine = Engine()
    now = [0.0]
    batcher = start(engine, max_batch=2, max_wait_s=0.02, clock=lambda: now[0])
    alone = Request([[1]])
    batcher.submit(alone)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert batcher.waiting == 1
    now[0] = 0.03  # the loop's timer fires in real time; whether the wait is over this clock says
    await alone.outcome
    full = [Request([[1]], arrived=0.03), Request([[2]], arrived=0.03)]
    await submitted(batcher, full)
    assert engine.sizes == [1, 2]


async def test_an_output_that_is_not_per_row_is_an_error_and_no_mix_up():
    """Rows of one client must never reach another one."""
    requests = [Request([[1]]), Request([[2]])]
    outcomes = run_together(lambda feeds: [feeds["x"].sum(axis=0)[None]], requests, largest=4)
    assert [str(outcome) for outcome in outcomes] == [
        "the model answered 2 rows with shape [1, 1]; set batching.maxSize to 1"
    ] * 2


@pytest.mark.parametrize(("max_batch", "welcome"), [(1, 2), (16, 32)])
def test_a_pod_is_given_the_batch_that_runs_and_the_one_that_fills(max_batch, welcome):
    """The rest waits at the gateway, for whichever pod is free first."""
    assert max_concurrency(max_batch) == welcome


async def test_a_request_whose_time_is_over_hears_that_while_the_engine_works(start):
    """Nobody waits for a batch whose answer comes too late."""
    engine, now = Engine(), [0.0]
    engine.gate.clear()
    batcher = start(engine, clock=lambda: now[0])
    first, hasty, patient = Request([[1]]), Request([[2]]), Request([[3]])
    batcher.submit(first)
    await asyncio.to_thread(engine.started.acquire)
    hasty.deadline = 0.01
    batcher.submit(hasty)
    batcher.submit(patient)
    now[0] = 0.02
    assert str(await hasty.outcome) == "the request's time was over before it ran"
    assert not first.outcome.done()
    engine.gate.set()
    assert (await patient.outcome)[0].tolist() == [[6.0]]


async def test_jobs_wait_for_an_engine_and_end_in_the_one_they_began_in(start):
    """Loading and swapping lose nothing."""
    old, new = Engine(), Engine()
    batcher = start(old)
    batcher.detach()
    early = Request([[1]])
    batcher.submit(early)
    await asyncio.sleep(0)
    assert not early.outcome.done()
    old.gate.clear()
    batcher.attach(old)
    await asyncio.to_thread(old.started.acquire)
    batcher.attach(new)
    late = Request([[2]])
    batcher.submit(late)
    old.gate.set()
    await asyncio.gather(early.outcome, late.outcome)
    assert (old.sizes, new.sizes) == ([1], [1])
    await batcher.quiet()
    assert batcher.idle


class Turnstile:
    """A gate that lets one run through at a time."""

    def __init__(self):
        self.permits = threading.Semaphore(0)

    def wait(self, timeout):
        return self.permits.acquire(timeout=timeout)

    def set(self):
        self.permits.release(9)


async def test_whoever_waits_for_the_next_answers_hears_of_them(start):
    """Not of those after them; and at once where nobody is to be answered."""
    engine = Engine()
    engine.gate = Turnstile()
    batcher = start(engine, max_batch=1)
    await asyncio.wait_for(batcher.after_run(), 60)
    gone, first, second = Request([[1]]), Request([[2]]), Request([[3]])
    gone.abandoned = True
    batcher.submit(gone)
    await asyncio.wait_for(batcher.after_run(), 60)
    assert gone.dropped
    batcher.submit(first)
    batcher.submit(second)
    waiting = asyncio.create_task(batcher.after_run())
    await asyncio.to_thread(engine.started.acquire)
    assert not waiting.done()
    engine.gate.permits.release()
    await asyncio.wait_for(waiting, 60)
    assert (first.outcome.done(), second.outcome.done()) == (True, False)


class Whereabouts(Engine):
    """Keeps the threads that it ran in."""

    def __init__(self):
        super().__init__()
        self.threads = []

    def __call__(self, feeds):
        self.threads.append(threading.current_thread().name)
        return super().__call__(feeds)


@pytest.mark.parametrize(
    ("even", "seconds", "where"),
    [
        pytest.param(True, 0.0, threading.main_thread().name, id="short"),
        pytest.param(True, 0.01, "engine", id="long"),
        pytest.param(False, 0.0, "engine", id="of a model whose runs differ"),
    ],
)
async def test_short_runs_happen_on_the_loop(start, even, seconds, where):
    """Once it is known that they are short; before, and where nobody can know, in the thread."""
    now = 0.0

    def clock():
        nonlocal now
        now += seconds  # so that every run takes that long
        return now

    engine = Whereabouts()
    batcher = start(engine, clock=clock, even=even)
    for value in range(12):
        request = Request([[value, 0, 0]])
        batcher.submit(request)
        (output,) = await request.outcome
        assert output[0, 0] == value * 2
    assert engine.threads[:3] == ["engine"] * 3
    assert engine.threads[-1] == where
    await asyncio.wait_for(batcher.quiet(), 60)


async def test_what_waits_behind_a_short_run_runs_next(start):
    """A queue that is longer than a batch empties itself on the loop, too, and each error finds its own request."""
    engine = Whereabouts()
    batcher = start(engine, even=True)
    for _ in range(10):
        warm = [Request([[1, 1, 1]]) for _ in range(4)]
        for request in warm:
            batcher.submit(request)
        await asyncio.gather(*(request.outcome for request in warm))
    requests = [Request([[value, 0, 0]]) for value in range(20)]
    for request in requests:
        batcher.submit(request)
    outcomes = await asyncio.wait_for(asyncio.gather(*(request.outcome for request in requests)), 60)
    for value, outcome in enumerate(outcomes):
        assert isinstance(outcome, ValueError) if value == 13 else outcome[0][0, 0] == value * 2
    assert engine.threads[-1] == threading.main_thread().name


async def test_clients_that_come_back_at_once_end_up_in_one_batch(start):
    """Two groups that would take turns for ever become one, where a run has a price of its own."""
    cost_s, now = 0.004, 0.0

    def clock():
        nonlocal now
        now += 0.0001
        return now

    class Costly(Engine):
        def __call__(self, feeds):
            nonlocal now
            now += cost_s
            return super().__call__(feeds)

    engine = Costly()
    batcher = start(engine, max_batch=16, clock=clock)

    async def client(value):
        for _ in range(30):
            request = Request([[value, 0, 0]], arrived=now)
            batcher.submit(request)
            await request.outcome

    engine.gate.clear()
    first = asyncio.create_task(client(1))
    await asyncio.to_thread(engine.started.acquire)
    others = [asyncio.create_task(client(value)) for value in range(2, 9)]
    await asyncio.sleep(0)
    assert batcher.waiting == len(others)
    engine.gate.set()
    await asyncio.gather(first, *others)
    assert engine.sizes.count(8) > 20
