"""Events wake keys; what changed, the reconcile reads itself."""

from __future__ import annotations

from typing import Any

import kopf

from trimtab.api.names import MODEL_LABEL, Key
from trimtab.handlers.indices import CAPACITY_POOLS, GATEWAY_PODS, OF_A_MODEL, OPTIMIZED_MODELS

# The one key that is no model: the pools, which all models share.
FLEET = Key("", "")


@kopf.on.event(*OPTIMIZED_MODELS)
async def model_changed(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    memo.queue.add(Key.of(body))
    memo.queue.add_after(FLEET, 0.1)


@kopf.on.event("apps", "v1", "deployments", labels=OF_A_MODEL)
@kopf.on.event("batch", "v1", "jobs", labels=OF_A_MODEL)
@kopf.on.event("", "v1", "pods", labels=OF_A_MODEL)
async def child_changed(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    """Wake the owner: a child never reconciles anything by itself."""
    if (owner := Key.owner_of(body)) is not None:
        memo.queue.add(owner)
        memo.queue.add_after(FLEET, 0.1)


@kopf.on.event("", "v1", "services", labels={MODEL_LABEL: kopf.PRESENT})
async def service_changed(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    if (owner := Key.owner_of(body)) is not None:
        memo.queue.add(owner)


@kopf.on.event("", "v1", "pods", labels=GATEWAY_PODS)
async def gateway_changed(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    """Wake every model of the namespace."""
    for model in memo.world.namespaced_models.get(body["metadata"]["namespace"], ()):
        memo.queue.add(Key.of(model))


@kopf.on.event("", "v1", "nodes")
@kopf.on.event(*CAPACITY_POOLS)
async def capacity_changed(memo: kopf.Memo, **_: Any) -> None:
    """Wake everybody: a node that goes away concerns the models on it, and the pools."""
    memo.queue.add(FLEET)
    for key in memo.world.models:
        memo.queue.add(key)
