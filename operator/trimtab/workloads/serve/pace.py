"""How long runs take, and what follows: when to come again, which need no thread, what running together saves."""

from __future__ import annotations

import math
from collections import deque

_SMOOTHING = 0.1  # of the measured time of a run
_LONGEST_RETRY_S = 30
_SHORT_S = 0.001  # as long as reading a large request may hold up the loop
_RECENT = 7  # runs, whose median does not mind that the machine did something else for a moment


class Pace:
    """What the runs of one engine have taken so far; seconds."""

    def __init__(self) -> None:
        self.run_s = 0.0
        """From the start of a run to its end on the loop."""
        self._row_s = 0.0
        # Both by the length of the number of rows in bits.
        self._recent: dict[int, deque[tuple[float, int]]] = {}
        self._short: set[int] = set()
        self.fixed_s = 0.0
        """What a run takes whatever its rows; two runs that become one save it. 0 where it is not known."""

    def retry_after_s(self, rows: int) -> int:
        """Return whole seconds after which so many rows will have run."""
        return min(_LONGEST_RETRY_S, max(1, math.ceil(rows * self._row_s)))

    def is_short(self, rows: int) -> bool:
        """Whether the loop can spare the time for a run with so many rows: others of about that size were short."""
        return rows.bit_length() in self._short

    def ran(self, rows: int, seconds: float) -> None:
        """Learn what a run took, there and back."""
        self.run_s += (seconds - self.run_s) * (_SMOOTHING if self.run_s else 1)
        self._row_s += (seconds / max(1, rows) - self._row_s) * (_SMOOTHING if self._row_s else 1)

    def engine_took(self, rows: int, seconds: float) -> None:
        """Learn what the engine itself took."""
        size = rows.bit_length()
        recent = self._recent.setdefault(size, deque(maxlen=_RECENT))
        recent.append((seconds, rows))
        if len(recent) == _RECENT and _median(recent)[0] < _SHORT_S:
            self._short.add(size)
        else:
            self._short.discard(size)
            self._fit()

    def new_engine(self) -> None:
        """Forget which runs were short."""
        self._recent.clear()
        self._short.clear()
        self.fixed_s = 0.0

    def _fit(self) -> None:
        """Draw a line through the smallest and the largest runs."""
        (few_s, few), (many_s, many) = (
            _median(self._recent[min(self._recent)]),
            _median(self._recent[max(self._recent)]),
        )
        if many > few:
            per_row_s = max(0.0, many_s - few_s) / (many - few)
            self.fixed_s = max(0.0, few_s - per_row_s * few)


def _median(runs: deque[tuple[float, int]]) -> tuple[float, int]:
    return sorted(runs)[len(runs) // 2]
