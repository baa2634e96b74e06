"""Commands that clients run inside a container, and clients that attach to one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from trimtab.local.agent.descriptors import Inlet, Outlet
from trimtab.local.agent.handlers import Surroundings
from trimtab.local.agent.paths import archive_names
from trimtab.local.agent.processes import Process, StartError, set_window, spawn
from trimtab.local.entering import NotRunnableError, Streams

_LINGER_S = 1.0  # how long after its end a command's output may come from what it left behind
_BACKLOG = 2**20  # bytes that an attached client may be behind


class Execution:
    """One command in a container's surroundings; it ends with its client, and with the container by its marker."""

    def __init__(self, command: Sequence[str], around: Surroundings, streams: Streams) -> None:
        """Start it.

        Raises:
            NotRunnableError: It cannot be started.
        """
        self._ended = asyncio.Event()
        self._outlets: dict[str, Outlet] = {}
        self._inlet: Inlet | None = None
        self._terminal = -1
        # kubectl cp asks tar for paths as they are inside, and expects these names in the archive.
        argv = archive_names(around.command(command), around.mounts)
        env = {**around.env, "TERM": "xterm"} if streams.terminal else around.env
        with contextlib.ExitStack() as theirs:
            try:
                self._popen = self._spawn(argv, env, around, streams, theirs)
            except StartError as error:
                self._close_ends()
                raise NotRunnableError(str(error)) from error
        self._pidfd = os.pidfd_open(self._popen.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def _spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        around: Surroundings,
        streams: Streams,
        theirs: contextlib.ExitStack,
    ) -> subprocess.Popen[bytes]:
        """Open the ends; those of the command are closed here once it has them."""
        if streams.terminal:
            master, slave = os.openpty()
            theirs.callback(os.close, slave)
            self._terminal = master
            self._inlet, self._outlets = Inlet(os.dup(master)), {"stdout": Outlet(master)}
            return spawn(argv, env, around.cwd, stdin=slave, stdout=slave, stderr=slave, terminal=True)
        stdin = subprocess.DEVNULL
        if streams.stdin:
            stdin, mine = os.pipe2(os.O_CLOEXEC)
            theirs.callback(os.close, stdin)
            self._inlet = Inlet(mine)
        ends = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for name, wanted in (("stdout", streams.stdout), ("stderr", streams.stderr)):
            if wanted:
                mine, ends[name] = os.pipe2(os.O_CLOEXEC)
                theirs.callback(os.close, ends[name])
                self._outlets[name] = Outlet(mine)
        return spawn(argv, env, around.cwd, stdin=stdin, stdout=ends["stdout"], stderr=ends["stderr"])

    async def write(self, data: bytes) -> None:
        if self._inlet is not None:
            await self._inlet.write(data)

    def close_input(self) -> None:
        if self._inlet is not None and self._terminal < 0:
            self._inlet.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            set_window(self._terminal, columns, rows)

    def outputs(self) -> Mapping[str, AsyncIterator[bytes]]:
        return {name: outlet.pieces(self._ended, _LINGER_S) for name, outlet in self._outlets.items()}

    async def wait(self) -> int:
        await self._ended.wait()
        code = self._popen.returncode
        return 128 - code if code < 0 else code

    def close(self) -> None:
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._close_ends()

    def _close_ends(self) -> None:
        self._terminal = -1
        if self._inlet is not None:
            self._inlet.close()
        for outlet in self._outlets.values():
            outlet.close()

    def _reap(self) -> None:
        if self._popen.poll() is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set()


class Attachment:
    """A client that sees what a container writes from now on, and may write to what it reads."""

    def __init__(
        self, process: Process, streams: Streams, *, stdin_once: bool, forget: Callable[[Attachment], None]
    ) -> None:
        self._process = process
        self._streams = streams
        self._stdin_once = stdin_once
        self._forget = forget
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._behind = 0
        self._lost = asyncio.Event()

    def show(self, data: bytes) -> None:
        """The container wrote something. A client that is too far behind is let go: the container goes on."""
        self._behind += len(data)
        if self._behind > _BACKLOG:
            self._lost.set()
            self._pieces.put_nowait(b"")
        else:
            self._pieces.put_nowait(data)

    def over(self) -> None:
        """The container has ended, and with it what it wrote."""
        self._pieces.put_nowait(b"")

    async def write(self, data: bytes) -> None:
        if self._streams.stdin and self._process.inlet is not None:
            await self._process.inlet.write(data)

    def close_input(self) -> None:
        if self._stdin_once and self._streams.stdin and self._process.inlet is not None:
            self._process.inlet.close()

    def resize(self, columns: int, rows: int) -> None:
        self._process.resize(columns, rows)

    def outputs(self) -> Mapping[str, AsyncIterator[bytes]]:
        return {"stdout": self._shown()} if self._streams.stdout or self._streams.stderr else {}

    async def _shown(self) -> AsyncIterator[bytes]:
        while data := await self._pieces.get():
            self._behind -= len(data)
            yield data

    async def wait(self) -> int:
        ended, lost = (asyncio.create_task(w) for w in (self._process.ended(), self._lost.wait()))
        try:
            await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            lost.cancel()
        return 0

    def close(self) -> None:
        self.close_input()
        self._forget(self)
