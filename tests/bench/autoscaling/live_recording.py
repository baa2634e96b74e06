"""What a run leaves behind: replicas, nodes and what they cost, second by second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from live_inputs import ON_DEMAND_PRICE, SPOT_PRICE


@dataclass(frozen=True, slots=True)
class Point:
    """One second."""

    at: float
    replicas: int
    """That serve and stay."""
    on_demand_nodes: int
    """Paid for, booting ones too."""
    spot_nodes: int
    in_flight: float = 0.0

    @property
    def per_hour(self) -> float:
        """What the nodes cost."""
        return self.on_demand_nodes * ON_DEMAND_PRICE + self.spot_nodes * SPOT_PRICE


@dataclass(slots=True)
class Recording:
    """A run from its beginning; times in seconds."""

    points: list[Point] = field(default_factory=list)
    notices: list[float] = field(default_factory=list)
    sent: int = 0
    failed: int = 0
    failures: tuple[str, ...] = ()
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    mean_s: float = 0.0
    """Of the answers: from the request to the answer."""
    startup_s: float = 0.0
    """From the order of a node to the replica on it being ready, on average."""
    spent: float = 0.0
    """As the model's own status adds it up."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "points": [asdict(point) for point in self.points]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recording:
        points = [Point(**point) for point in data["points"]]
        return cls(**{**data, "points": points, "failures": tuple(data["failures"])})


def means(values: Sequence[float], width: int) -> list[float]:
    """Return the means of so many values each; a last, shorter stretch is left out."""
    return [sum(values[i : i + width]) / width for i in range(0, len(values) - width + 1, width)]


def apart(live: Sequence[float], simulated: Sequence[float]) -> float:
    """Return how far two curves are apart: the mean distance over the mean height of the second."""
    pairs = list(zip(live, simulated, strict=False))
    return sum(abs(a - b) for a, b in pairs) / sum(b for _, b in pairs)
