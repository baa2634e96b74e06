"""Traces: what was asked of a service, and what spot capacity there was, as step functions of time.

Files have a header, or are JSON objects line by line; columns tell what they are. Times count from the first moment,
and lines may come in any order.

    time        t_s (seconds), t_ms, minute, or time or timestamp: a date and time, or seconds
    requests    rps, or rpm: a rate until the next row
                requests: a count in the time up to the next row
                neither: one request per row
    spot        nodes of a zone per column, the zone its name
                zone, nodes: of one zone per row
                event (add, remove), node, and a zone where there are several: nodes that come and go
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from trimtab.cli.simulate.rows import INVALID, LONGEST_S, TIMES, Table, table
from trimtab.errors import Stalled

REQUEST_TRACES = f"a time ({TIMES}) and rps, rpm or requests, or one request per row"
SPOT_TRACES = f"a time ({TIMES}) and a column of nodes per zone, zone and nodes, or event and node"
STEP_S = 5.0
"""Of traces whose rows are not equally far apart."""
_MISSING = -1  # a probe
_EVEN = 1000  # rows that tell whether requests come like clockwork


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests per second, constant within steps of `step_s` seconds; it starts again at its end."""

    rates: Sequence[float]
    step_s: float
    missing_s: float = 0.0
    """Of its time, what no row of the trace tells."""

    @property
    def length_s(self) -> float:
        """Seconds until it starts again."""
        return len(self.rates) * self.step_s

    def rate(self, at: float) -> float:
        """Return the requests per second at a moment."""
        return self.rates[int(at // self.step_s) % len(self.rates)]

    def quantile(self, share: float) -> float:
        """Return the rate that is not exceeded in this share of the time."""
        ordered = sorted(self.rates)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Supply:
    """Spot nodes that each zone can give: from `times[i]` on, `counts[zone][i]`; it starts again at its end."""

    times: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]
    length_s: float

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of the zones."""
        return tuple(self.counts)

    def capacity(self, zone: str, at: float) -> int:
        """Return the nodes that a zone can give at a moment."""
        return self.counts[zone][bisect_right(self.times, at % self.length_s) - 1]

    def changes(self, zone: str, since: float, until: float) -> list[tuple[float, int]]:
        """Return the moments within (since, until] at which a row begins, with the zone's nodes from then on."""
        found: list[tuple[float, int]] = []
        lap = since // self.length_s * self.length_s
        index = bisect_right(self.times, since - lap)
        while True:
            if index == len(self.times):
                index, lap = 0, lap + self.length_s
            at = lap + self.times[index]
            if at > until:
                return found
            found.append((at, self.counts[zone][index]))
            index += 1


QUIET = Demand((0.0,), 1.0)
NO_SPOT = Supply((0.0,), {}, 1.0)


def read_demand(path: Path, step_s: float = STEP_S) -> Demand:
    """Return a trace of requests; `step_s` is the step where rows are not equally far apart.

    Raises:
        Stalled: The file cannot be read as one; says the line and what is expected.
    """
    with table(path, REQUEST_TRACES) as rows:
        at, seconds = rows.clock()
        value = rows.column("rps", "rpm", "requests")
        if value is None:
            return _binned(rows, array("d", (seconds(row[at], line) for line, row in rows.lines)), step_s)
        times, values, lines = array("d"), array("d"), array("Q")
        for line, row in rows.lines:
            times.append(seconds(row[at], line))
            values.append(rows.number(row[value], line))
            lines.append(line)
        return _rated(*_in_order(rows, times, values, lines), rows.header[value], step_s)


def _in_order(
    rows: Table, times: array[float], values: array[float], lines: array[int]
) -> tuple[array[float], array[float]]:
    """Return times and values by time, each moment once.

    Raises:
        Stalled: Two lines contradict each other, or there are fewer than two moments.
    """
    order = _order(times)
    for before, after in pairwise(order):
        if times[before] == times[after] and values[before] != values[after]:
            rows.refuse(
                lines[after],
                f"{values[after]:g} at the moment of line {lines[before]}, which says {values[before]:g}; add up what "
                "several servers counted, or leave one out",
            )
    kept = [index for n, index in enumerate(order) if not n or times[order[n - 1]] != times[index]]
    if len(kept) < 2:
        raise Stalled(
            INVALID,
            f"{rows.path}: a trace has lines of two moments at least, this one has {len(kept)}; for a constant number "
            "of replicas use --replicas",
        )
    _bounded(rows, times, lines)
    return array("d", (times[index] for index in kept)), array("d", (values[index] for index in kept))


def _order(times: Sequence[float]) -> Sequence[int]:
    """Return the indices by time, of equal ones the first first; most files are in order."""
    indices = range(len(times))
    return sorted(indices, key=times.__getitem__) if any(b < a for a, b in pairwise(times)) else indices


def _bounded(rows: Table, times: Sequence[float], lines: Sequence[int]) -> None:
    """Refuse a trace with a moment that cannot be; `times` are those of `lines`."""
    span = max(times) - min(times)
    if span <= LONGEST_S:
        return
    moments = sorted(zip(times, lines, strict=True))
    before, after = max(pairwise(moments), key=lambda pair: pair[1][0] - pair[0][0])
    rows.refuse(
        max(before[1], after[1]),
        f"{(after[0] - before[0]) / 86400:,.0f} days from line {min(before[1], after[1])}; a trace spans "
        f"{LONGEST_S / 86400:.0f} days at most, this one {span / 86400:,.0f}: leave out moments that are wrong",
    )


def _rated(times: array[float], values: array[float], kind: str, step_s: float) -> Demand:
    """Return the rates that values are, in the trace's own steps where they are equal."""
    gaps = Counter(max(1e-6, round(after - before, 6)) for before, after in pairwise(times))
    usual = min(gaps, key=lambda gap: (-gaps[gap], gap))
    per = {"rps": 1.0, "rpm": 60.0, "requests": usual}[kind]
    if len(gaps) == 1:
        return Demand(array("d", (value / per for value in values)), usual)
    start, end = times[0], times[-1] + usual
    rates, missing = array("d", bytes(8 * math.ceil((end - start) / step_s))), 0.0
    for index, (at, value) in enumerate(zip(times, values, strict=True)):
        until = times[index + 1] if index + 1 < len(times) else end
        missing += max(0.0, until - at - usual)
        if kind == "requests":  # of a time without a row nobody counted any
            until = min(until, at + usual)
            per = until - at
        _spread(rates, value / per, at - start, until - start, step_s)
    rates[-1] *= step_s / (end - start - (len(rates) - 1) * step_s)  # the last step may not be whole
    return Demand(rates, step_s, missing)


def _spread(rates: array[float], rate: float, since: float, until: float, step_s: float) -> None:
    """Add a rate to the steps that it lasts for, in part where a step has more than one."""
    first, last = int(since // step_s), min(int(until // step_s), len(rates) - 1)
    for step in range(first, last + 1):
        lasts = min(until, (step + 1) * step_s) - max(since, step * step_s)
        rates[step] += rate * lasts / step_s


def _binned(rows: Table, times: array[float], step_s: float) -> Demand:
    """Return the rate of single requests."""
    if len(times) < 2:
        raise Stalled(INVALID, f"{rows.path}: {len(times)} requests; a trace has two at least")
    gaps = {round(after - before, 6) for before, after in pairwise(islice(times, _EVEN))}
    if len(times) > 10 and len(gaps) == 1 and 0.0 not in gaps:
        raise Stalled(
            INVALID,
            f"{rows.path}: lines are {gaps.pop():g} s apart, each of them, so they are no requests; call their column "
            "rps, rpm or requests",
        )
    _bounded(rows, times, range(2, len(times) + 2))
    start, end = min(times), max(times)
    bins = array("Q", bytes(8 * (int((end - start) // step_s) + 1)))
    for at in times:
        bins[int((at - start) // step_s)] += 1
    return Demand(array("d", (count / step_s for count in bins)), step_s)


def read_supply(path: Path) -> Supply:
    """Return a trace of spot capacity.

    Raises:
        Stalled: The file cannot be read as one; says the line and what is expected.
    """
    with table(path, SPOT_TRACES) as rows:
        if rows.column("event") is not None:
            return _running(rows, _events(rows))
        if rows.column("zone") is not None and rows.column("nodes") is not None:
            return _running(rows, _nodes(rows))
        return _by_zone(rows)


def _by_zone(rows: Table) -> Supply:
    """Return what rows with a column per zone say; where a probe is missing, what the last one said goes on."""
    at, seconds = rows.clock()
    columns = {name: index for index, name in enumerate(rows.header) if index != at}
    if not columns:
        raise Stalled(INVALID, f"{rows.path}: no zone; a trace of spot capacity has {SPOT_TRACES}")
    times, lines = array("d"), array("Q")
    counts = {name: array("q") for name in columns}
    for line, row in rows.lines:
        times.append(seconds(row[at], line))
        lines.append(line)
        for name, index in columns.items():
            counts[name].append(int(rows.number(row[index], line)) if row[index].strip() else _MISSING)
    order = _order(times)
    for name, column in counts.items():
        known, held = 0, array("q")
        for index in order:
            known = known if column[index] == _MISSING else column[index]
            held.append(known)
        counts[name] = held
    return _supply(rows, [times[index] for index in order], [lines[index] for index in order], counts)


Change = tuple[float, int, str, int]
"""Seconds, the line that says so, a zone, and the nodes that it has from then on."""


def _nodes(rows: Table) -> list[Change]:
    """Return what rows of one zone each say."""
    (at, seconds), zone, nodes = rows.clock(), rows.required("zone"), rows.required("nodes")
    return sorted((seconds(row[at], n), n, row[zone], int(rows.number(row[nodes], n))) for n, row in rows.lines)


def _events(rows: Table) -> list[Change]:
    """Return how many nodes each zone has after every event; without a column of zones all are in one."""
    (at, seconds), event, node = rows.clock(), rows.required("event"), rows.required("node")
    zone = rows.column("zone")
    running: dict[str, set[str]] = {}
    changes: list[Change] = []
    for moment, line, row in sorted((seconds(row[at], line), line, row) for line, row in rows.lines):
        name = "zone" if zone is None else row[zone]
        there = running.setdefault(name, set())
        match row[event].strip():
            case "add":
                there.add(row[node])
            case "remove":
                there.discard(row[node])
            case other:
                rows.refuse(line, f"event is {other!r}; it must be add or remove")
        changes.append((moment, line, name, len(there)))
    return changes


def _running(rows: Table, changes: Sequence[Change]) -> Supply:
    """Return the nodes of all zones after every change; a zone has none before its first."""
    counts = {zone: array("q") for zone in dict.fromkeys(zone for _, _, zone, _ in changes)}
    known = dict.fromkeys(counts, 0)
    for _, _, zone, nodes in changes:
        known[zone] = nodes
        for name, column in counts.items():
            column.append(known[name])
    return _supply(rows, [at for at, _, _, _ in changes], [line for _, line, _, _ in changes], counts)


def _supply(rows: Table, times: Sequence[float], lines: Sequence[int], counts: Mapping[str, Sequence[int]]) -> Supply:
    """Return the trace from its first moment on; of lines of one moment, the last one counts."""
    kept = [i for i, moment in enumerate(times) if i + 1 == len(times) or times[i + 1] != moment]
    if len(kept) < 2:
        raise Stalled(
            INVALID,
            f"{rows.path}: a trace has lines of two moments at least, this one has {len(kept)}; what never changes is "
            "said at its beginning and its end",
        )
    _bounded(rows, times, lines)
    relative = tuple(times[i] - times[0] for i in kept)
    last_span = relative[-1] - relative[-2]
    found = {zone: tuple(column[i] for i in kept) for zone, column in counts.items()}
    return Supply(relative, found, relative[-1] + last_span)
