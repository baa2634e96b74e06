"""The simulated cloud: zones with a capacity that changes, replicas that boot, serve, get notices and are lost.

One replica takes one node. On-demand nodes can always be had; spot nodes as far as the zone's capacity goes. When a
zone's capacity falls below what runs there, nodes drawn at random are lost, with a notice ahead for most of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from trimtab.api.base import CapacityType
from trimtab.cli.simulate.traces import Supply
from trimtab.planning.zones import CapacityEvent, Loss, Shortage

ON_DEMAND, SPOT = CapacityType.ON_DEMAND, CapacityType.SPOT


@dataclass(frozen=True, slots=True)
class Market:
    """What the provider is like. Times in seconds, prices per replica and hour."""

    startup_s: float = 90.0
    notice_s: float = 120.0
    told: float = 1.0
    """Share of the losses that are announced."""
    on_demand_price: float = 1.0
    spot_price: float = 0.3
    billed_s: float = 60.0
    """What a node costs at least: AWS bills a minute."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica and its node."""

    name: str
    capacity_type: CapacityType
    zone: str
    ordered_at: float
    ready_at: float
    lost_at: float | None = None
    """When the provider takes the node, once that is decided."""
    noticed: bool = False
    """Whether the provider said so."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a policy wants: on-demand replicas in all, and spot replicas by zone, those with a notice not counted.

    `replicas` is the number that it decided for, without spares and what stands in for spot.
    """

    on_demand: int
    spot: dict[str, int]
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """What has been used so far."""

    cost: float = 0.0
    spot_s: float = 0.0
    on_demand_s: float = 0.0
    launches: int = 0
    losses: int = 0


class World:
    """Replicas over time. Call `advance` with each tick's moment, then `apply` with the policy's order."""

    def __init__(self, supply: Supply, market: Market, rng: Random, started: float) -> None:
        self._supply, self._market, self._rng = supply, market, rng
        self._now = started
        self._made = 0
        self._replicas: list[Replica] = []
        self.bill = Bill()

    @property
    def zones(self) -> tuple[str, ...]:
        """Zones that have spot nodes at times."""
        return self._supply.zones

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """All replicas that have not been lost or removed."""
        return tuple(self._replicas)

    def ready(self) -> int:
        """Return the replicas that serve: those under notice do until they are lost."""
        return sum(1 for replica in self._replicas if replica.ready_at <= self._now)

    def advance(self, now: float) -> list[CapacityEvent]:
        """Go on to a moment and return what an operator hears of: losses that nobody announced."""
        events: list[CapacityEvent] = []
        for zone in self.zones:
            self._doom(zone, now)
        for replica in [one for one in self._replicas if one.lost_at is not None and one.lost_at <= now]:
            self._remove(replica, now)
            self.bill = replace(self.bill, losses=self.bill.losses + 1)
            if not replica.noticed:
                events.append(Loss(id=replica.name, zone=replica.zone, node=replica.name))
        self._now = now
        return events

    def _doom(self, zone: str, now: float) -> None:
        """Draw the nodes that the zone's capacity will no longer carry within the notice."""
        staying = [one for one in self._replicas if one.zone == zone and one.lost_at is None]
        if not staying:
            return
        for at, capacity in self._supply.changes(zone, self._now, now + self._market.notice_s):
            # Who was there a notice ahead was told then; if it is nearer, the one too many is the one that came last.
            seen_before = at <= self._now + self._market.notice_s
            while len(staying) > capacity:
                index = len(staying) - 1 if seen_before else self._rng.randrange(len(staying))
                victim = staying.pop(index)
                told = self._rng.random() < self._market.told
                doomed = replace(victim, lost_at=max(at, now), noticed=told)
                self._replicas[self._replicas.index(victim)] = doomed

    def apply(self, order: Order) -> list[CapacityEvent]:
        """Launch and remove what the order says; return the shortages that launching met."""
        on_demand: list[Replica] = []
        spot: dict[str, list[Replica]] = {zone: [] for zone in self.zones}
        for one in self._replicas:
            (on_demand if one.capacity_type is ON_DEMAND else spot[one.zone]).append(one)
        self._fit(on_demand, order.on_demand, "", ON_DEMAND, limit=None)
        short: list[str] = []
        for zone, running in spot.items():
            good = [one for one in running if not one.noticed]
            want = order.spot.get(zone, 0)
            if want == len(good):
                continue
            room = self._supply.capacity(zone, self._now) - len(running)
            if not self._fit(good, want, zone, SPOT, limit=room):
                short.append(zone)
        return [Shortage(id=f"short {zone} {self._now:.0f}", zones=(zone,)) for zone in short]

    def _fit(self, have: list[Replica], want: int, zone: str, kind: CapacityType, limit: int | None) -> bool:
        """Launch or remove replicas until there are as many as wanted; return whether all could be had."""
        missing = want - len(have)
        for _ in range(max(0, missing if limit is None else min(missing, limit))):
            self._launch(kind, zone)
        if missing < 0:
            # The order of a ReplicaSet that scales down: what does not serve yet goes first, then the newest.
            leaving = sorted(have, key=lambda one: (one.ready_at <= self._now, -one.ordered_at))
            for replica in leaving[:-missing]:
                self._remove(replica, self._now)
        return limit is None or missing <= limit

    def _launch(self, kind: CapacityType, zone: str) -> None:
        self._made += 1
        ready_at = self._now + self._market.startup_s
        self._replicas.append(Replica(f"{kind.value}-{self._made}", kind, zone, self._now, ready_at))
        self.bill = replace(self.bill, launches=self.bill.launches + 1)

    def _remove(self, replica: Replica, at: float) -> None:
        self._replicas.remove(replica)
        self._charge(replica, max(at - replica.ordered_at, self._market.billed_s))

    def _charge(self, replica: Replica, used: float) -> None:
        spot = replica.capacity_type is SPOT
        price = self._market.spot_price if spot else self._market.on_demand_price
        self.bill = replace(
            self.bill,
            cost=self.bill.cost + used / 3600 * price,
            spot_s=self.bill.spot_s + (used if spot else 0.0),
            on_demand_s=self.bill.on_demand_s + (0.0 if spot else used),
        )

    def start(self, replicas: int) -> None:
        """Begin with replicas on demand that serve already."""
        for _ in range(replicas):
            self._launch(ON_DEMAND, "")
        self._replicas = [replace(one, ready_at=self._now) for one in self._replicas]

    def bill_so_far(self) -> Bill:
        """Return the bill with what runs charged up to now."""
        bill = self.bill
        for replica in self._replicas:
            self._charge(replica, self._now - replica.ordered_at)
        self.bill, bill = bill, self.bill
        return bill
