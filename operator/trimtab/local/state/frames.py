r"""The form of the state file: a line that says what it is, then frames with checksums, then zeros to its end.

    "trimtab-local-state 1\n"
    frame*      length of the payload, CRC-32 of the payload, CRC-32 of these two (little-endian, 4 bytes each),
                and the payload: lines of JSON, each ended by a newline, so that it has no zero byte
    zeros       up to a multiple of STEP bytes

The room for frames is reserved in steps, so the file never ends within a frame: one that does was cut. What was
being written when the machine stopped is told from damage by its zeros: it is the last frame, and parts of it are
still the zeros of the reserved room. It was never acknowledged and is dropped.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"trimtab-local-state "
VERSION = 1
STEP = 4 * 1024 * 1024  # bytes
_HEAD = struct.Struct("<III")
_PAIR = struct.Struct("<II")
_SECTOR = 512  # bytes that a disk writes as one


class DamagedError(Exception):
    """The file is not what was written. `offset` is where in bytes, `why` says how it shows."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(f"at byte {offset}: {why}")


@dataclass(frozen=True, slots=True)
class Frame:
    """A payload and the offset behind it."""

    payload: bytes
    end: int


def opening() -> bytes:
    return MAGIC + b"%d\n" % VERSION


def framed(payload: bytes) -> bytes:
    """A frame around one or more lines."""
    pair = _PAIR.pack(len(payload), zlib.crc32(payload))
    return pair + struct.pack("<I", zlib.crc32(pair)) + payload


def padding(size: int) -> int:
    """How many zeros bring a file of `size` bytes to a multiple of STEP."""
    return -size % STEP


def frames_of(data: bytes) -> Iterator[Frame]:
    """The frames of a file's content, in order.

    Raises:
        DamagedError: It is no such file, of another version, cut, or changed.
    """
    at = _after_opening(data)
    while at < len(data):
        head = data[at : at + _HEAD.size]
        if not any(head):
            break
        found = _frame(data, at, head)
        if found is None:
            return
        yield found
        at = found.end
    if _nonzero(data, at):
        raise DamagedError(at, "a frame is missing, but more follows")
    if at > len(data) - len(data) % STEP:  # a crash while room is reserved leaves odd sizes, but no frame there
        raise DamagedError(len(data), "the file was cut")


def _after_opening(data: bytes) -> int:
    line, newline, _ = data[:64].partition(b"\n")
    if not newline or not line.startswith(MAGIC):
        raise DamagedError(0, f"it does not begin with {MAGIC.decode()!r}")
    if line != opening().rstrip(b"\n"):
        found = line.removeprefix(MAGIC).decode("ascii", "replace")
        raise DamagedError(0, f"its format has version {found!r}, and this release reads version {VERSION}")
    return len(line) + 1


def _frame(data: bytes, at: int, head: bytes) -> Frame | None:
    """The frame at an offset; None where it was never completed."""
    start = at + _HEAD.size
    if len(head) < _HEAD.size:
        raise DamagedError(at, "the file ends within a frame")
    length, payload_sum, head_sum = _HEAD.unpack(head)
    if zlib.crc32(head[: _PAIR.size]) != head_sum:
        if not _nonzero(data, start):
            return None
        raise DamagedError(at, "the checksum of a frame's head does not match")
    end = start + length
    if end > len(data):
        raise DamagedError(at, "the file ends within a frame")
    payload = data[start:end]
    if zlib.crc32(payload) == payload_sum:
        return Frame(payload, end)
    if _unfinished(data, start, end):
        return None
    raise DamagedError(at, "the checksum of a frame does not match")


def _unfinished(data: bytes, start: int, end: int) -> bool:
    """Whether the last frame of the file has a hole of zeros: its end, or whole sectors of it."""
    if _nonzero(data, end):
        return False
    if data[end - 1] == 0:
        return True
    first = -(-start // _SECTOR) * _SECTOR
    return any(not any(data[at : at + _SECTOR]) for at in range(first, end - _SECTOR + 1, _SECTOR))


def _nonzero(data: bytes, at: int) -> bool:
    """Whether anything but zeros stands from an offset on."""
    return data.count(0, at) != len(data) - min(at, len(data))
