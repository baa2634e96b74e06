"""Processes of containers: started in a session of their own, watched without threads or polling."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trimtab.local.agent.descriptors import Inlet

MARKER = "TRIMTAB_LOCAL_CONTAINER"  # environment variable by which every descendant can be found
_PR_SET_PDEATHSIG = 1
_DRAIN_S = 1.0  # how long to read on after the end, for output that is still in the pipe
# A cluster in the background ignores these, and what is ignored would be so in every container.
_DEFAULTS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
_libc = ctypes.CDLL(None, use_errno=True)


class StartError(OSError):
    """The command could not be started; the message names it."""


def _prepare(parent: int, *, terminal: bool) -> Callable[[], None]:
    """Run in the child: the kernel kills it when the cluster's process dies, however that happens."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(137)
        for number in _DEFAULTS:
            signal.signal(number, signal.SIG_DFL)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the session is new; its terminal is the one on stdin

    return prepare


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    terminal: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; a `terminal` on stdin becomes its controlling one.

    Raises:
        StartError: There is no such command, or it may not be run.
    """
    if not argv:
        msg = "no command: the image stands for none here, so the container needs `command`"
        raise StartError(msg)
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_prepare(os.getpid(), terminal=terminal),  # noqa: PLW1509 - nothing in it waits for a lock
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise StartError(_why_not_started(argv, cwd, error)) from error


def set_window(fd: int, columns: int, rows: int) -> None:
    """Tell a terminal its size; whoever reads from it gets SIGWINCH."""
    size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, size)


class Process:
    """One running command. Whoever starts it awaits `wait`."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        output: Callable[[bytes], None],
        *,
        whole_container: bool = True,
        stdin: bool = False,
        terminal: bool = False,
    ) -> None:
        """Start `argv`; what it writes to stdout and stderr goes to `output`, in order.

        A `whole_container` takes everything that carries the same marker along when it ends; a probe
        or a hook inside a container does not. With `stdin` or a `terminal` there is an `inlet`.

        Raises:
            StartError: There is no such command, or it may not be run.
        """
        self._loop = asyncio.get_running_loop()
        self._output = output
        self._ended = asyncio.Event()
        self._drained = asyncio.Event()
        self._marker = env.get(MARKER, "") if whole_container else ""
        self.inlet: Inlet | None = None
        self._terminal = terminal
        self._popen = self._start_on_terminal(argv, env, cwd) if terminal else self._start(argv, env, cwd, stdin)
        self.pid = self._popen.pid
        os.set_blocking(self._read_end, False)
        self._loop.add_reader(self._read_end, self._read)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def _start(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, stdin: bool) -> subprocess.Popen[bytes]:
        self._read_end, write_end = os.pipe2(os.O_CLOEXEC)
        source, self._input_end = os.pipe2(os.O_CLOEXEC) if stdin else (subprocess.DEVNULL, -1)
        try:
            popen = spawn(argv, env, cwd, stdin=source, stdout=write_end, stderr=write_end)
        except StartError:
            os.close(self._read_end)
            if stdin:
                os.close(self._input_end)
            raise
        finally:
            os.close(write_end)
            if stdin:
                os.close(source)
        if stdin:
            self.inlet = Inlet(self._input_end)
        return popen

    def _start_on_terminal(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.Popen[bytes]:
        self._read_end, slave = os.openpty()
        try:
            popen = spawn(argv, env, cwd, stdin=slave, stdout=slave, stderr=slave, terminal=True)
        except StartError:
            os.close(self._read_end)
            raise
        finally:
            os.close(slave)
        self.inlet = Inlet(os.dup(self._read_end))
        return popen

    def resize(self, columns: int, rows: int) -> None:
        """Tell the process how large its terminal is; without one nothing happens."""
        if self._terminal and self._read_end >= 0:
            set_window(self._read_end, columns, rows)

    @property
    def running(self) -> bool:
        """Whether the first process still runs."""
        return not self._ended.is_set()

    async def ended(self) -> None:
        """Wait for the end of the first process only."""
        await self._ended.wait()

    async def wait(self) -> int:
        """The exit code, 128 + n for signal n; afterwards nothing of the container runs any more."""
        await self._ended.wait()
        # A container ends with its first process; what it left behind goes as well.
        self._signal_group(signal.SIGKILL)
        kill_marked(self._marker)
        # No wait_for: before Python 3.12 it forgets a cancellation that comes together with the result.
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._drained.wait()
        except TimeoutError:
            pass  # something that it left behind holds the other end open
        finally:
            self._close_output()
        code = self._popen.returncode
        return 128 - code if code < 0 else code

    def terminate(self) -> None:
        """Ask the first process to end, as a container runtime does."""
        if self.running:
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End everything of the container now."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _read(self) -> None:
        try:
            data = os.read(self._read_end, 65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal that nobody has open any more
        if data:
            self._output(data)
        else:
            self._close_output()

    def _close_output(self) -> None:
        if self._read_end >= 0:
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1
            self._drained.set()
            if self.inlet is not None:
                self.inlet.close()

    def _reap(self) -> None:
        if self._popen.poll() is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set()


def kill_marked(prefix: str) -> int:
    """Kill every process whose environment carries a marker with that prefix; returns how many.

    Finds what left its session (daemons) and so is out of the reach of a signal to the group.
    """
    if not prefix:
        return 0
    wanted = f"{MARKER}={prefix}".encode()
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(v.startswith(wanted) for v in (entry / "environ").read_bytes().split(b"\0")):
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    return killed


def _why_not_started(argv: Sequence[str], cwd: Path, error: Exception) -> str:
    if not cwd.is_dir():
        return f"workingDir {str(cwd)!r} is not a directory on this machine"
    if isinstance(error, FileNotFoundError):
        return f'exec: "{argv[0]}": executable file not found in $PATH of this machine'
    return f'exec: "{argv[0]}": {error}'
