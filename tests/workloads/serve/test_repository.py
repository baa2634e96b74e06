"""Several models in one pod: how they come and go."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled
from trimtab.workloads.serve import repository as module
from trimtab.workloads.serve.cache import CacheRules
from trimtab.workloads.serve.listed import read_models
from trimtab.workloads.serve.messages import parse_request
from trimtab.workloads.serve.metrics import render
from trimtab.workloads.serve.model import Asked, ModelSettings, State
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.repository import Repository
from trimtab.workloads.serve.residency import Resident, leaving


def settings(name="linear", revision="1", **changes):
    return ModelSettings(name, revision, "file:///", "sha256:0", **changes)


@pytest.fixture
async def opened(artifact):
    """Open repositories that end with the test."""
    made = []

    async def start(*models, fetch=lambda _: artifact[0], **options):
        repository = Repository(models, fetch, 1, time.perf_counter, control=True, **options)
        made.append(repository)
        await repository.open()
        return repository

    yield start
    for repository in made:
        repository.close()


def ask(model, row, timeout_s=None):
    """Ask for one row and return the future of the answer."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": row}
    request = parse_request(json.dumps({"inputs": [tensor]}).encode(), None, model.tensors())
    answer = asyncio.get_running_loop().create_future()

    class Question(Asked):
        abandoned = False

        def reply(self, outcome):
            answer.set_result(outcome if isinstance(outcome, Refused) else outcome[0].tolist())

    arrived = time.perf_counter()
    deadline = None if timeout_s is None else arrived + timeout_s
    model.ask(Question(model, request, request.feeds, arrived, deadline, "c"))
    return answer


async def test_versions_are_found_by_name(opened):
    """Without a version the last one answers; what is not there is named with what is."""
    repository = await opened(settings(), settings(revision="2"), settings("other"))
    assert repository.find("linear").revision == "2"
    assert repository.find("linear", "1").revision == "1"
    with pytest.raises(Refused, match="model 'x' is not served here; this pod serves 'linear', 'other'"):
        repository.find("x")
    with pytest.raises(Refused, match="version '3' is not served here; this pod serves '1', '2'"):
        repository.find("linear", "3")
    assert await ask(repository.find("linear"), [1, 2, 3]) == [[4, 5]]


async def test_a_lazy_model_is_loaded_by_its_first_requests(opened):
    """It tells its tensors before; all who wait are answered, and it is loaded once."""
    repository = await opened(settings(lazy=True))
    model = repository.find("linear")
    assert (model.state, model.reason, model.takes_requests) == (
        State.UNAVAILABLE,
        "loads with its first request",
        True,
    )
    answers = await asyncio.gather(*(ask(model, [n, 0, 0]) for n in range(5)))
    assert answers == [[[n, 0]] for n in range(5)]
    assert (model.state, model.metrics.loads) == (State.READY, 1)


async def test_the_model_used_longest_ago_makes_room(opened):
    """Within a budget, and it comes back when it is asked for."""
    models = [settings(name, lazy=True) for name in "abc"]
    repository = await opened(*models, memory_bytes=10**9)
    a, b = repository.find("a"), repository.find("b")
    for model in (a, b):
        await ask(model, [1, 2, 3])
    a.metrics.memory_bytes = b.metrics.memory_bytes = 4 * 10**8
    await ask(a, [1, 2, 3])
    repository.find("c").metrics.memory_bytes = 5 * 10**8
    assert await ask(repository.find("c"), [1, 2, 3]) == [[4, 5]]
    assert [repository.find(name).metrics.loaded for name in "abc"] == [True, False, True]
    assert await ask(b, [1, 0, 0]) == [[1, 0]]


async def test_a_large_model_answers_before_anything_else_takes_the_cpu(opened, monkeypatch):
    """The first answer comes from mapped weights, over which an engine waits; then the other one's memory is freed."""
    mapped, answers, happened = object(), [], []

    def engine(name):
        weakref.finalize(answering := Answering(), happened.append, f"{name} freed")
        return answering

    def load_mapped(found, given, threads, *, warm_up):
        assert given is mapped
        happened.append(f"mapped, warm-up {warm_up}")
        return engine("mapped")

    def load_fetched(*_):
        happened.append(f"loaded, answered {answers[-1].done()}")
        return engine("full")

    for double in (load_mapped, load_fetched):
        monkeypatch.setattr(module, double.__name__, double)
    monkeypatch.setattr(module, "prepare", lambda *_: mapped)
    repository = await opened(settings("a", lazy=True), settings("b", lazy=True), memory_bytes=300)
    for name in "ab":
        model = repository.find(name)
        answers.append(ask(model, [1, 2, 3]))
        assert await answers[-1] == [[0, 0]]
        await asyncio.gather(*repository._tasks.values())
        model.metrics.memory_bytes = 900
    ready, one = "mapped, warm-up False", ["loaded, answered True", "mapped freed"]
    assert happened == [ready, ready, *one, ready, "full freed", *one, ready]


