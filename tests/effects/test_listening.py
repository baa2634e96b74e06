"""Models at rest are woken by what their gateways report, and only by what concerns them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from trimtab.api.gateway import ModelStats
from trimtab.api.names import Key
from trimtab.effects import listening
from trimtab.effects.listening import Listening
from trimtab.effects.signals import SilentError

A, B = Key("shop", "a"), Key("shop", "b")
GATEWAY = "127.9.0.1"


class Gateways:
    """What gateways report; each change is heard by who waits for one."""

    def __init__(self) -> None:
        self.models: dict[str, ModelStats] = {}
        self.version = self.told = 0
        self.silent = False
        self.asked = 0
        self._moved = asyncio.Condition()

    async def tell(self, **models: ModelStats) -> None:
        async with self._moved:
            self.models |= models
            self.version += 1
            self._moved.notify_all()

    async def fall_silent(self) -> None:
        async with self._moved:
            self.silent = True
            self._moved.notify_all()

    async def changed(self, namespace: str, address: str) -> None:
        self.asked += 1
        async with self._moved:
            await self._moved.wait_for(lambda: self.silent or self.version != self.told)
            self.told = self.version
        if self.silent:
            raise SilentError(address)

    def latest(self, namespace: str) -> Mapping[str, ModelStats] | None:
        return None if self.silent else dict(self.models)


class Heard:
    """A listener, its gateways, and whom it woke."""

    def __init__(self) -> None:
        self.gateways: Any = Gateways()
        self.woken: asyncio.Queue[Key] = asyncio.Queue()
        self.clock = 0.0
        self.listening = Listening(self.gateways, self.woken.put_nowait, lambda: self.clock)

    def look(self, key: Key) -> bool:
        """Look at a model and leave it alone again."""
        self.clock += 10
        self.listening.attend(key)
        return self.listening.rest(key, self.gateways.models.get(key.name, ModelStats()), [GATEWAY])

    async def next(self) -> Key:
        async with asyncio.timeout(30):
            return await self.woken.get()


@pytest.fixture
async def heard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heard]:
    monkeypatch.setattr(listening, "_PACE_SECONDS", 0.0)
    made = Heard()
    task = asyncio.create_task(made.listening.run())
    await asyncio.sleep(0)
    yield made
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_request_wakes_its_model_and_no_other(heard: Heard) -> None:
    """A namespace's gateway tells of all models at once."""
    assert heard.look(A)
    assert heard.look(B)
    await heard.gateways.tell(b=ModelStats(queued=1))
    assert await heard.next() == B
    assert heard.woken.empty()


async def test_a_silent_gateway_wakes_all(heard: Heard) -> None:
    """Nobody would hear of their requests."""
    assert heard.look(A)
    assert heard.look(B)
    await heard.gateways.fall_silent()
    assert {await heard.next(), await heard.next()} == {A, B}


async def test_what_changed_during_a_look_is_not_missed(heard: Heard) -> None:
    """A model is not left alone with what it was seen with before a change; changes of others are none of its."""
    assert heard.look(A)
    heard.listening.attend(B)
    seen = ModelStats()
    await heard.gateways.tell(a=ModelStats(queued=1), b=ModelStats(queued=1))
    assert await heard.next() == A
    assert not heard.listening.rest(B, seen, [GATEWAY])
    assert heard.look(B), "the next look sees it"
    await heard.gateways.tell(a=ModelStats(queued=2))
    assert heard.listening.rest(B, ModelStats(queued=1), [GATEWAY])


async def test_nobody_rests_while_a_gateway_is_silent(heard: Heard) -> None:
    """What it would say nobody knows."""
    heard.gateways.silent = True
    assert not heard.look(A)


async def test_nobody_is_asked_for_models_that_are_awake(heard: Heard) -> None:
    """Looks ask for themselves; a gateway without models at rest is left alone, too."""
    assert heard.look(A)
    (following,) = heard.listening._following.values()
    await heard.gateways.tell(a=ModelStats(queued=1))
    assert await heard.next() == A
    async with asyncio.timeout(30):
        await following
    assert not heard.listening._following, "there is nobody left who would ask"
    asked = heard.gateways.asked
    await heard.gateways.tell(a=ModelStats(queued=2))
    assert heard.gateways.asked == asked
