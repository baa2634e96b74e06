"""Runs: which one the spec asks for, and what became of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from trimtab.api.base import SecretRef
from trimtab.api.compression import JobOptions, Preset
from trimtab.api.conditions import Reason, timestamp
from trimtab.api.guardrail import Guardrail, GuardrailMode, OnFail, OnInconclusive, Verdict
from trimtab.api.names import run_name, short_hash
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.runs import RunResult, RunSpec
from trimtab.api.serving import Engine
from trimtab.api.status import GuardrailStatus, OptimizedModelStatus, RevisionStatus, RunPhase, RunStatus
from trimtab.errors import NotYet, Stalled
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import JobPhase, RunView, Snapshot
from trimtab.version import __version__


def run_key(spec: OptimizedModelSpec, output: str) -> str:
    """Return what the spec asks for as a hash: equal requests are one run, and only `rerun.reason` repeats it.

    What the URIs point to is hashed in the Job, which may read it; `source.digest` is how a user says that it changed.
    """
    compression = spec.compression.model_copy(update={"job": None, "output": None})
    parts = {
        "source": spec.source.model_copy(update={"secret_ref": None}).wire(),
        "compression": compression.wire(),
        "guardrail": spec.guardrail.model_copy(update={"on_fail": None, "on_inconclusive": None}).wire(),
        "output": output,
        "rerun": spec.rerun.reason if spec.rerun else "",
        "version": __version__,
    }
    if spec.compression.job.image is not None:  # what one image cannot do, another may
        parts["image"] = spec.compression.job.image
    if _chooses_engine(spec) and spec.serving.engine is not Engine.AUTO:
        parts["engine"] = spec.serving.engine.value
    return short_hash(json.dumps(parts, sort_keys=True))


def _chooses_engine(spec: OptimizedModelSpec) -> bool:
    """Whether the recipe is found, by a preset or a search, which keeps to the engine that is to serve."""
    return spec.compression.search is not None or spec.compression.preset not in {None, Preset.NONE}


def output_uri(spec: OptimizedModelSpec, settings: Settings) -> str:
    """Return the folder that artifacts go to.

    Raises:
        Stalled: Neither the model nor the platform names one.
    """
    uri = spec.compression.output.uri if spec.compression.output else settings.artifacts_uri
    if uri is None:
        raise Stalled(
            Reason.NO_OUTPUT,
            "spec.compression.output.uri: not set, and the operator has no default; set it to a folder such as "
            "s3://bucket/artifacts, or set TRIMTAB_ARTIFACTS_URI on the operator",
        )
    return uri


def run_spec(snapshot: Snapshot, spec: OptimizedModelSpec) -> RunSpec:
    """Return what the Job is told."""
    output = output_uri(spec, snapshot.settings)
    return RunSpec(
        namespace=snapshot.key.namespace,
        model=snapshot.key.name,
        key=run_key(spec, output),
        salt=spec.rerun.reason if spec.rerun else "",
        source=spec.source,
        compression=spec.compression,
        guardrail=spec.guardrail,
        engine=spec.serving.engine if _chooses_engine(spec) else Engine.AUTO,
        output=output,
        allow_code=snapshot.settings.allows_code(snapshot.key.namespace),
    )


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Where the wanted run stands: what to report, and its result once there is one."""

    status: RunStatus
    result: RunResult | None = None
    start: bool = False
    """Whether the Job is to be made."""
    stale_job: str | None = None
    """A Job of this key that ended without a readable result and must go before it can be made again."""


def given(job: JobOptions, secret: SecretRef | None, *, allow_code: bool) -> str:
    """Return what a Job has to work with as a hash: it makes no other artifact, but may be why there was none."""
    parts = {"job": job.wire(), "secret": secret.name if secret else "", "code": allow_code}
    return short_hash(json.dumps(parts, sort_keys=True))


