"""`trimtab promote`: no more canary for the revision that is being rolled out."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from trimtab.api.conditions import READY
from trimtab.api.names import Key
from trimtab.api.overrides import PROMOTE
from trimtab.api.status import OptimizedModelStatus
from trimtab.cli.asking import annotated, chosen_namespace, connected, kubeconfig_option, model_named, namespace_option
from trimtab.cli.following import timeout_option, until, wait_option
from trimtab.cli.printing import echo_json, output_option
from trimtab.cli.status import current_status
from trimtab.errors import Stalled

Object = dict[str, Any]


@click.command()
@click.argument("name")
@namespace_option
@kubeconfig_option
@wait_option
@timeout_option
@output_option
def promote(
    name: str, namespace: str | None, kubeconfig: str | None, *, wait: bool, timeout: float, output: str
) -> None:
    """Skip the remaining canary steps of the revision of model NAME that is rolled out now.

    Its replicas take over one by one, as without a canary. A revision that missed its guardrail is never rolled out, so
    it cannot be promoted.
    """
    key = Key(chosen_namespace(namespace, kubeconfig), name)
    told = asyncio.run(promoted(key, kubeconfig, timeout if wait else None))
    if output == "json":
        echo_json(told)
    elif told["done"]:
        click.echo(f"{key}: {told['revision']} serves all traffic")
    else:
        click.echo(
            f"{key}: {told['revision']} is promoted, canary {told['skips']} skipped; see `trimtab status {name}`"
        )


async def promoted(key: Key, kubeconfig: str | None, timeout: float | None = None) -> Object:
    """Promote what is rolled out; with a `timeout` in seconds, come back when it serves. Returns what is printed."""
    async with connected(kubeconfig) as cluster:
        model = await model_named(cluster, key.name, key.namespace)
        told = promotion(model)
        revision = str(told["revision"])
        await annotated(cluster, key, {PROMOTE: f"{revision}@{told['generation']}"})
        if timeout is not None:
            await until(cluster, key, lambda body: took_over(body, revision), timeout)
        return {**told, "done": timeout is not None}


def promotion(model: Object) -> Object:
    """Return what a promotion would do: the revision, and the steps that it skips.

    Raises:
        NotYet: The operator has not read the newest spec. Stalled: There is nothing to promote; says why.
    """
    status, meta = current_status(model), model["metadata"]
    if model["spec"].get("suspend"):
        raise _nothing("spec.suspend: true stops rollouts; set it to false first")
    candidate, rollout = status.candidate_revision, status.rollout
    if candidate is None or rollout is None:
        raise _nothing(_why(status))
    if status.rollback is not None:
        raise _nothing(f"the model goes back to revision {candidate.name}, which takes no canary")
    if rollout.steps_passed >= rollout.steps:
        what = "has passed its canary" if rollout.steps else "has no canary"
        raise _nothing(f"revision {candidate.name} {what}: its replicas take over as they get ready")
    first, last = rollout.steps_passed + 1, rollout.steps
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "generation": meta["generation"],
        "revision": candidate.name,
        "skips": f"step {last} of {last}" if first == last else f"steps {first} to {last} of {last}",
    }


def took_over(model: Object, revision: str) -> bool:
    """Whether a revision has all traffic.

    Raises:
        Stalled: It never will: it was rolled back, or another one is rolled out.
    """
    status = OptimizedModelStatus.model_validate(model.get("status") or {})
    if status.active_revision is not None and status.active_revision.name == revision:
        return True
    if status.candidate_revision is None or status.candidate_revision.name != revision:
        raise Stalled("NotPromoted", f"revision {revision} is rolled out no more: {_why(status)}")
    return False


def _why(status: OptimizedModelStatus) -> str:
    ready = next((entry for entry in status.conditions if entry.type == READY), None)
    if ready is not None and ready.status != "True":
        return f"no rollout is under way: {ready.reason}: {ready.message}"
    serving = (
        f"revision {status.active_revision.name} serves all traffic" if status.active_revision else "nothing serves"
    )
    return f"no rollout is under way: {serving}"


def _nothing(why: str) -> Stalled:
    return Stalled("NothingToPromote", why)
