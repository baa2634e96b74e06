"""What Kopf keeps at hand of what users write: complete before anything is decided."""

from __future__ import annotations

from typing import Any

import kopf

from trimtab.api.names import GROUP, VERSION, Key
from trimtab.effects.fleetview import wish_of
from trimtab.effects.keeping import whole
from trimtab.effects.tables import Packed, pack

Object = dict[str, Any]
OPTIMIZED_MODELS = (GROUP, VERSION, "optimizedmodels")
CAPACITY_POOLS = (GROUP, VERSION, "capacitypools")


@kopf.index(*OPTIMIZED_MODELS)
async def models(body: kopf.Body, **_: Any) -> dict[Key, Packed]:
    """Packed: a look reads a model once, and looks are rare where nothing happens."""
    raw = _raw(body)
    return {Key.of(body): Packed(raw["metadata"]["uid"], pack(raw), wish_of(raw))}


@kopf.index(*OPTIMIZED_MODELS)
async def namespaced_models(body: kopf.Body, **_: Any) -> dict[str, Object]:
    """Who there is in a namespace, and no more."""
    meta = body["metadata"]
    leaving = {"deletionTimestamp": meta["deletionTimestamp"]} if meta.get("deletionTimestamp") else {}
    who = {name: meta[name] for name in ("name", "namespace", "uid")}
    return {meta["namespace"]: {"metadata": {**who, **leaving}}}


@kopf.index(*CAPACITY_POOLS)
async def pools(body: kopf.Body, **_: Any) -> dict[str, Object]:
    return {body["metadata"]["name"]: _raw(body)}


def _raw(body: kopf.Body) -> Object:
    return whole({**body, "metadata": dict(body["metadata"])})
