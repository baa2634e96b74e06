"""What the tests of the embedded cluster share: a registry with a clock they turn, and a server of it."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry


class Clock:
    """Tells a time that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    """A registry with the namespace `default`; identifiers count up."""
    numbers = itertools.count(1)
    found = Registry(clock, lambda: f"00000000-0000-0000-0000-{next(numbers):012d}")
    found.create("namespaces", {"metadata": {"name": "default"}})
    return found


@pytest.fixture
async def api_server(registry: Registry) -> AsyncIterator[ApiServer]:
    """The registry over HTTP, on a port the kernel chose; its token is `secret`."""
    server = ApiServer(registry, host="127.0.0.1", port=0, token="secret")
    await server.start()
    yield server
    await server.stop()
