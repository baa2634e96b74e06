"""Events wake keys; what changed, the reconcile reads itself."""

from __future__ import annotations

from typing import Any

import kopf

from trimtab.api.names import Key
from trimtab.effects.gather import World
from trimtab.effects.kinds import NODES, PODS, SERVICES, Kind
from trimtab.handlers.indices import CAPACITY_POOLS, OPTIMIZED_MODELS
from trimtab.handlers.queue import WorkQueue

Object = dict[str, Any]

# The one key that is no model: the pools, which all models share.
FLEET = Key("", "")
_SOON_SECONDS = 0.1


@kopf.on.event(*OPTIMIZED_MODELS)
async def model_changed(body: kopf.Body, event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """Wake the model; one that changed before those that are only listed."""
    memo.queue.add(Key.of(body), urgent=event["type"] is not None)
    if event["type"] == "DELETED":  # it may have been one of those that keep the namespace's gateway alive
        _namespace(memo.queue, memo.world, body["metadata"]["namespace"])
    memo.queue.add_after(FLEET, _SOON_SECONDS)
    memo.woken.set()


@kopf.on.event(*CAPACITY_POOLS)
async def pool_changed(body: kopf.Body, event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """Wake the pools, and everybody where it is more than a status, which we write ourselves."""
    meta = body["metadata"]
    now = None if event["type"] == "DELETED" else (meta["generation"], meta.get("deletionTimestamp"))
    memo.queue.add(FLEET, urgent=True)
    if memo.pools.get(meta["name"]) != now:
        memo.pools[meta["name"]] = now
        everybody(memo.queue, memo.world)
    memo.woken.set()


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
