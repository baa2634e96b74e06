"""What a reconcile makes of an API server that refuses."""

from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from trimtab.api.names import Key
from trimtab.effects.kubernetes import ApiError, ApiUnavailable
from trimtab.handlers import reconcile
from trimtab.handlers.looks import Looks
from trimtab.handlers.reconcile import Reconciler
from trimtab.planning.model import Memory
from trimtab.planning.plan import Plan

KEY = Key("default", "digits")


class World:
    """A gatherer and an executor whose next answer is `error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def snapshot(self, key: Key) -> Any:
        return SimpleNamespace(uid="u", status=SimpleNamespace(wire=dict))

    async def execute(self, about: Any, actions: Any) -> list[str]:
        if self.error is not None:
            raise self.error
        return []


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> list[Memory]:
    """The memory that each plan was made with."""
    seen: list[Memory] = []

    def plan(_: Any, memory: Memory) -> tuple[Plan, Memory]:
        seen.append(memory)
        return Plan(KEY, requeue_after=1.0), Memory()

    monkeypatch.setattr(reconcile, "plan", plan)
    return seen


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(ApiError(403, "exceeded quota"), "exceeded quota", id="forbidden"),
        pytest.param(ApiError(409, "modified meanwhile"), None, id="conflict"),
        pytest.param(ApiUnavailable("ApiUnavailable", "no answer"), None, id="away"),
    ],
)
async def test_a_refusal_is_remembered_until_it_is_over(
    remembered: list[Memory], error: Exception, told: str | None
) -> None:
    """The next plan may say what was refused; what is over at the next try it need not know."""
    world: Any = World()
    reconciler = Reconciler(world, world, world, world, Looks())
    with structlog.testing.capture_logs() as lines:
        world.error = error
        for _ in range(3):
            await reconciler(KEY)
        world.error = None
        assert [await reconciler(KEY) for _ in range(2)] == [1.0, 1.0]
    assert [memory.refused for memory in remembered] == [None, told, told, told, None]
    events = [line["event"] for line in lines if line["log_level"] != "debug"]
    assert events == ["reconcile.put_off", "reconcile.resumed"], "one line for the whole outage"
