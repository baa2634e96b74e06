"""events.k8s.io: the same Events as in the core group, under other field names."""

from typing import Any

from trimtab.local.objects import Object

GROUP = "events.k8s.io"
_API_VERSION = f"{GROUP}/v1"
_CORE_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_NAMES = {core: name for name, core in _CORE_NAMES.items()}


def to_core(event: Any) -> Any:
    """What a client of events.k8s.io sends, as the core group calls it; a JSON patch has its paths renamed."""
    if isinstance(event, list):
        return [{**step, "path": _core_path(step.get("path", ""))} for step in event]
    out = {_CORE_NAMES.get(name, name): value for name, value in event.items()}
    if out.get("apiVersion") == _API_VERSION:
        out["apiVersion"] = "v1"
    return out


def _core_path(path: str) -> str:
    _, name, *rest = [*path.split("/"), ""]
    return "/".join(["", _CORE_NAMES.get(name, name), *rest]).rstrip("/")


def from_core(event: Object) -> Object:
    """A stored Event as events.k8s.io shows it."""
    out = {_NAMES.get(name, name): value for name, value in event.items()}
    if "apiVersion" in out:
        out["apiVersion"] = _API_VERSION
    return out
