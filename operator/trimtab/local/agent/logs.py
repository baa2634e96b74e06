"""The log of one run of a container: lines with their time, kept in a file.

Each line of the file is a time, a tag and the content. The tag says whether the line is whole (F) or goes
on in the next one (P): a long line is cut, and the last one may have no end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from trimtab.local.times import parse_stamp, precise_stamp

LONGEST_LINE = 16_384  # bytes; a longer one is cut into several, as container runtimes do
LARGEST_FILE = 10 * 2**20  # bytes; then the older half of the log is forgotten, as kubelet rotates
_CHUNK = 65_536
_WHOLE, _PART = b"F ", b"P "


class ContainerLog:
    """Written by one container, read by anybody while and after it runs."""

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._file: BinaryIO | None = path.open("wb", buffering=0)
        self._size = 0
        self._partial = b""
        self._followers: set[asyncio.Event] = set()

    def write(self, data: bytes) -> None:
        """Append output; whole lines are visible at once."""
        *lines, rest = (self._partial + data).split(b"\n")
        written = [piece for line in lines for piece in _pieces(line)]
        while len(rest) >= LONGEST_LINE:
            written.append(_PART + rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._partial = rest
        if written:
            self._append(written)

    def close(self) -> None:
        """The container has ended; followers get what is left and end."""
        if self._partial:
            self._append([_PART + self._partial])
            self._partial = b""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._tell()

    def _append(self, lines: list[bytes]) -> None:
        if self._file is None:
            return
        now = precise_stamp(self._clock()).encode()
        text = b"".join(now + b" " + line + b"\n" for line in lines)
        self._file.write(text)
        self._size += len(text)
        if self._size > LARGEST_FILE:
            self._forget_older_half()
        self._tell()

    def _forget_older_half(self) -> None:
        if self._file is not None:
            self._file.close()
        kept = self._path.read_bytes()[-LARGEST_FILE // 2 :]
        kept = kept[kept.find(b"\n") + 1 :]
        self._path.unlink()  # a reader keeps the old file open and misses nothing it had begun
        self._file = self._path.open("wb", buffering=0)
        self._file.write(kept)
        self._size = len(kept)

    def _tell(self) -> None:
        for follower in self._followers:
            follower.set()

    def tail(self, lines: int, limit: int) -> str:
        """The last lines as text without times, at most `limit` bytes."""
        recent = self._path.read_bytes()[-(limit + lines * 40) :].split(b"\n")[-lines - 1 :]
        return b"".join(_shown(line, timestamps=False) for line in recent if line)[-limit:].decode(errors="replace")

    async def read(
        self,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        since: datetime | None = None,
        timestamps: bool = False,
        limit_bytes: int | None = None,
    ) -> AsyncIterator[bytes]:
        """Whole lines, in pieces; with `follow` until the container ends or the reader stops asking."""
        left = limit_bytes if limit_bytes is not None else 2**63
        async for raw in self._lines(follow=follow, tail_lines=tail_lines):
            wanted = [line for line in raw if since is None or _time_of(line) >= since]
            piece = b"".join(_shown(line, timestamps=timestamps) for line in wanted)[:left]
            left -= len(piece)
            if piece:
                yield piece
            if left <= 0:
                return

    async def _lines(self, *, follow: bool, tail_lines: int | None) -> AsyncIterator[list[bytes]]:
        changed = asyncio.Event()
        self._followers.add(changed)
        try:
            with self._path.open("rb") as file:
                if tail_lines is not None:
                    file.seek(_tail_offset(file, tail_lines))
                rest = b""
                while True:
                    changed.clear()
                    ended = self._file is None
                    while data := file.read(_CHUNK):
                        *lines, rest = (rest + data).split(b"\n")
                        yield lines
                    if ended or not follow:
                        return
                    await changed.wait()
        finally:
            self._followers.discard(changed)


def _tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin."""
    end = file.seek(0, 2)
    position, found = end, 0
    while position > 0:
        start = max(0, position - _CHUNK)
        file.seek(start)
        block = file.read(position - start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if found == lines:
                return start + at + 1
            found += 1
        position = start
    return 0 if lines else end


def _pieces(line: bytes) -> list[bytes]:
    """A whole line as it is kept: in several pieces where it is long."""
    cuts = range(0, max(1, len(line)), LONGEST_LINE)
    pieces = [line[at : at + LONGEST_LINE] for at in cuts]
    return [*(_PART + piece for piece in pieces[:-1]), _WHOLE + pieces[-1]]


def _shown(line: bytes, *, timestamps: bool) -> bytes:
    """A line of the file as the reader gets it."""
    time, _, tagged = line.partition(b" ")
    content = tagged[len(_WHOLE) :] + (b"\n" if tagged.startswith(_WHOLE) else b"")
    return time + b" " + content if timestamps else content


def _time_of(line: bytes) -> datetime:
    return parse_stamp(line.partition(b" ")[0].decode())


def since_instant(now: datetime, seconds: int | None) -> datetime | None:
    """The instant `seconds` ago, where given; longer ago than a calendar reaches is always."""
    if seconds is None:
        return None
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        return None
