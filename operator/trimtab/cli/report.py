"""`trimtab report`: fetches what a run wrote about a model, and shows it."""

from __future__ import annotations

import asyncio
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import click

from trimtab.api.conditions import Reason
from trimtab.api.names import RUN_LABEL
from trimtab.cli.asking import Reads, chosen_namespace, connected, kubeconfig_option, model_named, namespace_option
from trimtab.errors import NotYet, Stalled, TrimtabError


@click.command()
@click.argument("name")
@namespace_option
@kubeconfig_option
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to: NAME-report.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@click.option("--png", is_flag=True, help="Write only the picture, for a chat.")
def report(
    name: str, namespace: str | None, kubeconfig: str | None, output: Path | None, show: bool, png: bool
) -> None:
    """Fetch the report of model NAME, every byte checked, and print its summary."""
    uri = asyncio.run(_located(name, chosen_namespace(namespace, kubeconfig), kubeconfig))
    folder = output or Path(f"{name}-report")
    text = fetch_report(uri, folder, only="report.png" if png else None)
    click.echo(text)
    written = folder / ("report.png" if png else "report.html")
    click.echo(f"  written    {written}")
    if show:
        webbrowser.open(written.resolve().as_uri())


def fetch_report(uri: str, folder: Path, only: str | None = None) -> str:
    """Write the report of the artifact at `uri` into a folder and return it as text; `only` leaves out other files.

    Raises:
        Stalled, NotYet: The store does not have it, or cannot be reached from here; says what to do.
    """
    from trimtab.store import join, open_artifact
    from trimtab.workloads.compress.report import REPORT_FOLDER, as_text, read_report

    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        try:
            files = open_artifact(join(uri, REPORT_FOLDER), None, copy, "the report").files
        except TrimtabError as error:
            if error.reason not in {Reason.SOURCE_NOT_FOUND, Reason.STORE_UNREACHABLE, Reason.ACCESS_DENIED}:
                raise
            raise type(error)(error.reason, f"{error.message}; {_remedy(uri)}") from error
        text = as_text(read_report(copy))
        wanted = [only] if only else sorted(files)
        if only is not None and only not in files:
            raise Stalled(Reason.NOT_SUPPORTED, f"the report at {uri} has no {only}: an older version made it")
        folder.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            (folder / file).write_bytes((copy / file).read_bytes())
    return text


def _remedy(uri: str) -> str:
    if uri.startswith("file:"):
        return f"{uri} is a path of the cluster's nodes: run this where that volume is mounted"
    return f"{uri} has to be readable with this shell's credentials and network"


async def _located(name: str, namespace: str, kubeconfig: str | None) -> str:
    async with connected(kubeconfig) as cluster:
        return await artifact_uri(cluster, name, namespace)


async def artifact_uri(cluster: Reads, name: str, namespace: str) -> str:
    """Return where the newest artifact of a model is: of its last run, else of the revision that comes or serves.

    Raises:
        Stalled: There is no such model. NotYet: It has no artifact yet; says what its run does.
    """
    from trimtab.effects.kinds import JOBS, PODS
    from trimtab.effects.views import run_view

    model = await model_named(cluster, name, namespace)
    status = model.get("status") or {}
    run = status.get("lastRun") or {}
    job = await cluster.get(JOBS, run["name"], namespace) if run.get("name") else None
    if job is not None:
        # What failed its guardrail is no revision and is told by nobody but the run's own pod.
        pods = await cluster.list(PODS, namespace, f"{RUN_LABEL}={run['key']}")
        result = run_view(job, pods, "").result
        if result is not None and result.artifact is not None:
            return result.artifact.uri
    for revision in (status.get("candidateRevision"), status.get("activeRevision")):
        if revision:
            return str(revision["artifact"]["uri"])
    raise NotYet(Reason.RUN_PENDING, f"model {name} has no artifact yet: {_state(run)}")


def _state(run: dict[str, Any]) -> str:
    if not run:
        return "no run has begun; see `kubectl describe optimizedmodel`"
    told = f"run {run['name']} is {run['phase']}"
    if run.get("step"):
        told += f", {run['step']}, {run.get('progressPercent', 0)} % done"
    return f"{told}: {run['message']}" if run.get("message") else told
