"""When this operator works: always, or while it holds the Lease that several share."""

from __future__ import annotations

import asyncio
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf
import structlog

from trimtab.api.names import Key
from trimtab.effects.announce import Announcer
from trimtab.effects.execute import Executor
from trimtab.effects.fleet import Fleet
from trimtab.effects.gather import Gatherer
from trimtab.effects.kinds import MODELS, Kind
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.lease import Election
from trimtab.effects.listening import Listening
from trimtab.effects.pools.opening import cloud_orders
from trimtab.effects.prometheus import PrometheusSignals
from trimtab.effects.signals import GatewaySignals
from trimtab.errors import NotYet
from trimtab.handlers.queue import WorkQueue
from trimtab.handlers.reconcile import Reconciler
from trimtab.handlers.wakes import FLEET, child_changed, everybody, model_gone

log = structlog.get_logger(__name__)

# Kopf does not say when it lists a kind of which there is nothing anew.
_GHOSTS_SECONDS = 600.0
# What is listed anew is so for all kinds at about the same time, and pages come one by one.
_RELISTED_SECONDS = 2.0


async def work(memo: kopf.Memo) -> None:
    """Reconcile whenever it is our turn, until cancelled.

    Watches run and wakes are noted meanwhile, so that whoever takes over starts from what is, and at once.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch(memo))
        group.create_task(_bury(memo))
        await _terms(memo)


async def _watch(memo: kopf.Memo) -> None:
    """Follow children and nodes, for ever; not before Kopf told what users wrote, when it needs most memory."""

    def changed(kind: Kind, item: dict[str, Any]) -> None:
        child_changed(memo.queue, memo.world, kind, item)

    await memo.woken.wait()
    await memo.mirrors.run(memo.cluster, changed)


async def _bury(memo: kopf.Memo) -> None:
    """Forget what went unseen, for ever: look for it whenever something was listed anew, and now and then."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_GHOSTS_SECONDS):
                await memo.mirrors.relisted.wait()
        await asyncio.sleep(_RELISTED_SECONDS)
        memo.mirrors.relisted.clear()
        try:
            found = await memo.ghosts.look(memo.cluster)
        except NotYet:
            memo.mirrors.relisted.set()
            continue
        for kind, item in found:
            log.warning("watch.missed_deletion", kind=kind.kind, name=item["metadata"]["name"])
            if kind == MODELS:
                model_gone(memo.queue, memo.world, Key.of(item))
            else:
                memo.queue.add(FLEET, urgent=True)
                everybody(memo.queue, memo.world)


async def _reconcile(memo: kopf.Memo, reconciler: Reconciler) -> None:
    """Work through the queue, for ever; nothing may be decided before everything is known."""
    await memo.mirrors.complete.wait()
    await memo.queue.run(reconciler)


async def _terms(memo: kopf.Memo) -> None:
    settings = memo.settings
    if settings.lease_namespace is None:
        async with _term(memo, memo.cluster):
            await asyncio.Event().wait()
    me = f"{socket.gethostname()}_{uuid.uuid4()}"
    election = Election(
        memo.cluster,
        settings.lease_namespace,
        me,
        settings.lease_terms,
        clock=_seconds,
        now=_now,
        jitter=random.random,
    )
    fenced = memo.cluster.fenced(election.fence)
    await election.run(lambda: _term(memo, fenced))


@asynccontextmanager
async def _term(memo: kopf.Memo, cluster: Cluster) -> AsyncIterator[None]:
    """Reconcile while the block lasts, remembering nothing from an earlier term: another one decided meanwhile."""
    announcer = Announcer(cluster, _now)
    executor = Executor(cluster, announcer, memo.world.observed, memo.world.has_seen, time.monotonic, memo.world.shown)
    signals = GatewaySignals(memo.session, time.monotonic)
    settings = memo.settings
    prometheus = None
    if settings.prometheus_url is not None:
        token = Path(settings.prometheus_token_file) if settings.prometheus_token_file else None
        prometheus = PrometheusSignals(settings.prometheus_url, settings.prometheus_window_s, time.time, token)
    listening = Listening(signals, lambda key: memo.queue.add(key, urgent=True), time.monotonic)
    gatherer = Gatherer(memo.world, cluster, signals, settings, _now, prometheus, listening)
    opened = cloud_orders(
        memo.world, gatherer, cluster, memo.settings.node_hold_s, time.time, lambda: memo.queue.add(FLEET)
    )
    try:
        async with opened as orders, asyncio.TaskGroup() as group:
            fleet = Fleet(memo.world, gatherer, cluster, executor, memo.settings, _now, orders)
            reconciler = Reconciler(memo.world, gatherer, executor, fleet, memo.looks)
            working = [group.create_task(_reconcile(memo, reconciler)), group.create_task(listening.run())]
            yield
            for task in working:
                task.cancel()
    finally:
        memo.queue = _again(memo)
        if prometheus is not None:
            await prometheus.close()


def _again(memo: kopf.Memo) -> WorkQueue[object]:
    """Return the queue for a next term, in which everything wants a look: this one's last looks were cut off."""
    queue: WorkQueue[object] = WorkQueue()
    if memo.queue.woken:  # nothing is woken before the indices are complete, nor may anything be decided
        for key in (FLEET, *memo.world.models):
            queue.add(key)
    return queue


def _seconds() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine sleeps


def _now() -> datetime:
    return datetime.now(UTC)
