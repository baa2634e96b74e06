"""What a policy sees at a tick, and what policies are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trimtab.api.base import CapacityType
from trimtab.cli.simulate.world import Order, Replica
from trimtab.planning.zones import CapacityEvent


@dataclass(frozen=True, slots=True)
class Service:
    """The service that is scaled: one replica takes `capacity` requests at once, each for `service_s` seconds.

    All policies plan replicas for the same `utilisation` of that.
    """

    capacity: float
    service_s: float = 1.0
    min_replicas: int = 1
    max_replicas: int = 100
    utilisation: float = 0.7

    @property
    def planned(self) -> float:
        """Requests at once that a replica is planned for."""
        return self.capacity * self.utilisation


@dataclass(frozen=True, slots=True)
class Seen:
    """One tick. `load` is the requests in flight and waiting, `answered` the count of all so far."""

    now: float
    load: int
    answered: int
    replicas: tuple[Replica, ...]
    zones: tuple[str, ...]
    events: tuple[CapacityEvent, ...] = ()

    def of(self, kind: CapacityType) -> list[Replica]:
        """Return the replicas of a capacity type, booting ones too."""
        return [one for one in self.replicas if one.capacity_type is kind]

    def ready(self, kind: CapacityType) -> list[Replica]:
        """Return the replicas of a capacity type that serve."""
        return [one for one in self.of(kind) if one.ready_at <= self.now]


class Brain(Protocol):
    """Decides how many replicas there should be."""

    def replicas(self, seen: Seen) -> int: ...


class Split(Protocol):
    """Decides what they run on."""

    def order(self, replicas: int, seen: Seen) -> Order: ...


class Policy(Protocol):
    """Decides both."""

    def decide(self, seen: Seen) -> Order: ...


@dataclass(slots=True)
class Composed:
    """A brain and a split that know nothing of each other."""

    brain: Brain
    split: Split

    def decide(self, seen: Seen) -> Order:
        """Return what is wanted now."""
        return self.split.order(self.brain.replicas(seen), seen)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same number of replicas."""

    count: int

    def replicas(self, seen: Seen) -> int:  # noqa: ARG002 - a brain
        """Return it."""
        return self.count


def without_noticed(by_zone: dict[str, int], seen: Seen) -> dict[str, int]:
    """Return an order in the world's terms for a policy that does not listen to notices.

    The world counts replicas without a notice only; to such a policy the others are as good.
    """
    noticed = [one.zone for one in seen.of(CapacityType.SPOT) if one.noticed]
    return {zone: max(0, count - noticed.count(zone)) for zone, count in by_zone.items()}
