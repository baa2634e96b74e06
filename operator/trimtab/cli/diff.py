"""`trimtab diff`: what a changed manifest would cause, before it is applied."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import click
import yaml
from pydantic import ValidationError

from trimtab.api.names import API_VERSION, Key
from trimtab.api.optimizedmodel import OptimizedModel
from trimtab.api.status import OptimizedModelStatus
from trimtab.cli.asking import Reads, chosen_namespace, connected, kubeconfig_option, namespace_option
from trimtab.cli.printing import echo_json, output_option
from trimtab.errors import TrimtabError

if TYPE_CHECKING:
    from trimtab.planning.changes import Change

_COLOURS = {"NewRun": "yellow", "Rollout": "yellow", "Refused": "red", "InPlace": "green", "Nothing": None}
_CALLED = {
    "NewRun": "a new run, then a rollout",
    "Rollout": "a rollout only",
    "Refused": "refused",
    "InPlace": "changed in place: no run, no rollout",
    "Nothing": "nothing",
}
_ABSENT = "-"


class _Trouble(click.ClickException):
    """An error; 1 would say that there are differences."""

    exit_code = 2


@click.command()
@click.option("-f", "--filename", "files", type=click.File("r"), multiple=True, required=True, help="YAML; - is stdin.")
@namespace_option
@kubeconfig_option
@output_option
def diff(files: Sequence[IO[str]], namespace: str | None, kubeconfig: str | None, output: str) -> None:
    """Say what applying the OptimizedModels in FILES would cause: a new run, only a rollout, or nothing.

    Exits with 0 when nothing would change, 1 when something would, 2 on errors, as kubectl diff does.
    """
    try:
        wanted = [body for file in files for body in models(file.read(), file.name)]
        default = chosen_namespace(namespace, kubeconfig)
        found = asyncio.run(_compared(wanted, namespace, default, kubeconfig))
    except (TrimtabError, click.ClickException, ModuleNotFoundError) as error:
        raise _Trouble(error.message if isinstance(error, click.ClickException) else str(error)) from error
    if output == "json":
        echo_json([told(key, change) for key, change in found])
    else:
        for key, change in found:
            for line in lines(key, change):
                click.echo(line)
    if any(change.effect != "Nothing" for _, change in found):
        raise SystemExit(1)


def models(text: str, file: str) -> list[dict[str, Any]]:
    """Return the OptimizedModels of a file; other kinds are for `kubectl diff`.

    Raises:
        click.ClickException: It is no YAML, has objects of another version, or no model at all.
    """
    try:
        bodies = [body for body in yaml.safe_load_all(text) if body]
    except yaml.YAMLError as error:
        raise click.ClickException(f"{file}: no YAML: {error}") from None
    kinds = [body.get("kind") if isinstance(body, dict) else None for body in bodies]
    found = [body for body, kind in zip(bodies, kinds, strict=True) if kind == "OptimizedModel"]
    if not found:
        there = ", ".join(sorted({str(kind) for kind in kinds})) or "nothing"
        raise click.ClickException(f"{file}: no OptimizedModel, but {there}; see `kubectl diff` for other kinds")
    for body in found:
        if body.get("apiVersion") != API_VERSION:
            raise click.ClickException(f"{file}: apiVersion {body.get('apiVersion')}; this version reads {API_VERSION}")
        if not (body.get("metadata") or {}).get("name"):
            raise click.ClickException(f"{file}: metadata.name: not set; a model needs one to be compared")
    return found


async def _compared(
    wanted: list[dict[str, Any]], namespace: str | None, default: str, kubeconfig: str | None
) -> list[tuple[Key, Change]]:
    async with connected(kubeconfig) as cluster:
        return [await compared(cluster, body, namespace, default) for body in wanted]


async def compared(cluster: Reads, body: dict[str, Any], namespace: str | None, default: str) -> tuple[Key, Change]:
    """Return what applying `body` would cause.

    Raises:
        click.ClickException: The manifest is invalid, or names another namespace than asked for.
    """
    from trimtab.effects.kinds import MODELS
    from trimtab.planning.changes import change

    meta = body["metadata"]
    own = meta.get("namespace")
    if own and namespace and own != namespace:
        raise click.ClickException(f"{meta['name']}: metadata.namespace: {own}, but --namespace {namespace}; drop one")
    key = Key(own or default, meta["name"])
    after = _read(key, body)
    live = await cluster.get(MODELS, key.name, key.namespace)
    before = _read(key, live) if live else None
    status = OptimizedModelStatus.model_validate((live or {}).get("status") or {})
    return key, change(key, before.spec if before else None, after.spec, status)


def _read(key: Key, body: dict[str, Any]) -> OptimizedModel:
    from trimtab.effects.reading import explain

    try:
        return OptimizedModel.model_validate(body)
    except ValidationError as error:
        raise click.ClickException(f"{key}: {explain(error)}") from None


def told(key: Key, change: Change) -> dict[str, Any]:
    """Return what `--output json` prints of a model."""
    return {
        "namespace": key.namespace,
        "name": key.name,
        "effect": change.effect.value,
        "why": change.why,
        "fields": [{"field": one.field, "before": one.before, "after": one.after} for one in change.fields],
    }


def lines(key: Key, change: Change) -> list[str]:
    """Return what a person reads: the effect, then the fields."""
    effect = change.effect.value
    title = click.style(_CALLED[effect], fg=_COLOURS[effect], bold=True)
    told = [f"{key}: {title}: {change.why}"]
    return [*told, *(f"  {one.field}: {_text(one.before)} -> {_text(one.after)}" for one in change.fields)]


def _text(value: Any) -> str:
    return _ABSENT if value is None else json.dumps(value) if isinstance(value, (dict, list)) else str(value)
