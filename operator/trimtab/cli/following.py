"""Waiting for a model to get somewhere, with a bar while somebody looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from trimtab.api.names import Key
from trimtab.api.quantities import seconds
from trimtab.cli.printing import progress
from trimtab.errors import NotYet

if TYPE_CHECKING:
    from trimtab.effects.kubernetes import Cluster

Object = dict[str, Any]


def _duration(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


wait_option: Callable[[Any], Any] = click.option("--wait", is_flag=True, help="Come back when it is done.")
timeout_option: Callable[[Any], Any] = click.option(
    "--timeout", default="10m", show_default=True, callback=_duration, help="With --wait: for so long at most."
)


async def until(cluster: Cluster, key: Key, done: Callable[[Object], bool], timeout: float) -> Object:
    """Return the model once `done` holds of it.

    `done` may raise where it never will.

    Raises:
        NotYet: It did not within `timeout` seconds, or the model is gone; says what it does.
    """
    from trimtab.effects.kinds import MODELS

    last: Object = {}
    try:
        async with asyncio.timeout(timeout):
            with progress() as show:
                async for change, body in cluster.watch(MODELS, key.namespace):
                    if change == "SYNCED" or body["metadata"]["name"] != key.name:
                        continue
                    if change == "DELETED":
                        raise NotYet("Deleted", f"OptimizedModel {key} was deleted meanwhile")
                    last = body
                    if done(body):
                        return body
                    show(*how_far(body))
    except TimeoutError:
        pass
    doing, percent = how_far(last)
    raise NotYet(
        "TimedOut",
        f"{key} did not get there within --timeout {timeout:g}s: {doing}, {percent} %; it goes on: see "
        f"`trimtab explain {key.name} -n {key.namespace}`",
    )


def how_far(model: Object) -> tuple[str, int]:
    """Return what a model does, and how much of that is done in percent: of its run, or of its rollout's traffic."""
    status = model.get("status") or {}
    summary = str((status.get("summary") or {}).get("status") or "not read yet")
    run, candidate = status.get("lastRun") or {}, status.get("candidateRevision")
    if candidate:
        shares = (status.get("traffic") or {}).get("revisions") or ()
        weight = next((int(entry["weight"]) for entry in shares if entry["revision"] == candidate["name"]), 0)
        return f"{candidate['name']} gets traffic", weight
    if run and not run.get("finishedAt"):
        return str(run.get("step") or run.get("phase") or summary), int(run.get("progressPercent") or 0)
    return summary, 0
