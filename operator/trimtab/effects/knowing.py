"""What models at work are read into, kept while the watches show the same: each of them is looked at every second."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError

from trimtab.api.conditions import Condition
from trimtab.api.names import API_VERSION, GATEWAY, Key
from trimtab.api.optimizedmodel import OptimizedModel, OptimizedModelSpec
from trimtab.api.overrides import Overrides
from trimtab.api.status import OptimizedModelStatus
from trimtab.effects.reading import explain
from trimtab.effects.world import World, mark, only
from trimtab.effects.written import Written
from trimtab.planning.snapshot import Owner

Object = dict[str, Any]

# Models that are read take a hundred times the memory of packed ones.
_MOST_MODELS = 512


class Read(NamedTuple):
    """A model as users and we wrote it."""

    uid: str
    generation: int
    spec: OptimizedModelSpec | None
    invalid: str | None
    """Why there is no spec."""
    status: OptimizedModelStatus
    conditions: tuple[Condition, ...]
    overrides: Overrides


class Known:
    """Reads models and who owns their gateways, each once."""

    def __init__(self, world: World, written: Written) -> None:
        self._world = world
        self._written = written
        self._models: dict[Key, tuple[object, Read]] = {}
        self._owners: dict[str, tuple[list[Object], tuple[Owner, ...]]] = {}
        self._gateways: dict[str, tuple[object, frozenset[str]]] = {}

    def model(self, key: Key) -> Read | None:
        """Return a model as it is now, None when it is gone or going."""
        shown = mark(self._world.models, key)
        kept = self._models.get(key)
        if kept is not None and kept[0] is shown and key not in self._written:
            return kept[1]
        self._models.pop(key, None)
        body = self._written.newest(key, self._world.model(key))
        if body is None or body["metadata"].get("deletionTimestamp"):
            return None
        read = _read(body)
        if shown is not None and key not in self._written and len(self._models) < _MOST_MODELS:
            self._models[key] = shown, read
        return read

    def rest(self, key: Key) -> None:
        """Drop what a model was read into: nobody looks at it for a while."""
        self._models.pop(key, None)

    def forget_namespace(self, namespace: str) -> None:
        """Drop what is known of a namespace without models."""
        self._owners.pop(namespace, None)
        self._gateways.pop(namespace, None)

    def owners(self, namespace: str) -> tuple[Owner, ...]:
        """Return the models of a namespace that stay."""
        bodies = list(self._world.namespaced_models.get(namespace, ()))
        kept = self._owners.get(namespace)
        if kept is None or kept[0] != bodies:
            kept = self._owners[namespace] = (
                bodies,
                tuple(
                    Owner(body["metadata"]["name"], body["metadata"]["uid"])
                    for body in bodies
                    if not body["metadata"].get("deletionTimestamp")
                ),
            )
        return kept[1]

    def gateway_owners(self, namespace: str) -> frozenset[str]:
        """Return the UIDs of the models that own a namespace's gateway."""
        shown = mark(self._world.named_deployments, (namespace, GATEWAY))
        kept = self._gateways.get(namespace)
        if kept is None or kept[0] is not shown or shown is None:
            body = only(self._world.named_deployments, (namespace, GATEWAY)) or {"metadata": {}}
            references = body["metadata"].get("ownerReferences") or ()
            kept = self._gateways[namespace] = shown, frozenset(reference["uid"] for reference in references)
        return kept[1]


def _read(body: Object) -> Read:
    spec: OptimizedModelSpec | None = None
    invalid: str | None = None
    try:
        spec = OptimizedModel.model_validate({"apiVersion": API_VERSION, "kind": "OptimizedModel", **body}).spec
    except ValidationError as error:
        invalid = explain(error)
    status = body.get("status") or {}
    return Read(
        uid=body["metadata"]["uid"],
        generation=int(body["metadata"]["generation"]),
        spec=spec,
        invalid=invalid,
        status=OptimizedModelStatus.model_validate(status),
        conditions=tuple(Condition.read(entry) for entry in status.get("conditions") or ()),
        overrides=Overrides.read(body["metadata"].get("annotations")),
    )
