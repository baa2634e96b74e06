"""`trimtab compress`: what the compression Job runs, and how people read what came of it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from trimtab.cli.printing import echo_json, output_option, progress


@click.group()
def compress() -> None:
    """Compress a model and prove it."""


@compress.command()
@click.option(
    "--spec",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A run's request in JSON; unless given, the environment variable TRIMTAB_RUN.",
)
def run(spec: Path | None) -> None:
    """Carry out one run: progress and result on standard output, logs on standard error."""
    from trimtab.cli.logs import configure
    from trimtab.effects.views import progress_of
    from trimtab.workloads.compress.process import run_guarded
    from trimtab.workloads.compress.workers.member import INDEX_ENVIRONMENT

    # A worker that is gone is our own news: torch would print where in its code it noticed.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Threads that spin while they wait slow down whoever shares the CPUs; torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    configure()
    text = spec.read_text() if spec is not None else None
    with _bar() as show:

        def emit(line: str) -> None:
            print(line, flush=True)
            if (told := progress_of(line)) is not None:
                show(f"{told.step} ({told.index}/{told.steps})", told.percent)

        code = run_guarded(text, os.environ, emit)
    if INDEX_ENVIRONMENT in os.environ:
        # One of several workers: threads of the group may wait for the others, and an ordinary exit waits for threads.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _bar() -> AbstractContextManager[Callable[[str, int], None]]:
    """Return a bar where a person sees standard error and not the lines that say the same."""
    return nullcontext(lambda *_: None) if sys.stdout.isatty() else progress()


@compress.command()
@click.argument("artifact_uri")
@output_option
def show(artifact_uri: str, output: str) -> None:
    """Print the report of an artifact, after checking every byte of it."""
    from trimtab.store import join, open_artifact
    from trimtab.workloads.compress.report import REPORT_FOLDER, as_text, read_report

    with tempfile.TemporaryDirectory() as folder:
        open_artifact(artifact_uri, None, Path(folder))
        open_artifact(join(artifact_uri, REPORT_FOLDER), None, Path(folder))
        report = read_report(Path(folder))
    if output == "json":
        echo_json(report)
    else:
        click.echo(as_text(report))
