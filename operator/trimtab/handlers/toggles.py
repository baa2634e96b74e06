"""Spares Kopf's start wakes for nothing.

Until every object is indexed each of them waits for all the others, and Kopf (1.45) wakes all that wait whenever one
more was seen or indexed: with 5,000 models 25 million times, minutes in which nobody decides anything. But who waits
for a set of toggles waits for its state, which changes once.
"""

from __future__ import annotations

from collections.abc import Iterable

try:
    from kopf._cogs.aiokits import aiotoggles
except ImportError:  # a later Kopf; without this it starts as it does
    aiotoggles = None  # type: ignore[assignment]

if aiotoggles is not None:

    class CalmSet(aiotoggles.ToggleSet):
        """Wakes those that wait only when its state has changed."""

        async def make_toggle(self, val: bool = False, /, *, name: str | None = None) -> aiotoggles.Toggle:
            toggle = aiotoggles.Toggle(val, name=name, condition=self._condition)
            async with self._condition:
                before = self.is_on()
                self._toggles.add(toggle)
                self._tell(before)
            return toggle

        async def drop_toggle(self, toggle: aiotoggles.Toggle) -> None:
            await self.drop_toggles([toggle])

        async def drop_toggles(self, toggles: Iterable[aiotoggles.Toggle]) -> None:
            async with self._condition:
                before = self.is_on()
                self._toggles.difference_update(toggles)
                self._tell(before)

        def _tell(self, before: bool) -> None:
            if self.is_on() != before:
                self._condition.notify_all()


def spare_wakes() -> None:
    """Have Kopf use such sets from now on."""
    if aiotoggles is not None:
        aiotoggles.ToggleSet = CalmSet  # type: ignore[misc]