class Answering:
    """An engine that says nothing but zeros."""

    def __call__(self, feeds):
        return [np.zeros((len(feeds["x"]), 2), np.float32)]


async def test_a_model_nobody_asked_for_is_tried_before_it_is_ready(opened, monkeypatch):
    """The first client is not the one who finds out."""
    tried = []

    def load_mapped(_found, _mapped, _threads, *, warm_up):
        tried.append(warm_up)
        return Answering()

    monkeypatch.setattr(module, "load_mapped", load_mapped)
    monkeypatch.setattr(module, "prepare", lambda *_: object())
    repository = await opened(settings())
    await repository.settle()
    assert tried == [True]
    assert await ask(repository.find("linear"), [1, 2, 3]) == [[4, 5]]


async def test_what_does_not_fit_is_refused(opened):
    """Whoever waits hears why, and others are left alone."""
    repository = await opened(settings(lazy=True), memory_bytes=10)
    refused = await ask(repository.find("linear"), [1, 2, 3])
    assert refused.status == 503
    assert "bytes of memory are needed, and the models in use leave no room" in refused.message
    assert refused.retry_after_s == 5


async def test_requests_that_cannot_wait_for_a_load_hear_that(opened, artifact):
    """Their own time limits count while a model loads."""
    gate, calls = threading.Event(), []

    def fetch(model):
        calls.append(model.name)
        if len(calls) > 1:
            gate.wait(5)
        return artifact[0]

    repository = await opened(settings(lazy=True), fetch=fetch)
    model = repository.find("linear")
    repository._fetched.clear()
    hasty, patient = ask(model, [1, 2, 3], timeout_s=0.05), ask(model, [1, 2, 3])
    assert (await hasty).status == 504
    assert not patient.done()
    gate.set()
    assert await patient == [[4, 5]]


async def test_a_store_that_is_away_is_asked_again_later(opened, artifact):
    """Requests in between are refused at once, with the reason and a time."""
    state = {"away": False}

    def fetch(model):
        if state["away"]:
            raise NotYet(Reason.STORE_UNREACHABLE, "s3 is away")
        return artifact[0]

    repository = await opened(settings(lazy=True), fetch=fetch)
    model = repository.find("linear")
    repository._fetched.clear()
    state["away"] = True
    for _ in range(2):
        refused = await ask(model, [1, 2, 3])
        assert (refused.status, refused.message) == (503, "model 'linear' cannot be loaded: s3 is away")
    state["away"] = False
    repository._failed_at.clear()
    assert await ask(model, [1, 2, 3]) == [[4, 5]]


async def test_unloading_answers_what_was_taken(opened):
    """Nobody who was let in is sent away; loading brings the model back."""
    repository = await opened(settings(cache=CacheRules(10, None)))
    model = repository.find("linear")
    answers = [ask(model, [n, 0, 0]) for n in range(40)]
    await repository.unload("linear")
    assert [await answer for answer in answers] == [[[n, 0]] for n in range(40)]
    assert repository.index() == [
        {"name": "linear", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded on request"}
    ]
    assert repository.index(ready_only=True) == []
    with pytest.raises(Refused, match="model 'linear' is not loaded: unloaded on request"):
        ask(model, [1, 2, 3])
    await repository.load("linear")
    assert await ask(model, [1, 2, 3]) == [[4, 5]]


async def test_a_model_that_cannot_be_served_ends_the_start(opened, tmp_path):
    """As with one model: the pod says why and does not pretend."""
    with pytest.raises(Stalled, match=r"config\.json is missing"):
        await opened(settings(), fetch=lambda _: tmp_path)


async def test_models_that_have_to_be_there_have_to_fit(opened):
    """With the option and the way out; a pod that starts again and again would say nothing."""
    with pytest.raises(Stalled, match=r"model 'other' cannot be loaded: .* raise --memory-budget, or make models Lazy"):
        await opened(settings(), settings("other"), memory_bytes=200)


async def test_clients_load_nothing_unless_they_may(artifact):
    """Whoever may ask a model need not be allowed to take it away from others."""
    repository = Repository([settings()], lambda _: artifact[0], 1, time.perf_counter)
    with pytest.raises(Refused, match="start it with --repository-control"):
        await repository.unload("linear")
    repository.close()


@given(rows=st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.5, 2.0]), min_size=3, max_size=3), max_size=30))
def test_a_kept_answer_is_the_answer(artifact_folder, rows):
    """Whatever is asked in whatever order, through a small cache: every answer is what the model says."""

    async def run():
        rules = CacheRules(3, None)
        repository = Repository([settings(cache=rules)], lambda _: artifact_folder, 1, time.perf_counter)
        await repository.open()
        model = repository.find("linear")
        for row in rows:
            assert await ask(model, row) == [[row[0] + row[2], row[1] + row[2]]]
        assert model.metrics.cache_hits + model.metrics.cache_misses == len(rows)
        assert model.numbers().cache_entries <= 3
        repository.close()

    asyncio.run(run())


