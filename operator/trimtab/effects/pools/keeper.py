"""One task per pool of a cloud: looks at its group, and brings it to the size that was ordered last."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from trimtab.api.capacity import CapacityPool
from trimtab.effects.pools.provider import Provider, ProviderError
from trimtab.planning import groups
from trimtab.planning.groups import Group, News, Trouble

log = structlog.get_logger(__name__)

LOOK_S = 10.0
"""Between two looks: Auto Scaling's own limits allow some ten calls a second for a whole account."""
_BACKOFF_FIRST_S, _BACKOFF_LAST_S = 5.0, 120.0


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a pool's group."""

    group: Group | None = None
    """As it was when its provider last answered; None before the first answer."""
    news: News = field(default_factory=News)
    problem: Trouble | None = None
    """Why the provider cannot be asked, or what it refused of the last order."""


class Keeper:
    """Keeps one pool's group. What the provider does not answer in time changes nothing: the next look asks again."""

    def __init__(
        self,
        pool: CapacityPool,
        provider: Provider,
        clock: Callable[[], float],
        changed: Callable[[], None],
        may_change: Callable[[], bool],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`clock` in Unix seconds; `changed` is called after each look that found something else than the last.

        `may_change` is asked before each change: another operator may keep this group by now.
        """
        self.pool = pool
        self.report = Report()
        self.joined: frozenset[str] = frozenset()
        """Instances that are Ready nodes."""
        self._provider = provider
        self._clock = clock
        self._changed = changed
        self._may_change = may_change
        self._jitter = jitter
        self._ordered: tuple[int, tuple[str, ...]] | None = None
        self._woken = asyncio.Event()
        self._failures = 0

    @property
    def resizable(self) -> bool:
        """Whether the group takes orders."""
        return self._provider.resizable

    def order(self, size: int, victims: Collection[str]) -> None:
        """Ask for a size, and for these instances to go; the last order counts, and asking twice is asking once."""
        ordered = (size, tuple(sorted(victims)))
        if ordered != self._ordered:
            self._ordered = ordered
            self._woken.set()

    async def run(self) -> None:
        """Keep the group until cancelled."""
        while True:
            self._woken.clear()
            try:
                wait = await self._round()
            except Exception:
                self._failures += 1
                wait = _wait(self._failures, self._jitter())
                log.exception("pool.look_failed", pool=self.pool.name, retry_seconds=round(wait, 1))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    # A provider that fails is not asked sooner because somebody wants more of it.
                    await (asyncio.Event() if self._failures else self._woken).wait()

    async def _round(self) -> float:
        """Look, and carry the order out; return the seconds until the next look."""
        before = self.report
        group, news, problem = before.group, before.news, None
        try:
            group = await self._provider.look()
            news = groups.news(self.pool, group, self.joined, news.memory, self._clock())
            group, problem = await self._carry_out(group)
        except ProviderError as error:
            problem = Trouble(error.reason, error.message)
        self._failures = self._failures + 1 if problem else 0
        self.report = Report(group, news, problem)
        if problem is not None and problem != before.problem:
            log.warning("pool.refused", pool=self.pool.name, reason=problem.reason, error=problem.message)
        if self.report != before:
            self._changed()
        return _wait(self._failures, self._jitter())

    async def _carry_out(self, group: Group) -> tuple[Group, Trouble | None]:
        """Bring the group to the order; return it as it is then, and what was refused.

        One machine's refusal holds up no other, but whoever is refused is not asked for more in the same look.
        """
        if self._ordered is None or not self._provider.resizable or group.objections:
            return group, None
        size, victims = self._ordered
        made = groups.steps(group, size, victims)
        refused: list[ProviderError] = []
        for victim in made.remove:
            if not self._may_change():
                return group, None
            try:
                await self._provider.remove(victim)
            except ProviderError as error:
                refused.append(error)
                continue
            group = groups.without(group, victim)
            log.info("node.given_back", pool=self.pool.name, instance=victim)
        if refused:
            message = f"{len(refused)} of {len(made.remove)} nodes could not be given back: {refused[-1].message}"
            return group, Trouble(refused[-1].reason, message)
        if made.resize is not None and self._may_change():
            try:
                await self._provider.resize(made.resize)
            except ProviderError as error:
                return group, Trouble(error.reason, error.message)
            log.info("pool.resized", pool=self.pool.name, before=group.desired, desired=made.resize)
            group = replace(group, desired=made.resize)
        return group, None


def _wait(failures: int, jitter: float) -> float:
    """Return the seconds until the next look; failures in a row make it rarer, `jitter` in [0, 1) spreads pools."""
    if not failures:
        return LOOK_S
    return min(_BACKOFF_LAST_S, _BACKOFF_FIRST_S * 2.0 ** min(failures, 16)) / 2 * (1 + jitter)