def outcome(snapshot: Snapshot, wanted: RunSpec) -> RunOutcome:
    """Decide what becomes of the wanted run, from its Job and from what the status remembers."""
    name = run_name(snapshot.key.name, wanted.key)
    last = snapshot.status.last_run
    remembered = last if last is not None and last.key == wanted.key else None
    now_given = given(wanted.compression.job, wanted.source.secret_ref, allow_code=wanted.allow_code)
    failed = remembered is not None and remembered.phase is RunPhase.FAILED
    if remembered is not None and failed and remembered.given in {None, now_given}:
        return RunOutcome(remembered)
    if (known := _result_of(snapshot.status, name)) is not None:
        done = RunStatus(name=name, key=wanted.key, phase=RunPhase.SUCCEEDED, progress_percent=100)
        return RunOutcome(remembered or done, known)
    if remembered is not None and _refused(snapshot, wanted):
        return RunOutcome(remembered, RunResult(guardrail=snapshot.status.guardrail, reused=True))
    view = next((run for run in snapshot.runs if run.key == wanted.key), None)
    if view is None:
        return RunOutcome(RunStatus(name=name, key=wanted.key, phase=RunPhase.PENDING, given=now_given), start=True)
    # A Job that is there has what it was made with, whatever the spec says by now.
    pending = RunStatus(
        name=name,
        key=wanted.key,
        phase=RunPhase.PENDING,
        given=remembered.given if remembered is not None and remembered.given is not None else now_given,
    )
    if view.deleting:
        return RunOutcome(pending)
    lost = view.phase is JobPhase.COMPLETE and view.result is None
    if failed or lost:
        why = "the result was lost; repeating" if lost else "it failed; trying again with what it is given now"
        return RunOutcome(pending.model_copy(update={"message": why}), stale_job=name)
    seen = _status_of(snapshot, view).model_copy(update={"given": pending.given})
    return RunOutcome(seen, view.result if view.phase is JobPhase.COMPLETE else None)


def _refused(snapshot: Snapshot, wanted: RunSpec) -> bool:
    """Whether the remembered run ended with an artifact that may not serve: then only its verdict is left.

    Where the original is to serve instead, the verdict is not enough: the Job says where the original is, and one that
    is gone finds its artifacts again.
    """
    remembered, verdict = snapshot.status.last_run, snapshot.status.guardrail
    if remembered is None or remembered.phase is not RunPhase.SUCCEEDED or verdict is None:
        return False
    return not passed(wanted.guardrail, verdict) and not falls_back(wanted.guardrail, verdict)


def _result_of(status: OptimizedModelStatus, name: str) -> RunResult | None:
    """Return what a run made that some revision still remembers; going back to it needs no Job."""
    revisions = (status.active_revision, status.candidate_revision, *status.revisions)
    revision = next((r for r in revisions if r is not None and r.run_name == name), None)
    if revision is None:
        return None
    return RunResult(
        artifact=None if revision.original else revision.artifact,
        original=revision.artifact if revision.original else None,
        guardrail=revision.guardrail,
        latency_ms=revision.latency_ms,
        source_latency_ms=revision.source_latency_ms,
        reused=True,
    )


def _status_of(snapshot: Snapshot, view: RunView) -> RunStatus:
    base = RunStatus(name=view.name, key=view.key, phase=RunPhase.PENDING, started_at=view.started_at)
    if view.phase is JobPhase.COMPLETE:
        done = {"phase": RunPhase.SUCCEEDED, "progress_percent": 100, "finished_at": view.finished_at}
        return base.model_copy(update=done)
    if view.phase is JobPhase.FAILED:
        reason, message = _failure(view)
        finished = view.finished_at or timestamp(snapshot.now)
        failed = {"phase": RunPhase.FAILED, "finished_at": finished, "reason": reason, "message": message}
        return base.model_copy(update=failed)
    if view.phase is JobPhase.PENDING:
        return base.model_copy(update={"message": view.waiting})
    trouble = view.result.message if view.result and view.result.reason else None
    running = base.model_copy(update={"phase": RunPhase.RUNNING, "message": trouble})
    progress = view.progress
    if progress is None:
        return _as_remembered(snapshot, running)
    return running.model_copy(
        update={
            "step": f"{progress.step} ({progress.index}/{progress.steps})",
            "progress_percent": progress.percent,
            "estimated_remaining_seconds": progress.remaining_seconds,
        }
    )


