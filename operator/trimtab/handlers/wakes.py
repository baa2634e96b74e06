"""Events wake keys; what changed, the reconcile reads itself."""

from __future__ import annotations

from typing import Any

import kopf

from trimtab.api.names import Key
from trimtab.effects.kinds import NODES, PODS, SERVICES, Kind
from trimtab.effects.world import World
from trimtab.handlers.indices import CAPACITY_POOLS, OPTIMIZED_MODELS
from trimtab.handlers.queue import WorkQueue

Object = dict[str, Any]

# The one key that is no model: the pools, which all models share.
FLEET = Key("", "")
_SOON_SECONDS = 0.1


@kopf.on.event(*OPTIMIZED_MODELS)
async def model_changed(body: kopf.Body, event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """Wake the model; one that changed before those that are only listed."""
    if event["type"] == "DELETED":
        model_gone(memo.queue, memo.world, Key.of(body))
    else:
        memo.queue.add(Key.of(body), urgent=event["type"] is not None)
        memo.queue.add_after(FLEET, _SOON_SECONDS)
    _heard(event, memo)


@kopf.on.event(*CAPACITY_POOLS)
async def pool_changed(body: kopf.Body, event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """Wake the pools, and everybody where it is more than a status, which we write ourselves."""
    meta = body["metadata"]
    now = None if event["type"] == "DELETED" else (meta["generation"], meta.get("deletionTimestamp"))
    memo.queue.add(FLEET, urgent=True)
    if memo.pools.get(meta["name"]) != now:
        memo.pools[meta["name"]] = now
        everybody(memo.queue, memo.world)
    _heard(event, memo)


def _heard(event: kopf.RawEvent, memo: kopf.Memo) -> None:
    memo.woken.set()
    if event["type"] is None and memo.mirrors.complete.is_set():  # listed, and not for the first time
        memo.mirrors.relisted.set()


def model_gone(queue: WorkQueue[Key], world: World, key: Key) -> None:
    """Wake a model that is gone, the pools, and its namespace: it may have kept the gateway there alive."""
    queue.add(key, urgent=True)
    _namespace(queue, world, key.namespace)
    queue.add_after(FLEET, _SOON_SECONDS)


def child_changed(queue: WorkQueue[Key], world: World, kind: Kind, item: Object) -> None:
    """Wake whom a change of a child or a node concerns: a child never reconciles anything by itself."""
    if kind == NODES:
        # One that goes away concerns the models on it, and what the others may count on.
        queue.add(FLEET, urgent=True)
        everybody(queue, world)
        return
    if (owner := Key.owner_of(item)) is not None:
        queue.add(owner, urgent=True)
        if kind != SERVICES:
            queue.add_after(FLEET, _SOON_SECONDS)
    elif kind == PODS:  # a gateway's: every model of the namespace
        _namespace(queue, world, item["metadata"]["namespace"])


def _namespace(queue: WorkQueue[Key], world: World, name: str) -> None:
    for model in world.namespaced_models.get(name, ()):
        queue.add(Key.of(model))


def everybody(queue: WorkQueue[Key], world: World) -> None:
    for key in world.models:
        queue.add(key)
