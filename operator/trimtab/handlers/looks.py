"""How long looks at a model take: counted in the operator, told to Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

_NAME = "trimtab_operator_reconcile_seconds"
_BOUNDS = tuple(0.00025 * 2 ** (step / 2) for step in range(37))  # seconds, up to 65


class Looks:
    """A histogram of the times that reconciles took, since the operator started."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def note(self, seconds: float) -> None:
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def text(self) -> str:
        """Return the histogram in Prometheus' text format."""
        below = list(accumulate(self._counts))
        bounds = [*(f"{bound:.6g}" for bound in _BOUNDS), "+Inf"]
        return "\n".join(
            [
                f"# HELP {_NAME} Time of one look at a model or at the pools.",
                f"# TYPE {_NAME} histogram",
                *(f'{_NAME}_bucket{{le="{bound}"}} {count}' for bound, count in zip(bounds, below, strict=True)),
                f"{_NAME}_sum {self._seconds:.6f}",
                f"{_NAME}_count {below[-1]}",
                "",
            ]
        )