def _as_remembered(snapshot: Snapshot, running: RunStatus) -> RunStatus:
    """Return the run with the progress that the status knows: a log that cannot be read now takes none of it back."""
    before = snapshot.status.last_run
    if before is None or before.key != running.key or before.phase is not RunPhase.RUNNING:
        return running
    known = ("step", "progress_percent", "estimated_remaining_seconds")
    return running.model_copy(update={name: getattr(before, name) for name in known})


def _failure(view: RunView) -> tuple[str, str]:
    if view.result is not None and view.result.reason:
        return view.result.reason, view.result.message
    if view.failure == "DeadlineExceeded":
        return (
            Reason.RUN_DEADLINE_EXCEEDED,
            f"Job {view.name} ran longer than spec.compression.job.deadline; raise it, or choose a smaller recipe",
        )
    return (
        Reason.RUN_FAILED,
        (
            f"Job {view.name} failed ({view.failure or 'no reason given'}) without a result; "
            f"see `kubectl logs job/{view.name}`, then change spec.rerun.reason to try again"
        ),
    )


def passed(guardrail: Guardrail, verdict: GuardrailStatus | None) -> bool:
    """Whether the artifact may serve; what was to be judged and was not, may not."""
    if guardrail.mode is not GuardrailMode.ENFORCE:
        return True
    return verdict is not None and verdict.verdict is Verdict.PASSED


def falls_back(guardrail: Guardrail, verdict: GuardrailStatus) -> bool:
    """Whether the original is to serve instead of an artifact that missed its guardrail."""
    if guardrail.on_fail is not OnFail.SERVE_ORIGINAL or passed(guardrail, verdict):
        return False
    return verdict.verdict is Verdict.FAILED or guardrail.on_inconclusive is OnInconclusive.FAIL


def refusal(spec: OptimizedModelSpec, verdict: GuardrailStatus, keeps: RevisionStatus | None) -> Stalled:
    """Return why an artifact may not serve, and what serves instead."""
    serving = f"{keeps.called} keeps serving" if keeps else "nothing serves yet"
    if verdict.verdict is Verdict.INCONCLUSIVE and spec.guardrail.on_inconclusive is OnInconclusive.HOLD:
        return Stalled(Reason.GUARDRAIL_INCONCLUSIVE, f"{verdict.message}; {serving}")
    return Stalled(Reason.GUARDRAIL_FAILED, f"{verdict.message}; {serving}")


def check_allowed(snapshot: Snapshot, spec: OptimizedModelSpec) -> None:
    """Refuse a source that runs code where the platform has not allowed it.

    Raises:
        Stalled: The source declares such a format, or an entrypoint.
    """
    if not (spec.source.format.runs_code or spec.source.entrypoint):
        return
    if not snapshot.settings.allows_code(snapshot.key.namespace):
        raise Stalled(
            Reason.CODE_NOT_ALLOWED,
            f"spec.source.format: {spec.source.format.value} with entrypoint {spec.source.entrypoint or 'unset'} runs "
            f"code on load, which is not allowed in namespace {snapshot.key.namespace}; export the model to ONNX, or "
            "ask the platform team to add the namespace to TRIMTAB_ALLOW_CODE_NAMESPACES",
        )


def pending(run: RunStatus) -> NotYet:
    """Return the condition of a run that has not ended."""
    if run.phase is RunPhase.PENDING:
        return NotYet(Reason.RUN_PENDING, f"run {run.name} waits{': ' + run.message if run.message else ''}")
    step = f", {run.step}" if run.step else ""
    trouble = f"; last attempt: {run.message}" if run.message else ""
    return NotYet(Reason.RUN_RUNNING, f"run {run.name} is {run.progress_percent}% done{step}{trouble}")
