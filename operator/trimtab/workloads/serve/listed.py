"""The models of a pod from a file: a JSON list, for pods that serve several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.api.quantities import seconds
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.workloads.serve.cache import CacheRules
from trimtab.workloads.serve.model import ModelSettings

_FIELDS = frozenset({"name", "revision", "artifact", "engine", "maxBatch", "maxWait", "loading", "cache"})


def read_models(path: Path) -> tuple[ModelSettings, ...]:
    """Return the models that a file lists, in its order: of several revisions the last one answers for the name.

    Raises:
        Stalled: The file is no such list; the message names the field.
    """
    try:
        listed = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _invalid(path.name, f"cannot be read: {error}") from None
    if not isinstance(listed, list) or not listed:
        raise _invalid(path.name, "must be a list with at least one model")
    models = tuple(_model(item, f"{path.name}[{index}]") for index, item in enumerate(listed))
    seen: set[tuple[str, str]] = set()
    for index, model in enumerate(models):
        if (model.name, model.revision) in seen:
            raise _invalid(f"{path.name}[{index}]", f"model '{model.name}' has revision '{model.revision}' twice")
        seen.add((model.name, model.revision))
    return models


def _model(item: Any, where: str) -> ModelSettings:
    _no_others(item, _FIELDS, where)
    artifact = item.get("artifact")
    _no_others(artifact, frozenset({"uri", "digest"}), f"{where}.artifact")
    cache = item.get("cache")
    rules = None
    if cache is not None:
        _no_others(cache, frozenset({"entries", "ttl"}), f"{where}.cache")
        ttl = cache.get("ttl")
        ttl_s = None if ttl is None else _duration(ttl, f"{where}.cache.ttl")
        rules = CacheRules(_count(cache.get("entries"), f"{where}.cache.entries"), ttl_s)
    return ModelSettings(
        name=_word(item.get("name"), f"{where}.name"),
        revision=_word(item.get("revision"), f"{where}.revision"),
        artifact_uri=_text(artifact.get("uri"), f"{where}.artifact.uri"),
        artifact_digest=_text(artifact.get("digest"), f"{where}.artifact.digest"),
        engine=Engine(_one_of(item.get("engine", "Auto"), [engine.value for engine in Engine], f"{where}.engine")),
        max_batch=_count(item.get("maxBatch", 16), f"{where}.maxBatch"),
        max_wait_s=_duration(item.get("maxWait", "0ms"), f"{where}.maxWait"),
        lazy=_one_of(item.get("loading", "Eager"), ["Eager", "Lazy"], f"{where}.loading") == "Lazy",
        cache=rules,
    )


def _no_others(value: Any, fields: frozenset[str], where: str) -> None:
    if not isinstance(value, dict):
        raise _invalid(where, f"must be an object with {', '.join(sorted(fields))}")
    unknown = sorted(set(value) - fields)
    if unknown:
        raise _invalid(f"{where}.{unknown[0]}", f"is unknown; known are {', '.join(sorted(fields))}")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise _unexpected(value, where, "a text")
    return value


def _word(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value or "/" in value:
        raise _unexpected(value, where, "a name without slashes")
    return value


def _count(value: Any, where: str) -> int:
    if type(value) is not int or value < 1:
        raise _unexpected(value, where, "a number from 1")
    return value


def _one_of(value: Any, known: list[str], where: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise _unexpected(value, where, " or ".join(map(str, known)))
    return value


def _duration(value: Any, where: str) -> float:
    try:
        return seconds(value)
    except (ValueError, TypeError) as error:
        raise _invalid(where, str(error)) from None


def _unexpected(value: Any, where: str, expected: str) -> Stalled:
    return _invalid(where, f"is {json.dumps(value)}; expected {expected}")


def _invalid(where: str, what: str) -> Stalled:
    return Stalled(Reason.INVALID_SPEC, f"{where}: {what}")
