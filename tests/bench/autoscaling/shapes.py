"""Loads of five made-up shapes, over made-up spot zones: what a policy does on traces that nobody tuned it on.

    python tests/bench/autoscaling/shapes.py

Each shape is two days, drawn from its own seed, with 16 replicas at the peak; ten stretches of four hours, ten seeds
each, all policies in the same weather. Three zones of spot nodes come and go on their own. What Trimtab promises is
checked in every replay: never below the floor, and no more than two changes of direction an hour.
"""

from __future__ import annotations

import argparse
import math
import os
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from statistics import fmean

from policies import OFFSETS, PEAK, SEEDS, hpa, mean

from trimtab.cli.simulate import bound
from trimtab.cli.simulate.experiment import Make, peak_scaled, policies, stretches
from trimtab.cli.simulate.policies.seen import Policy, Seen, Service
from trimtab.cli.simulate.policies.trimtab import SETTINGS, Preferences
from trimtab.cli.simulate.replay import Case, loads, replay
from trimtab.cli.simulate.traces import Demand, Supply
from trimtab.cli.simulate.world import Market, Order

MINUTES, HOURS = 2 * 1440, 4
MOST_TURNS = 2 * HOURS + 1  # of two changes, the first may have been before the stretch
COMPARED = ("Trimtab", "HPA, on demand", "SkyServe, SpotHedge")


def diurnal(rng: Random) -> list[float]:
    """A day's wave, with noise that lasts for some minutes."""
    noise, rates = 0.0, []
    for minute in range(MINUTES):
        noise = 0.9 * noise + rng.gauss(0, 0.06)
        rates.append((1.0 - 0.7 * math.cos(2 * math.pi * minute / 1440)) * math.exp(noise))
    return rates


def flash_crowds(rng: Random) -> list[float]:
    """A calm load that six times as many join within a minute, every four hours or so, and leave over half an hour."""
    rates, crowd = [], 0.0
    for _ in range(MINUTES):
        crowd = 6.0 if rng.random() < 1 / 240 else 0.9 * crowd
        rates.append(1.0 + crowd)
    return rates


def batches(rng: Random) -> list[float]:
    """All or nothing, for half an hour to two hours each."""
    rates: list[float] = []
    while len(rates) < MINUTES:
        rates += [1.0] * rng.randint(30, 120) + [0.0] * rng.randint(30, 120)
    return rates[:MINUTES]


def growth(rng: Random) -> list[float]:
    """A tenth at the beginning, all at the end, in a straight line."""
    return [0.1 + 0.9 * minute / MINUTES for minute in range(MINUTES)]


def dips(rng: Random) -> list[float]:
    """Always the same but for some minutes in every other hour, when hardly anybody comes."""
    rates: list[float] = []
    while len(rates) < MINUTES:
        rates += [1.0] * rng.randint(60, 180) + [0.2] * rng.randint(3, 12)
    return rates[:MINUTES]


SHAPES: dict[str, Callable[[Random], list[float]]] = {
    "a day's wave, with noise": diurnal,
    "flash crowds": flash_crowds,
    "batches": batches,
    "growth": growth,
    "dips": dips,
}


def zones() -> Supply:
    """Return three zones that have nodes for some hours, and none, or a few, for some minutes."""
    counts = {}
    for name in "abc":
        rng, column = Random(f"zone {name}"), list[int]()
        while len(column) < MINUTES:
            column += [rng.randint(6, 12)] * rng.randint(60, 480) + [rng.choice([0, 0, 2])] * rng.randint(5, 40)
        counts[name] = tuple(column[:MINUTES])
    return Supply(tuple(60.0 * minute for minute in range(MINUTES)), counts, 60.0 * MINUTES)


@dataclass(slots=True)
class Watched:
    """A policy, and the least replicas that it ever wanted."""

    policy: Policy
    least: int = 10**6

    def decide(self, seen: Seen) -> Order:
        order = self.policy.decide(seen)
        self.least = min(self.least, order.replicas, order.on_demand + sum(order.spot.values()))
        return order


def cases(shape: str) -> list[Case]:
    """Return the stretches of a shape."""
    demand = Demand(array("d", SHAPES[shape](Random(shape))), 60.0)
    case = Case(Service(10.0), Market(), HOURS * 3600.0, supply=zones(), demand=demand)
    return stretches(peak_scaled(case, PEAK), OFFSETS, seed=0)


def measured(shape: str, offset: int) -> dict[str, dict[str, float]]:
    """Replay one stretch with all seeds and policies.

    Raises:
        ValueError: Trimtab broke a promise.
    """
    every = policies(Preferences(on_demand_base=0), SETTINGS.on_demand_hold_s)
    patient = policies(Preferences(on_demand_base=0, scale_down_delay="15m"), SETTINGS.on_demand_hold_s)
    made: dict[str, Make] = {name: every[name] for name in COMPARED}
    made |= {"HPA, on demand, at 50%": hpa(0.5), "Trimtab, scaleDownDelay 15m": patient["Trimtab"]}
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in made}
    for seed in range(SEEDS):
        case = replace(cases(shape)[offset], seed=seed)
        demand = loads(case)
        least = bound.lower_bound(case, demand)
        for name, make in made.items():
            watched = Watched(make(case))
            outcome = replay(case, watched, demand)
            days = outcome.measured_s / 86400
            if name.startswith("Trimtab") and (watched.least < 1 or outcome.turns_per_hour * HOURS > MOST_TURNS):
                raise ValueError(f"{shape}, stretch {offset}, seed {seed}: {watched.least} replicas, {outcome}")
            figures[name].append(
                {
                    "cost": outcome.cost / (PEAK * days * 24),
                    "bound": outcome.cost / least,
                    "short": outcome.violation_s / days,
                    "overload": outcome.overload * 100,
                    "turns": outcome.turns_per_hour,
                }
            )
    return {name: {key: fmean(one[key] for one in of) for key in of[0]} for name, of in figures.items()}


def rows(shape: str, of: Sequence[dict[str, dict[str, float]]]) -> list[str]:
    """Return the lines of a shape in Markdown."""
    digits = {"cost": 3, "bound": 2, "short": 1, "overload": 4, "turns": 2}
    return [
        f"| {shape} | {name} | "
        + " | ".join(mean([figures[name] for figures in of], key, places) for key, places in digits.items())
        + " |"
        for name in of[0]
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    print(
        "| requests | policy | cost | × bound | short, s/day | overload, % | turns/h |\n|---|---|---|---|---|---|---|"
    )
    with ProcessPoolExecutor(options.workers, initializer=os.nice, initargs=(5,)) as pool:
        pairs = list(product(SHAPES, range(OFFSETS)))
        found = list(pool.map(measured, *zip(*pairs, strict=True)))
    for number, shape in enumerate(SHAPES):
        print("\n".join(rows(shape, found[number * OFFSETS : (number + 1) * OFFSETS])))


if __name__ == "__main__":
    main()
