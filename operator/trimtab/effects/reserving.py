"""What pods reserve, and what share of their node that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.api.quantities import amount
from trimtab.planning.packing import Request

Object = dict[str, Any]


def reserved(pod: Object) -> Request:
    """Return what a pod with this spec reserves: its containers together."""
    found = []
    for container in pod.get("containers") or ():
        resources = container.get("resources") or {}
        requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        # Of extended resources, and of nothing else, the names have a domain.
        devices = {name: amount(count) for name, count in requests.items() if "/" in name}
        found.append(Request(amount(requests.get("cpu", 0)), amount(requests.get("memory", 0)), devices))
    return together(found)


def together(requests: Sequence[Request]) -> Request:
    """Return the sum of some requests."""
    devices: Counter[str] = Counter()
    for request in requests:
        devices.update(request.devices)
    return Request(sum(r.cpu for r in requests), sum(r.memory for r in requests), dict(devices))


def share(request: Request, node: Mapping[str, Any] | None) -> float | None:
    """Return the share of a node that a pod keeps from others, the largest of its resources'; None where unknown."""
    there = ((node or {}).get("status") or {}).get("allocatable") or {}
    parts = [taken / whole for name, taken in request.amounts.items() if (whole := amount(there.get(name, 0))) > 0]
    return min(1.0, max(parts)) if parts else None
