"""HAProxy's files kept in step: what a HAProxy that starts comes up with is what the running one does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from trimtab.planning.traffic import ModelTraffic
from trimtab.workloads.gateway.certificates import Certificates
from trimtab.workloads.gateway.configuration import Backends, Listener, configuration, map_text
from trimtab.workloads.gateway.runtime import Proxy


class Files:
    """Writes configuration and map, one writer at a time."""

    def __init__(self, proxy: Proxy, listener: Listener) -> None:
        self._proxy = proxy
        self._listener = listener
        self.certificates = Certificates(listener.certificates)
        self._backends = Backends()
        self._lock = asyncio.Lock()

    async def write(
        self,
        traffic: tuple[ModelTraffic, ...],
        slots: Mapping[str, str],
        prepared: Iterable[str],
        limits: Mapping[str, int],
    ) -> None:
        """Write what `configuration` says, where it is another text than before."""
        routes, names = dict(slots), tuple(prepared)

        def work() -> None:
            certificate = self.certificates.path
            text = configuration(self._listener, traffic, routes, names, limits, self._backends, certificate)
            self._proxy.store(text, map_text(routes))

        async with self._lock:
            # In a thread: with 1,000 models it takes longer than a change may wait. A thread cannot be cancelled;
            # whoever comes after us must not write beside it.
            writing = asyncio.create_task(asyncio.to_thread(work))
            try:
                await asyncio.shield(writing)
            finally:
                await asyncio.wait({writing})
