"""That objects which wait for each other's index are woken once, and all of them."""

import asyncio

from kopf._cogs.aiokits import aiotoggles
from kopf._core.reactor import orchestration

from trimtab.handlers import toggles


async def test_who_waits_is_woken_when_the_state_changes() -> None:
    """Not by each of the others, however many there are."""
    looks = 0

    def every(states) -> bool:
        nonlocal looks
        looks += 1
        return all(states)

    found = toggles.CalmSet(every)
    made = [await found.make_toggle(name=str(number)) for number in range(100)]
    waiting = [asyncio.create_task(found.wait_for(True)) for _ in range(100)]
    await asyncio.sleep(0)
    for toggle in made[:-1]:
        await found.drop_toggle(toggle)
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await found.drop_toggle(made[-1])
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)
    assert looks < 1000  # a hundred times a hundred otherwise
    again = asyncio.create_task(found.wait_for(False))
    await asyncio.sleep(0)
    await found.make_toggle()
    async with asyncio.timeout(60):
        await again
    await found.make_toggle(True)
    assert found.is_off()


def test_kopf_looks_for_its_sets_there(monkeypatch) -> None:
    """Where it does no longer, starting with thousands of models takes minutes again."""
    monkeypatch.setattr(aiotoggles, "ToggleSet", aiotoggles.ToggleSet)
    toggles.spare_wakes()
    assert orchestration.aiotoggles.ToggleSet is toggles.CalmSet
