"""Time one decision for 1,000 models over 20 pools, and watch the memory of a month of decisions.

    python tests/bench/autoscaling/decisions.py

The peer is the HorizontalPodAutoscaler's formula with its stabilisation, for as many models, in the same language and
process. Both are timed in turns, in CPU time; medians are printed. What is seen is put together before: an operator
gets it from the API server and the gateway. Looks are HPA's 15 s apart; with `--every 2`, as an operator looks, a
window of a minute holds 30 samples. The month is one model's, decided for every five seconds on the WorldCup trace,
with spot capacity that comes and goes.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median

from trimtab.cli.simulate.experiment import peak_scaled
from trimtab.cli.simulate.policies.hpa import SYNC_S, Hpa
from trimtab.cli.simulate.policies.seen import Seen, Service
from trimtab.cli.simulate.policies.trimtab import Preferences, Trimtab, pools_of
from trimtab.cli.simulate.replay import TICK_S, Case, loads
from trimtab.cli.simulate.traces import read_demand, read_supply
from trimtab.cli.simulate.world import Market, World

TRACES = Path(__file__).parent / "traces"
MODELS, POOLS, DAY_S = 1000, 20, 86400.0


def pools(zones: tuple[str, ...]) -> tuple[object, ...]:
    """Return 20 pools: ten pairs of one on demand and one of spot nodes."""
    pair = pools_of(zones, 90.0, 120.0)
    return tuple(
        pool.model_copy(update={"metadata": {**pool.metadata, "name": f"{pool.name}-{n}"}})
        for n in range(POOLS // 2)
        for pool in pair
    )


def seconds(decide: Callable[[], object]) -> float:
    """Return the CPU time that a call takes."""
    started = time.process_time()
    decide()
    return time.process_time() - started


def decisions(rounds: int, every_s: float) -> tuple[float, float]:
    """Return the median seconds of a decision for all models, ours and the HPA's, windows filled."""
    service, rng = Service(10.0), Random(1)
    zones = ("a", "b", "c")
    offered = pools(zones)
    ours = [Trimtab(service, Preferences(), offered) for _ in range(MODELS)]  # type: ignore[arg-type]
    theirs = [Hpa(service) for _ in range(MODELS)]
    world = World(read_supply(TRACES / "aws_p3_bamboo_events.csv"), Market(), Random(1), 0.0)
    world.start(4)
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 30):
        now = turn * every_s
        seen = [Seen(now, rng.randrange(60), turn, world.replicas, zones) for _ in range(MODELS)]
        views = [(one, view, one.snapshot(view)) for one, view in zip(ours, seen, strict=True)]
        times[0].append(seconds(lambda v=views: [one.order(view, snapshot) for one, view, snapshot in v]))
        pairs = list(zip(theirs, seen, strict=True))
        times[1].append(seconds(lambda p=pairs: [one.replicas(view) for one, view in p]))
    return median(times[0][30:]), median(times[1][30:])


def resident_mb() -> float:
    """Return the resident memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def month(days: int) -> list[tuple[int, float]]:
    """Return (day, resident MB) every fifth day of decisions for one model."""
    service = Service(10.0)
    case = Case(service, Market(), DAY_S, supply=read_supply(TRACES / "aws_p3_bamboo_events.csv"), warm_up_s=0.0)
    case = peak_scaled(replace(case, demand=read_demand(TRACES / "worldcup98_1998-06-08_35d_1min.csv.gz")), 16)
    policy = Trimtab(service, Preferences(), pools_of(case.supply.zones, 90.0, 120.0))
    world = World(case.supply, case.market, Random(1), 0.0)
    world.start(1)
    seen: list[tuple[int, float]] = []
    for day in range(days):
        demand = loads(replace(case, offset_s=day * DAY_S, seed=day))
        for tick, load in enumerate(demand):
            now = day * DAY_S + tick * TICK_S
            events = tuple(world.advance(now))
            world.apply(policy.decide(Seen(now, load, 0, world.replicas, world.zones, events)))
        if day % 5 == 4:
            seen.append((day + 1, resident_mb()))
    return seen


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--every", type=float, default=SYNC_S, help="seconds between looks")
    options = parser.parse_args()
    ours, theirs = decisions(options.rounds, options.every)
    print(f"{MODELS} models, {POOLS} pools: {ours * 1000:.1f} ms; HPA's formula alone {theirs * 1000:.1f} ms; "
          f"{ours / 2.0:.1%} of a look every 2 s")  # fmt: skip
    for day, resident in month(options.days):
        print(f"day {day}: {resident:.1f} MB")


if __name__ == "__main__":
    main()
