"""What the page shows of one model: pure, from the object as the API has it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from trimtab.api.conditions import RECONCILING, STALLED
from trimtab.api.status import GuardrailStatus, OptimizedModelStatus, RevisionStatus

Json = dict[str, Any]


def card(model: Json) -> Json:
    """Return a model as the page takes it; what is not known is None. Shares are of 1, bytes are bytes.

    A status that cannot be read (another version wrote it) leaves names and phase only: a page that shows 100 models
    must not end because of one.
    """
    meta = model["metadata"]
    told: Json = {
        "key": key_of(model),
        "namespace": meta["namespace"],
        "name": meta["name"],
        "status": "Progressing",
        "tone": "busy",
        "message": "the operator has not read it yet",
    }
    try:
        state = OptimizedModelStatus.model_validate(model.get("status") or {})
    except ValidationError:
        return told | {"message": "its status is of another version than this page"}
    if state.summary is None:
        return told
    shown = state.active_revision or state.candidate_revision
    return told | {
        "status": state.summary.status,
        "tone": _tone(state),
        "message": state.summary.message,
        "compression": state.summary.compression,
        "url": state.url,
        "run": _run(state),
        "size": {"before": shown.artifact.source_bytes, "after": shown.artifact.bytes} if shown else None,
        "latency": _latency(shown),
        "guardrail": _guardrail((shown.guardrail if shown else None) or state.guardrail),
        "replicas": state.replicas.wire() if state.replicas else None,
        "traffic": [share.wire() for share in state.traffic.revisions] if state.traffic else [],
        "rollout": state.rollout.wire() if state.rollout else None,
        "cost": _cost(state),
        "decisions": [decision.wire() for decision in state.decisions],
    }


def key_of(model: Json) -> str:
    """Return what the page knows a model by."""
    return f"{model['metadata']['namespace']}/{model['metadata']['name']}"


def _tone(state: OptimizedModelStatus) -> str:
    """Return `bad` where somebody has to act, `busy` while work goes on, else `good`."""
    true = {condition.type for condition in state.conditions if condition.status == "True"}
    if STALLED in true:
        return "bad"
    return "busy" if RECONCILING in true or "Ready" not in true else "good"


def _run(state: OptimizedModelStatus) -> Json | None:
    run = state.last_run
    if run is None or run.finished_at is not None:
        return None
    return {
        "phase": run.phase.value,
        "step": run.step,
        "percent": run.progress_percent,
        "remainingSeconds": run.estimated_remaining_seconds,
    }


def _latency(revision: RevisionStatus | None) -> Json | None:
    if revision is None or revision.latency_ms is None or revision.source_latency_ms is None:
        return None
    return {"before": float(revision.source_latency_ms), "after": float(revision.latency_ms)}


def _guardrail(guardrail: GuardrailStatus | None) -> Json | None:
    if guardrail is None:
        return None
    numbers = {name: float(getattr(guardrail, name)) for name in ("drop", "lower", "upper", "limit")}
    return numbers | {
        "verdict": guardrail.verdict.value,
        "metric": guardrail.metric.value,
        "samples": guardrail.samples,
        "message": guardrail.message,
    }


def _cost(state: OptimizedModelStatus) -> Json | None:
    cost = state.cost
    if cost is None:
        return None
    return {
        "perHour": float(cost.per_hour),
        "allOnDemandPerHour": float(cost.all_on_demand_per_hour),
        "currency": cost.currency,
    }
