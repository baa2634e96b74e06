"""Whom a change wakes, and whom it leaves alone."""

import asyncio
from types import SimpleNamespace
from typing import Any

import kopf
import pytest

from trimtab.api.names import MODEL_LABEL, Key
from trimtab.effects import kinds
from trimtab.handlers import wakes
from trimtab.handlers.wakes import FLEET

A, B, ELSEWHERE = Key("shop", "a"), Key("shop", "b"), Key("lab", "c")


class Queue:
    """Who was woken, and how."""

    def __init__(self) -> None:
        self.woken: dict[Key, bool] = {}

    def add(self, key: Key, *, urgent: bool = False) -> None:
        self.woken[key] = urgent

    def add_after(self, key: Key, seconds: float) -> None:
        self.woken[key] = False

    def told(self) -> dict[Key, bool]:
        found, self.woken = self.woken, {}
        return found


def head(key: Key) -> dict[str, Any]:
    return {"metadata": {"namespace": key.namespace, "name": key.name}}


@pytest.fixture
def memo() -> Any:
    models = {key: [b""] for key in (A, B, ELSEWHERE)}
    by_namespace = {"shop": [head(A), head(B)], "lab": [head(ELSEWHERE)]}
    world = SimpleNamespace(models=models, namespaced_models=by_namespace)
    event = SimpleNamespace(set=lambda: None, is_set=lambda: False)
    mirrors = SimpleNamespace(complete=event, relisted=event)
    return kopf.Memo(queue=Queue(), world=world, pools={}, woken=event, mirrors=mirrors)


async def test_what_changed_goes_before_what_is_listed(memo: Any) -> None:
    """After a restart every model is told of once; that is no reason to hurry."""
    for kind, urgent in ((None, False), ("MODIFIED", True), ("ADDED", True)):
        await wakes.model_changed(body=head(A), event={"type": kind}, memo=memo)
        assert memo.queue.told() == {A: urgent, FLEET: False}


async def test_those_who_stay_look_after_the_gateway(memo: Any) -> None:
    """One that goes may have been the last that the gateway names as its owner."""
    await wakes.model_changed(body=head(A), event={"type": "DELETED"}, memo=memo)
    assert memo.queue.told().keys() == {A, B, FLEET}


@pytest.mark.parametrize(
    ("kind", "complete", "asked"),
    [(None, False, False), (None, True, True), ("MODIFIED", True, False), ("DELETED", True, False)],
)
async def test_what_is_listed_anew_may_have_missed_something(
    memo: Any, kind: str | None, complete: bool, asked: bool
) -> None:
    """The first listing misses nothing, and a watch that goes on neither; after a second one somebody has to look."""
    memo.mirrors = SimpleNamespace(complete=asyncio.Event(), relisted=asyncio.Event())
    if complete:
        memo.mirrors.complete.set()
    await wakes.model_changed(body=head(A), event={"type": kind}, memo=memo)
    assert memo.mirrors.relisted.is_set() == asked
    memo.mirrors.relisted.clear()
    pool = {"metadata": {"name": "spot", "generation": 1}}
    await wakes.pool_changed(body=pool, event={"type": kind}, memo=memo)
    assert memo.mirrors.relisted.is_set() == asked


async def test_a_status_of_a_pool_wakes_no_model(memo: Any) -> None:
    """The operator writes it itself; a new price, or a pool that goes, is everybody's concern."""

    async def told(generation: int, kind: str = "MODIFIED") -> set[Key]:
        body = {"metadata": {"name": "spot", "generation": generation}}
        await wakes.pool_changed(body=body, event={"type": kind}, memo=memo)
        return set(memo.queue.told())

    everybody = {FLEET, A, B, ELSEWHERE}
    assert [await told(1), await told(1), await told(2)] == [everybody, {FLEET}, everybody]
    assert [await told(2, "DELETED"), await told(1, "ADDED")] == [everybody, everybody]


def test_children_wake_their_owner(memo: Any) -> None:
    """A gateway's pod wakes all models of its namespace, a node everybody."""
    pod = {"metadata": {"namespace": "shop", "name": "a-1", "labels": {MODEL_LABEL: "a"}}}
    wakes.child_changed(memo.queue, memo.world, kinds.PODS, pod)
    assert memo.queue.told() == {A: True, FLEET: False}
    gateway = {"metadata": {"namespace": "shop", "name": "trimtab-gateway-1", "labels": {}}}
    wakes.child_changed(memo.queue, memo.world, kinds.PODS, gateway)
    assert memo.queue.told() == {A: False, B: False}
    wakes.child_changed(memo.queue, memo.world, kinds.SERVICES, {"metadata": {"namespace": "shop", "name": "other"}})
    assert memo.queue.told() == {}
    wakes.child_changed(memo.queue, memo.world, kinds.NODES, {"metadata": {"name": "n"}})
    assert set(memo.queue.told()) == {FLEET, A, B, ELSEWHERE}
