"""Tail latency and cost of the gateway beside Envoy's, over pods of unequal speed.

    python tests/bench/gateway/run.py [--rounds 3] [--seconds 20] [--results FILE]

Three pods take 10, 20 and 80 ms per request, four at once each, which is 650 requests/s; 500 arrive, at random times.
Balancers take turns. A second part keeps 16 connections busy at a pod that answers at once: processor time per request.
Results are added to the file, so that a table can be made of several runs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
from balancers import BALANCERS, PLACES, Balancer
from client import flat_out, steady

SERVICE_MS = (10, 20, 80)
RATE = 500
CONNECTIONS = 16


@contextmanager
def pods(times: Sequence[int]) -> Iterator[list[str]]:
    """Start pods in one process; yield their addresses."""
    numbers = [random.randint(1, 250) for _ in range(2)]
    addresses = [f"127.{numbers[0]}.{numbers[1]}.{place}:8080" for place in range(1, len(times) + 1)]
    where = [f"{time}={address}" for time, address in zip(times, addresses, strict=True)]
    command = [sys.executable, str(Path(__file__).with_name("pods.py")), str(PLACES), *where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != b"listening\n":
            raise RuntimeError(f"{command} ended with code {process.wait()}")
        yield addresses
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its children so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    return own + sum(processor_seconds(int(child)) for child in children)


def tail(balancer: Balancer, folder: Path, cache: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Return the percentiles at 77 % load, and which pod had which share."""
    with pods(SERVICE_MS) as addresses, balancer.running(folder, cache, "127.0.0.1", addresses) as (port, _):
        answers = uvloop.run(steady("127.0.0.1", port, RATE, seconds, seed))
    total = sum(answers.pods.values())
    percentiles = {f"p{100 * share:.0f}": answers.at(share) for share in (0.5, 0.9, 0.99)}
    return percentiles | {
        "failures": answers.failures,
        **{f"{pod} ms": answers.pods[pod] / total for pod in SERVICE_MS},
    }


def cost(balancer: Balancer, folder: Path, cache: Path, seconds: float) -> dict[str, Any]:
    """Return processor time per request in µs, and requests/s, with nothing to wait for."""
    with pods((0, 0)) as addresses, balancer.running(folder, cache, "127.0.0.1", addresses) as (port, pid):
        before = processor_seconds(pid)
        answers = uvloop.run(flat_out("127.0.0.1", port, CONNECTIONS, seconds))
        spent = processor_seconds(pid) - before
    if answers.failures:
        raise RuntimeError(f"{balancer.name}: {answers.failures} failures")
    count = len(answers.milliseconds)
    return {"cpu": 1e6 * spent / count, "rate": count / seconds}


def table(results: list[dict[str, Any]]) -> str:
    """Return the medians of all rounds; ratios are to the first row."""
    names = [balancer.name for balancer in BALANCERS if any(balancer.name == row["name"] for row in results)]

    def median(name: str, key: str) -> float:
        return statistics.median(float(row[key]) for row in results if row["name"] == name)

    lines = [
        f"Medians of {sum(row['name'] == names[0] for row in results)} rounds.",
        "",
        "| | p50 ms | p90 ms | p99 ms | lowest..highest p99 | failed | 10 / 20 / 80 ms pod | CPU µs per request |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        p99s = [row["p99"] for row in results if row["name"] == name]
        failed = sum(row["failures"] for row in results if row["name"] == name)
        p99, cpu = median(name, "p99"), median(name, "cpu")
        ratio, dear = p99 / median(names[0], "p99"), cpu / median(names[0], "cpu")
        shares = " / ".join(f"{100 * median(name, f'{pod} ms'):.0f} %" for pod in SERVICE_MS)
        lines.append(
            f"| {name} | {median(name, 'p50'):.0f} | {median(name, 'p90'):.0f} | {p99:.0f} ({ratio:.2f}×) "
            f"| {min(p99s):.0f}..{max(p99s):.0f} | {failed} | {shares} | {cpu:.0f} ({dear:.2f}×) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "trimtab-bench")
    options = parser.parse_args()
    known = options.results and options.results.exists()
    results: list[dict[str, Any]] = json.loads(options.results.read_text()) if known else []
    for _ in range(options.rounds):
        seed = random.randrange(10**6)  # the same arrivals for all of a round
        for balancer in BALANCERS:
            with tempfile.TemporaryDirectory() as folder:
                row = {"name": balancer.name} | tail(balancer, Path(folder) / "a", options.cache, options.seconds, seed)
                row |= cost(balancer, Path(folder) / "b", options.cache, options.seconds / 5)
            results.append(row)
            print(json.dumps(row), file=sys.stderr)
        if options.results:
            options.results.write_text(json.dumps(results))
    print(table(results))


if __name__ == "__main__":
    main()
