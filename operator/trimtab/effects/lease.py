"""Holds a Lease (coordination.k8s.io) while the operator works; waits for it while another one does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import structlog

from trimtab.effects.kinds import LEASES
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.errors import NotYet
from trimtab.planning.leadership import Lease, Seen, Terms, claim, may_claim, release, seconds_left, seen

log = structlog.get_logger(__name__)

LEASE = "trimtab-operator"
_RELEASE_SECONDS = 3.0
# Looks are spread, so that candidates that started together do not ask together; the same factor as client-go's.
_JITTER = 1.2


class NotLeading(NotYet):
    """Another operator works, or may: nothing may be written."""


class Election:
    """One candidate for the Lease of `namespace`.

    `clock` counts seconds, those in which the machine or the process sleeps included; `now` is written into the Lease
    for people to read; `jitter` is in [0, 1).
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        me: str,
        terms: Terms,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        jitter: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._me = me
        self._terms = terms
        self._clock = clock
        self._now = now
        self._jitter = jitter
        self._sleep = sleep
        self._known: Seen | None = None
        self._asked: float | None = None
        self._told = ""

    def fence(self) -> float:
        """Return for how many seconds a write may be under way.

        Raises:
            NotLeading: For none: the Lease is another's, or was not renewed in time.
        """
        left = 0.0 if self._asked is None else seconds_left(self._asked, self._terms, self._clock())
        if left <= 0:
            raise NotLeading("NotLeading", "this operator does not hold the Lease", self._terms.retry_s)
        return left + self._terms.lease_s - self._terms.renew_s

    async def run(self, work: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Until cancelled: wait for the Lease, work while it is held, and start over when it is lost.

        `work` is entered anew each time; what another operator did meanwhile, its memory cannot know.
        When cancelled, the work ends first, then the Lease is given back, so that another one need not wait.
        """
        try:
            while True:
                await self._gain()
                log.info("leadership.gained", holder=self._me)
                async with work():
                    await self._keep()
                self._asked = None
                log.warning("leadership.lost", holder=self._holder())
        finally:
            await self._give_back()

    async def _gain(self) -> None:
        while not await self._attempt():
            await self._sleep(self._terms.retry_s * (1 + _JITTER * self._jitter()))

    async def _keep(self) -> None:
        """Renew until that fails for too long, or another one holds the Lease."""
        while True:
            await self._sleep(self._terms.retry_s)
            if not await self._attempt() and (self._holder() != self._me or self._left() <= 0):
                return

    async def _attempt(self) -> bool:
        """Look at the Lease and take or renew it if that is our right; say whether it is ours now."""
        patience = self._left() if self._asked is not None else self._terms.renew_s
        try:
            async with asyncio.timeout(max(patience, 0)):
                return await self._take()
        except TimeoutError:
            self._tell("the API server did not answer in time")
        except ApiError as error:
            if error.status != 409:  # another candidate was faster: the next look says who
                self._tell(error.message)
        except NotYet as error:
            self._tell(error.message)
        return False

    async def _take(self) -> bool:
        asked = self._clock()
        if self._asked is not None and seconds_left(self._asked, self._terms, asked) <= 0:
            return False  # too late to renew, whatever the Lease says: others may have worked, so begin anew
        body = await self._cluster.get(LEASES, LEASE, self._namespace)
        if body is None:
            made = await self._cluster.create(self._manifest(claim(None, self._me, self._terms, self._now())))
        else:
            self._known = seen(self._known, Lease.read(body), self._clock())
            if self._asked is not None and self._known.lease.holder != self._me:
                return False
            if not may_claim(self._known, self._me, self._clock()):
                self._tell(f"{self._holder()} works")
                return False
            made = await self._write(claim(self._known.lease, self._me, self._terms, self._now()), body)
        self._known = seen(self._known, Lease.read(made), self._clock())
        self._asked = asked
        self._told = ""
        return True

    async def _write(self, spec: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
        """Write the spec over exactly this version of the Lease; a conflict is refused with 409."""
        version = over["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        return await self._cluster.merge(LEASES, LEASE, self._namespace, patch)

    async def _give_back(self) -> None:
        """Release the Lease; one that cannot be released runs out by itself."""
        if self._asked is None or self._known is None or self._known.lease.holder != self._me:
            return
        self._asked = None
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                body = await self._cluster.get(LEASES, LEASE, self._namespace)
                if body is not None and Lease.read(body).holder == self._me:
                    await self._write(release(Lease.read(body), self._now()), body)
                    log.info("leadership.released", holder=self._me)
        except (NotYet, TimeoutError) as error:
            log.warning("leadership.not_released", error=str(error))

    def _manifest(self, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": LEASE, "namespace": self._namespace}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    def _left(self) -> float:
        return 0.0 if self._asked is None else seconds_left(self._asked, self._terms, self._clock())

    def _holder(self) -> str:
        return self._known.lease.holder if self._known is not None else ""

    def _tell(self, why: str) -> None:
        """Log why we wait: once, not at every look."""
        if why != self._told:
            self._told = why
            log.info("leadership.awaited", why=why)
