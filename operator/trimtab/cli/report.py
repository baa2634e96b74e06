"""`trimtab report`: fetches what a run wrote about a model, and shows it."""

from __future__ import annotations

import asyncio
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import click

from trimtab.api.conditions import OPTIMIZED, STALLED, Reason
from trimtab.api.names import RUN_LABEL, Key
from trimtab.cli.asking import Reads, chosen_namespace, connected, kubeconfig_option, model_named, namespace_option
from trimtab.cli.following import timeout_option, until, wait_option
from trimtab.cli.printing import echo_json, output_option
from trimtab.cli.status import read_status
from trimtab.errors import NotYet, Stalled, TrimtabError


@click.command()
@click.argument("name")
@namespace_option
@kubeconfig_option
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write to: NAME-report.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@click.option("--png", is_flag=True, help="Write only the picture, for a chat.")
@wait_option
@timeout_option
@output_option
def report(
    name: str,
    namespace: str | None,
    kubeconfig: str | None,
    folder: Path | None,
    *,
    show: bool,
    png: bool,
    wait: bool,
    timeout: float,
    output: str,
) -> None:
    """Fetch the report of model NAME, every byte checked, and print its summary.

    With --wait it waits for the run that goes on.
    """
    from trimtab.workloads.compress.report import as_text

    key = Key(chosen_namespace(namespace, kubeconfig), name)
    uri = asyncio.run(_located(key, kubeconfig, timeout if wait else None))
    folder = folder or Path(f"{name}-report")
    found = fetch_report(uri, folder, only="report.png" if png else None)
    written = folder / ("report.png" if png else "report.html")
    if output == "json":
        echo_json({"namespace": key.namespace, "name": name, "uri": uri, "written": str(written), "report": found})
    else:
        click.echo(as_text(found))
        click.echo(f"  written    {written}")
    if show:
        webbrowser.open(written.resolve().as_uri())


def fetch_report(uri: str, folder: Path, only: str | None = None) -> dict[str, Any]:
    """Write the report of the artifact at `uri` into a folder and return its figures; `only` leaves out other files.

    Raises:
        Stalled, NotYet: The store does not have it, or cannot be reached from here; says what to do.
    """
    from trimtab.store import join, open_artifact
    from trimtab.workloads.compress.report import REPORT_FOLDER, read_report

    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        try:
            files = open_artifact(join(uri, REPORT_FOLDER), None, copy, "the report").files
        except TrimtabError as error:
            if error.reason not in {Reason.SOURCE_NOT_FOUND, Reason.STORE_UNREACHABLE, Reason.ACCESS_DENIED}:
                raise
            raise type(error)(error.reason, f"{error.message}; {_remedy(uri)}") from error
        found = read_report(copy)
        wanted = [only] if only else sorted(files)
        if only is not None and only not in files:
            raise Stalled(Reason.NOT_SUPPORTED, f"the report at {uri} has no {only}: an older version made it")
        folder.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            (folder / file).write_bytes((copy / file).read_bytes())
    return found


def _remedy(uri: str) -> str:
    if uri.startswith("file:"):
        return f"{uri} is a path of the cluster's nodes: run this where that volume is mounted"
    return f"{uri} has to be readable with this shell's credentials and network"


async def _located(key: Key, kubeconfig: str | None, timeout: float | None) -> str:
    async with connected(kubeconfig) as cluster:
        if timeout is not None:
            await model_named(cluster, key.name, key.namespace)
            await until(cluster, key, ran, timeout)
        return await artifact_uri(cluster, key.name, key.namespace)


def ran(model: dict[str, Any]) -> bool:
    """Whether the run that the newest spec asks for has ended, however it did, or none will begin."""
    status = read_status(model)
    if status is None or status.observed_generation != model["metadata"]["generation"]:
        return False
    if any(entry.type == STALLED for entry in status.conditions):
        return True
    optimized = next((entry for entry in status.conditions if entry.type == OPTIMIZED), None)
    return optimized is not None and (optimized.status == "True" or optimized.reason == Reason.SUSPENDED)


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
