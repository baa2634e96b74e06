# ruff: noqa: INP001 - a hook of mkdocs, no part of the package
"""Writes the reference pages of the site from the code, whenever it is built: nothing has to be kept up to date."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from trimtab.api.crds import crds
from trimtab.api.gateway import GatewayStats
from trimtab.cli import main
from trimtab.handlers.looks import Looks
from trimtab.planning.exposition import exposition
from trimtab.workloads.gateway.statistics import prometheus
from trimtab.workloads.serve.metrics import render

_FETCHED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?(?P<url>(?:https?:)?//[^"'\s>]+)""")
_OUTSIDE = "Written when the site is built, from the code itself.\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that asks other hosts for scripts, styles or pictures."""
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        if asked := _FETCHED.search(page.read_text()):
            raise PluginError(f"{page.name} fetches {asked['url']}; the site has to work without internet")


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    model, pool = crds().values()
    return {
        "optimizedmodel": _fields(model),
        "capacitypool": _fields(pool),
        "cli": "# Command line\n\n" + _OUTSIDE + "\n" + "\n".join(_command(main, ("trimtab",))),
        "environment": _environment(),
        "metrics": _metrics(),
    }


# Fields


def _fields(crd: dict[str, Any]) -> str:
    names, (version,) = crd["spec"]["names"], crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    shown = f"`kubectl explain {names['shortNames'][0]}.spec` says the same of a cluster's version."
    parts = [f"# Fields of {names['kind']}\n", schema["description"] + "\n", _OUTSIDE + shown + "\n"]
    for part in ("spec", "status"):
        parts += [f"## {part}\n", "| field | type | unless set | what |", "|---|---|---|---|"]
        parts += [*_rows(schema["properties"][part], part, _ANYTHING), ""]
    return "\n".join(parts)


_ANYTHING: dict[str, Any] = {}


def _rows(schema: dict[str, Any], path: str, default: Any) -> Iterator[str]:
    """Yield a line for each field below; a default of the whole is one of its parts."""
    default = schema.get("default", default)
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        inner = default.get(name) if isinstance(default, dict) else None
        given = field.get("default", inner)
        unless = "required" if name in required else "" if given in (None, {}, []) else f"`{_plain(given)}`"
        yield f"| `{path}.{name}` | {_type(field)} | {unless} | {_cell(field.get('description', ''))} |"
        item = field.get("items", field)
        yield from _rows(item, f"{path}.{name}[]" if "items" in field else f"{path}.{name}", inner)


def _type(field: dict[str, Any]) -> str:
    if "items" in field:
        return f"list of {_type(field['items'])}"
    if values := field.get("enum"):
        return ", ".join(f"`{_plain(value)}`" for value in values)
    bounds = [f"{sign} {field[key]}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in field]
    kind = "integer or string" if field.get("x-kubernetes-int-or-string") else field.get("type", "any")
    return " ".join([kind, *bounds])


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


# Commands


def _command(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
    """Yield a chapter for a command and for each below it."""
    context = click.Context(command, info_name=" ".join(path), **command.context_settings)
    if len(path) > 1:
        yield f"{'#' * min(len(path), 4)} {' '.join(path)}\n"
        yield inspect.cleandoc(command.help or "").replace("\b", "") + "\n"
        if options := [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]:
            yield "| option | unless set | what |\n|---|---|---|"
            yield from (_option(option, context) for option in options)
            yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _command(found, (*path, name))


def _option(option: click.Parameter, context: click.Context) -> str:
    if isinstance(option, click.Argument):
        return f"| `{option.make_metavar(context)}` | {'required' if option.required else ''} | |"
    if not isinstance(option, click.Option):
        raise TypeError(f"{option.name} is neither an argument nor an option")
    shown = option.get_help_record(context)
    written, _, _ = (shown or (option.opts[-1], ""))[0].partition("\n")
    unless = option.show_default if isinstance(option.show_default, str) else _given(option)
    return f"| `{_cell(written)}` | {unless} | {_cell(option.help or '')} |"


def _given(option: click.Option) -> str:
    if option.required:
        return "required"
    default = option.to_info_dict().get("default")
    if option.is_flag or callable(default) or default in (None, "", ()) or "Sentinel" in type(default).__name__:
        return ""
    return f"`{_cell(str(default))}`"


# Environment


class Variable(NamedTuple):
    """A variable that is no option of a command."""

    name: str
    read_by: str
    what: str


_STORES = "Jobs, replicas, the operator"
OTHERS = (
    Variable("TRIMTAB_RUN", "compression Jobs", "The run's request in JSON; the operator sets it."),
    Variable("TRIMTAB_JOB", "compression Jobs", "The Job's UID, by which its workers know each other."),
    Variable("AWS_ACCESS_KEY_ID", _STORES, "With AWS_SECRET_ACCESS_KEY, one way to credentials."),
    Variable("AWS_ENDPOINT_URL", _STORES, "Where S3 is, if not at AWS; `AWS_ENDPOINT_URL_S3` goes first."),
    Variable("AWS_REGION", _STORES, "Region; `AWS_DEFAULT_REGION` where it is not set."),
    Variable("OTEL_EXPORTER_OTLP_ENDPOINT", "replicas", "Where traces go; none: there are none."),
    Variable("XDG_STATE_HOME", "`trimtab local`", "Below it is the folder of a cluster without `--data-dir`."),
)


def _environment() -> str:
    found: dict[str, list[Variable]] = {}
    for variable in (*_variables(main, "trimtab"), *OTHERS):
        found.setdefault(variable.name, []).append(variable)
    lines = ["# Environment variables\n", _OUTSIDE, "| variable | read by | what |", "|---|---|---|"]
    for name, readers in sorted(found.items()):
        lines.append(f"| `{name}` | {', '.join(one.read_by for one in readers)} | {_cell(readers[0].what)} |")
    return "\n".join(lines) + "\n"


def _variables(command: click.Command, path: str) -> Iterator[Variable]:
    """Yield what stands for an option of a command or of one below it."""
    context = click.Context(command, info_name=path, **command.context_settings)
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            automatic = f"{context.auto_envvar_prefix}_{option.name}".upper() if context.auto_envvar_prefix else None
            if name := option.envvar or automatic:
                yield Variable(str(name), f"`{path} {option.opts[-1]}`", option.help or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if found := command.get_command(context, name):
                yield from _variables(found, f"{path} {name}")


# Metrics


def _metrics() -> str:
    empty = GatewayStats.model_validate({"time": 0, "proxyUp": True, "models": {}})
    sources = (
        ("Operator", "`/metrics` on `--metrics-port`", exposition([], [], datetime.now(UTC)) + Looks().text()),
        ("Gateway", "`/metrics` on port 8090, labelled `model`", prometheus(empty, None)),
        ("Replica", "`/metrics` on port 8080, labelled `model` and `revision`", render([]).decode()),
    )
    lines = ["# Metrics\n", _OUTSIDE]
    for title, where, text in sources:
        lines += [f"## {title}\n", f"At {where}.\n", "| metric | type | what |", "|---|---|---|", *_families(text), ""]
    return "\n".join(lines)


def _families(text: str) -> Iterable[str]:
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    told = re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE)
    return [f"| `{name}` | {kinds[name]} | {_cell(what)} |" for name, what in told]
