"""`trimtab demo`: the whole path on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from trimtab.errors import TrimtabError

_MINIMUM_REQUESTS = 1000
T = TypeVar("T")


@click.command()
@click.option("--keep", is_flag=True, help="Leave the cluster up at the end, for kubectl and curl.")
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one JSON object as the last thing on standard output, everything for people on standard error.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-report"),
    show_default=True,
    help="Folder that gets index.html and recording.json.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the customer's training.")
def demo(keep: bool, output: str, report: Path, seed: int) -> None:
    """Train, compress, prove, serve, scale, interrupt: on an embedded cluster, with the real parts.

    Ends with exit code 0 when no request failed. Ctrl-C leaves nothing running.
    """
    from rich.console import Console

    from trimtab.cli.demo.live import View
    from trimtab.cli.demo.report import write_report
    from trimtab.cli.demo.stage import Kept, perform
    from trimtab.cli.demo.table import table
    from trimtab.cli.demo.timeline import Outcome
    from trimtab.cli.logs import configure

    configure(logging.ERROR)
    console = Console(stderr=output == "json", soft_wrap=True)

    async def show() -> tuple[Outcome, Kept | None]:
        with View(console, time.monotonic) as view:
            return await _unless_signalled(perform(keep=keep, seed=seed, view=view, clock=time.monotonic))

    try:
        outcome, kept = asyncio.run(show())
    except _SignalledError as error:
        console.print("ended; nothing is left running")
        raise SystemExit(128 + error.number) from None
    page = write_report(outcome, report)
    console.print()
    console.print(table(outcome), soft_wrap=False)
    console.print(f"\nreport: {page.resolve().as_uri()}", highlight=False)
    if kept is not None:
        console.print(_how_to_go_on(kept.url, kept.kubeconfig, kept.folder), highlight=False)
    if output == "json":
        click.echo(json.dumps(outcome.to_json()))
    requests = outcome.requests
    if requests.failed:
        raise TrimtabError("RequestsFailed", f"{requests.failed} of {requests.sent}: {'; '.join(requests.failures)}")
    if requests.sent < _MINIMUM_REQUESTS:
        raise TrimtabError(
            "TooFewRequests", f"{requests.sent} requests say little; at least {_MINIMUM_REQUESTS} were due"
        )


class _SignalledError(Exception):
    """Somebody wants it to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


async def _unless_signalled(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; the first SIGINT or SIGTERM cancels the work, which then tidies up undisturbed.

    Raises:
        _SignalledError: A signal came.
    """
    task = asyncio.ensure_future(work)
    got: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if not got:
            got.append(number)
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if got:
            raise _SignalledError(got[0]) from None
        raise


def _how_to_go_on(url: str, kubeconfig: Path, folder: Path) -> str:
    from trimtab.cli.demo.processes import CLUSTER_FOLDER

    trimtab = Path(sys.executable).with_name("trimtab")
    return f"""
The cluster stays up.
  export KUBECONFIG={kubeconfig}
  kubectl get optimizedmodels,capacitypools,nodes,pods
  curl {url}/v2/models/digits
End it with:
  {trimtab} local down --data-dir {folder / CLUSTER_FOLDER} && rm -r {folder}"""
