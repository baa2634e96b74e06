"""How many nodes hold some pods: bin packing in as many dimensions as nodes have resources."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Amounts = Mapping[str, float]
"""By resource name: cpu in cores, memory in bytes, pods and devices in pieces."""

# Thousandths of a CPU add up inexactly as floats; a millionth of one is no CPU.
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Request:
    """What one pod reserves."""

    cpu: float
    memory: float
    """Bytes."""
    devices: Mapping[str, float] = field(default_factory=dict)
    """Accelerators by resource name."""

    @property
    def amounts(self) -> dict[str, float]:
        """All of it, and its place among the node's pods, by resource name."""
        return {"cpu": self.cpu, "memory": self.memory, "pods": 1.0, **self.devices}


NOTHING = Request(0.0, 0.0)


def fits(room: Amounts, request: Request) -> bool:
    """Whether a pod has room in what is free."""
    return all(room.get(name, -1.0) + _NOTHING >= taken for name, taken in request.amounts.items())


def without(room: Amounts, taken: Iterable[Request]) -> dict[str, float]:
    """Return what is left of a room when these pods are in it."""
    left = dict(room)
    for request in taken:
        for name, amount in request.amounts.items():
            left[name] = left.get(name, 0.0) - amount
    return left


def new_nodes(requests: Sequence[Request], size: Amounts, rooms: Sequence[Amounts] = ()) -> int:
    """Return the nodes of a size to add, so that the requests have room there or in the `rooms` of nodes in use.

    The best of first-fit with decreasing sizes, for several meanings of size: with one resource it is within 11/9 of
    the best possible (Johnson 1973), with several each order is the right one for another mix. A pod that is too
    large for an empty node and for every room adds none.
    """
    placeable = [r for r in requests if fits(size, r) or any(fits(room, r) for room in rooms)]
    least = lower_bound(placeable, size, rooms)
    fewest: int | None = None
    for order in _orders(size):
        found = _first_fit(sorted(placeable, key=order, reverse=True), size, rooms)
        fewest = found if fewest is None else min(fewest, found)
        if fewest <= least:
            break
    return fewest or 0


def lower_bound(requests: Iterable[Request], size: Amounts, rooms: Iterable[Amounts] = ()) -> int:
    """Return the nodes that must be added at least: the scarcest resource, had pods no edges."""
    asked: dict[str, float] = {}
    for request in requests:
        for name, amount in request.amounts.items():
            asked[name] = asked.get(name, 0.0) + amount
    free = list(rooms)
    bound = 0
    for name, amount in asked.items():
        missing = amount - sum(max(0.0, room.get(name, 0.0)) for room in free)
        whole = size.get(name, 0.0)
        if whole > 0:
            bound = max(bound, math.ceil(missing / (whole + _NOTHING) - _NOTHING))
    return bound


def _orders(size: Amounts) -> tuple[Callable[[Request], tuple[float, ...]], ...]:
    def shares(request: Request) -> list[float]:
        return [amount / size[name] for name, amount in request.amounts.items() if size.get(name)]

    return (
        # Devices are the dearest part of a node, and the fewest.
        lambda request: (sum(request.devices.values()), request.cpu, request.memory),
        lambda request: (max(shares(request), default=0.0),),
        lambda request: (sum(shares(request)),),
        lambda request: (request.memory, request.cpu),
    )


def _first_fit(requests: Iterable[Request], size: Amounts, rooms: Sequence[Amounts]) -> int:
    free = [dict(room) for room in rooms]
    last: Request | None = None
    begin = 0
    for request in requests:
        # What did not fit into the first rooms does not fit there for the next pod of the same size either.
        begin = begin if request == last else 0
        last = request
        index = next((i for i in range(begin, len(free)) if fits(free[i], request)), None)
        if index is None:
            if not fits(size, request):  # it had room only where others went first
                continue
            free.append(dict(size))
            index = len(free) - 1
        begin = index
        for name, taken in request.amounts.items():
            free[index][name] -= taken
    return len(free) - len(rooms)
