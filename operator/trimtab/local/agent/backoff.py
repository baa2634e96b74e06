"""How long a container that ended waits before it starts again."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 10.0
LONGEST_S = 300.0
FORGOTTEN_AFTER_S = 600.0  # a container that ran this long starts over with no back-off


@dataclass(frozen=True, slots=True)
class BackOff:
    """The back-off of one container: the first restart is at once, then 10 s, doubling to 5 min.

    `scale` multiplies every wait, for tests and demonstrations.
    """

    restarts: int = 0
    scale: float = 1.0

    def after_run(self, ran_for_s: float) -> tuple[float, BackOff]:
        """Seconds to wait now, and the back-off after that."""
        restarts = 0 if ran_for_s >= FORGOTTEN_AFTER_S else self.restarts
        wait = 0.0 if restarts == 0 else min(LONGEST_S, FIRST_S * 2 ** (restarts - 1))
        return wait * self.scale, BackOff(restarts + 1, self.scale)

    def unscaled(self, wait_s: float) -> float:
        """What the wait would be without the scale, as messages have it."""
        return wait_s / self.scale if self.scale else 0.0


def go_seconds(seconds: float) -> str:
    """A length of time as Go writes it: 10s, 2m40s, 5m0s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
