"""`trimtab status`: what a model is now, on one screen."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from pydantic import ValidationError

from trimtab.api.conditions import Reason
from trimtab.api.quantities import human_bytes
from trimtab.api.status import OptimizedModelStatus, RevisionStatus
from trimtab.cli.asking import chosen_namespace, connected, kubeconfig_option, model_named, namespace_option
from trimtab.cli.printing import echo_json, output_option
from trimtab.errors import NotYet

Line = tuple[str, str]


@click.command()
@click.argument("name", required=False)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="The models of all namespaces.")
@kubeconfig_option
@output_option
def status(name: str | None, namespace: str | None, all_namespaces: bool, kubeconfig: str | None, output: str) -> None:
    """Say what the model NAME is now; without NAME, what all models of the namespace are."""
    if name and all_namespaces:
        raise click.UsageError("a NAME lives in one namespace: leave out --all-namespaces, or NAME")
    where = None if all_namespaces else chosen_namespace(namespace, kubeconfig)
    models = asyncio.run(_fetched(name, where, kubeconfig))
    if output == "json":
        told = [told_of(model) for model in models]
        echo_json(told[0] if name else told)
    elif not models:
        click.echo("no OptimizedModel " + (f"in namespace {where}" if where else "in any namespace"), err=True)
    elif name:
        width = max(len(label) for label, _ in lines(models[0]))
        for label, text in lines(models[0]):
            click.echo(f"{click.style(label.ljust(width), bold=True)}  {_coloured(label, text)}")
    else:
        for row in overview(models):
            click.echo(row)


async def _fetched(name: str | None, namespace: str | None, kubeconfig: str | None) -> list[dict[str, Any]]:
    from trimtab.effects.kinds import MODELS

    async with connected(kubeconfig) as cluster:
        if name:
            return [await model_named(cluster, name, namespace or "default")]
        return await cluster.list(MODELS, namespace)


def told_of(model: dict[str, Any]) -> dict[str, Any]:
    """Return what `--output json` prints of a model: names, generation, and its status as the API has it."""
    meta = model["metadata"]
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "generation": meta.get("generation", 0),
        "status": model.get("status") or {},
    }


def lines(model: dict[str, Any]) -> list[Line]:
    """Return a model's state as labels and texts, most important first; what is not known yet is left out."""
    meta = model["metadata"]
    told = [("model", f"{meta['namespace']}/{meta['name']}")]
    state = read_status(model)
    if state is None:
        return [*told, ("status", "not read yet: is the operator running?")]
    summary = state.summary
    told.append(("status", summary.status if summary else "Progressing"))
    if state.observed_generation != meta.get("generation"):
        told.append(("outdated", "all of this is of an older generation; the operator has not read the newest yet"))
    if summary and summary.message:
        told.append(("message", summary.message))
    told += _run(state)
    told += _revision("serves", state.active_revision)
    told += _revision("candidate", state.candidate_revision)
    if (back := state.rollback) is not None:
        why = f": {back.reason}" if back.reason else ""
        told.append(("rollback", f"{back.revision} does not serve, {back.to} does{why} (since {back.since})"))
    if state.revisions:
        told.append(("before", ", ".join(revision.name for revision in state.revisions)))
    told += _traffic(state)
    told += _replicas(state)
    if state.url:
        told.append(("url", f"{state.url}/v2/models/{meta['name']}/infer"))
    return told


def read_status(model: dict[str, Any]) -> OptimizedModelStatus | None:
    """Return the status, or None where the operator has written none.

    Raises:
        click.ClickException: Another version of Trimtab wrote it.
    """
    if not model.get("status", {}).get("conditions"):
        return None
    try:
        return OptimizedModelStatus.model_validate(model["status"])
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise click.ClickException(
            f"status.{field}: {first['msg']}; the operator is of another version than this command: "
            "install the operator's, or see `kubectl get optimizedmodel -o yaml`"
        ) from None


def current_status(model: dict[str, Any]) -> OptimizedModelStatus:
    """Return the status when it speaks of the newest spec.

    Raises:
        NotYet: It does not; says what to look at.
    """
    state = read_status(model)
    generation = model["metadata"].get("generation")
    if state is None or state.observed_generation != generation:
        raise NotYet(
            Reason.PROGRESSING,
            f"the operator has not read generation {generation} of {model['metadata']['name']} yet: try again in a "
            "moment; if that does not help, see whether the operator runs",
        )
    return state


def _run(state: OptimizedModelStatus) -> list[Line]:
    run = state.last_run
    if run is None:
        return []
    text = f"{run.name} {run.phase.value}"
    if run.finished_at is None:
        text += f", {run.step} " if run.step else ", "
        text += f"{run.progress_percent} %"
        if run.estimated_remaining_seconds is not None:
            text += f", about {run.estimated_remaining_seconds} s left"
    lines = [("run", text)]
    if state.guardrail is not None:
        lines.append(("guardrail", f"{state.guardrail.verdict.value}: {state.guardrail.message}"))
    return lines


def _revision(label: str, revision: RevisionStatus | None) -> list[Line]:
    if revision is None:
        return []
    artifact = revision.artifact
    text = f"{revision.name}: {human_bytes(artifact.source_bytes)} -> {human_bytes(artifact.bytes)}"
    if revision.latency_ms and revision.source_latency_ms:
        text += f", {revision.source_latency_ms} -> {revision.latency_ms} ms"
    return [(label, text + (", the original" if revision.original else ""))]


def _traffic(state: OptimizedModelStatus) -> list[Line]:
    told = []
    if state.traffic and len(state.traffic.revisions) > 1:
        told.append(("traffic", ", ".join(f"{share.revision} {share.weight} %" for share in state.traffic.revisions)))
    rollout = state.rollout
    if rollout is not None:
        in_canary = rollout.steps_passed < rollout.steps
        text = f"canary step {rollout.steps_passed + 1} of {rollout.steps}" if in_canary else "replicas are replaced"
        told.append(("rollout", f"{text}: {rollout.analysis}" if rollout.analysis else text))
    return told


def _replicas(state: OptimizedModelStatus) -> list[Line]:
    told = []
    if (replicas := state.replicas) is not None:
        places = f"{replicas.on_demand} on demand, {replicas.spot} on spot"
        told.append(("replicas", f"{replicas.ready} of {replicas.desired}: {places}"))
    if (cost := state.cost) is not None:
        alternative = f"all on demand {cost.all_on_demand_per_hour} {cost.currency}/h"
        told.append(("cost", f"{cost.per_hour} {cost.currency}/h; {alternative}"))
    return told


_COLUMNS = ("NAMESPACE", "NAME", "STATUS", "SIZE", "DROP", "REPLICAS", "SPOT", "COST/H")


def overview(models: list[dict[str, Any]]) -> list[str]:
    """Return a table of models, a line each, as kubectl aligns it."""
    rows = [_COLUMNS]
    for model in models:
        summary = (model.get("status") or {}).get("summary") or {}
        keys = ("status", "size", "drop", "replicas", "spot", "costPerHour")
        cells = (summary.get(key) or "-" for key in keys)
        rows.append((model["metadata"]["namespace"], model["metadata"]["name"], *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _coloured(label: str, text: str) -> str:
    """Colour what tells good from bad; click takes colours out where nobody sees them."""
    if label == "status":
        return click.style(text, fg="green" if text in {"Serving", "ServingOriginal", "Asleep", "Waking"} else "yellow")
    if label == "guardrail":
        return click.style(text, fg="green" if text.startswith("Passed") else "red")
    return text
