"""GET pods/NAME/portforward: connections of the client's machine, carried to a pod's ports.

Each connection is a pair of streams with the same request identifier: `data`, and `error`, which
stays empty unless the port cannot be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from aiohttp import web

from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.connecting.carrying import carry
from trimtab.local.apiserver.connecting.channels import opened_socket
from trimtab.local.apiserver.connecting.multiplexing import Connection, Stream
from trimtab.local.apiserver.connecting.portchannels import forward_channels
from trimtab.local.apiserver.connecting.spdy import ProtocolError
from trimtab.local.apiserver.connecting.targets import called_pod, pod_address, port_number, way_to
from trimtab.local.apiserver.connecting.upgrades import (
    Pipe,
    UpgradedPipe,
    WebSocketPipe,
    is_websocket,
    negotiated,
    offered,
    required_upgrade,
)
from trimtab.local.statuses import bad_request

log = structlog.get_logger(__name__)

PROTOCOL = "portforward.k8s.io"
_TUNNEL = f"SPDY/3.1+{PROTOCOL}"
_CHANNELS = "v4.channel.k8s.io"


async def port_forward(call: Call) -> web.StreamResponse:
    """Carry connections until the client goes.

    Raises:
        ApiError: The request names no pod that could be reached, or no protocol that is spoken here.
    """
    pod = called_pod(call)
    way_to(call, pod)
    required_upgrade(call)
    address, name = pod_address(pod), call.target.name
    if not is_websocket(call):
        raw = UpgradedPipe("SPDY/3.1", {"X-Stream-Protocol-Version": negotiated(call, (PROTOCOL,))})
        await raw.prepare(call.request)
        await _forward_streams(raw, address, name)
        return raw
    protocol = offered(call, (_TUNNEL, _CHANNELS))[0]
    ports = _ports(call) if protocol == _CHANNELS else []
    socket = await opened_socket(call, protocol)
    if protocol == _TUNNEL:
        await _forward_streams(WebSocketPipe(socket), address, name)
    else:
        await forward_channels(socket, ports, address, name)
    return socket


def _ports(call: Call) -> list[int]:
    texts = [t for value in call.request.query.getall("ports", []) for t in value.split(",")]
    if not texts:
        raise bad_request("query parameter 'ports' is required")
    ports = []
    for text in texts:
        if (port := port_number(text)) is None:
            raise bad_request(f"unable to parse {text!r} as a port: it must be between 1 and 65535")
        ports.append(port)
    return ports


async def _forward_streams(pipe: Pipe, address: str, pod: str) -> None:
    connection = Connection(pipe)
    waiting: dict[str, Stream] = {}  # the first stream of a pair
    async with _tasks() as start:
        try:
            async for stream in connection.opened():
                identity = stream.headers.get("requestid", "")
                other = waiting.pop(identity, None)
                if other is None:
                    waiting[identity] = stream
                else:
                    start(_pair(connection, stream, other, address, pod))
        except (ConnectionError, RuntimeError):
            pass  # the client went away
        except ProtocolError as error:
            log.warning("portforward.not_understood", pod=pod, error=str(error))
    with contextlib.suppress(ConnectionError, RuntimeError):
        await pipe.close()


@contextlib.asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[[Awaitable[None]], None]]:
    """Tasks that end with the block, and drop out when they are done."""
    running: set[asyncio.Future[None]] = set()

    def start(work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        running.add(task)
        task.add_done_callback(running.discard)

    try:
        yield start
    finally:
        ending = list(running)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _pair(connection: Connection, one: Stream, other: Stream, address: str, pod: str) -> None:
    data, error = (one, other) if one.headers.get("streamtype") == "data" else (other, one)
    try:
        port = port_number(data.headers.get("port", "")) or 0
        problem = await carry(address, port, pod, data.received(), data.send, data.over)
        if problem:
            await error.send(problem.encode())
        await data.finish()
        await error.finish()
    except (ConnectionError, RuntimeError):
        pass  # the client went away
    finally:
        connection.forget(data)
        connection.forget(error)
