"""What happened to capacity lately: heard once, told to the pools and to every model that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from trimtab.api.status import CapacityPoolStatus
from trimtab.planning import zonememory, zones
from trimtab.planning.windows import elapsed
from trimtab.planning.zones import CapacityEvent, ZoneState


class CapacityEvents:
    """Events of the last hour, each once however often it is delivered; times in seconds."""

    def __init__(self) -> None:
        self.known = ZoneState()
        """What the events say about the zones."""
        self.by_pool: dict[str, ZoneState] = {}
        """The same for the events of each pool alone."""
        self._recent: list[tuple[float, CapacityEvent]] = []
        self._told: tuple[CapacityEvent, ...] = ()
        self._recalled: set[str] = set()

    def note(self, event: CapacityEvent, now: float) -> bool:
        """Count an event; return whether it is new."""
        if self.known.has_seen(event):
            return False
        self.known = zones.with_event(self.known, event, now)
        if event.pool:
            before = self.by_pool.get(event.pool, ZoneState())
            self.by_pool[event.pool] = zones.with_event(before, event, now)
        self._recent = [*self._recent[-(zones.MEMORY_EVENTS - 1) :], (now, event)]
        self._told = tuple(event for _, event in self._recent)
        return True

    def recall(self, pool: str, status: Mapping[str, Any]) -> None:
        """Take over what an earlier operator wrote of a pool, once; what cannot be read is forgotten."""
        if pool in self._recalled:
            return
        self._recalled.add(pool)
        try:
            found = zonememory.read(CapacityPoolStatus.model_validate(status), pool)
        except ValidationError:
            return
        if found != ZoneState():
            self.by_pool[pool] = zonememory.merged([found, self.by_pool.get(pool, ZoneState())])
            self.known = zonememory.merged([found, self.known])

    def recent(self, now: float) -> tuple[CapacityEvent, ...]:
        """Return the events, the oldest first: a model's split counts each once, whenever it hears of it.

        The same tuple until there is another event, or one is an hour old.
        """
        if self._recent and elapsed(self._recent[0][0], now) >= zones.MEMORY_S:
            self._recent = [entry for entry in self._recent if elapsed(entry[0], now) < zones.MEMORY_S]
            self._told = tuple(event for _, event in self._recent)
        return self._told
