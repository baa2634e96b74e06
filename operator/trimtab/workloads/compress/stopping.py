"""A run that is told to stop ends at the next batch or step, not in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


class Interrupted(BaseException):
    """SIGTERM or SIGINT came. No Exception: nothing on the way may mistake it for a failure."""


class GroupEnded(BaseException):
    """Another worker of the run is gone, or was told to stop. No Exception, as `Interrupted` is none."""


class Stop:
    """Remembers that the run shall end; `check` is called between batches."""

    def __init__(self) -> None:
        self._asked = Event()

    def ask(self) -> None:
        self._asked.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until the run is asked to end, at most so long."""
        self._asked.wait(seconds)

    def check(self) -> None:
        """Raise Interrupted once the run was asked to end."""
        if self.asked:
            raise Interrupted


class OutOfTime(BaseException):
    """What was begun took longer than it may. No Exception, as `Interrupted` is none."""


class TimeLimit(Stop):
    """Looks at another Stop, and at the time; `clock` tells seconds."""

    def __init__(self, outer: Stop, clock: Callable[[], float], seconds: float) -> None:
        super().__init__()
        self._outer, self._clock, self._end = outer, clock, clock() + seconds

    @property
    def asked(self) -> bool:
        return self._outer.asked

    def wait(self, seconds: float) -> None:
        """Wait until the run is asked to end, at most so long."""
        self._outer.wait(seconds)

    def check(self) -> None:
        """Raise Interrupted once the run was asked to end, OutOfTime once the time is up."""
        self._outer.check()
        if self._clock() >= self._end:
            raise OutOfTime


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Give a Stop that SIGTERM and SIGINT ask; the former handlers come back at the end."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.ask()

    former = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
