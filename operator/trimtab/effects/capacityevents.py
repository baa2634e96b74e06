"""What happened to capacity lately: heard once, told to the pools and to every model that uses them."""

from __future__ import annotations

from trimtab.planning import zones
from trimtab.planning.windows import elapsed
from trimtab.planning.zones import CapacityEvent, ZoneState


class CapacityEvents:
    """Events of the last hour, each once however often it is delivered; times in seconds."""

    def __init__(self) -> None:
        self.known = ZoneState()
        """What the events say about the zones."""
        self._recent: list[tuple[float, CapacityEvent]] = []

    def note(self, event: CapacityEvent, now: float) -> bool:
        """Count an event; return whether it is new."""
        if self.known.has_seen(event):
            return False
        self.known = zones.with_event(self.known, event, now)
        self._recent = [entry for entry in self._recent if elapsed(entry[0], now) < zones.MEMORY_S]
        self._recent = [*self._recent[-(zones.MEMORY_EVENTS - 1) :], (now, event)]
        return True

    def recent(self) -> tuple[CapacityEvent, ...]:
        """Return the events, the oldest first: a model's split counts each once, whenever it hears of it."""
        return tuple(event for _, event in self._recent)
