"""Rows of a trace's file, line by line: CSV or JSON objects, gzip'ed or not, whatever program wrote it.

A file of ten million lines is read as a stream: nothing here keeps more than one of them.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import NoReturn, cast

from trimtab.errors import Stalled

INVALID = "TraceInvalid"
LONGEST_S = 400 * 86400.0  # a year and more; whatever is longer has a moment that is wrong
_LATEST_S = 1e11  # the year 5138: such seconds are milliseconds
_MOST = 1e12
_UNITS = {"t_s": 1.0, "t_ms": 1e-3, "minute": 60.0}  # seconds
_MOMENTS = ("time", "timestamp")
_VALUES = ("rps", "rpm", "requests", "event", "node", "nodes", "zone")
TIMES = ", ".join((*_UNITS, *_MOMENTS))
Line = tuple[int, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Table:
    """A header and the lines under it, with their numbers; names that mean something are in lower case."""

    path: Path
    header: list[str]
    lines: Iterator[Line]
    expected: str
    """The columns that such a trace has, in words."""

    def column(self, *names: str) -> int | None:
        """Return where the first of these columns is that there is, None without any."""
        return next((self.header.index(name) for name in names if name in self.header), None)

    def required(self, name: str) -> int:
        """Return where a column is."""
        found = self.column(name)
        if found is None:
            self._lacks(f"column {name}")
        return found

    def clock(self) -> tuple[int, Callable[[str, int], float]]:
        """Return where the time is, and what makes seconds of it, given the line's number."""
        at = self.column(*_UNITS, *_MOMENTS)
        if at is None:
            self._lacks(f"time ({TIMES})")
        unit = _UNITS.get(self.header[at])
        return at, self._moment if unit is None else self._seconds(unit, self.header[at])

    def number(self, text: str, line: int) -> float:
        """Return a cell's number, which is not below 0.

        Raises:
            Stalled: It is none.
        """
        value = self._plain(text, line)
        if not 0 <= value < _MOST:
            self.refuse(line, f"{text.strip()} is not within 0 and {_MOST:g}; leave out what was not measured")
        return value

    def _plain(self, text: str, line: int) -> float:
        try:
            return float(text)
        except ValueError:
            self.refuse(line, f"{text!r} is no number{_remedy(text)}")

    def refuse(self, line: int, why: str) -> NoReturn:
        """Say what is wrong with a line."""
        raise Stalled(INVALID, f"{self.path}, line {line}: {why}")

    def _lacks(self, what: str) -> NoReturn:
        there = ", ".join(self.header)
        raise Stalled(INVALID, f"{self.path}: no {what} among {there}; a trace has {self.expected}")

    def _seconds(self, unit: float, name: str) -> Callable[[str, int], float]:
        def seconds(text: str, line: int) -> float:
            value = self._plain(text, line) * unit
            if not abs(value) < _LATEST_S:
                self.refuse(line, f"{name} {text} is no moment; call a column of milliseconds t_ms")
            return value

        return seconds

    def _moment(self, text: str, line: int) -> float:
        """Return the seconds since 1970 of a date and time, or of a number of seconds."""
        try:
            at = datetime.fromisoformat(text.strip())
        except ValueError:
            return self._seconds(1.0, "seconds")(text, line)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _remedy(text: str) -> str:
    if not text.strip():
        return "; leave the line out where nothing was measured"
    return "; write a point before the decimals" if text.count(",") == 1 else ""


@contextmanager
def table(path: Path, expected: str) -> Iterator[Table]:
    """Lend the rows of a file.

    Raises:
        Stalled: It cannot be read as a trace; says the line and what is expected. Also while lines are taken.
    """
    with ExitStack() as files:
        try:
            text = _text(path, files)
            first = text.readline()
            header, lines = _objects(path, first, text) if first.startswith("{") else _csv(path, first, text)
            yield Table(path, _checked(path, header, expected), lines, expected)
        except (OSError, EOFError, UnicodeError, zlib.error, csv.Error) as error:
            raise Stalled(INVALID, f"{path}: cannot be read as a trace of CSV or JSON lines: {error}") from None


def _text(path: Path, files: ExitStack) -> TextIOWrapper:
    """Return the text of a file; what it is, its first bytes say."""
    file = files.enter_context(path.open("rb"))
    if file.peek(2).startswith(b"\x1f\x8b"):
        file = cast("BufferedReader", files.enter_context(gzip.GzipFile(fileobj=file)))
    wide = file.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return files.enter_context(TextIOWrapper(file, "utf-16" if wide else "utf-8-sig", newline=""))


def _csv(path: Path, first: str, rest: TextIOWrapper) -> tuple[list[str], Iterator[Line]]:
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(chain((first,), rest), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]

    def lines() -> Iterator[Line]:
        width = len(header)
        for row in reader:
            if len(row) == width:
                yield reader.line_num, row
            elif any(row):
                raise Stalled(
                    INVALID, f"{path}, line {reader.line_num}: {len(row)} columns, the header has {len(header)}"
                )

    return header, lines()


def _objects(path: Path, first: str, rest: TextIOWrapper) -> tuple[list[str], Iterator[Line]]:
    """Return the names of the first object, and the values that each has for them."""
    header = [str(name) for name in _object(path, first, 1)]

    def lines() -> Iterator[Line]:
        for line, text in enumerate(chain((first,), rest), 1):
            if text.strip():
                found = _object(path, text, line)
                if missing := [name for name in header if name not in found]:
                    raise Stalled(INVALID, f"{path}, line {line}: no {missing[0]}, which line 1 has")
                yield line, ["" if (value := found[name]) is None else str(value) for name in header]

    return header, lines()


def _object(path: Path, text: str, line: int) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Stalled(INVALID, f"{path}, line {line}: no JSON object, {text.strip()[:40]!r}; each line is one")
    return found


def _checked(path: Path, header: list[str], expected: str) -> list[str]:
    """Return the header with the names that mean something in lower case."""
    if not header:
        raise Stalled(INVALID, f"{path}: is empty; a trace has {expected}")
    if all(_is_number(name) for name in header):
        raise Stalled(INVALID, f"{path}, line 1: {','.join(header)} are no names of columns; a trace has {expected}")
    known = {*_UNITS, *_MOMENTS, *_VALUES}
    lowered = [name.lower() if name.lower() in known else name for name in header]
    twice = next((name for name in lowered if lowered.count(name) > 1), None)
    if twice is not None:
        raise Stalled(INVALID, f"{path}, line 1: there are two columns {twice!r}; name each once")
    return lowered


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
