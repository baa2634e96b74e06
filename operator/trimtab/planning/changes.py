"""What a changed spec would cause: a new run, a rollout, a change in place, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from trimtab.api.names import Key, run_name
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.overrides import ROLLBACK
from trimtab.api.status import OptimizedModelStatus, RevisionStatus, RunPhase
from trimtab.planning import runs, support
from trimtab.planning.manifests.serving import revision_hash
from trimtab.planning.settings import Settings

# Where the operator would put artifacts is its own setting; the same on both sides, it tells nothing apart.
_DEFAULT_OUTPUT = "the operator's default"
# The images are the operator's setting, too.
_SETTINGS = Settings(compress_image="", serve_image="", gateway_image="")


class Effect(StrEnum):
    """What a change leads to, the heaviest first."""

    REFUSED = "Refused"
    """Nothing: the model stalls, and what serves goes on."""
    NEW_RUN = "NewRun"
    """A Job, then a rollout of what it makes, if it passes its guardrail."""
    ROLLOUT = "Rollout"
    """Other pods, with an artifact that is there."""
    IN_PLACE = "InPlace"
    """It holds at once: neither Job nor rollout."""
    NOTHING = "Nothing"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of the spec; None where it is not set."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a model."""

    effect: Effect
    why: str
    fields: tuple[FieldChange, ...] = ()


def change(
    key: Key, before: OptimizedModelSpec | None, after: OptimizedModelSpec, status: OptimizedModelStatus
) -> Change:
    """Decide what applying `after` would cause. `before` is None where there is no such model yet."""
    found = _change(key, before, after, status)
    back = status.rollback
    if back is None or found.effect is Effect.REFUSED:
        return found
    if found.effect in {Effect.NEW_RUN, Effect.ROLLOUT}:
        return replace(found, why=f"{found.why}; it ends the rollback to {back.to}, if another revision comes of it")
    return replace(found, why=f"{found.why}; {back.revision} stays rolled back, {back.to} serves ({ROLLBACK})")


def _change(
    key: Key, before: OptimizedModelSpec | None, after: OptimizedModelSpec, status: OptimizedModelStatus
) -> Change:
    fields = tuple(_differences(before.wire() if before else {}, after.wire(), "spec"))
    if before is not None and not fields:
        return Change(Effect.NOTHING, "the spec says the same")
    if refused := support.refusals(after):
        return Change(Effect.REFUSED, "; ".join(str(refusal) for refusal in refused), fields)
    waits = " (waits: spec.suspend)" if after.suspend else ""
    if before is None:
        return Change(Effect.NEW_RUN, f"the model is new{waits}", fields)
    old, new = _run_key(before, before, status), _run_key(after, before, status)
    known = _remembered(status, run_name(key.name, new))
    if old != new and known is None:
        return Change(Effect.NEW_RUN, f"run {_run_of(old, status)} made something else{waits}", fields)
    if known is None and _is_tried_again(before, after, status):
        return Change(Effect.NEW_RUN, f"run {_run_of(old, status)} failed, and is given something else{waits}", fields)
    was = _asked(status)
    serves = known if old != new else was
    if was is None or serves is None:
        return Change(Effect.IN_PLACE, "nothing serves yet; the run goes on", fields)
    if _pods(was, before) != _pods(serves, after):
        what = f"the artifact of {serves.name} is there already" if old != new else "its pods are made otherwise"
        return Change(Effect.ROLLOUT, f"{what}; no Job{waits}", fields)
    return Change(Effect.IN_PLACE, "neither the artifact nor its pods depend on it", fields)


def _is_tried_again(before: OptimizedModelSpec, after: OptimizedModelSpec, status: OptimizedModelStatus) -> bool:
    """Whether the last run failed and its Job is to have something else to work with."""
    if status.last_run is None or status.last_run.phase is not RunPhase.FAILED:
        return False
    old, new = (runs.given(spec.compression.job, spec.source.secret_ref, allow_code=False) for spec in (before, after))
    return old != new


def _asked(status: OptimizedModelStatus) -> RevisionStatus | None:
    """Return the revision that the live spec asks for: what serves, but where a person rolled that back."""
    if status.rollback is not None:
        name = status.rollback.asked or status.rollback.revision
        return next((one for one in status.revisions if one.name == name), status.active_revision)
    return status.active_revision


def _run_key(spec: OptimizedModelSpec, live: OptimizedModelSpec, status: OptimizedModelStatus) -> str:
    default = _DEFAULT_OUTPUT
    if status.active_revision is not None and live.compression.output is None:
        default = _output_of(live, status) or default
    return runs.run_key(spec, spec.compression.output.uri if spec.compression.output else default)


def _output_of(live: OptimizedModelSpec, status: OptimizedModelStatus) -> str | None:
    """Return the folder under which the operator keeps artifacts: the one that the last run's key was made with."""
    if status.active_revision is None or status.last_run is None:
        return None
    uri = status.active_revision.artifact.uri
    scheme, separator, path = uri.partition("://")
    parts = path.split("/")
    folders = (scheme + separator + "/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    return next((folder for folder in folders if runs.run_key(live, folder) == status.last_run.key), None)


def _remembered(status: OptimizedModelStatus, name: str) -> RevisionStatus | None:
    revisions = (status.active_revision, status.candidate_revision, *status.revisions)
    return next((one for one in revisions if one is not None and one.run_name == name), None)


def _run_of(key: str, status: OptimizedModelStatus) -> str:
    return status.last_run.name if status.last_run else key


def _pods(revision: RevisionStatus, spec: OptimizedModelSpec) -> str:
    return revision_hash(revision.artifact, spec, _SETTINGS)


def _differences(before: Any, after: Any, path: str) -> Iterator[FieldChange]:
    """Yield the fields that differ, each as deep as both sides are objects."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}")
    elif before != after:
        yield FieldChange(path, before, after)
