"""Probes: asked again and again, believed after enough answers in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from trimtab.local.agent.handlers import ActionFailedError, Surroundings, act
from trimtab.local.objects import Object


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the answers so far say: `healthy` is None until it is known."""

    healthy: bool | None = None
    streak: int = 0
    last: bool | None = None

    def after(self, answer: bool, successes: int, failures: int) -> Verdict:
        """The verdict after one more answer; it turns only when enough of them agree in a row."""
        streak = self.streak + 1 if answer == self.last else 1
        enough = streak >= (successes if answer else failures)
        return Verdict(answer if enough else self.healthy, streak, answer)


async def watch_probe(
    probe: Object,
    around: Surroundings,
    *,
    delay_s: float,
    believed: Callable[[bool], None],
    failed: Callable[[str], None],
    until_healthy: bool = False,
) -> None:
    """Ask until cancelled, or with `until_healthy` until the first belief in success; the first time after `delay_s`.

    `believed` hears the verdict whenever it is certain; `failed` hears the words of each failure.
    """
    period = float(probe.get("periodSeconds") or 10)
    timeout = float(probe.get("timeoutSeconds") or 1)
    successes = int(probe.get("successThreshold") or 1)
    failures = int(probe.get("failureThreshold") or 3)
    verdict = Verdict()
    await asyncio.sleep(delay_s)
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + period
        try:
            await act(probe, around, timeout)
            answer = True
        except ActionFailedError as error:
            answer = False
            failed(str(error))
        verdict = verdict.after(answer, successes, failures)
        if verdict.healthy is not None and verdict.healthy == answer:
            believed(verdict.healthy)
            if until_healthy and verdict.healthy:
                return
        await asyncio.sleep(max(0.0, due - loop.time()))
