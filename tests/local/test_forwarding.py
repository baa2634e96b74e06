"""A forwarded connection loses nothing, whenever its bytes come."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from trimtab.local.proxy.forwarding import Client

pytestmark = pytest.mark.integration


async def _talk() -> list[bytes]:
    """Send in pieces, some before the endpoint has answered, half-close, and return what comes back."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(-1)).upper())
        writer.close()

    endpoint = await asyncio.start_server(shout, "127.0.0.1", 0)
    address = endpoint.sockets[0].getsockname()
    clients: set[Client] = set()
    service = await asyncio.get_running_loop().create_server(
        lambda: Client(lambda _: [address], clients), "127.0.0.1", 0
    )
    port = service.sockets[0].getsockname()[1]

    async def call(pause: bool) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"first ")
        if pause:
            await asyncio.sleep(0)
        writer.write(b"second")
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(-1), 60)
        writer.close()
        await writer.wait_closed()
        return answer

    answers = [answer for _ in range(20) for answer in await asyncio.gather(*(call(i % 2 == 0) for i in range(10)))]
    for server in (service, endpoint):
        server.close()
        await server.wait_closed()
    return answers


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_early_bytes_arrive(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """What is sent before the endpoint has answered arrives first, and the half-close after it."""
    with asyncio.Runner(loop_factory=loop) as runner:
        assert set(runner.run(_talk())) == {b"FIRST SECOND"}
