"""`kubectl_complete-trimtab`: the program that kubectl, from 1.26 on, asks what may follow `kubectl trimtab ...`.

It answers as Cobra's completions do: one proposal per line, with a description after a tab, then a directive.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click
from click.shell_completion import ShellComplete

from trimtab.cli import main as program

_FAILED, _FILES, _NO_FILES, _FOLDERS = ":1", ":0", ":4", ":16"


def main() -> None:
    """Complete the last of the arguments, which is what has been typed of the next word."""
    for line in proposals(sys.argv[1:]):
        click.echo(line)


def proposals(words: Sequence[str]) -> Iterator[str]:
    """Yield the lines that kubectl reads."""
    *before, typed = words or ("",)
    try:
        found = ShellComplete(program, {}, "kubectl-trimtab", "").get_completions(before, typed)
    except click.ClickException:  # of a part that is not installed nothing can be said
        yield _FAILED
        return
    kinds = {item.type for item in found}
    for item in found:
        if item.type == "plain":
            yield f"{item.value}\t{item.help}" if item.help else str(item.value)
    yield _FOLDERS if "dir" in kinds else _FILES if "file" in kinds else _NO_FILES
