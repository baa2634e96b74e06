"""Latency: a worker per variant, which take turns in every round, so that whatever else the machine does hits all."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from asking import Worker
from compressing import REFERENCE, Variant

BATCHES = (1, 32)
FEWEST, MOST = 3, 200
"""Requests in a turn."""


@dataclass(slots=True)
class Pace:
    """The medians of one variant's turns, in seconds, at one batch size."""

    turns: list[float] = field(default_factory=list)

    def ratio(self, reference: Pace) -> tuple[float, float]:
        """Return median and interquartile range of the turns in those of a reference in the same rounds."""
        shares = [mine / other for mine, other in zip(self.turns, reference.turns, strict=True)]
        if len(shares) < 2:
            return shares[0], 0.0
        low, middle, high = statistics.quantiles(shares, n=4, method="inclusive")
        return middle, high - low


@dataclass(slots=True)
class Latency:
    """The paces of a model's variants, by name and batch size; `failed` says why others have none."""

    paces: dict[str, dict[int, Pace]]
    failed: dict[str, str]


def measure(model: Path, variants: Sequence[Variant], *, threads: int, rounds: int, turn_s: float) -> Latency:
    """Time every variant in each of some rounds, in a new order each, for about `turn_s` a turn."""
    with ExitStack() as running:
        workers: dict[str, Worker] = {}
        repeats: dict[tuple[str, int], int] = {}
        failed: dict[str, str] = {}
        for variant in variants:
            log = variant.folder / "measuring.log"
            worker = Worker(variant.made["runtime"], variant.made["file"], model, threads=threads, log=log)
            running.enter_context(worker)
            try:
                for batch in BATCHES:
                    worker.seconds(batch, FEWEST)  # compiles, and fills caches
                    once = statistics.median(worker.seconds(batch, FEWEST))
                    repeats[variant.name, batch] = min(max(round(turn_s / once), FEWEST), MOST)
                workers[variant.name] = worker
            except RuntimeError as error:
                failed[variant.name] = str(error)
        if REFERENCE not in workers:
            raise RuntimeError(f"{model.name}: {REFERENCE} cannot be timed: {failed.get(REFERENCE, 'it was not made')}")
        paces = {name: {batch: Pace() for batch in BATCHES} for name in workers}
        draw = random.Random(0)
        for turn in range(rounds):
            print(f"{model.name}: round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
            for batch in BATCHES:
                for name in draw.sample(sorted(workers), len(workers)):
                    times = workers[name].seconds(batch, repeats[name, batch])
                    paces[name][batch].turns.append(statistics.median(times))
    return Latency(paces, failed)
