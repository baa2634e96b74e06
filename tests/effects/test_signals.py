"""What gateways report: together, and without a word per silence."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import structlog

from trimtab.api.gateway import EndpointState, EndpointStats, GatewayStats, ModelStats
from trimtab.effects.signals import GatewaySignals, merged


def report(state: EndpointState, in_flight: int = 1) -> GatewayStats:
    endpoint = EndpointStats(
        address="127.1.0.1:8080", pod="p", revision="r", state=state, in_flight=in_flight, max_concurrency=4
    )
    return GatewayStats(time=1.0, proxy_up=True, models={"digits": ModelStats(in_flight=2, endpoints=[endpoint])})


def test_a_replica_of_two_gateways_is_one() -> None:
    """While a gateway is replaced both report: counted twice, old replicas would go too early."""
    both = merged([report(EndpointState.HEALTHY), report(EndpointState.STARTING)]).models["digits"]
    assert both.in_flight == 4
    assert [(e.state, e.in_flight, e.max_concurrency) for e in both.endpoints] == [(EndpointState.STARTING, 2, 4)]


def test_a_replica_that_one_gateway_has_not_heard_of_is_starting() -> None:
    """It answers nobody there yet: those that served before have to stay. One that leaves is leaving."""
    nothing = GatewayStats(time=1.0, proxy_up=True, models={"digits": ModelStats()})
    unknown = GatewayStats(time=1.0, proxy_up=True)
    for lagging in (nothing, unknown):
        for samples in ([report(EndpointState.HEALTHY), lagging], [lagging, report(EndpointState.HEALTHY)]):
            (endpoint,) = merged(samples).models["digits"].endpoints
            assert (endpoint.state, endpoint.in_flight) == (EndpointState.STARTING, 1)
        (endpoint,) = merged([lagging, report(EndpointState.DRAINING)]).models["digits"].endpoints
        assert endpoint.state is EndpointState.DRAINING
    (alone,) = merged([report(EndpointState.HEALTHY)]).models["digits"].endpoints
    assert alone.state is EndpointState.HEALTHY


class Answers:
    """A session whose gateways answer with what is in `bodies`, or not at all."""

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}

    @asynccontextmanager
    async def get(self, url: str, **_: Any) -> AsyncIterator[Self]:
        if url not in self.bodies:
            raise aiohttp.ClientConnectionError("refused")
        self.url = url
        yield self

    def raise_for_status(self) -> None:
        return

    async def read(self) -> bytes:
        return self.bodies[self.url].encode()


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
