"""Replays a day on the embedded cluster and in the simulator, and says how far apart the two are.

    python tests/bench/autoscaling/live.py --minutes 10 --interruptions 20 --plot docs/live-replay.png

Real pods, real requests through the gateway, spot nodes taken away with a notice; the simulator gets the same day, the
same moments of interruption, and from the live run how long a request and the start of a replica took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

from live_cluster import run
from live_inputs import Inputs
from live_recording import Recording, apart, means
from live_simulated import simulate
from matplotlib.figure import Figure

_SEEDS = 10
_WIDTH_S = 30
"""Of the means that make a curve: a node is taken away as often."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--interruptions", type=int, default=20)
    parser.add_argument("--peak", type=float, default=32.0, help="requests per second in the busiest minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recording", type=Path, default=Path("live-replay.json"), help="of the live run")
    parser.add_argument("--again", action="store_true", help="compare the recording that is there; run nothing live")
    parser.add_argument("--plot", type=Path, help="PNG with both curves")
    given = parser.parse_args()
    inputs = Inputs(given.minutes * 60, given.interruptions, given.peak)
    if given.again:
        live = Recording.from_json(json.loads(given.recording.read_text()))
    else:
        began = time.monotonic()
        live = asyncio.run(run(inputs, given.seed, lambda text: print(f"[{time.monotonic() - began:5.0f} s] {text}")))
        given.recording.write_text(json.dumps(live.to_json()))
    simulated = [simulate(inputs, live.mean_s, live.startup_s, seed) for seed in range(_SEEDS)]
    _report(live, simulated)
    if given.plot is not None:
        _draw(live, simulated, given.plot)
    return 1 if live.failed else 0


def _curves(recording: Recording) -> tuple[list[float], list[float]]:
    """Return ready replicas and cost per hour, averaged over half a minute each."""
    replicas = [float(point.replicas) for point in recording.points]
    cost = [point.per_hour for point in recording.points]
    return means(replicas, _WIDTH_S), means(cost, _WIDTH_S)


def _mean_curves(simulated: list[Recording]) -> tuple[list[float], list[float]]:
    curves = [_curves(recording) for recording in simulated]
    replicas, cost = ([curve[kind] for curve in curves] for kind in (0, 1))
    return tuple([sum(at) / len(at) for at in zip(*kind, strict=True)] for kind in (replicas, cost))  # type: ignore[return-value]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _report(live: Recording, simulated: list[Recording]) -> None:
    ours, theirs = _curves(live), _mean_curves(simulated)
    print(f"{live.sent} requests, {live.failed} failed; p50 {live.p50_ms:.0f} ms, p95 {live.p95_ms:.0f} ms")
    for failure in live.failures:
        print(f"  {failure}")
    print(f"{len(live.notices)} interruptions live, {_mean([len(s.notices) for s in simulated]):.1f} simulated")
    print(f"a request took {live.mean_s:.3f} s, a replica {live.startup_s:.1f} s to start")
    for name, mine, others in zip(("replicas", "cost per hour"), ours, theirs, strict=True):
        seeds = [apart(_curves(s)[0 if name == "replicas" else 1], others) for s in simulated]
        print(
            f"{name}: {_mean(mine):.3f} live, {_mean(others):.3f} simulated ({_mean(mine) / _mean(others) - 1:+.1%}); "
            f"curves apart {apart(mine, others):.1%}, one seed of the simulator from their mean {_mean(seeds):.1%}"
        )


def _draw(live: Recording, simulated: list[Recording], path: Path) -> None:
    figure = Figure(figsize=(8, 5), layout="constrained")
    replicas, cost = figure.subplots(2, 1, sharex=True)
    at = [(index + 0.5) * _WIDTH_S for index in range(len(_curves(live)[0]))]
    for axes, mine, theirs, label in zip(
        (replicas, cost), _curves(live), _mean_curves(simulated), ("ready replicas", "cost per hour, USD"), strict=True
    ):
        axes.plot(at, theirs, color="#2f6fb0", label=f"simulated, mean of {len(simulated)}")
        axes.plot(at, mine, color="#c0392b", label="live")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        for notice in live.notices:
            axes.axvline(notice, color="#bbbbbb", linestyle=":", linewidth=0.8)
    replicas.legend(loc="lower left", frameon=False, ncols=2)
    cost.set_xlabel("seconds; dotted: a spot node gets its notice")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    raise SystemExit(main())
