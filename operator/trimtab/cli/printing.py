"""How commands print: text for people, one JSON document for programs, colours and bars where somebody looks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

output_option: Callable[[Any], Any] = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one JSON document on standard output, and nothing else there.",
)


def echo_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2))


def colours(environment: Mapping[str, str]) -> bool | None:
    """Return whether to colour: never where NO_COLOR is set or the terminal is dumb, else where there is a terminal."""
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return None


def is_attended() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty()


@contextmanager
def progress() -> Iterator[Callable[[str, int], None]]:
    """Lend what shows what is being done, and how many percent of it, in a bar on standard error.

    Where that is no terminal, nothing is printed.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda *_: None
        return
    with click.progressbar(length=100, file=sys.stderr, show_eta=False, color=colours(os.environ)) as bar:

        def show(doing: str, percent: int) -> None:
            bar.label = doing
            bar.pos = max(0, min(percent, 100))  # a run that begins again falls back
            bar.render_progress()

        yield show
