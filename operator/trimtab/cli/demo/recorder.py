"""Looks at model and load twice a second and writes down what it sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from trimtab.cli.demo.live import View
from trimtab.cli.demo.load import Load
from trimtab.cli.demo.timeline import Mark, Sample
from trimtab.cli.demo.world import World

_EVERY_S = 0.5


class Recorder:
    """Samples and marks since the load began."""

    def __init__(self, world: World, load: Load, view: View, clock: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self.marks: list[Mark] = []
        self._world = world
        self._load = load
        self._view = view
        self._clock = clock
        self._began = clock()
        self._known = {_identity(decision) for decision in world.status.get("decisions", [])}

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY_S)

    def look(self) -> None:
        """Take one sample, and a mark for every decision that is new."""
        self._sample()
        for decision in reversed(self._world.status.get("decisions", [])):
            if (identity := _identity(decision)) not in self._known:
                self._known.add(identity)
                self.mark(decision["message"], "decision")

    def mark(self, text: str, kind: Literal["decision", "interruption", "replaced", "load"]) -> None:
        """Write down what happened, and say it."""
        self.marks.append(Mark(self._clock() - self._began, text, kind))
        self._view.note(text, style={"interruption": "bold yellow", "replaced": "bold green"}.get(kind, ""))

    def _sample(self) -> None:
        status = self._world.status
        replicas, cost = status.get("replicas", {}), status.get("cost", {})
        rate, p95 = self._load.recent()
        sample = Sample(
            at=self._clock() - self._began,
            wanted=int(replicas.get("desired", 0)),
            on_demand=int(replicas.get("onDemand", 0)),
            spot=int(replicas.get("spot", 0)),
            offered_per_s=self._load.rate,
            answered_per_s=rate,
            p95_ms=p95,
            sent=self._load.sent,
            failed=self._load.failed,
            cost_per_hour=float(cost.get("perHour", 0)),
            all_on_demand_per_hour=float(cost.get("allOnDemandPerHour", 0)),
        )
        self.samples.append(sample)
        self._view.sample(sample)


def _identity(decision: dict[str, Any]) -> tuple[str, str, str]:
    return decision["time"], decision["kind"], decision["message"]
