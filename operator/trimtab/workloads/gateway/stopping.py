"""HAProxy's end: go on until nobody sends anything new, then finish what is in flight.

HAProxy takes SIGTERM, which is all that a kubelet sends, as an order to break off; its soft stop is SIGUSR1.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import structlog

from trimtab.errors import NotYet
from trimtab.workloads.gateway.runtime import Proxy

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.1


async def stop_softly(directory: Path, delay_seconds: float, patience_seconds: float) -> None:
    """Return when the HAProxy of `directory` has ended by itself.

    For `delay_seconds` it still takes connections, until endpoints without this pod have reached everyone.

    Raises:
        NotYet: Requests still ran after `patience_seconds`; HAProxy goes on with them until it is killed.
    """
    with Proxy(directory) as proxy:
        master = await proxy.master_pid()
    await asyncio.sleep(delay_seconds)
    log.info("haproxy.stopping", pid=master)
    try:
        async with asyncio.timeout(patience_seconds):
            os.kill(master, signal.SIGUSR1)
            while True:
                os.kill(master, 0)
                await asyncio.sleep(_LOOK_SECONDS)  # it is not our child: nobody tells us when it has ended
    except ProcessLookupError:
        log.info("haproxy.stopped", pid=master)
    except TimeoutError as error:
        raise NotYet(
            "StillServing", f"HAProxy still had requests {patience_seconds:.0f} s after its soft stop; raise --patience"
        ) from error
