"""How far a run is: one JSON object per line, each a Progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trimtab.api.runs import Progress

_TICK_S = 0.5  # more lines tell nobody more, and the operator reads a tail of the log
_TRUST_PERCENT = 10  # before this process did that much of what it has to do, a forecast is a guess


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run and the share of its time that it is expected to take."""

    title: str
    weight: float


class Reporter:
    """Turns stages and ticks into Progress lines; time and output are passed in."""

    def __init__(self, stages: Sequence[Stage], emit: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._stages = list(stages)
        self._emit = emit
        self._clock = clock
        self._started = clock()
        self._index = -1
        self._last = -1.0
        self._elsewhere = 0.0

    def begin(self, index: int) -> None:
        """Say that stage `index` (from 0) begins; stages that are passed over were done by an earlier pod."""
        self._elsewhere += sum(stage.weight for stage in self._stages[self._index + 1 : index])
        self._index = index
        self._write(0.0, "")

    def resumed(self, done: float) -> None:
        """Say that an earlier pod did so much of this stage, 0 to 1: it tells nothing about the speed of this one."""
        self._elsewhere += self._stages[self._index].weight * done
        self._write(done, "resumed")

    def tick(self, done: float, detail: str) -> None:
        """Say how much of the stage is done, 0 to 1; dropped when the last line is fresh."""
        if self._clock() - self._last >= _TICK_S:
            self._write(done, detail)

    def _write(self, done: float, detail: str) -> None:
        self._last = self._clock()
        total = sum(stage.weight for stage in self._stages)
        before = sum(stage.weight for stage in self._stages[: self._index])
        share = (before + self._stages[self._index].weight * min(max(done, 0.0), 1.0)) / total
        percent = min(int(share * 100), 99)
        elapsed = self._last - self._started
        here = share - self._elsewhere / total
        trusted = here * 100 >= _TRUST_PERCENT * (1 - self._elsewhere / total)
        line = Progress(
            step=self._stages[self._index].title,
            index=self._index + 1,
            steps=len(self._stages),
            percent=percent,
            remaining_seconds=round(elapsed * (1 - share) / here) if trusted else None,
            detail=detail,
        )
        self._emit(line.model_dump_json(by_alias=True, exclude_none=True))
