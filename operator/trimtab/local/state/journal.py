"""Writes become durable in groups: while one group is on its way to the disk, the next one gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from trimtab.local.objects import Object
from trimtab.local.state.file import StateFile
from trimtab.local.state.frames import framed
from trimtab.local.statuses import ApiError

log = structlog.get_logger(__name__)

_GATHER_S = 0.002  # at most; on a slow disk whoever was just answered gets this long to come into the next group
_NOT_WORTH_S = 0.0002

Everything = Callable[[], Iterable[tuple[str, Object]]]
"""All objects as they are now, with their resources."""
Waiting = list[asyncio.Future[None]]


class Journal:
    """Keeps the state file in step with the store.

    The store's objects run ahead of the file by what is on its way; nobody outside of the process may learn of a
    version before `durable` has returned for it. Called on the event loop's thread.
    """

    def __init__(self, path: Path, network: int, *, compact_at: int = 64 * 1024 * 1024) -> None:
        """`compact_at`: bytes of changes after which the file is written anew, if they outweigh its snapshot."""
        self._path = path
        self._network = network
        self._compact_at = compact_at
        self._everything: Everything
        self._file: StateFile | None = None
        self._writer = ThreadPoolExecutor(1, "state")
        self._durable = 0
        self._noted = 0
        self._lines: list[bytes] = []
        self._gather_s = 0.0
        self._changes = 0  # bytes written since the last snapshot was taken
        self._leaving = 0  # the newest version of the group that is on its way
        self._waiting: tuple[Waiting, Waiting] = [], []  # for the group on its way, and for the next
        self._flushing: asyncio.Task[None] | None = None
        self._compacting: asyncio.Task[None] | None = None
        self._failure: ApiError | None = None

    def begin(self, version: int, everything: Everything) -> None:
        """Write the state as it is into a fresh file, in place of the old one. Raises OSError."""
        self._everything = everything
        self._durable = self._noted = version
        fresh = StateFile.written(self._path, self._network, version, everything())
        fresh.install(self._path)
        self._file = fresh

    def note(self, version: int, line: bytes) -> None:
        """Take a change in; it is written in the next turn of the loop or, if a group is on its way, after that."""
        if self._failure is not None:
            return
        self._noted = version
        self._lines.append(line)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), name="state")

    async def durable(self, version: int) -> None:
        """Wait until everything up to a version outlasts a crash.

        Raises:
            ApiError: 500 when the state cannot be written any more.
        """
        if self._failure is not None:
            raise self._failure
        if version <= self._durable:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting[version > self._leaving].append(future)
        await future

    async def close(self) -> None:
        """Write what is left and close the file."""
        for task in (self._flushing, self._compacting):
            if task is not None:
                await asyncio.gather(task, return_exceptions=True)
        self._writer.shutdown()
        if self._file is not None:
            self._file.close()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._lines:
                if self._gather_s > _NOT_WORTH_S:
                    # Else clients fall into two halves that wait for each other's groups, at half the rate.
                    await asyncio.sleep(self._gather_s)
                frame, version = framed(b"".join(self._lines)), self._noted
                self._lines = []
                self._leaving, self._waiting = version, (self._waiting[1], [])
                snapshot = self._due_snapshot()
                began = loop.time()
                since = await loop.run_in_executor(self._writer, self._append, frame)
                self._durable = version
                many = len(self._waiting[0]) > 1
                self._gather_s = min(_GATHER_S, (loop.time() - began) / 4) if many else 0.0
                for future in self._waiting[0]:
                    if not future.done():
                        future.set_result(None)
                if snapshot is not None:
                    compacting = self._compact(version, snapshot, since)
                    self._compacting = loop.create_task(compacting, name="state compaction")
        except OSError as error:
            self._fail(error)
        finally:
            self._flushing = None

    def _append(self, frame: bytes) -> int:
        """Write to the file of now: one that took over may have been ahead in the writer's queue."""
        self._changes += len(frame)
        return self._present.append(frame)

    @property
    def _present(self) -> StateFile:
        if self._file is None:
            raise RuntimeError("the journal has not begun")
        return self._file

    def _fail(self, error: OSError) -> None:
        """What the store holds is no longer what the file says: from here on nothing is answered."""
        log.error("state.failed", path=str(self._path), error=str(error))
        text = (
            f"Internal error occurred: the state file {self._path} cannot be written: {error.strerror or error}; "
            "make room there and start the cluster again"
        )
        self._failure = ApiError(500, "InternalError", text, {"causes": [{"message": str(error)}]})
        for future in (*self._waiting[0], *self._waiting[1]):
            if not future.done():
                future.set_exception(self._failure)

    def _due_snapshot(self) -> list[tuple[str, Object]] | None:
        """The state with the group that is about to be written, if it is time to write the file anew."""
        if self._compacting is not None or self._changes < max(self._compact_at, self._present.base):
            return None
        self._changes = 0
        return list(self._everything())

    async def _compact(self, version: int, snapshot: list[tuple[str, Object]], since: int) -> None:
        """Write a snapshot beside the file, while the file goes on; then let it take over what came after `since`."""
        loop = asyncio.get_running_loop()
        try:
            fresh = await asyncio.to_thread(StateFile.written, self._path, self._network, version, snapshot)
        except OSError as error:
            log.warning("state.not_compacted", path=str(self._path), error=str(error))
            self._compacting = None
            return
        try:
            await loop.run_in_executor(self._writer, self._take_over, fresh, since)
            log.info("state.compacted", path=str(self._path), bytes=fresh.base)
        except OSError as error:
            self._fail(error)
        self._compacting = None

    def _take_over(self, fresh: StateFile, since: int) -> None:
        old = self._present
        fresh.copy(old, since)
        fresh.install(self._path)
        self._file = fresh
        old.close()
