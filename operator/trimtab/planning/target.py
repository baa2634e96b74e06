"""What should serve: from the spec, through run and guardrail, to a revision, or why not yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from trimtab.api.conditions import Reason, timestamp
from trimtab.api.names import RUN_LABEL, revision_name, run_name
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.runs import RunResult, RunSpec
from trimtab.api.status import GuardrailStatus, RevisionStatus, RunPhase, RunStatus
from trimtab.errors import NotYet, Stalled, TrimtabError
from trimtab.planning import accelerators, runs, support
from trimtab.planning.manifests.job import compression_job
from trimtab.planning.manifests.serving import revision_hash
from trimtab.planning.manifests.template import template_of
from trimtab.planning.plan import Action, Announce, Apply, Delete
from trimtab.planning.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Target:
    """The revision that the spec asks for, as far as it is known."""

    run: RunStatus | None = None
    guardrail: GuardrailStatus | None = None
    revision: RevisionStatus | None = None
    problem: TrimtabError | None = None
    """Why there is no revision (yet)."""
    actions: tuple[Action, ...] = field(default=())
    asked: bool = True
    """Whether `run` is the one that the spec asks for; else what is remembered is of an earlier one."""

    @property
    def judged(self) -> GuardrailStatus | None:
        """What was proven of what the spec asks for; None before it is."""
        ended = self.asked and self.run is not None and self.run.phase is RunPhase.SUCCEEDED
        return self.guardrail if ended else None


def target(snapshot: Snapshot) -> Target:
    """Decide what should serve. Without a revision, what served before goes on serving."""
    remembered = Target(run=snapshot.status.last_run, guardrail=snapshot.status.guardrail, asked=False)
    try:
        spec = admitted(snapshot)
        wanted = runs.run_spec(snapshot, spec)
    except Stalled as refused:
        return replace(remembered, problem=refused)
    outcome = runs.outcome(snapshot, wanted)
    superseded = _superseded(snapshot, wanted)
    if outcome.start or outcome.stale_job:
        return _begin(snapshot, spec, wanted, outcome, superseded)
    if outcome.status.phase is RunPhase.FAILED:
        problem = Stalled(outcome.status.reason or Reason.RUN_FAILED, outcome.status.message or "the run failed")
        return Target(outcome.status, problem=problem, actions=superseded)
    if outcome.result is None:
        return Target(outcome.status, remembered.guardrail, problem=runs.pending(outcome.status), actions=superseded)
    return _judged(snapshot, spec, outcome.status, outcome.result, superseded)


def admitted(snapshot: Snapshot) -> OptimizedModelSpec:
    """Return the spec when this version can do all that it says.

    Raises:
        Stalled: It cannot; the message names field, value and remedy.
    """
    if snapshot.spec is None:
        raise Stalled(Reason.INVALID_SPEC, snapshot.invalid or "the spec could not be read")
    refused = support.refusals(snapshot.spec)
    if refused:
        raise Stalled(Reason.NOT_SUPPORTED, "; ".join(str(refusal) for refusal in refused))
    runs.check_allowed(snapshot, snapshot.spec)
    if snapshot.spec.serving.prefetch and not snapshot.settings.node_cache_volume:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            "spec.serving.prefetch: true needs a volume on the nodes, and this installation names none; use false, or "
            "ask the platform team to set TRIMTAB_NODE_CACHE_VOLUME",
        )
    support.require_metric(snapshot.spec, snapshot.settings)
    missing = sorted(set(snapshot.spec.capacity.pools) - {pool.name for pool in snapshot.pools})
    if missing:
        because = "; ".join(f"{name}: {snapshot.bad_pools.get(name, 'no such CapacityPool')}" for name in missing)
        raise Stalled(Reason.NO_POOL, f"spec.capacity.pools: {because}; create the pool or correct the name")
    accelerators.require_offered(snapshot.spec, snapshot.pools)
    if snapshot.name_taken:
        name = snapshot.key.name
        raise Stalled(
            Reason.NAME_TAKEN,
            f"metadata.name: a Service {name} that is not this model's exists in namespace {snapshot.key.namespace}; "
            "delete it or give the model another name",
        )
    return snapshot.spec


def _superseded(snapshot: Snapshot, wanted: RunSpec) -> tuple[Action, ...]:
    """Return the removal of runs that nobody asks for any more: a newer generation always wins."""
    return tuple(
        Delete("batch/v1", "Job", snapshot.key.namespace, run.name)
        for run in snapshot.runs
        if run.key != wanted.key and not run.deleting
    )


def _begin(
    snapshot: Snapshot,
    spec: OptimizedModelSpec,
    wanted: RunSpec,
    outcome: runs.RunOutcome,
    superseded: tuple[Action, ...],
) -> Target:
    guardrail = snapshot.status.guardrail
    if spec.suspend:
        problem = NotYet(Reason.SUSPENDED, "spec.suspend: true; the run that this generation asks for waits")
        return Target(snapshot.status.last_run, guardrail, problem=problem, asked=False)
    problem = runs.pending(outcome.status)
    if outcome.stale_job:
        delete = Delete("batch/v1", "Job", snapshot.key.namespace, outcome.stale_job)
        return Target(outcome.status, guardrail, problem=problem, actions=(*superseded, delete))
    name = run_name(wanted.model, wanted.key)
    started = Announce(Reason.RUN_STARTED, f"run {name} compresses {spec.source.uri}", dedupe=f"{RUN_LABEL}={name}")
    accelerator = accelerators.job_accelerator(spec, snapshot.pools)
    pools = accelerators.job_pools(spec, snapshot.pools)
    job = Apply(compression_job(wanted, snapshot.uid, snapshot.settings, accelerator, pools))
    return Target(outcome.status, guardrail, problem=problem, actions=(*superseded, job, started))


def _judged(
    snapshot: Snapshot,
    spec: OptimizedModelSpec,
    run: RunStatus,
    result: RunResult,
    superseded: tuple[Action, ...],
) -> Target:
    verdict = result.guardrail
    active = snapshot.status.active_revision
    artifact, original = result.artifact, False
    if not runs.passed(spec.guardrail, verdict):
        if verdict is None:
            problem = Stalled(
                Reason.RUN_FAILED,
                f"run {run.name} ended without a verdict, and spec.guardrail.mode is Enforce; change spec.rerun.reason",
            )
            return Target(run, problem=problem, actions=superseded)
        if not runs.falls_back(spec.guardrail, verdict):
            refused = runs.refusal(spec, verdict, active)
            return Target(run, verdict, problem=refused, actions=superseded)
        artifact, original = result.original, True
    if artifact is None:
        what = "the original that spec.guardrail.onFail asks for" if original else "an artifact"
        problem = Stalled(Reason.RUN_FAILED, f"run {run.name} ended without {what}; change spec.rerun.reason")
        return Target(run, verdict, problem=problem, actions=superseded)
    name = revision_name(snapshot.key.name, revision_hash(artifact, spec, snapshot.settings))
    known = (snapshot.status.active_revision, snapshot.status.candidate_revision)
    revision = next((r for r in known if r is not None and r.name == name), None)
    if revision is None:
        revision = RevisionStatus(
            name=name,
            run_name=run.name,
            artifact=artifact,
            generation=snapshot.generation,
            since=timestamp(snapshot.now),
            latency_ms=result.source_latency_ms if original else result.latency_ms,
            source_latency_ms=result.source_latency_ms,
            guardrail=verdict,
            original=original or None,
            template=template_of(spec, snapshot.settings),
        )
    elif revision.template is None:  # an older version wrote the status; the name says that today's spec is the same
        revision = revision.model_copy(update={"template": template_of(spec, snapshot.settings)})
    return Target(run, verdict, revision, actions=superseded)
