"""Runs the operator: every handler of this package, on one event loop, until SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import kopf
import structlog

from trimtab.handlers import indices, startup, wakes
from trimtab.handlers.toggles import spare_wakes
from trimtab.planning.settings import Settings

HANDLERS = (indices, startup, wakes)  # importing them is what registers them

log = structlog.get_logger(__name__)


def run(settings: Settings, health_url: str | None, metrics: tuple[str, int] | None) -> None:
    """Run until SIGTERM or SIGINT.

    `health_url` (http://host:port/path) answers liveness probes, `metrics` (host and port) answers Prometheus.
    """
    spare_wakes()
    operator = kopf.operator(
        clusterwide=True,
        standalone=True,
        liveness_endpoint=health_url,
        memo=kopf.Memo(settings=settings, metrics=metrics),
    )
    with suppress(asyncio.CancelledError):
        run_loop(operator)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on a loop of its own that reports what goes wrong while it runs, not how Kopf's watches end.

    A watch of Kopf that is between two events when the operator stops is left to the loop to close. The loop closes
    the generators of one watch side by side, where the inner one has to follow the outer one, and reports that as an
    error, with a traceback, after everything has ended well.
    """
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(_report)
        runner.run(main)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if "asyncgen" in context:  # only a loop that closes names one
        log.debug("watch.closed", problem=str(context.get("exception")))
    else:
        loop.default_exception_handler(context)
