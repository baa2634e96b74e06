"""The operator's own policy: the functions that it runs, on snapshots made of what is simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.gateway import ModelStats
from trimtab.api.names import Key
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.status import OptimizedModelStatus
from trimtab.cli.simulate.policies.seen import Seen, Service
from trimtab.cli.simulate.world import Order
from trimtab.planning import capacity, zoning
from trimtab.planning.scaling import ScalingState, scale
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import PodView, Snapshot

REVISION = "simulated"
_KEY = Key("default", "simulated")
_SPOT = CapacityType.SPOT
_STATUS = OptimizedModelStatus()
SETTINGS = Settings(compress_image="-", serve_image="-", gateway_image="-")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The part of a model's `spec.capacity` that decides about cost and risk."""

    on_demand_base: int = 1
    spot_percent: int = 100
    mode: str = "Balanced"
    fallback: str = "OnDemand"
    scale_down_delay: str = "5m"
    idle_after: str | None = None


class Trimtab:
    """One model of the operator's."""

    def __init__(
        self,
        service: Service,
        preferences: Preferences,
        pools: tuple[CapacityPool, ...],
        on_demand_hold_s: float = 120.0,
    ) -> None:
        self._spec = spec_of(service, preferences)
        self._pools = pools
        self._settings = replace(SETTINGS, on_demand_hold_s=on_demand_hold_s)
        self._state = ScalingState()

    def decide(self, seen: Seen) -> Order:
        """Return what the operator would order."""
        return self.order(seen, self.snapshot(seen))

    def order(self, seen: Seen, snapshot: Snapshot) -> Order:
        """Return the same of what `snapshot` returned."""
        split = self._state.split
        for event in seen.events:
            split = capacity.on_event(split, event, seen.now)
        staying = [one for one in seen.replicas if not one.noticed]
        state = self._state if split is self._state.split else replace(self._state, split=split)
        wanted, self._state = scale(snapshot, self._spec, state, len(staying))
        spot_zones = [one.zone for one in staying if one.capacity_type is _SPOT]
        running = {zone: spot_zones.count(zone) for zone in seen.zones}
        spot = zoning.placed(wanted.spot, running, self._state.split.zones, seen.now)
        return Order(on_demand=wanted.on_demand, spot=spot, replicas=wanted.replicas)

    def snapshot(self, seen: Seen) -> Snapshot:
        """Return what the operator would see."""
        now = datetime.fromtimestamp(seen.now, UTC)
        return Snapshot(
            key=_KEY,
            uid="simulated",
            generation=1,
            spec=self._spec,
            invalid=None,
            status=_STATUS,
            conditions=(),
            settings=self._settings,
            now=now,
            pods=tuple(
                [_pod(one.name, one.capacity_type, one.zone, one.ready_at <= seen.now) for one in seen.replicas]
            ),
            traffic=ModelStats(in_flight=seen.load, requests_total=seen.answered),
            pools=self._pools,
            doomed_nodes={
                one.name: datetime.fromtimestamp(one.lost_at, UTC)
                for one in seen.replicas
                if one.noticed and one.lost_at is not None
            },
        )


@lru_cache(maxsize=4096)  # it looks the same for hours
def _pod(name: str, capacity_type: CapacityType, zone: str, ready: bool) -> PodView:
    return PodView(
        name=name,
        revision=REVISION,
        capacity_type=capacity_type,
        node=name,
        zone=zone or None,
        ready=ready,
        terminating=False,
        age_s=0.0,  # no decision looks at it
    )


def spec_of(service: Service, preferences: Preferences) -> OptimizedModelSpec:
    """Return a spec with this service's bounds and these preferences."""
    return OptimizedModelSpec.model_validate(
        {
            "source": {"uri": "file:///simulated"},
            "compression": {"preset": "None"},
            "guardrail": {"mode": "Disabled", "dataset": {"uri": "file:///simulated.npz"}},
            "serving": {
                "minReplicas": service.min_replicas,
                "maxReplicas": service.max_replicas,
                "scaling": {
                    "target": int(service.capacity),
                    "scaleDownDelay": preferences.scale_down_delay,
                    "idleAfter": preferences.idle_after,
                },
            },
            "capacity": {
                "onDemandBase": preferences.on_demand_base,
                "spotPercent": preferences.spot_percent,
                "mode": preferences.mode,
                "fallback": preferences.fallback,
            },
        }
    )


def pools_of(zones: tuple[str, ...], startup_s: float, notice_s: float) -> tuple[CapacityPool, ...]:
    """Return one pool on demand and, where there are zones, one of spot nodes."""
    kinds = [CapacityType.ON_DEMAND, *([CapacityType.SPOT] if zones else [])]
    return tuple(
        CapacityPool.model_validate(
            {
                "apiVersion": "trimtab.dev/v1alpha1",
                "kind": "CapacityPool",
                "metadata": {"name": kind.value.lower()},
                "spec": {
                    "capacityType": kind.value,
                    "provider": {"labels": {"matchLabels": {"pool": kind.value.lower()}}},
                    "zones": list(zones) if kind is CapacityType.SPOT else [],
                    "startup": {"expected": f"{startup_s:.0f}s"},
                    "interruption": {"notice": f"{notice_s:.0f}s"},
                },
            }
        )
        for kind in kinds
    )
