"""Compare scaling policies on traces: cost, shortfalls and churn, with 95 % intervals over stretches of the traces.

    python tests/bench/autoscaling/policies.py --results /tmp/policies.jsonl --seconds 480

Every cell of the table is replayed at ten offsets of the second half of its traces (the policy was tuned on the first)
with ten seeds each, all policies in the same weather. Results are kept in a file and the run goes on where it stopped,
so that it can be cut into pieces; `--table` prints what there is. Traces that may not be redistributed are read from
`--traces`, where they are; cells without their traces are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

from trimtab.cli.simulate.experiment import Make, compare, peak_scaled, policies, stretches
from trimtab.cli.simulate.policies.hpa import Hpa
from trimtab.cli.simulate.policies.seen import Composed, Service
from trimtab.cli.simulate.policies.shares import OnDemandOnly
from trimtab.cli.simulate.policies.trimtab import SETTINGS, Preferences
from trimtab.cli.simulate.replay import Case
from trimtab.cli.simulate.traces import read_demand, read_supply
from trimtab.cli.simulate.world import Market

HERE = Path(__file__).parent / "traces"
OFFSETS, SEEDS, LENGTH_S, PEAK = 10, 10, 4 * 3600.0, 16
SPOT = {  # and the replicas of a fixed demand, about what the trace gives in the middle
    "aws_v100x1_4node_3az_2023-08-03_gap300s": 4,
    "aws_v100x1_9az_2023-02-15_gap195s": 4,
    "aws_p3_bamboo_events": 16,
    "aws_g4dn_bamboo_events": 16,
    "gcp_a100x1_us-east1b_2021-12": 32,
    "gcp_v100x1_us-east1c_2021-12": 32,
}
REQUESTS = [
    "worldcup98_1998-06-08_35d_1min",
    "servegen_language_m-large_10min",
    "servegen_language_m-mid_10min",
    "azure_llm_2023_conv",  # this and the next are of an hour, again and again
    "mooncake_conversation",
]
HPA_TARGETS = [0.6, 0.5]
SLOW = [180.0, 300.0, 600.0]


@dataclass(frozen=True)
class Cell:
    """One row: traces by file name, start-up in seconds, share of the losses with a notice, and our mode."""

    spot: str
    requests: str | None = None
    startup_s: float = 90.0
    told: float = 1.0
    mode: str = "Balanced"

    @property
    def peak(self) -> int:
        """Replicas on demand that cost 1."""
        return PEAK if self.requests else SPOT[self.spot]


def cells() -> list[Cell]:
    """Return all rows: demand from traces, fixed demand with and without silent losses, and slow starts by mode."""
    three, nine, *_ = SPOT
    demand = [Cell(three, requests) for requests in REQUESTS] + [Cell("aws_p3_bamboo_events", REQUESTS[0])]
    demand.append(Cell(three, REQUESTS[0], startup_s=300.0))
    told = [Cell(spot) for spot in SPOT]
    silent = [Cell(spot, told=0.95) for spot in [three, nine, "aws_p3_bamboo_events", "aws_g4dn_bamboo_events"]]
    slow = [Cell(nine, startup_s=startup, mode=mode) for startup, mode in product(SLOW, ["Balanced", "Guarded"])]
    return demand + told + silent + slow


@cache
def cases(cell: Cell, folders: tuple[Path, ...]) -> list[Case]:
    """Return the stretches of a cell."""
    market = Market(startup_s=cell.startup_s, told=cell.told)
    supply = read_supply(found(cell.spot, folders))
    fixed = None if cell.requests else SPOT[cell.spot]
    case = Case(Service(10.0), market, LENGTH_S, supply=supply, fixed=fixed)
    if cell.requests:
        case = peak_scaled(replace(case, demand=read_demand(found(cell.requests, folders))), PEAK)
    return stretches(case, OFFSETS, seed=0, part=(0.5, 1.0))


def found(name: str, folders: Iterable[Path]) -> Path:
    """Return the file of a trace."""
    every = (path for folder in folders for path in folder.rglob(f"{name}.csv*"))
    path = next(every, None)
    if path is None:
        raise FileNotFoundError(name)
    return path


def measured(cell: Cell, offset: int, folders: tuple[Path, ...]) -> dict[str, object]:
    """Replay one stretch with all seeds and policies."""
    made = policies(Preferences(on_demand_base=0, mode=cell.mode), SETTINGS.on_demand_hold_s)
    if cell.requests is None:  # without a demand to follow, what is on demand is the same
        del made["HPA, on demand"], made["KPA, on demand"]
    else:  # HPA's overload is its target's: these tell what as little of it as ours costs there
        made |= {f"HPA, on demand, at {target:.0%}": hpa(target) for target in HPA_TARGETS}
    started = time.process_time()
    results = compare([cases(cell, folders)[offset]], SEEDS, made, cell.peak)
    figures = {
        result.policy: {
            "cost": result.cost.value,
            "overBound": result.over_bound.value,
            "violationS": result.violation_s_per_day.value,
            "unavailable": result.unavailable.value,
            "overload": result.overload.value,
            "turns": result.turns_per_hour.value,
            "launches": result.launches_per_day.value,
        }
        for result in results
    }
    return {"cell": asdict(cell), "offset": offset, "figures": figures, "cpuS": time.process_time() - started}


def hpa(target: float) -> Make:
    """Return HPA on demand with another share of a replica planned for than everybody's."""
    return lambda case: Composed(Hpa(replace(case.service, utilisation=target)), OnDemandOnly())


