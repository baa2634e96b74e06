"""The command line: one group whose subcommands are imported when they run.

A serving pod must not pay for torch, nor the operator for an engine, so this module imports click and nothing of ours
but errors, version and how to print; each subcommand names the extra that brings what it needs.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, NamedTuple

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from trimtab.cli.printing import colours, echo_json, output_option
from trimtab.errors import TrimtabError
from trimtab.version import __version__


class _Part(NamedTuple):
    """Where a subcommand lives, and which extra installs what it imports."""

    module: str
    attribute: str
    extra: str | None
    summary: str


_PARTS = {
    "demo": _Part(
        "trimtab.cli.demo.command", "demo", "demo", "Show the whole path on this machine, in about two minutes."
    ),
    "local": _Part("trimtab.cli.local", "local", "local", "Run an embedded cluster for people without one at hand."),
    "operator": _Part("trimtab.cli.operator", "operator", "operator", "Run the operator against a cluster."),
    "compress": _Part("trimtab.cli.compress", "compress", "compress", "Compress a model and prove it."),
    "serve": _Part("trimtab.cli.serve", "serve", "serve", "Serve an artifact over the Open Inference Protocol."),
    "gateway": _Part("trimtab.cli.gateway", "gateway", "gateway", "Run HAProxy, or the agent that drives it."),
    "simulate": _Part(
        "trimtab.cli.simulate.command", "simulate", "compress", "Compare capacity policies on traces of real clouds."
    ),
    "status": _Part("trimtab.cli.status", "status", "operator", "Say what a model is now."),
    "explain": _Part("trimtab.cli.explain", "explain", "operator", "Say why a model is as it is."),
    "promote": _Part("trimtab.cli.promote", "promote", "operator", "Skip the rest of a rollout's canary."),
    "rollback": _Part("trimtab.cli.rollback", "rollback", "operator", "Go back to the revision that served before."),
    "interrupt": _Part("trimtab.cli.interrupt", "interrupt", "operator", "Give a node its notice, to try it out."),
    "dashboard": _Part(
        "trimtab.cli.dashboard.command", "dashboard", "operator", "Serve a read-only page of all models, live."
    ),
    "report": _Part("trimtab.cli.report", "report", "operator", "Fetch and show what came of a model's compression."),
    "diff": _Part("trimtab.cli.diff", "diff", "operator", "Say what a changed manifest would cause."),
    "sample": _Part("trimtab.cli.sample", "sample", "compress", "Train a small model to try things with."),
    "crds": _Part("trimtab.cli.crds", "crds", None, "Write the CustomResourceDefinitions."),
}

_COMPLETIONS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "fish": FishComplete, "zsh": ZshComplete}


class _LazyGroup(click.Group):
    """Knows its subcommands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_PARTS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        part = _PARTS.get(cmd_name)
        if part is None:
            return super().get_command(ctx, cmd_name)
        try:
            found = getattr(importlib.import_module(part.module), part.attribute)
        except ModuleNotFoundError as error:
            _explain(cmd_name, error)
            raise
        if not isinstance(found, click.Command):
            raise TypeError(f"{part.module}.{part.attribute} is no click command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them, which is what click would do for their help texts."""
        own = [(name, super(_LazyGroup, self).get_command(ctx, name)) for name in super().list_commands(ctx)]
        rows = [(name, part.summary) for name, part in _PARTS.items()]
        rows += [(name, command.get_short_help_str()) for name, command in own if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete without importing, as above: where an extra is missing its command is known all the same."""
        names = [name for name in super().list_commands(ctx) if name.startswith(incomplete)]
        own = ((name, super(_LazyGroup, self).get_command(ctx, name)) for name in names)
        rows = [(name, part.summary) for name, part in _PARTS.items() if name.startswith(incomplete)]
        rows += [(name, command.get_short_help_str()) for name, command in own if command is not None]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=summary) for name, summary in rows), *options]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrimtabError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:  # imported late, inside a command
            _explain(ctx.invoked_subcommand or "", error)
            raise


def _explain(command: str, error: ModuleNotFoundError) -> None:
    """Turn a module that is not there into a remedy; return when the fault is in our own tree."""
    part = _PARTS.get(command)
    name = error.name or ""
    if part is not None and part.extra is not None and name and name.split(".")[0] != "trimtab":
        remedy = f"pip install 'trimtab[{part.extra}]'"
        raise click.ClickException(
            f"`trimtab {command}` needs the Python module {name!r}; install it with: {remedy}"
        ) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="trimtab")
def main() -> None:
    """Trimtab: one object in, a served model out. Smaller, proven, balanced, on the cheapest nodes that keep it up.

    Exit codes: 0 done; 1 it could not be done, and standard error says why; 2 the command line is wrong. `diff` exits
    with 1 where something would change and with 2 on errors, 128 and more: ended by a signal.
    """
    click.get_current_context().color = colours(os.environ)


@main.command()
@output_option
def version(output: str) -> None:
    """Print the version."""
    if output == "json":
        echo_json({"version": __version__})
    else:
        click.echo(__version__)


@main.command()
@click.argument("shell", type=click.Choice(sorted(_COMPLETIONS)))
def completion(shell: str) -> None:
    """Print a script that completes commands and options in SHELL: source <(trimtab completion bash).

    `kubectl trimtab` needs none: kubectl's own completion, from 1.26 on, asks the plugin.
    """
    click.echo(_COMPLETIONS[shell](main, {}, "trimtab", "_TRIMTAB_COMPLETE").source())
