"""A run's request to end, at a place that a test chooses."""

from trimtab.workloads.compress.stopping import Stop


class StopAt(Stop):
    """Asks to stop when it is looked at for the given time, and counts."""

    def __init__(self, look: int | None = None) -> None:
        super().__init__()
        self.looks, self._at = 0, look

    @property
    def asked(self) -> bool:
        self.looks += 1
        if self.looks == self._at:
            self.ask()
        return super().asked
