"""The scale subresource: one number to read and write, whatever the kind behind it calls it."""

import copy
from dataclasses import dataclass
from typing import Any

from trimtab.local import statuses
from trimtab.local.objects import Object
from trimtab.local.selectors import selector_text


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a kind keeps its numbers, as dotted paths: ".spec.replicas"."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str | None = None


def value_at(obj: Any, path: str) -> Any:
    """The value behind a dotted path, or None."""
    for part in path.strip(".").split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


def scale_of(obj: Object, paths: ScalePaths) -> Object:
    """The Scale that stands for an object."""
    metadata = obj["metadata"]
    keep = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Object = {"replicas": value_at(obj, paths.status) or 0}
    selector = value_at(obj, paths.selector) if paths.selector else selector_text(obj["spec"].get("selector"))
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in keep if key in metadata},
        "spec": {"replicas": replicas} if (replicas := value_at(obj, paths.spec)) else {},
        "status": status,
    }


def scaled(obj: Object, scale: Object, paths: ScalePaths) -> Object:
    """A copy of the object with the number of replicas that the Scale asks for.

    Raises:
        ApiError: 422 for a negative number.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    name = obj["metadata"]["name"]
    if replicas < 0:
        error = statuses.invalid_value("spec.replicas", str(replicas), "must be greater than or equal to 0")
        raise statuses.invalid("autoscaling", "Scale", name, [error])
    out = copy.deepcopy(obj)
    at = out
    *parents, last = paths.spec.strip(".").split(".")
    for part in parents:
        at = at.setdefault(part, {})
    at[last] = replicas
    if version := (scale.get("metadata") or {}).get("resourceVersion"):
        out["metadata"]["resourceVersion"] = version
    return out
