"""The status: conditions that never lie, typed results, and the strings of kubectl's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.api import conditions as c
from trimtab.api.base import CapacityType
from trimtab.api.conditions import Condition, ConditionStatus, Reason, moment
from trimtab.api.guardrail import GuardrailMode, Verdict
from trimtab.api.names import GATEWAY
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import human_bytes
from trimtab.api.status import ConditionStatus as ConditionEntry
from trimtab.api.status import (
    CostStatus,
    DecisionStatus,
    GuardrailStatus,
    OptimizedModelStatus,
    ReplicasStatus,
    RevisionStatus,
    RunPhase,
    Summary,
    TrafficStatus,
)
from trimtab.errors import NotYet, Stalled, TrimtabError
from trimtab.planning.decisions import KEPT
from trimtab.planning.scaling import Wanted, healthy
from trimtab.planning.serving import DECIDED, Serving, given_up, url
from trimtab.planning.snapshot import Snapshot
from trimtab.planning.target import Target
from trimtab.planning.traffic import HELD_SECONDS


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition before it has a generation and a time."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def status_of(
    snapshot: Snapshot,
    target: Target,
    serving: Serving | None,
    wanted: Wanted | None,
    cost: CostStatus | None,
    decisions: Sequence[DecisionStatus],
) -> OptimizedModelStatus:
    """Return the whole status."""
    problem = target.problem or (serving.problem if serving else None)
    entries = _conditions(snapshot, target, serving, wanted, problem)
    replicas = _replicas(snapshot, serving, wanted)
    before = snapshot.status
    active = serving.active if serving else before.active_revision
    shares = list(serving.weights) if serving else before.traffic.revisions if before.traffic else None
    traffic = TrafficStatus(revisions=shares, avoid_nodes=_avoided(snapshot)) if shares is not None else None
    made = OptimizedModelStatus(
        observed_generation=snapshot.generation,
        conditions=[ConditionEntry.model_validate(entry.wire()) for entry in entries],
        url=url(snapshot.key, snapshot.settings.url_template, snapshot.cluster_ip) if active else before.url,
        last_run=target.run,
        guardrail=target.guardrail,
        active_revision=active,
        candidate_revision=serving.candidate if serving else before.candidate_revision,
        rollout=serving.rollout if serving else before.rollout,
        rollback=serving.rollback if serving else before.rollback,
        revisions=list(serving.history) if serving else before.revisions,
        replicas=replicas,
        traffic=traffic,
        cost=cost,
        decisions=[*decisions, *before.decisions][:KEPT],
    )
    return made.model_copy(update={"summary": _summary(snapshot, made, entries, problem)})


def _avoided(snapshot: Snapshot) -> list[str]:
    """Return the nodes with replicas of the model that go away; others are no concern of its traffic."""
    return sorted({pod.node for pod in snapshot.pods if pod.node is not None} & snapshot.leaving_nodes.keys())


def _conditions(
    snapshot: Snapshot,
    target: Target,
    serving: Serving | None,
    wanted: Wanted | None,
    problem: TrimtabError | None,
) -> tuple[Condition, ...]:
    findings = [
        _available(snapshot, serving, wanted),
        _optimized(snapshot, target),
        _guardrail(snapshot, target),
        _rolled_out(snapshot, target, serving, problem),
        *_capacity(snapshot, serving, wanted),
    ]
    available = findings[0].status == "True"
    if problem is None and available:
        findings.append(_ready(target, findings[0]))
    elif problem is None:
        findings.append(Finding(c.READY, "False", findings[0].reason, findings[0].message))
    else:
        findings.append(Finding(c.READY, "False", problem.reason, problem.message))
        kind = c.STALLED if isinstance(problem, Stalled) else c.RECONCILING
        findings.append(Finding(kind, "True", problem.reason, problem.message))
    made: tuple[Condition, ...] = snapshot.conditions
    for kind in {entry.type for entry in made} - {finding.type for finding in findings}:
        made = c.without_condition(made, kind)
    for found in findings:
        new = Condition(found.type, found.status, found.reason, found.message, snapshot.generation, snapshot.now)
        made = c.with_condition(made, new)
    return made


def _ready(target: Target, available: Finding) -> Finding:
    """Return that all is as the spec asks; where the original serves, nobody may take it for a compressed model."""
    revision = target.revision
    if revision is None or not revision.original:
        return Finding(c.READY, "True", available.reason, available.message)
    why = f"{revision.guardrail.message}; " if revision.guardrail else ""
    message = f"{why}{available.message}, uncompressed, as spec.guardrail.onFail: ServeOriginal asks"
    return Finding(c.READY, "True", Reason.SERVING_ORIGINAL, message)


def _available(snapshot: Snapshot, serving: Serving | None, wanted: Wanted | None) -> Finding:
    active = serving.active if serving else snapshot.status.active_revision
    candidate = serving.candidate if serving else snapshot.status.candidate_revision
    if active is None and candidate is None:
        return Finding(c.AVAILABLE, "False", Reason.NO_REVISION, "no revision has been rolled out yet")
    ready = sum(1 for pod in snapshot.pods if pod.ready and not pod.terminating)
    # A gateway that does not answer says nothing about the replicas: Kubernetes' word counts then.
    count = serving.healthy if serving is not None and snapshot.traffic is not None else ready
    if not count and serving is not None:  # what is on a node that goes is avoided, but better than nothing until then
        names = [revision.name for revision in (active, candidate) if revision is not None]
        count = sum(healthy(snapshot.traffic, name, frozenset()) for name in names)
    serves = active or candidate
    name = serves.called if serves else ""
    asleep = wanted is not None and wanted.replicas == 0 and active is not None
    waking = not asleep and not count and _wakes(snapshot)
    if (count or asleep or waking) and not snapshot.gateway_ready:
        message = f"no gateway pod is Ready, so no request gets through; see the pods of the Deployment {GATEWAY}"
        return Finding(c.AVAILABLE, "False", Reason.NO_ENDPOINTS, message)
    if asleep:
        message = f"{name} is asleep: the next request starts a replica"
        return Finding(c.AVAILABLE, "True", Reason.ASLEEP, message)
    if count:
        return Finding(c.AVAILABLE, "True", Reason.SERVING, f"{name} serves")
    if waking:
        message = f"{name} wakes: requests wait for its first replica, {HELD_SECONDS:.0f} s at most"
        return Finding(c.AVAILABLE, "True", Reason.WAKING, message)
    trouble = next((pod.trouble for pod in snapshot.pods if pod.trouble), None)
    message = f"the gateway has no healthy replica of {name}{'; ' + trouble if trouble else ''}"
    return Finding(c.AVAILABLE, "False", Reason.NO_ENDPOINTS, message)


def _wakes(snapshot: Snapshot) -> bool:
    """Whether a model that slept is being scaled up, while gateways still hold the requests that woke it."""
    before = c.find(snapshot.conditions, c.AVAILABLE)
    if before is None or before.status != "True" or any(pod.trouble for pod in snapshot.pods):
        return False
    if before.reason == Reason.ASLEEP:
        return True
    scaled = next((entry.time for entry in snapshot.status.decisions if entry.kind == "Scaling"), None)
    since_s = snapshot.timestamp - moment(scaled).timestamp() if scaled is not None else HELD_SECONDS
    return before.reason == Reason.WAKING and since_s < HELD_SECONDS


def _said(snapshot: Snapshot, kind: str) -> Finding | None:
    """Return what was found of this generation before, where it cannot be looked at now."""
    past = c.find(snapshot.conditions, kind)
    if past is None or past.observed_generation != snapshot.generation:
        return None
    return Finding(kind, past.status, past.reason, past.message)


def _optimized(snapshot: Snapshot, target: Target) -> Finding:
    run = target.run
    if target.revision is not None or (target.asked and run is not None and run.phase is RunPhase.SUCCEEDED):
        name = target.revision.run_name if target.revision else run.name if run else ""
        unserved = ", which does not serve" if target.revision and target.revision.original else ""
        return Finding(c.OPTIMIZED, "True", Reason.RUN_SUCCEEDED, f"run {name} made an artifact{unserved}")
    if not target.asked and (said := _said(snapshot, c.OPTIMIZED)) is not None and said.status == "True":
        return said
    problem = target.problem or NotYet(Reason.PROGRESSING, "no run has been decided on yet")
    return Finding(c.OPTIMIZED, "False", problem.reason, problem.message)


def _guardrail(snapshot: Snapshot, target: Target) -> Finding:
    verdict = target.judged
    mode = snapshot.spec.guardrail.mode if snapshot.spec else GuardrailMode.ENFORCE
    if mode is GuardrailMode.DISABLED:
        return Finding(c.GUARDRAIL_PASSED, "Unknown", Reason.GUARDRAIL_DISABLED, "spec.guardrail.mode: Disabled")
    if verdict is None:
        unknown = Finding(c.GUARDRAIL_PASSED, "Unknown", Reason.PROGRESSING, "nothing has been judged yet")
        return _said(snapshot, c.GUARDRAIL_PASSED) or unknown
    if verdict.verdict is Verdict.PASSED:
        return Finding(c.GUARDRAIL_PASSED, "True", Reason.GUARDRAIL_PASSED, verdict.message)
    reason = Reason.GUARDRAIL_FAILED if verdict.verdict is Verdict.FAILED else Reason.GUARDRAIL_INCONCLUSIVE
    if mode is GuardrailMode.REPORT:
        return Finding(c.GUARDRAIL_PASSED, "False", Reason.GUARDRAIL_REPORTED, f"{verdict.message} (mode: Report)")
    return Finding(c.GUARDRAIL_PASSED, "False", reason, verdict.message)


def _rolled_out(snapshot: Snapshot, target: Target, serving: Serving | None, problem: TrimtabError | None) -> Finding:
    own = serving.problem if serving else None
    if own is not None and own.reason in DECIDED:
        problem = own
    elif target.problem is not None and (serving is None or serving.candidate is None):
        # Whatever else goes wrong, this condition is what keeps a candidate that failed from being tried again.
        past = given_up(snapshot, serving.rollback if serving else snapshot.status.rollback)
        problem = Stalled(past.reason, past.message) if past is not None else problem
    if problem is not None:
        return Finding(c.ROLLED_OUT, "False", problem.reason, problem.message)
    if serving is None or serving.active is None:
        return Finding(c.ROLLED_OUT, "False", Reason.PROGRESSING, "nothing to roll out yet")
    return Finding(c.ROLLED_OUT, "True", Reason.ROLLED_OUT, f"all traffic goes to {serving.active.called}")


def _capacity(snapshot: Snapshot, serving: Serving | None, wanted: Wanted | None) -> list[Finding]:
    if serving is None or wanted is None or (serving.active is None and serving.candidate is None):
        return []
    staying = [p for p in snapshot.pods if p.ready and not p.terminating and p.node not in snapshot.leaving_nodes]
    on_demand = sum(1 for pod in staying if pod.capacity_type is not CapacityType.SPOT)
    spot = len(staying) - on_demand
    base = snapshot.spec.capacity.on_demand_base if snapshot.spec else 0
    floor = min(base, wanted.replicas)
    if not wanted.floor_met:
        message = f"{wanted.placement_reason}; add an on-demand CapacityPool or set spec.capacity.onDemandBase to 0"
        return [Finding(c.CAPACITY_MET, "False", Reason.FLOOR_NOT_MET, message)]
    if on_demand < floor:
        trouble = next((p.trouble for p in snapshot.pods if p.trouble and p.capacity_type is not CapacityType.SPOT), "")
        message = f"{on_demand} of {floor} replicas of the floor are ready on on-demand nodes"
        return [Finding(c.CAPACITY_MET, "False", Reason.FLOOR_NOT_MET, f"{message}; {trouble}".rstrip("; "))]
    if spot < wanted.spot:
        message = f"{spot} of {wanted.spot} spot replicas are ready; {on_demand} run on demand"
        return [Finding(c.CAPACITY_MET, "False", Reason.SPOT_SHORT, message)]
    return [Finding(c.CAPACITY_MET, "True", Reason.CAPACITY_MET, f"{on_demand} on-demand + {spot} spot replicas")]


def _replicas(snapshot: Snapshot, serving: Serving | None, wanted: Wanted | None) -> ReplicasStatus | None:
    if wanted is None or serving is None or (serving.active is None and serving.candidate is None):
        return snapshot.status.replicas
    leaving = snapshot.leaving_nodes
    ready = [pod for pod in snapshot.pods if pod.ready and not pod.terminating and pod.node not in leaving]
    spot = sum(1 for pod in ready if pod.capacity_type is CapacityType.SPOT)
    # As for Available: a silent gateway says nothing, Kubernetes' word counts then.
    serves = serving.healthy if snapshot.traffic is not None else len(ready)
    return ReplicasStatus(desired=wanted.replicas, ready=serves, on_demand=len(ready) - spot, spot=spot)


def _summary(
    snapshot: Snapshot,
    status: OptimizedModelStatus,
    conditions: tuple[Condition, ...],
    problem: TrimtabError | None,
) -> Summary:
    spec = snapshot.spec
    revision = status.active_revision or status.candidate_revision
    replicas = status.replicas or ReplicasStatus()
    total = replicas.on_demand + replicas.spot
    ready = c.find(conditions, c.READY)
    return Summary(
        status=phase(status, problem, ready),
        compression=_compression(spec, ready) if spec else "",
        size=f"{human_bytes(revision.artifact.source_bytes)} -> {human_bytes(revision.artifact.bytes)}"
        if revision
        else "",
        drop=_drop(revision) if revision else "",
        replicas=f"{replicas.ready}/{replicas.desired}" if revision else "",
        spot=f"{round(100 * replicas.spot / total)}%" if total else "",
        load_balancing=spec.serving.load_balancing.policy.value if spec else "",
        cost_per_hour=f"{status.cost.per_hour} {status.cost.currency}" if status.cost else "",
        message=ready.message if ready else "",
    )


def phase(status: OptimizedModelStatus, problem: TrimtabError | None, ready: Condition | None) -> str:
    """Return the phase in a word or two."""
    if isinstance(problem, Stalled):
        return problem.reason
    if problem is not None:
        run = status.last_run
        compressing = problem.reason == Reason.RUN_RUNNING and run is not None
        return f"Compressing {run.progress_percent}%" if compressing and run else problem.reason
    return ready.reason if ready is not None and ready.status == "True" else "Unavailable"


def _drop(revision: RevisionStatus) -> str:
    """Return what was lost by what serves: nothing by the original, whatever its verdict says of the artifact."""
    if revision.original:
        return "0.00pp"
    return drop_text(revision.guardrail) if revision.guardrail else ""


def drop_text(guardrail: GuardrailStatus) -> str:
    """Return the drop in percentage points; a gain has a minus."""
    return f"{100 * float(guardrail.drop):.2f}pp"


def _compression(spec: OptimizedModelSpec, ready: Condition | None) -> str:
    compression = spec.compression
    if compression.preset is not None:
        wanted = compression.preset.value
    else:
        wanted = "+".join(step.technique for step in compression.steps or ()) or "search"
    return f"none ({wanted} missed)" if ready is not None and ready.reason == Reason.SERVING_ORIGINAL else wanted
