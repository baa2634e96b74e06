"""Settings, login, start and end of the operator."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import kopf
import structlog

from trimtab.effects.ghosts import Ghosts
from trimtab.effects.kinds import MODELS, POOLS
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.mirrors import Mirrors
from trimtab.effects.signals import gateway_session
from trimtab.effects.world import world_of
from trimtab.handlers.looks import Looks
from trimtab.handlers.metrics import metrics
from trimtab.handlers.queue import WorkQueue
from trimtab.handlers.terms import work

log = structlog.get_logger(__name__)

# Between tries to reach the API server. Kopf's own end after a minute, and a watch that had 5xx until then takes the
# operator along; ours last for ten, and never so long that its return goes unnoticed.
_BACKOFF_SECONDS = (1, 1, 2, 3, *[5] * 120)

# An object's task ends this long after its last event; the default keeps thousands of them for five seconds.
_IDLE_SECONDS = 0.5
_PAGE = 500


@kopf.on.login()
async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Log in as any client does, without the synchronous client, which would be most of our memory."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **kwargs: Any) -> None:
    """Set Kopf up as a watcher and nothing more, and start the workers."""
    settings.persistence.finalizer = "trimtab.dev/kopf"  # unused; the default name is shared between operators
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = _BACKOFF_SECONDS
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.execution.max_workers = 4
    settings.process.ultimate_exiting_timeout = 15
    settings.watching.chunk_size = _PAGE
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.persistence.diffbase_storage = _NoDiffs()
    memo.mirrors = Mirrors()
    models, by_namespace, pools = kwargs["models"], kwargs["namespaced_models"], kwargs["pools"]
    memo.ghosts = Ghosts({MODELS: by_namespace, POOLS: pools})
    memo.world = world_of(models, by_namespace, pools, memo.mirrors, memo.ghosts.gone)
    memo.woken = asyncio.Event()
    memo.pools = {}
    memo.session = gateway_session()
    memo.cluster = await Cluster.connect()
    memo.opened = AsyncExitStack()
    memo.looks = Looks()
    if memo.metrics is not None:
        await memo.opened.enter_async_context(metrics(memo.world, memo.looks, _now, *memo.metrics))
    memo.queue = WorkQueue()
    memo.worker = asyncio.create_task(work(memo))
    log.info("operator.started", compress=memo.settings.compress_image, serve=memo.settings.serve_image)


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    memo.worker.cancel()
    with suppress(asyncio.CancelledError):
        await memo.worker
    await memo.opened.aclose()
    await memo.cluster.close()
    await memo.session.close()
    log.info("operator.stopped")


@kopf.on.probe(id="queue")
async def queue_works(memo: kopf.Memo, **_: Any) -> str:
    """Fail the liveness probe when the workers are gone."""
    if memo.worker.done():
        raise RuntimeError("the work queue has stopped")
    return "running"


class _NoDiffs(kopf.DiffBaseStorage):
    """What Kopf compares objects with to find changes, which nobody here asks it for: nothing, at no cost."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing: state lives in statuses and children."""


def _now() -> datetime:
    return datetime.now(UTC)
