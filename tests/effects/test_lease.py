"""Holding a Lease: renewed, lost, given back; writes only while it is held."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from trimtab.effects import kinds
from trimtab.effects.kubernetes import ApiError, ApiUnavailable, Cluster
from trimtab.effects.lease import Election, NotLeading
from trimtab.planning.leadership import Terms

START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A Lease on a server that may be away, and a clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 0.0
        self.away = False
        self.body: dict[str, Any] | None = None
        self.happened: list[str] = []
        self.due: dict[float, Callable[[], None]] = {}

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        for moment in sorted(moment for moment in self.due if moment <= self.at):
            self.due.pop(moment)()
        await asyncio.sleep(0)

    async def get(self, *_: Any) -> dict[str, Any] | None:
        self._answer()
        return self.body

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        return self._store(manifest["spec"], "0")

    async def merge(self, _: Any, __: str, ___: str, patch: dict[str, Any]) -> dict[str, Any]:
        return self._store(patch["spec"], patch["metadata"]["resourceVersion"])

    def _store(self, spec: dict[str, Any], over: str) -> dict[str, Any]:
        self._answer()
        version = self.body["metadata"]["resourceVersion"] if self.body else "0"
        if over != version:
            raise ApiError(409, "modified meanwhile")
        self.body = {"metadata": {"resourceVersion": str(int(version) + 1)}, "spec": spec}
        return self.body

    def _answer(self) -> None:
        if self.away:
            raise ApiUnavailable("ApiUnavailable", "no answer")

    def taken_by(self, holder: str) -> None:
        self.away = False
        assert self.body is not None
        self._store({**self.body["spec"], "holderIdentity": holder}, self.body["metadata"]["resourceVersion"])

    @property
    def holder(self) -> Any:
        return self.body and self.body["spec"]["holderIdentity"]

    def candidate(self, name: str = "me") -> Election:
        server: Any = self
        return Election(
            server,
            "trimtab-system",
            name,
            Terms(),
            clock=lambda: self.at,
            now=lambda: START + timedelta(seconds=self.at),
            jitter=lambda: 0.0,
            sleep=self.sleep,
        )

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        self.happened.append(f"began at {self.at:g}")
        try:
            yield
        finally:
            self.happened.append(f"ended at {self.at:g}, Lease of {self.holder or 'nobody'}")


async def run(world: World, election: Election, until: float) -> None:
    """Run until the clock says so, then end it as SIGTERM does."""
    ended = asyncio.Event()
    world.due[until] = ended.set
    task = asyncio.create_task(election.run(world.work))
    await ended.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_work_ends_before_the_lease_is_given_back() -> None:
    """Whoever takes it finds nobody at work."""
    world = World()
    await run(world, world.candidate(), until=20)
    assert world.happened == ["began at 0", "ended at 20, Lease of me"]
    assert world.body is not None
    assert (world.holder, world.body["spec"]["leaseDurationSeconds"]) == ("", 1)


async def test_who_cannot_renew_stops_and_starts_over() -> None:
    """The API server is away from second 5 to second 40: work ends at 10 s after the last renewal."""
    world = World()
    world.due = {5: lambda: setattr(world, "away", True), 40: lambda: setattr(world, "away", False)}
    await run(world, world.candidate(), until=50)
    assert world.happened == [
        "began at 0",
        "ended at 14, Lease of me",
        "began at 40",
        "ended at 50, Lease of me",
    ]


async def test_a_lease_that_was_taken_is_not_taken_back() -> None:
    """Its new holder is waited for like any other; when it is not heard of any more, it is replaced."""
    world = World()
    world.due = {5: lambda: world.taken_by("other")}
    await run(world, world.candidate(), until=40)
    assert world.happened == ["began at 0", "ended at 6, Lease of other", "began at 22", "ended at 40, Lease of me"]


async def test_a_pause_ends_the_term() -> None:
    """Who slept past its right stops, even where nobody took over meanwhile."""
    world = World()
    world.due = {7: lambda: setattr(world, "at", 100.0)}
    await run(world, world.candidate(), until=110)
    assert world.happened == ["began at 0", "ended at 100, Lease of me", "began at 100", "ended at 110, Lease of me"]


async def test_a_paused_holder_may_write_nothing() -> None:
    """Neither before it holds the Lease, nor once it was not renewed for too long; in between, never past its end."""
    world = World()
    election = world.candidate()
    with pytest.raises(NotLeading, match="does not hold the Lease"):
        election.fence()
    assert await election._attempt()
    assert election.fence() == 15
    world.at += 9
    assert election.fence() == 6
    world.at += 1
    with pytest.raises(NotLeading):
        election.fence()


async def test_the_fence_is_asked_before_each_change_and_never_before_a_look() -> None:
    """In the one place through which everything goes, and with the time that is left as the limit."""
    sent: list[tuple[str, float]] = []

    class Api:
        async def param_serialize(self, method: str, *_: Any, **__: Any) -> tuple[str]:
            return (method,)

        async def call_api(self, method: str, _request_timeout: Any) -> Any:
            sent.append((method, _request_timeout.total))

            async def read() -> bytes:
                return b"{}"

            return SimpleNamespace(response=SimpleNamespace(status=200, read=read))

    def fence() -> float:
        if len(sent) > 5:
            raise NotLeading("NotLeading", "no")
        return 7.0

    api: Any = Api()
    cluster = Cluster(api).fenced(fence)
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}}
    changes: list[Callable[[], Awaitable[Any]]] = [
        lambda: cluster.apply(body),
        lambda: cluster.create(body),
        lambda: cluster.merge(kinds.SERVICES, "s", "n", {}),
        lambda: cluster.delete(kinds.SERVICES, "s", "n"),
    ]
    await cluster.get(kinds.SERVICES, "s", "n")
    for change in changes:
        await change()
    await cluster.get(kinds.SERVICES, "s", "n")
    assert sent == [("GET", 30.0), ("PATCH", 7.0), ("POST", 7.0), ("PATCH", 7.0), ("DELETE", 7.0), ("GET", 30.0)]
    for change in changes:
        with pytest.raises(NotLeading):
            await change()
    assert len(sent) == 6
