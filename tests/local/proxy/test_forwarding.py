"""Connections through a Service, with real sockets and both event loops."""

import asyncio
import socket

import pytest
import uvloop

from trimtab.local.proxy.forwarding import Client
from trimtab.local.proxy.services import ready_endpoints

pytestmark = pytest.mark.integration

BIG = bytes(range(256)) * 40_000  # 10 MB: more than every buffer on the way


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine on one of the loops that a cluster may have."""

    def on_loop(coroutine):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(coroutine, 60))

    return on_loop


class Forwarder:
    """A listener that forwards to the given endpoints."""

    def __init__(self, *endpoints):
        self.endpoints = endpoints
        self.clients = set()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Client(lambda _: self.endpoints, self.clients), "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()

    async def __aexit__(self, *_):
        self.server.close()
        for client in list(self.clients):
            client.abort()


async def endpoint(serve):
    """A server on a free port, and its address."""

    async def serving(reader, writer):
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serving, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()


def unused():
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()


async def answer_after_the_end(reader, writer):
    got = await reader.read()
    writer.write(got)
    await writer.drain()


async def greet(reader, writer):
    writer.write(b"hello")
    await writer.drain()
    await reader.read()


def test_an_answer_comes_after_the_client_has_finished(run):
    """Half-closing passes through: the other direction stays open, and nothing is lost under pressure."""

    async def scenario():
        server, at = await endpoint(answer_after_the_end)
        async with server, Forwarder(unused(), at) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(BIG)
            writer.write_eof()
            got = await reader.read()
            writer.close()
            return got

    assert run(scenario()) == BIG


def test_a_server_may_speak_first(run):
    """What an endpoint says at once reaches the client."""

    async def scenario():
        server, at = await endpoint(greet)
        async with server, Forwarder(at) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            got = await reader.readexactly(5)
            writer.close()
            return got

    assert run(scenario()) == b"hello"


def test_without_an_endpoint_the_connection_ends(run):
    """A client learns at once that nobody is there."""

    async def scenario():
        async with Forwarder(unused()) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    assert run(scenario()) == b""


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ([{"ready": True}, {"ready": False, "serving": True}], ["a"]),
        ([{"ready": False, "serving": True, "terminating": True}, {"ready": False, "serving": False}], ["a"]),
        ([{"ready": False, "serving": False}], []),
    ],
)
def test_ready_endpoints(conditions, found):
    """Ready ones are used; only where there are none, those that still serve while they go."""
    endpoints = [{"addresses": [name], "conditions": c} for name, c in zip("ab", conditions, strict=False)]
    slices = [{"endpoints": endpoints, "ports": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]}]
    assert ready_endpoints(slices, "http") == [(name, 80) for name in found]
