"""Traces: what was asked of a service, and what spot capacity there was, as step functions of time.

Files are CSV with a header, recognised by their columns; gzip'ed where the name ends in .gz. Times count from the
first row.

    t_s|minute, rps|requests                 a rate, or a count per row's span
    t_s, anything else                       one request per row
    t_s, running_nodes                       nodes of one zone
    t_s, <zone>, <zone>, ...                 nodes that each zone has
    t_s, event (add|remove), node            nodes of one zone, coming and going
"""

from __future__ import annotations

import csv
import gzip
import io
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trimtab.errors import Stalled

INVALID = "TraceInvalid"
REQUEST_TRACES = "columns t_s and rps, minute and requests, or t_s with one request per row"
SPOT_TRACES = "columns t_s and one per zone, t_s and running_nodes, or t_s, event and node"


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests per second, constant within steps of `step_s` seconds; it starts again at its end."""

    rates: tuple[float, ...]
    step_s: float

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


def read_demand(path: Path, step_s: float = 5.0) -> Demand:
    """Return a trace of requests.

    Raises:
        Stalled: The file cannot be read as one; says the row and what is expected.
    """
    header, rows = _table(path)
    if "rps" in header:
        at, column = _column(header, path, "t_s", REQUEST_TRACES), header.index("rps")
        return _uniform(path, [(_number(row[at], path, n), _number(row[column], path, n)) for n, row in rows])
    if "requests" in header:
        at, column = _column(header, path, "minute", REQUEST_TRACES), header.index("requests")
        counts = [(60 * _number(row[at], path, n), _number(row[column], path, n) / 60) for n, row in rows]
        return _uniform(path, counts)
    at = _column(header, path, "t_s", REQUEST_TRACES)
    return _binned([_number(row[at], path, n) for n, row in rows], step_s)


def _uniform(path: Path, rows: Sequence[tuple[float, float]]) -> Demand:
    steps = {round(after[0] - before[0], 6) for before, after in pairwise(rows)}
    if len(steps) != 1 or (step := steps.pop()) <= 0:
        raise Stalled(
            INVALID, f"{path}: rows of a rate must be equally far apart, and there must be two; found {sorted(steps)}"
        )
    return Demand(tuple(rate for _, rate in rows), step)


def _binned(times: Sequence[float], step_s: float) -> Demand:
    start = min(times)
    bins = [0] * (int((max(times) - start) // step_s) + 1)
    for at in times:
        bins[int((at - start) // step_s)] += 1
    return Demand(tuple(count / step_s for count in bins), step_s)


def read_supply(path: Path) -> Supply:
    """Return a trace of spot capacity.

    Raises:
        Stalled: The file cannot be read as one; says the row and what is expected.
    """
    header, rows = _table(path)
    at = _column(header, path, "t_s", SPOT_TRACES)
    if "event" in header:
        return _from_events(path, header, rows)
    zones = [name for name in header if name != "t_s"]
    if not zones:
        raise Stalled(INVALID, f"{path}: no zone; a trace of spot capacity has {SPOT_TRACES}")
    times = [_number(row[at], path, n) for n, row in rows]
    counts = {zone: _counts(header.index(zone), path, rows) for zone in zones}
    return _supply(path, times, counts)


def _counts(column: int, path: Path, rows: Iterable[tuple[int, list[str]]]) -> tuple[int, ...]:
    """Return a zone's nodes row by row; where a probe is missing, what the last one said goes on."""
    counts: list[int] = []
    for n, row in rows:
        known = counts[-1] if counts else 0
        counts.append(int(_number(row[column], path, n)) if row[column].strip() else known)
    return tuple(counts)


def _from_events(path: Path, header: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> Supply:
    at, event = header.index("t_s"), header.index("event")
    node = _column(header, path, "node", SPOT_TRACES)
    running: set[str] = set()
    times: list[float] = []
    counts: list[int] = []
    for n, row in rows:
        match row[event]:
            case "add":
                running.add(row[node])
            case "remove":
                running.discard(row[node])
            case other:
                raise Stalled(INVALID, f"{path}, row {n}: event is {other!r}; it must be add or remove")
        times.append(_number(row[at], path, n))
        counts.append(len(running))
    return _supply(path, times, {"zone": tuple(counts)})


def _supply(path: Path, times: Sequence[float], counts: dict[str, tuple[int, ...]]) -> Supply:
    """Return the trace from its first row on; of rows with the same time, the last one counts."""
    if any(after < before for before, after in pairwise(times)):
        raise Stalled(INVALID, f"{path}: the column t_s must not fall from row to row")
    kept = [i for i, moment in enumerate(times) if i + 1 == len(times) or times[i + 1] != moment]
    if len(kept) < 2:
        raise Stalled(INVALID, f"{path}: all rows are of one moment; a trace has two at least")
    relative = tuple(times[i] - times[0] for i in kept)
    last_span = relative[-1] - relative[-2]
    rows = {zone: tuple(column[i] for i in kept) for zone, column in counts.items()}
    return Supply(relative, rows, relative[-1] + last_span)


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Stalled(INVALID, f"{path}: cannot be read as a CSV trace: {error}") from None
    lines = [(n, row) for n, row in enumerate(csv.reader(io.StringIO(text)), 1) if row]
    if len(lines) < 3:
        raise Stalled(INVALID, f"{path}: a trace has a header and two rows at least")
    header = [name.strip() for name in lines[0][1]]
    for n, row in lines[1:]:
        if len(row) != len(header):
            raise Stalled(INVALID, f"{path}, row {n}: {len(row)} columns, the header has {len(header)}")
    return header, lines[1:]


def _column(header: Sequence[str], path: Path, name: str, expected: str) -> int:
    if name not in header:
        raise Stalled(INVALID, f"{path}: no column {name} among {', '.join(header)}; a trace has {expected}")
    return header.index(name)


def _number(text: str, path: Path, row: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Stalled(INVALID, f"{path}, row {row}: {text!r} is no number") from None
    if not 0 <= value < 1e12:
        raise Stalled(INVALID, f"{path}, row {row}: {text} is not within 0 and 1e12")
    return value
