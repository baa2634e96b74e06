"""Prepared backends: which model uses which, so that a new model or another policy needs no reload.

HAProxy cannot add a backend while it runs, and a backend's algorithm and retries are fixed. So some of every kind
are prepared, empty, and a map says which model goes where. A reload is the last resort: the old worker closes its
idle connections, and now and then a client sends a request on one of them in the same moment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import NamedTuple

from trimtab.api.serving import LoadBalancing, Policy
from trimtab.planning.traffic import ModelTraffic

# Empty slots of a kind after a (re)load, and with many models one for so many; an empty backend costs some 50 kB.
SPARE = 16
_MODELS_PER_SPARE = 8

_ALGORITHMS = {Policy.ROUND_ROBIN: "roundrobin", Policy.LEAST_CONNECTIONS: "leastconn"}
_HASH = "hash"
_GRPC = "grpc_"
_SLOT = re.compile(rf"({_GRPC})?({'|'.join((*_ALGORITHMS.values(), _HASH))})-r(\d+)-(?:([a-z0-9-]+)-)?(\d+)")


class Profile(NamedTuple):
    """What is fixed about a backend."""

    algorithm: str
    retries: int
    header: str = ""
    """Whose value the hash is of."""
    grpc: bool = False

    @classmethod
    def of(cls, traffic: ModelTraffic) -> Profile:
        algorithm = _HASH if traffic.header else _ALGORITHMS[traffic.policy]
        return cls(algorithm, traffic.retries, traffic.header, traffic.grpc)

    @property
    def balance(self) -> tuple[str, ...]:
        """Return HAProxy's lines for the algorithm."""
        # Consistent: a replica that comes or goes moves the sessions of its own places on the ring alone.
        if self.header:
            return f"balance hdr({self.header})", "hash-type consistent"
        return (f"balance {self.algorithm}",)

    def slot(self, number: int) -> str:
        """Return a slot's name, which is its backend's name in HAProxy."""
        header = f"{self.header}-" if self.header else ""
        return f"{_GRPC if self.grpc else ''}{self.algorithm}-r{self.retries}-{header}{number:02d}"


@lru_cache(maxsize=1 << 14)  # asked of every backend at each look
def profile_of(slot: str) -> Profile | None:
    """Return what a slot's name says, or None for a name that is no slot's."""
    match = _SLOT.fullmatch(slot)
    if match is None:
        return None
    grpc, algorithm, retries, header, _ = match.groups()
    return Profile(algorithm, int(retries), header or "", grpc is not None)


def assigned(
    traffic: Iterable[ModelTraffic], routes: Mapping[str, str], free: Sequence[str]
) -> tuple[dict[str, str], list[ModelTraffic]]:
    """Return each route's slot, and the models for which no free slot of their kind is left.

    A route keeps the slot that it has in `routes` as long as its policy and retries are that slot's, else it gets
    the first in `free` that fits.
    """
    left = list(free)
    slots: dict[str, str] = {}
    missing: list[ModelTraffic] = []
    for item in traffic:
        wanted = Profile.of(item)
        slot = routes.get(item.route)
        if slot is None or profile_of(slot) != wanted:
            slot = next((name for name in left if profile_of(name) == wanted), None)
            if slot is None:
                missing.append(item)
                continue
            left.remove(slot)
        slots[item.route] = slot
    return slots, missing


def layout(traffic: Iterable[ModelTraffic], routes: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return each route's slot and all slots to prepare, for a HAProxy that (re)reads its configuration."""
    models = tuple(traffic)
    default = LoadBalancing()
    profiles = {Profile(algorithm, default.retries) for algorithm in _ALGORITHMS.values()}
    profiles |= {Profile.of(item) for item in models}
    slots, missing = assigned(models, routes, ())
    taken = frozenset(slots.values())
    free = {profile: _free(profile, taken) for profile in profiles}
    for item in missing:
        slots[item.route] = next(free[Profile.of(item)])
    count = max(SPARE, len(slots) // _MODELS_PER_SPARE)
    spare = {next(names) for names in free.values() for _ in range(count)}
    return slots, tuple(sorted({*slots.values(), *spare}))


def _free(profile: Profile, taken: Collection[str]) -> Iterator[str]:
    """Yield the names of a profile's slots that are not taken, for ever."""
    return (name for number in count() if (name := profile.slot(number)) not in taken)
