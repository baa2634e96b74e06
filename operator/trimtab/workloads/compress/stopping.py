"""A run that is told to stop ends at the next batch or step, not in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


class Interrupted(BaseException):
    """SIGTERM or SIGINT came. No Exception: nothing on the way may mistake it for a failure."""


class Stop:
    """Remembers that the run shall end; `check` is called between batches."""

    def __init__(self) -> None:
        self._asked = Event()

    def ask(self) -> None:
        self._asked.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def check(self) -> None:
        """Raise Interrupted once the run was asked to end."""
        if self.asked:
            raise Interrupted


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
