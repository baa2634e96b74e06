"""`trimtab rollback`: back to what served before, until the spec asks for something else."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from trimtab.api.conditions import ROLLED_OUT, Reason
from trimtab.api.names import Key
from trimtab.api.optimizedmodel import OptimizedModel
from trimtab.api.overrides import PROMOTE, ROLLBACK, ROLLBACK_REASON, ROLLBACK_TO, Overrides
from trimtab.api.status import OptimizedModelStatus
from trimtab.cli.asking import annotated, chosen_namespace, connected, kubeconfig_option, model_named, namespace_option
from trimtab.cli.following import timeout_option, until, wait_option
from trimtab.cli.printing import echo_json, output_option
from trimtab.cli.status import current_status
from trimtab.errors import Stalled

if TYPE_CHECKING:
    from trimtab.cli.asking import Reads

Object = dict[str, Any]
_FORBIDDEN = 403
_GAVE_UP = {Reason.CANARY_FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED, Reason.ARTIFACT_CORRUPT}


@click.command()
@click.argument("name")
@namespace_option
@click.option("--to", metavar="REVISION", help="Which revision serves instead; else the one that served before.")
@click.option("--reason", help="Why, in a few words: the status and events repeat it.")
@click.option("--undo", is_flag=True, help="End a rollback: what the spec asks for is rolled out again.")
@kubeconfig_option
@wait_option
@timeout_option
@output_option
def rollback(
    name: str,
    namespace: str | None,
    to: str | None,
    reason: str | None,
    kubeconfig: str | None,
    *,
    undo: bool,
    wait: bool,
    timeout: float,
    output: str,
) -> None:
    """Take the newest revision of model NAME out of the traffic: end its canary, or go back to the one before.

    The spec stays as it is. The model stays back until the spec asks for another revision, and its status says so.
    """
    if undo and (to or reason):
        raise click.UsageError("--undo ends a rollback: leave out --to and --reason")
    key = Key(chosen_namespace(namespace, kubeconfig), name)
    told = asyncio.run(turned(key, kubeconfig, to, reason, undo=undo, timeout=timeout if wait else None))
    if output == "json":
        echo_json(told)
        return
    done = "" if told["done"] else f"; see `trimtab status {name}`"
    if undo:
        click.echo(f"{key}: revision {told['revision']} may serve again{done}")
    else:
        click.echo(f"{key}: back from revision {told['revision']} to {told['to']}{done}")


async def turned(
    key: Key,
    kubeconfig: str | None,
    to: str | None = None,
    reason: str | None = None,
    *,
    undo: bool = False,
    timeout: float | None = None,
) -> Object:
    """Roll back, or undo that; with a `timeout` in seconds, come back when it is done. Returns what is printed."""
    async with connected(kubeconfig) as cluster:
        model = await model_named(cluster, key.name, key.namespace)
        named, target = undone(model) if undo else way_back(model, to, await _pools(cluster))
        left = None if undo else named
        annotations = {ROLLBACK: left, ROLLBACK_TO: to, ROLLBACK_REASON: reason}
        await annotated(cluster, key, annotations if undo else {**annotations, PROMOTE: None})
        if timeout is not None:
            await until(cluster, key, lambda body: _settled(body, named, target), timeout)
        told = {"namespace": key.namespace, "name": key.name, "revision": named, "to": target, "reason": reason}
        return {**told, "done": timeout is not None}


async def _pools(cluster: Reads) -> frozenset[str] | None:
    """Return the names of all pools; None where the caller may not ask: the operator looks at them, too."""
    from kubernetes.aio.client.exceptions import ApiException

    from trimtab.effects.kinds import POOLS

    try:
        return frozenset(pool["metadata"]["name"] for pool in await cluster.list(POOLS))
    except ApiException as error:
        if error.status != _FORBIDDEN:
            raise
        return None


def way_back(model: Object, to: str | None, pools: Collection[str] | None) -> tuple[str, str]:
    """Return the revision to leave and the one to go back to; `pools` as for `target_of`.

    Raises:
        NotYet: The operator has not read the newest spec. Stalled: There is no way back; says why, and what there is.
    """
    from trimtab.effects.reading import explain
    from trimtab.planning.overrides import target_of

    status = current_status(model)
    try:
        spec = OptimizedModel.model_validate(model).spec
    except ValidationError as error:
        raise _no(f"{explain(error)}; correct the spec first: until then everything stays as it is") from None
    active = status.active_revision
    if active is None:
        raise _no("nothing serves yet, so there is nothing to go back to; change the spec instead")
    candidate = status.candidate_revision
    if status.rollback is not None:
        if to is None:
            raise _no(
                f"revision {status.rollback.revision} is rolled back to {status.rollback.to} already; to go further "
                f"back, name the revision: --to one of {_names(status, status.rollback.revision, status.rollback.to)}"
            )
        named = status.rollback.revision
    elif candidate is not None:
        named = candidate.name
    elif (ended := _ended_by_itself(model, status)) and to is None:
        there = _names(status, active.name)
        raise _no(f"the newest revision was rolled back by itself ({ended}); to go further back: --to one of {there}")
    else:
        named = active.name
    try:
        target = target_of(status.model_copy(update={"rollback": None}), spec, named, to, pools)
    except Stalled as refused:
        raise _no(refused.message.replace(ROLLBACK_TO, "--to")) from None
    if spec.suspend and target.name != active.name:
        raise _no("spec.suspend: true stops rollouts, also those back; set it to false first")
    return named, target.name


def undone(model: Object) -> tuple[str, None]:
    """Return the revision that may serve again.

    Raises:
        Stalled: Nothing is rolled back.
    """
    named = Overrides.read(model["metadata"].get("annotations")).rollback
    if named is None:
        raise Stalled(
            "NothingToUndo", f"{ROLLBACK} is not set: no revision of {model['metadata']['name']} is rolled back"
        )
    return named, None


def _settled(model: Object, named: str, target: str | None) -> bool:
    """Whether the traffic is where it was sent."""
    status = OptimizedModelStatus.model_validate(model.get("status") or {})
    if target is None:
        return status.rollback is None and status.candidate_revision is None
    if status.rollback is None or (status.rollback.revision, status.rollback.to) != (named, target):
        return False
    stalled = next((entry for entry in status.conditions if entry.type == ROLLED_OUT), None)
    if stalled is not None and stalled.reason in _GAVE_UP:
        raise Stalled(stalled.reason, stalled.message)
    return (
        status.candidate_revision is None
        and status.active_revision is not None
        and status.active_revision.name == target
    )


def _ended_by_itself(model: Object, status: OptimizedModelStatus) -> str:
    past = next((entry for entry in status.conditions if entry.type == ROLLED_OUT), None)
    if past is None or past.reason not in _GAVE_UP or past.observed_generation != model["metadata"]["generation"]:
        return ""
    return f"{past.reason}: {past.message}"


def _names(status: OptimizedModelStatus, *without: str) -> str:
    active = [status.active_revision] if status.active_revision else []
    return ", ".join(r.name for r in (*active, *status.revisions) if r.name not in without) or "none"


def _no(why: str) -> Stalled:
    return Stalled("NoWayBack", why)
