"""What both the live run and the simulated one get: a day of requests, interruptions, pools and a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.cli.simulate.traces import Demand, read_demand

TRACE = Path(__file__).parent / "traces" / "worldcup98_1998-06-08_35d_1min.csv.gz"
DAY = 23
"""Of the trace: an ordinary day of the championship, 8,900 to 25,800 requests a minute."""
ZONES = tuple(f"zone-{number:02}" for number in range(1, 13))
ON_DEMAND_PRICE, SPOT_PRICE = 0.19, 0.058
TARGET = 2
MIN_REPLICAS, MAX_REPLICAS = 2, 12
SCALE_DOWN_DELAY_S = 20
# The demo's operator has these two.
ON_DEMAND_HOLD_S = 20.0
NODE_HOLD_S = 8.0
DRAIN_S = 3.0
"""From the end of a replica until its node is empty: what it was asked last is answered first."""
EXPECTED_STARTUP_S = 10
NOTICE_S = 20
BOOT_S = 5
SETTLE_S = 45
"""At the first minute's rate, before the replay begins: a model that stood still has seen its load jump."""
INTERRUPTION_TAINT = "local.trimtab.dev/interruption"


@dataclass(frozen=True, slots=True)
class Inputs:
    """One replay: a day of the trace in `length_s` seconds, with interruptions evenly over it."""

    length_s: float
    interruptions: int
    peak_per_s: float
    """Requests per second in the day's busiest minute."""
    max_wait_s: float = 0.4
    """How long a request waits for company: what makes a small model's requests take time without taking CPU."""

    def demand(self) -> Demand:
        """Return the requests per second, minute by minute of the day, in the replay's time."""
        whole = read_demand(TRACE)
        minutes = whole.rates[DAY * 1440 : (DAY + 1) * 1440]
        peak = max(minutes)
        return Demand(tuple(rate / peak * self.peak_per_s for rate in minutes), self.length_s / len(minutes))

    def notices(self) -> list[float]:
        """Return when the interruptions are due, in seconds."""
        return [(number + 0.5) * self.length_s / self.interruptions for number in range(self.interruptions)]


def pools() -> list[dict[str, Any]]:
    """Return the two pools: nodes that hold one replica each, spot in twelve zones."""
    kinds = (("on-demand", "OnDemand", ON_DEMAND_PRICE, ZONES[:3]), ("spot", "Spot", SPOT_PRICE, ZONES))
    return [
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "CapacityPool",
            "metadata": {"name": name},
            "spec": {
                "capacityType": kind,
                "provider": {"embedded": {"cpu": "1", "memory": "4Gi", "pods": 16, "bootDelay": f"{BOOT_S}s"}},
                "zones": list(zones),
                "price": {"perNodeHour": str(price)},
                "limits": {"maxNodes": 2 * MAX_REPLICAS},
                "startup": {"expected": f"{EXPECTED_STARTUP_S}s"},
                "interruption": {"notice": f"{NOTICE_S}s", "taints": [INTERRUPTION_TAINT]},
            },
        }
        for name, kind, price, zones in kinds
    ]


def model(folder: Path, inputs: Inputs) -> dict[str, Any]:
    """Return a digit recogniser as it is, one replica to a node."""
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": "digits", "namespace": "default"},
        "spec": {
            "source": {"uri": (folder / "model").as_uri(), "format": "Python", "entrypoint": "digits_model:build"},
            "compression": {"preset": "None"},
            "guardrail": {"mode": "Disabled", "dataset": {"uri": (folder / "data" / "digits.npz").as_uri()}},
            "serving": {
                "minReplicas": MIN_REPLICAS,
                "maxReplicas": MAX_REPLICAS,
                "resources": {"requests": {"cpu": "600m", "memory": "256Mi"}},
                "loadBalancing": {"policy": "LeastConnections"},
                "batching": {"maxSize": 16, "maxWait": f"{inputs.max_wait_s * 1000:.0f}ms"},
                "scaling": {"target": TARGET, "scaleDownDelay": f"{SCALE_DOWN_DELAY_S}s"},
            },
            "capacity": {"onDemandBase": 1, "spotPercent": 100},
        },
    }
