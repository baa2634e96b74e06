"""What of a spec a revision's pods are made from: kept with the revision, so that it can be served again as it was."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.status import RevisionStatus
from trimtab.planning.settings import Settings

# All that `revision_hash` looks at.
_PATHS = (
    "source.secretRef",
    "compression.target",
    "serving.engine",
    "serving.image",
    "serving.resources",
    "serving.accelerator",
    "serving.batching",
    "serving.cache",
    "serving.loading",
    "serving.grpc",
    "serving.prefetch",
    "serving.rollout.drainTimeout",
    "capacity.pools",
)


def template_of(spec: OptimizedModelSpec, settings: Settings) -> str:
    """Return the fields that pods are made from as JSON, by their paths; those with their default are left out."""
    told = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    found = {path: value for path in _PATHS if (value := _at(told, path)) is not None}
    found["serving.image"] = spec.serving.image or settings.serve_image
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def spec_for(spec: OptimizedModelSpec, revision: RevisionStatus) -> OptimizedModelSpec | None:
    """Return today's spec with the fields that the pods of a revision were made from.

    None where that is not known, as an older version wrote the status, or does not go with today's spec.
    """
    if revision.template is None:
        return None
    body = spec.wire()
    try:
        told = json.loads(revision.template)
        for path in _PATHS:
            _put(body, path, told.get(path))
        return OptimizedModelSpec.model_validate(body)
    except (ValidationError, ValueError, AttributeError):
        return None


def _at(body: dict[str, Any], path: str) -> Any:
    found: Any = body
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at a path; None takes it away, which is its default."""
    *parents, last = path.split(".")
    for name in parents:
        body = body.setdefault(name, {})
    body.pop(last, None)
    if value is not None:
        body[last] = value
