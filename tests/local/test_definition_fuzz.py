"""Damaged definitions and objects: whatever is sent, the answer is an object or a refusal."""

import copy
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.local.objects import Object
from trimtab.local.registry import ApiError, Registry

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
DEFINITION = json.loads((Path(__file__).parent / "conformance" / "api" / "widgets-crd.json").read_text())
KEYWORDS = (
    "default", "type", "items", "properties", "additionalProperties", "nullable", "enum", "pattern", "anyOf", "allOf",
    "oneOf", "not", "maxItems", "minimum", "required", "format", "uniqueItems", "x-kubernetes-validations",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource", "x-kubernetes-preserve-unknown-fields", "selectableFields", "subresources",
    "conversion", "deprecated", "deprecationWarning", "names", "scope", "group",
)  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**20, "", "x", "object", "array", "string", "self.a > 1", "^(a+)+$", "[", ["a"],
    {"a": 1}, {"type": "object"}, {"type": "string"}, {"x": {}}, {"rule": "self == oldSelf"}, [], {},
    [{"rule": "has(self.a) && self.a"}], {"type": "array", "items": {"type": "integer"}},
)  # fmt: skip


def containers(value: Any) -> list[Any]:
    """All objects and lists in a value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    below = [found for inner in inside for found in containers(inner)]
    return [value, *below] if isinstance(value, dict | list) else below


def damaged(document: Object, random: Random) -> Object:
    """A copy with a few things missing, added or replaced."""
    out = copy.deepcopy(document)
    for _ in range(random.randint(1, 4)):
        place = random.choice(containers(out))
        junk = copy.deepcopy(random.choice(JUNK))
        if isinstance(place, dict):
            key = random.choice([*KEYWORDS, *place]) if random.random() < 0.7 or not place else random.choice([*place])
            if random.random() < 0.25:
                place.pop(key, None)
            else:
                place[key] = junk
        elif place:
            place[random.randrange(len(place))] = junk
    return out


def attempted(change: Any, *given: Any, **more: Any) -> Any:
    """What a call answers; None where it is refused."""
    try:
        return change(*given, **more)
    except ApiError as refused:
        if refused.status >= 500:
            raise
        return None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_damage_is_refused_or_served(seed: int):
    """Definitions are created, changed and deleted, with objects of their kind; nothing else than refusals happens."""
    random, numbers = Random(seed), itertools.count()
    registry = Registry(lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: f"{next(numbers):036d}")
    registry.create("namespaces", {"metadata": {"name": "default"}})
    created = attempted(registry.create, CRDS, damaged(DEFINITION, random))
    if created is None:
        return
    name = created["metadata"]["name"]
    for index in range(3):
        spec = {"size": 1, "steps": [{"name": "a"}], "limit": copy.deepcopy(random.choice(JUNK))}
        obj = {"metadata": {"name": f"o{index}"}, "spec": spec, "status": copy.deepcopy(random.choice(JUNK))}
        attempted(registry.create, name, damaged(obj, random), "default")
    attempted(registry.update, CRDS, damaged(registry.get(CRDS, name), random))
    attempted(registry.delete, CRDS, name)
