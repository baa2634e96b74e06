"""Attempts that a replica did not answer, kept beyond the server that counted them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from trimtab.planning.traffic import revision_of
from trimtab.workloads.gateway.observed import Observed


class Failures:
    """Adds up what servers count; a replica that dies of its requests takes its counters along."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, int]] = {}
        self._totals: Counter[str] = Counter()

    def seen(self, observed: Observed) -> None:
        """Take in what HAProxy says of all slots or some; a count that fell is a server's that was added anew."""
        for slot, state in observed.slots.items():
            before = self._last.get(slot, {})
            self._last[slot] = now = {name: server.failures for name, server in state.servers.items()}
            for name, count in now.items():
                last = before.get(name, 0)
                if count != last:
                    self._totals[revision_of(name)] += count - last if count > last else count

    @property
    def totals(self) -> Mapping[str, int]:
        """Return failed attempts by revision, since this object was made."""
        return self._totals
