"""The state file on disk: reading it, writing it anew, appending to it. Everything here blocks."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from trimtab.errors import Stalled
from trimtab.local.encodings import to_json
from trimtab.local.objects import Object
from trimtab.local.state import records
from trimtab.local.state.frames import DamagedError, framed, frames_of, opening, padding
from trimtab.local.state.records import Saved

NAME = "state.log"
_CHUNK = 1024 * 1024  # bytes of a snapshot that are written at once


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a folder's state; the kernel lets go when the process ends, however that happens.

    Raises:
        Stalled: Another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{NAME}.lock").open("w") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"the state in {directory} is in use by another process; end that cluster, or give another folder"
            raise Stalled("StateInUse", message) from None
        yield


def read(path: Path) -> Saved | None:
    """The state that a file holds, None where there is none.

    Raises:
        Stalled: The file is damaged, or it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Stalled("StateUnreadable", f"the state file {path} cannot be read: {error.strerror}") from error
    try:
        return records.replayed(frames_of(data))
    except DamagedError as error:
        message = (
            f"the state file {path} cannot be used: {error}. Put a copy of it back that is whole, or move it away to "
            f"begin with an empty cluster: mv {path} {path}.damaged"
        )
        raise Stalled("StateDamaged", message) from None


class StateFile:
    """The file of a running cluster. One thread at a time may call it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = 0  # where the next frame goes
        self.base = 0  # how much of it is the snapshot
        self._room = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._synchronous = os.open(path, os.O_WRONLY | os.O_DSYNC)

    @classmethod
    def written(cls, path: Path, network: int, version: int, objects: Iterable[tuple[str, Object]]) -> StateFile:
        """A file with a snapshot, on its way to `path`: `install` puts it there. Raises OSError."""
        found = cls(path.with_name(f"{path.name}.new"))
        try:
            found._snapshot(network, version, list(objects))
        except BaseException:
            found.close()
            found.path.unlink(missing_ok=True)
            raise
        return found

    def _snapshot(self, network: int, version: int, objects: list[tuple[str, Object]]) -> None:
        self._write(self._descriptor, opening())
        piece = [records.head(network, version, len(objects))]
        size = 0
        for resource, obj in objects:
            piece.append(records.put(resource, to_json(obj)))
            size += len(piece[-1])
            if size > _CHUNK:
                self._write(self._descriptor, framed(b"".join(piece)))
                os.fdatasync(self._descriptor)
                piece, size = [], 0
        if piece:
            self._write(self._descriptor, framed(b"".join(piece)))
        os.fsync(self._descriptor)
        self.base = self.end

    def append(self, frame: bytes) -> int:
        """Write a frame so that it outlasts a loss of power; returns the offset behind it. Raises OSError.

        One system call, as a thread has to wait for the interpreter after each.
        """
        self._write(self._synchronous, frame)
        return self.end

    def _write(self, descriptor: int, data: bytes) -> None:
        end = self.end + len(data)
        if end > self._room:
            room = end + padding(end)
            os.posix_fallocate(self._descriptor, self._room, room - self._room)
            self._room = room
        view = memoryview(data)
        at = self.end
        while view:
            count = os.pwrite(descriptor, view, at)
            view, at = view[count:], at + count
        self.end = end

    def copy(self, other: StateFile, since: int) -> None:
        """Take over what another file took in from offset `since` on. Raises OSError."""
        while piece := other.piece(since):
            self._write(self._descriptor, piece)
            since += len(piece)
        os.fsync(self._descriptor)

    def piece(self, at: int) -> bytes:
        """Some of the frames from an offset on; empty at the end."""
        return os.pread(self._descriptor, min(_CHUNK, self.end - at), at)

    def install(self, path: Path) -> None:
        """Take the place of the file at `path`. Raises OSError."""
        self.path.replace(path)
        self.path = path
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        os.close(self._descriptor)
        os.close(self._synchronous)