def run(path: Path, folders: tuple[Path, ...], seconds: float, workers: int) -> None:
    """Replay what is missing, the first offset of every cell first, until the time is over."""
    done = {(json.dumps(one["cell"]), one["offset"]) for one in kept(path)}
    left = [(c, n) for n in range(OFFSETS) for c in cells() if (json.dumps(asdict(c)), n) not in done]
    left = [(cell, n) for cell, n in left if available(cell, folders)]
    end = time.monotonic() + seconds
    with ProcessPoolExecutor(workers, initializer=os.nice, initargs=(5,)) as pool, path.open("a") as out:
        pending = set()
        while pending or (left and time.monotonic() < end):
            while left and len(pending) < workers and time.monotonic() < end:
                cell, offset = left.pop(0)
                pending.add(pool.submit(measured, cell, offset, folders))
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for one in finished:
                out.write(json.dumps(one.result()) + "\n")
                out.flush()
    print(f"{len(left)} stretches are left", file=sys.stderr)


def available(cell: Cell, folders: tuple[Path, ...]) -> bool:
    """Whether the traces of a cell are there."""
    try:
        cases(cell, folders)
    except FileNotFoundError:
        return False
    return True


def kept(path: Path) -> list[dict[str, object]]:
    """Return what earlier pieces measured."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows(measurements: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield the tables in Markdown: mean and half of the 95 % interval over stretches, which are independent."""
    by_cell: dict[Cell, list[Mapping[str, Mapping[str, float]]]] = {}
    for one in measurements:
        by_cell.setdefault(Cell(**one["cell"]), []).append(one["figures"])  # type: ignore[arg-type]
    there = [cell for cell in cells() if cell in by_cell]
    yield "| requests, spot, start-up (stretches) | policy | cost | × bound | short, s/day | overload, % | turns/h |"
    yield "|---|---|---|---|---|---|---|"
    for cell in (cell for cell in there if cell.requests):
        stretched = by_cell[cell]
        head = f"{cell.requests}, {cell.spot}, {cell.startup_s:.0f} s ({len(stretched)})"
        for policy in stretched[0]:
            of = [figures[policy] for figures in stretched]
            columns = [mean(of, "cost", 3), mean(of, "overBound", 2), mean(of, "violationS", 1)]
            columns += [mean(of, "overload", 4, 100), mean(of, "turns", 2)]
            yield f"| {head} | {policy} | {' | '.join(columns)} |"
    yield ""
    names = ("Trimtab", "SkyServe, SpotHedge", "HPA, ASG half spot")
    yield "| spot (stretches) | start-up | told | mode | " + " | ".join(f"{n}: × bound; short, %" for n in names) + " |"
    yield "|---|---|---|---|---|---|---|"
    for cell in (cell for cell in there if not cell.requests):
        stretched = by_cell[cell]
        row = f"| {cell.spot}, {SPOT[cell.spot]} replicas ({len(stretched)}) | {cell.startup_s:.0f} s | {cell.told:.0%}"
        for name in names:
            of = [figures[name] for figures in stretched]
            cell_mode = f" | {cell.mode}" if name == names[0] else ""
            row += f"{cell_mode} | {mean(of, 'overBound', 3)}; {mean(of, 'unavailable', 3, 100)}"
        yield f"{row} |"


def mean(of: list[Mapping[str, float]], name: str, digits: int, factor: float = 1.0) -> str:
    """Return mean ± half of the 95 % interval."""
    values = [factor * figures[name] for figures in of]
    half = 1.96 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{fmean(values):.{digits}f}±{half:.{digits}f}"


def main() -> None:
    """Run a piece, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--traces", type=Path, help="a folder with further traces")
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", action="store_true", help="print the table and replay nothing")
    options = parser.parse_args()
    if not options.table:
        folders = (HERE, *([options.traces] if options.traces else []))
        run(options.results, folders, options.seconds, options.workers)
    print("\n".join(rows(kept(options.results))))


if __name__ == "__main__":
    main()
