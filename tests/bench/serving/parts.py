"""What is measured, part by part; each returns numbers by row and server, one per round."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import client
from client import Client, Load
from contenders import (
    CACHING,
    COMPILED,
    EVERYONE,
    NOTHING,
    SERVER_CORE,
    Contender,
    Server,
    of_one,
    on_core,
    running,
    serving,
)
from models import Model, written

from trimtab.api.serving import Engine
from trimtab.workloads.serve.loading import fetched, load_fetched, load_mapped, prepare

BARE = "the engine alone"
_WARM_UP_S = 0.3
_IDLE_S = 60.0
_SETTLED_S = 1.0  # after the first answer: the load for speed goes on behind it
_ROOM_FOR_ONE = 150_000_000
_FIRST_TURNS = 2  # in which the processes get the memory that they reuse later
_USUAL_BATCH = 16
_TAIL_CONNECTIONS = 128


@dataclass
class Found:
    """Numbers by row and server."""

    rows: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    answers: int = 0
    wrong: int = 0
    busiest_client: float = 0.0

    def add(self, row: str, server: str, value: float) -> None:
        self.rows[row][server].append(value)
        print(f"{row}: {server}: {value:,.3f}", flush=True)

    def judge(self, load: Load, model: Model, contender: Contender) -> None:
        """Compare every answer with what the engine alone says."""
        self.answers += len(load.latencies)
        self.busiest_client = max(self.busiest_client, load.busy)
        for question, bodies in enumerate(load.bodies):
            self.wrong += sum(not model.is_right(question, contender.read(body)) for body in bodies)


@dataclass(frozen=True)
class Run:
    """What a part is measured with."""

    cache: Path
    rounds: int
    seconds: float
    names: Sequence[str]

    def chosen(self, contenders: Iterable[Contender] = EVERYONE) -> list[Contender]:
        return [one for one in contenders if not self.names or any(name in one.name for name in self.names)]

    def start(self, stack: ExitStack, contender: Contender, model: Model, *more: str) -> Server:
        folder = self.cache / "running" / contender.name.replace(",", "").replace(" ", "-")
        return stack.enter_context(running(contender, model, self.cache, folder, *more))


def small(run: Run, found: Found) -> None:
    """A model of 1.6 MB: the server is what is measured."""
    model = written("mlp", run.cache)
    _in_turns(run, found, model, (*run.chosen(), CACHING, NOTHING), (1, 16, 64))


def large(run: Run, found: Found) -> None:
    """A model of 80 MB: batches are what is measured."""
    model = written("large", run.cache)
    session = model.session()

    def alone() -> None:
        for batch in (8, 16, 32, 64, 128):
            rows = model.questions[[index % len(model.questions) for index in range(batch)]]
            with on_core(SERVER_CORE):
                batch_s = _median_s(partial(session.run, None, {"x": rows}), 15)
            found.add(f"rows/s, batches of {batch}", BARE, batch / batch_s)

    _in_turns(run, found, model, (*run.chosen(), COMPILED), (32,), alone)


def _in_turns(
    run: Run,
    found: Found,
    model: Model,
    contenders: Sequence[Contender],
    connections: Sequence[int],
    between: Callable[[], None] = lambda: None,
) -> None:
    with ExitStack() as stack:
        servers = []
        for contender in contenders:
            servers.append(run.start(stack, contender, model))
            time.sleep(_SETTLED_S)
            servers[-1].stop()
        for _ in range(run.rounds):
            for server in servers:
                between()
                with server.awake():
                    _asked(run, found, model, server, connections)


def _asked(run: Run, found: Found, model: Model, server: Server, connections: Sequence[int]) -> None:
    contender = server.contender
    for form, ask in contender.forms.items():
        requests = [client.http(server.address, contender.path, ask(row)) for row in model.questions]
        for count in connections:
            with Client(server.address, requests, count) as load:
                load.flat_out(_WARM_UP_S)
                before = server.cpu_s()
                got = load.flat_out(run.seconds)
                cpu_s = server.cpu_s() - before
            if contender.answers:
                found.judge(got, model, contender)
            where = f"{form}, {count} connection{'s' if count > 1 else ''}"
            found.add(f"{where}: requests/s", contender.name, got.rate)
            found.add(f"{where}: p50 ms", contender.name, got.quantile_ms(0.5))
            found.add(f"{where}: CPU µs/request", contender.name, cpu_s / len(got.latencies) * 1e6)


def idle(run: Run, found: Found) -> None:
    """Starting, and doing nothing."""
    model = written("mlp", run.cache)
    for turn in range(run.rounds):
        with ExitStack() as stack:
            servers = []
            for contender in run.chosen():
                servers.append(run.start(stack, contender, model))
                found.add("start to ready, s", contender.name, servers[-1].ready_s)
                if turn + 1 < run.rounds:
                    servers[-1].stop()
            if turn + 1 == run.rounds:
                _idling(found, model, servers, stack)


def _idling(found: Found, model: Model, servers: Sequence[Server], stack: ExitStack) -> None:
    for server in servers:  # with connections that are kept, as a gateway does
        requests = [
            client.http(server.address, server.contender.path, server.contender.forms["JSON"](model.questions[0]))
        ]
        stack.enter_context(Client(server.address, requests, 2)).flat_out(_WARM_UP_S)
    before = [server.cpu_s() for server in servers]
    time.sleep(_IDLE_S)
    for server, used_s in zip(servers, before, strict=True):
        found.add("idle CPU, % of a core", server.contender.name, (server.cpu_s() - used_s) / _IDLE_S * 100)
        resident, own = server.memory_mb()
        found.add("idle memory (RSS), MB", server.contender.name, resident)
        found.add("idle memory (PSS), MB", server.contender.name, own)


def cold(run: Run, found: Found) -> None:
    """The first answer of a model of 80 MB that is not loaded, from the page cache, and the speed after it."""
    model = written("large", run.cache)
    turns = _FIRST_TURNS + 2 * run.rounds
    _first_answers(run, found, model, "with room for it", turns, turns)
    _first_answers(run, found, model, "in place of another", 2, turns, "--memory-budget", str(_ROOM_FOR_ONE))
    _after_the_swap(run, found, model)


def _first_answers(run: Run, found: Found, model: Model, case: str, count: int, turns: int, *more: str) -> None:
    artifact = {"uri": model.folder.as_uri(), "digest": model.digest}
    names = [f"model{index}" for index in range(count)]
    file = run.cache / "models.json"
    file.write_text(
        json.dumps([{"name": name, "revision": "1", "artifact": artifact, "loading": "Lazy"} for name in names])
    )
    contender = Contender("trimtab", None, serving(("--models", file, *more)))
    row = model.questions[0]
    with ExitStack() as stack:
        server = run.start(stack, contender, model)
        for turn in range(turns):
            path = f"/v2/models/{names[turn % count]}/infer"
            requests = [client.http(server.address, path, contender.forms["binary"](row))]
            with Client(server.address, requests, 1) as load:
                first = load.flat_out(0.0)
            if not all(model.is_right(0, contender.read(body)) for body in first.bodies[0]):
                raise RuntimeError("a first answer is wrong")
            time.sleep(_SETTLED_S)
            began = time.perf_counter()
            model.session().run(None, {"x": row[None]})
            plain_s = time.perf_counter() - began
            if turn >= _FIRST_TURNS:
                found.add(f"first answer, {case}, ms", "trimtab", first.ended[0] * 1000)
                found.add(f"first answer, {case}, ms", BARE, plain_s * 1000)


def _after_the_swap(run: Run, found: Found, model: Model) -> None:
    artifact = fetched(lambda: model.folder, Engine.ONNX_RUNTIME)
    mapped = prepare(artifact)
    if mapped is None or load_mapped(artifact, mapped, 1, warm_up=True) is None:
        raise RuntimeError("the model cannot be mapped")
    after = load_fetched(artifact, 1, _USUAL_BATCH)
    plain = partial(model.session().run, None)
    feeds = {"x": model.questions[:_USUAL_BATCH]}
    for _ in range(run.rounds):
        for name, engine in (("trimtab", after), (BARE, plain)):
            found.add("a batch of 16 afterwards, ms", name, _median_s(lambda e=engine: e(feeds), 30) * 1000)


def tail(run: Run, found: Found) -> None:
    """Latency at half of the rate that saturates the server, which has its core to itself; batches as by default."""
    for name in ("mlp", "large"):
        model = written(name, run.cache)
        contender = Contender("trimtab", None, of_one)
        with on_core(SERVER_CORE):
            batch_s = _median_s(partial(model.session().run, None, {"x": model.questions[:_USUAL_BATCH]}), 50)
        with ExitStack() as stack:
            server = run.start(stack, contender, model)
            requests = [
                client.http(server.address, contender.path, contender.forms["binary"](row)) for row in model.questions
            ]
            server.prefer()
            for turn in range(run.rounds):
                with Client(server.address, requests, 2 * _USUAL_BATCH) as load:
                    load.flat_out(_WARM_UP_S)
                    most = load.flat_out(run.seconds)
                with Client(server.address, requests, _TAIL_CONNECTIONS) as load:
                    half = load.at_rate(most.rate / 2, run.seconds * 3, seed=turn)
                found.judge(half, model, contender)
                found.add(f"{name}: saturated, requests/s", "trimtab", most.rate)
                found.add(f"{name}: p50 at half of it, ms", "trimtab", half.quantile_ms(0.5))
                found.add(f"{name}: p99 at half of it, ms", "trimtab", half.quantile_ms(0.99))
                found.add(f"{name}: one batch of 16, ms", BARE, batch_s * 1000)


def _median_s(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


PARTS: Mapping[str, Callable[[Run, Found], None]] = {
    "small": small,
    "large": large,
    "cold": cold,
    "tail": tail,
    "idle": idle,
}
