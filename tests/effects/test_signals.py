"""What gateways report: together, and without a word per silence."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import aiohttp
import pytest
import structlog
from aiohttp import web

from trimtab.api.gateway import EndpointState, EndpointStats, GatewayStats, ModelStats
from trimtab.effects import signals as effects_signals
from trimtab.effects.reports import Reports
from trimtab.effects.signals import GatewaySignals, SilentError, gateway_session


def report(state: EndpointState, in_flight: int = 1) -> GatewayStats:
    endpoint = EndpointStats(
        address="127.1.0.1:8080", pod="p", revision="r", state=state, in_flight=in_flight, max_concurrency=4
    )
    return GatewayStats(time=1.0, proxy_up=True, models={"digits": ModelStats(in_flight=2, endpoints=[endpoint])})


def merged(*samples: GatewayStats) -> ModelStats:
    """Return what gateways say of the model together."""
    reports = Reports()
    reports.follow(str(number) for number, _ in enumerate(samples))
    for number, sample in enumerate(samples):
        reports.take(str(number), sample.model_dump_json(by_alias=True).encode(), None)
    total = reports.total()
    assert total is not None
    return total["digits"]


def test_a_replica_of_two_gateways_is_one() -> None:
    """While a gateway is replaced both report: counted twice, old replicas would go too early."""
    both = merged(report(EndpointState.HEALTHY), report(EndpointState.STARTING))
    assert both.in_flight == 4
    assert [(e.state, e.in_flight, e.max_concurrency) for e in both.endpoints] == [(EndpointState.STARTING, 2, 4)]


def test_a_replica_that_one_gateway_has_not_heard_of_is_starting() -> None:
    """It answers nobody there yet: those that served before have to stay. One that leaves is leaving."""
    nothing = GatewayStats(time=1.0, proxy_up=True, models={"digits": ModelStats()})
    unknown = GatewayStats(time=1.0, proxy_up=True)
    for lagging in (nothing, unknown):
        for samples in ([report(EndpointState.HEALTHY), lagging], [lagging, report(EndpointState.HEALTHY)]):
            (endpoint,) = merged(*samples).endpoints
            assert (endpoint.state, endpoint.in_flight) == (EndpointState.STARTING, 1)
        (endpoint,) = merged(lagging, report(EndpointState.DRAINING)).endpoints
        assert endpoint.state is EndpointState.DRAINING
    (alone,) = merged(report(EndpointState.HEALTHY)).endpoints
    assert alone.state is EndpointState.HEALTHY


class Answers:
    """A session whose gateways answer with what is in `bodies`, or not at all."""

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.known: list[str | None] = []

    @asynccontextmanager
    async def get(self, url: str, *, headers: Mapping[str, str], **_: Any) -> AsyncIterator[Self]:
        if url not in self.bodies:
            raise aiohttp.ClientConnectionError("refused")
        self.url = url
        self.known.append(headers.get("If-None-Match"))
        yield self

    def raise_for_status(self) -> None:
        return

    @property
    def content(self) -> Self:
        return self

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        yield self.bodies[self.url].encode()


async def test_silence_is_logged_once() -> None:
    """One line when a gateway falls silent, one when it is back, none between; and silence is never zero."""
    session, now = Answers(), [0.0]
    signals = GatewaySignals(session, lambda: now[0])  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as lines:
        for now[0] in (0.0, 1.0, 2.0):
            assert await signals.sample("default", ["127.1.0.9"]) is None
        session.bodies["http://127.1.0.9:8090/v1/stats"] = json.dumps(report(EndpointState.HEALTHY).wire())
        for now[0] in (3.0, 4.0):
            assert await signals.sample("default", ["127.1.0.9"]) is not None
    assert [line["event"] for line in lines] == ["gateway.fell_silent", "gateway.answered_again"]


async def test_a_report_is_sent_once() -> None:
    """A gateway that names its report is asked for another one; one of an earlier release sends it each time."""
    session, now = Answers(), [0.0]
    session.bodies["http://127.1.0.9:8090/v1/stats"] = report(EndpointState.HEALTHY).model_dump_json(by_alias=True)
    signals = GatewaySignals(session, lambda: now[0])  # type: ignore[arg-type]

    async def sample() -> Any:
        now[0] += 1
        return await signals.sample("default", ["127.1.0.9"])

    first = await sample()
    assert await sample() == first
    session.headers = {"ETag": '"1"'}
    assert await sample() == first
    session.status, session.bodies["http://127.1.0.9:8090/v1/stats"] = 304, ""
    assert await sample() is first
    assert session.known == [None, None, None, '"1"']


async def test_a_wait_for_a_change_brings_it() -> None:
    """Nobody has to ask again for what a gateway at rest had to say."""
    session = Answers()
    session.bodies["http://127.1.0.9:8090/v1/stats"] = report(EndpointState.STARTING).model_dump_json(by_alias=True)
    signals = GatewaySignals(session, lambda: 0.0)  # type: ignore[arg-type]
    await signals.sample("default", ["127.1.0.9"])
    session.bodies["http://127.1.0.9:8090/v1/stats"] = report(EndpointState.HEALTHY).model_dump_json(by_alias=True)
    await signals.changed("default", "127.1.0.9")
    told = signals.latest("default")
    assert told is not None
    assert told["digits"].endpoints[0].state is EndpointState.HEALTHY
    session.bodies["http://127.1.0.9:8090/v1/stats"] = "not a report"
    with pytest.raises(SilentError):
        await signals.changed("default", "127.1.0.9")
    assert signals.latest("default") is None


@asynccontextmanager
async def answering(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Let a server of ours be every gateway, asked by its address as the path, and as slow as it likes."""
    app = web.Application()
    app.router.add_get("/{address}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        monkeypatch.setattr(effects_signals, "_url", lambda address: f"http://127.0.0.1:{port}/{address}")
        monkeypatch.setattr(effects_signals, "_TIMEOUT", aiohttp.ClientTimeout(total=60))
        yield
    finally:
        await runner.cleanup()


@pytest.mark.integration
async def test_many_gateways_at_rest_leave_a_connection_for_one_that_is_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them holds one until something changes: with a limit nobody else would be scaled or rolled out."""
    waiting, arrived = 101, asyncio.Semaphore(0)

    async def answer(request: web.Request) -> web.Response:
        if "Prefer" in request.headers:
            arrived.release()
            await asyncio.Event().wait()
        return web.Response(text=report(EndpointState.HEALTHY).model_dump_json(by_alias=True))

    async with answering(answer, monkeypatch), gateway_session() as session:
        signals = GatewaySignals(session, lambda: 0.0)
        polls = [asyncio.create_task(signals.changed("default", f"gateway-{number}")) for number in range(waiting)]
        try:
            async with asyncio.timeout(60):
                for _ in polls:
                    await arrived.acquire()
            assert await signals.sample("default", ["gateway-0"]) is not None
        finally:
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)


async def test_a_pod_that_plays_a_gateway_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to another address nor beyond what a report may have: it is silent, and others are answered."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path == "/elsewhere":
            raise web.HTTPFound("/gateway")
        if request.path == "/endless":
            endless = web.StreamResponse()
            await endless.prepare(request)
            with suppress(ConnectionError):
                while True:
                    await endless.write(b" " * 4096)
            return endless
        return web.Response(text=report(EndpointState.HEALTHY).model_dump_json(by_alias=True))

    monkeypatch.setattr(effects_signals, "_MOST_BYTES", 2**20)
    async with answering(answer, monkeypatch), gateway_session() as session:
        signals = GatewaySignals(session, lambda: 0.0)
        with structlog.testing.capture_logs() as lines:
            assert await signals.sample("one", ["elsewhere"]) is None
            assert await signals.sample("two", ["endless"]) is None
        assert await signals.sample("three", ["gateway"]) is not None
    assert asked == ["/elsewhere", "/endless", "/gateway"]
    assert [line["event"] for line in lines] == ["gateway.fell_silent"] * 2
    assert "more than 1 MiB" in lines[1]["error"]
