"""A search in a process of its own: one that takes all memory, or is ended by a library's crash, costs a trial.

The journal of the search tells the next process which trial was not finished; the second death in it ends that trial,
not the run. What runs is forked before torch is imported: a process that has threads of OpenMP cannot be.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

MOST_STARTS = 12
"""Of the process; each trial that kills it does so twice."""
SHARE = 0.9
"""Of the container's memory that the process may take: at all of it, the kernel ends both, and there is no word."""
_ASKING = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 0.2  # how often its memory is looked at
_PR_SET_PDEATHSIG = 1
_UNLIMITED = 2**62  # cgroup v1 says no limit with a number near this
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended that was not asked to."""

    number: int
    """The signal."""
    for_memory: bool
    """Whether it was ended for the memory that it took."""


def supervise(run: Callable[[], int], limit: int | None, gave_up: Callable[[Death], int]) -> int:
    """Return the exit code of `run`, carried out in a child that is started again when it dies.

    SIGTERM and SIGINT go on to the child, which is not started again then. `limit` is in bytes of memory; None does not
    look. `gave_up` tells the code after too many deaths.
    """
    asked: list[int] = []
    for start in range(1, MOST_STARTS + 1):
        with _signals_go_on(asked) as began:
            child = os.fork()
            if child == 0:
                _be_child(run)
            began(child)
            for_memory = _watch(child, limit)
            status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        death = Death(os.WTERMSIG(status), for_memory)
        if asked:
            return 128 + death.number
        log.warning("search.died", signal=death.number, for_memory=for_memory, start=start)
    return gave_up(death)


def _be_child(run: Callable[[], int]) -> None:
    """Carry out the run and leave without what the parent's interpreter does at its end."""
    code = 1
    try:
        for number in _ASKING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKING)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody would take the result
        code = run()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def _signals_go_on(asked: list[int]) -> Iterator[Callable[[int], None]]:
    """Pass signals on to the process that the yielded function is told; until then they wait."""
    children: list[int] = []

    def go_on(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)
        with suppress(ProcessLookupError):  # it ended in this moment
            os.kill(children[0], number)

    def began(child: int) -> None:
        children.append(child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKING)

    signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING)
    former = {number: signal.signal(number, go_on) for number in _ASKING}
    try:
        yield began
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _watch(child: int, limit: int | None) -> bool:
    """Wait for the end of a child; return whether it was ended for its memory."""
    handle = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while not poll.poll(_LOOK_S * 1000 if limit is not None else None):
            if limit is not None and taken(child) > SHARE * limit:
                log.warning("search.too_large", bytes=taken(child), limit=limit)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                poll.poll()
                return True
        return False
    finally:
        os.close(handle)


def taken(process: int, root: Path = Path("/")) -> int:
    """Return the bytes of memory that only this process holds; 0 when it is gone."""
    try:
        lines = (root / f"proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the bytes that this container may take, of cgroup v2 or v1; None where nothing is said."""
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            told = (root / name).read_text().strip()
        except OSError:
            continue
        if told.isdigit() and int(told) < _UNLIMITED:
            return int(told)
    return None
