"""Runs the operator: every handler of this package, on one event loop, until SIGTERM."""

from __future__ import annotations

import kopf

from trimtab.handlers import indices, startup, wakes
from trimtab.planning.settings import Settings

HANDLERS = (indices, startup, wakes)  # importing them is what registers them


def run(settings: Settings, health_url: str | None) -> None:
    """Run until SIGTERM or SIGINT; `health_url` (http://host:port/path) answers liveness probes."""
    kopf.run(
        clusterwide=True,
        standalone=True,
        liveness_endpoint=health_url,
        memo=kopf.Memo(settings=settings),
    )