async def test_equal_questions_at_the_same_time_run_once(opened):
    """Each hears the answer; a model that is still loading runs it once, too."""
    repository = await opened(settings(cache=CacheRules(10, None), lazy=True))
    model = repository.find("linear")
    same, other = [ask(model, [1, 2, 3]) for _ in range(5)], ask(model, [0, 0, 0])
    assert await asyncio.gather(*same, other) == [[[4, 5]]] * 5 + [[[0, 0]]]
    assert await ask(model, [1, 2, 3]) == [[4, 5]]
    numbers = model.numbers()
    assert (numbers.cache_hits, numbers.cache_joined, numbers.cache_misses) == (1, 4, 2)
    assert numbers.batch_rows.total == 2
    assert b"trimtab_serve_cache_joined_total{" in render([numbers])


residents = st.builds(
    Resident, st.tuples(st.text("abc"), st.just("")), st.integers(0, 9), st.floats(0, 9), st.booleans()
)


@given(st.lists(residents, max_size=8), st.integers(0, 30), st.integers(0, 40))
def test_only_as_many_leave_as_have_to(there, needed, budget):
    """Never one that is needed; those used longest ago first; and None only where nothing helps."""
    gone = leaving(there, needed, budget)
    movable = sum(one.bytes for one in there if one.movable)
    total = sum(one.bytes for one in there)
    if gone is None:
        assert total - movable + needed > budget
        return
    order = [one for one in sorted(there, key=lambda one: one.used_at) if one.movable]
    assert gone == [one.key for one in order[: len(gone)]]
    freed = sum(one.bytes for one in order[: len(gone)])
    assert total - freed + needed <= budget
    assert not gone or total - freed + order[len(gone) - 1].bytes + needed > budget


ENTRY = {"name": "a", "revision": "1", "artifact": {"uri": "file:///a", "digest": "sha256:0"}}


def test_models_are_read_from_a_file(tmp_path):
    """In the words of the API."""
    path = tmp_path / "models.json"
    more = {"maxBatch": 4, "maxWait": "5ms", "loading": "Lazy", "cache": {"entries": 9, "ttl": "1m"}}
    path.write_text(json.dumps([ENTRY, {**ENTRY, "revision": "2", **more}]))
    first, second = read_models(path)
    assert (first.name, first.artifact_uri, first.lazy, first.cache) == ("a", "file:///a", False, None)
    assert (second.max_batch, second.max_wait_s, second.lazy, second.cache) == (4, 0.005, True, CacheRules(9, 60.0))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], "models.json: must be a list with at least one model"),
        ([3], "models.json[0]: must be an object with "),
        ([{**ENTRY, "name": "a/b"}], 'models.json[0].name: is "a/b"; expected a name without slashes'),
        ([{**ENTRY, "batch": 3}], "models.json[0].batch: is unknown; known are "),
        ([{**ENTRY, "maxBatch": 0}], "models.json[0].maxBatch: is 0; expected a number from 1"),
        ([{**ENTRY, "maxWait": 5}], "models.json[0].maxWait: "),
        ([{**ENTRY, "loading": "Later"}], 'models.json[0].loading: is "Later"; expected Eager or Lazy'),
        ([{**ENTRY, "cache": {"ttl": "1m"}}], "models.json[0].cache.entries: is null; expected a number from 1"),
        ([{**ENTRY, "artifact": "file:///a"}], "models.json[0].artifact: must be an object with digest, uri"),
        ([ENTRY, ENTRY], "models.json[1]: model 'a' has revision '1' twice"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, listed, message):
    """Field, value, and what was expected."""
    path = tmp_path / "models.json"
    path.write_text(json.dumps(listed))
    with pytest.raises(Stalled) as refused:
        read_models(path)
    assert message in refused.value.message
