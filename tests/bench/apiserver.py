"""How fast the embedded API server is, beside etcd and, where there is one, a real kube-apiserver.

    python tests/bench/apiserver.py [--objects 10000] [--rate 1000] [--rounds 5] [--seconds 10]

Servers take turns, in several rounds; the table shows medians. Everything is on one machine: mind what else runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import servers
import uvloop
import yaml
from load import Steady, flat_out, lists, steady
from peers import ApiServer, Etcd, Server

CRD = Path(__file__).parents[2] / "crds" / "trimtab.dev_optimizedmodels.yaml"
FILE, MEMORY, ETCD = "embedded, file", "embedded, memory", "etcd"


class Results:
    """What was measured, by row and server."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, server: str, value: float) -> None:
        self._found[row][server].append(value)
        print(f"{row}: {server}: {value:,.1f}", file=sys.stderr, flush=True)

    def add_steady(self, row: str, server: str, found: Steady) -> None:
        self.add(f"{row}: reached, writes/s", server, found.rate)
        for quantile in ("p50", "p99"):
            self.add(f"{row}: due to watched, {quantile} ms", server, getattr(found, f"watch_{quantile}"))
            self.add(f"{row}: due to answered, {quantile} ms", server, getattr(found, f"answer_{quantile}"))

    def table(self, names: Sequence[str]) -> str:
        """Markdown: medians, and in brackets how many times the value of etcd each is."""
        lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for row, found in self._found.items():
            lines.append(f"| {row} | " + " | ".join(self._cell(found, name) for name in names) + " |")
        return "\n".join(lines)

    def _cell(self, found: dict[str, list[float]], name: str) -> str:
        if name not in found:
            return "–"
        value = statistics.median(found[name])
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
        if name == ETCD or ETCD not in found:
            return shown
        return f"{shown} ({value / statistics.median(found[ETCD]):.2f}×)"


async def measured(
    running: Sequence[servers.Running], objects: int, rate: int, rounds: int, seconds: float
) -> tuple[Results, list[str]]:
    """Everything, in turns."""
    results = Results()
    known = await _known(running)
    for turn in range(rounds):
        numbers = range(objects * turn // rounds, objects * (turn + 1) // rounds)
        for server in known:
            results.add("create, writes/s", server.name, await flat_out(server, "create", numbers))
    for turn in range(rounds):
        for kind in ApiServer.writes[1:]:
            numbers = range(turn, objects, rounds * 2)
            for server in known:
                wanted = kind if kind in server.writes else "merge patch"
                results.add(f"{kind}, writes/s", server.name, await flat_out(server, wanted, numbers))
    for _ in range(rounds):
        for server in known:
            results.add(f"5 clients list {objects:,}, lists/s", server.name, await lists(server))
    for _ in range(rounds):
        for server in known:
            found = await steady(server, "merge patch", rate, seconds, objects)
            results.add_steady(f"steady {rate:,} writes/s", server.name, found)
    for name, _, pids in running:
        if (used := servers.megabytes(pids)) is not None:
            results.add("memory (PSS), MB", name, used)
    return results, [server.name for server in known]


async def _known(running: Sequence[servers.Running]) -> list[Server]:
    definition = yaml.safe_load(CRD.read_text())
    found: list[Server] = []
    for name, target, _ in running:
        if name != ETCD:
            server = ApiServer(name, target)
            await server.prepare(definition)
            found.append(server)
    size = await _stored_size(found[0])
    return [*found, *(Etcd(target, size) for name, target, _ in running if name == ETCD)]


async def _stored_size(server: Server) -> int:
    """How many bytes an object has once it is stored: what a real API server would put into etcd."""
    connection = await server.connect()
    before = await server.listed(connection)
    await server.write(connection, "create", -1, 0)
    size = await server.listed(connection) - before
    connection.close()
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1_000, help="writes per second of the steady load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of one stretch of steady load")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tt")))
        running = [
            stack.enter_context(servers.embedded(FILE, folder / "f")),
            stack.enter_context(servers.embedded(MEMORY, folder / "m", "--in-memory")),
        ]
        peers, absent = servers.others(stack, folder)
        work = measured([*running, *peers], options.objects, options.rate, options.rounds, options.seconds)
        results, names = uvloop.run(work)
    print(f"{os.cpu_count()} CPU cores, {options.rounds} rounds, 5 watchers, 16 connections that write.")
    for missing in absent:
        print(f"Not measured: {missing}.")
    print("\n" + results.table(names))


if __name__ == "__main__":
    main()
