"""What we report: typed results beside the conditions, and the strings that feed kubectl's columns."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from trimtab.api.base import ApiModel
from trimtab.api.guardrail import Metric, Verdict


class Told(ApiModel):
    """A part of a status. What a newer operator wrote beside it is passed over, so that an older one can go on."""

    model_config = ConfigDict(extra="ignore")


class ConditionStatus(Told):
    """A condition in metav1 form."""

    model_config = ConfigDict(json_schema_extra={"x-trimtab-list-key": "type"})
    type: Annotated[str, Field(max_length=316)]
    """Name of the condition."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=1024)]
    """CamelCase reason, documented in the reference."""
    message: Annotated[str, Field(max_length=32_768)]
    """What, how much, and what to do."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation that this condition speaks of."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""


class RunPhase(StrEnum):
    """How far a run is."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class RunStatus(Told):
    """The last run."""

    name: str
    """The Job's name."""
    key: str
    """What was asked for, as a hash."""
    phase: RunPhase
    """How far it is."""
    step: str | None = None
    """What it is doing."""
    progress_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """How much of it is done."""
    estimated_remaining_seconds: Annotated[int, Field(ge=0)] | None = None
    """Time left, from the steps so far."""
    started_at: str | None = None
    """When the Job began."""
    finished_at: str | None = None
    """When it ended."""
    reason: str | None = None
    """Why it failed."""
    message: str | None = None
    """Why it failed, and what to do."""
    given: str | None = None
    """What its Job had to work with, as a hash: a run that failed is tried again with something else."""


class GuardrailStatus(Told):
    """What the guardrail measured; scores and drop are shares of 1, as decimal strings."""

    verdict: Verdict
    """Passed, Failed or Inconclusive."""
    metric: Metric
    """How it was scored."""
    baseline: str
    """Score of the original in the serving engine."""
    candidate: str
    """Score of the compressed model in the serving engine."""
    drop: str
    """baseline - candidate."""
    lower: str
    """Lower end of the drop's interval."""
    upper: str
    """Upper end of the drop's interval."""
    limit: str
    """The drop that is allowed, in the score's unit."""
    confidence: str
    """Of the interval."""
    samples: int
    """Paired samples."""
    required_samples: int | None = None
    """Samples that would settle an Inconclusive verdict."""
    message: str = ""
    """The verdict in a sentence."""


class ArtifactStatus(Told):
    """A compressed model in the store."""

    uri: str
    """Its folder."""
    digest: str
    """sha256 of its manifest."""
    bytes: Annotated[int, Field(ge=0)]
    """Size of the model's files."""
    source_bytes: Annotated[int, Field(ge=0)]
    """Size of the original, exported to the same format."""


class RevisionStatus(Told):
    """An artifact together with how it is served."""

    name: str
    """<model>-<hash>: prefix of its Deployments."""
    run_name: str
    """The run that made it."""
    artifact: ArtifactStatus
    """What is served."""
    generation: int
    """The generation that asked for it."""
    since: str
    """When it was created."""
    latency_ms: str | None = None
    """Median time of one request in the serving engine, measured by the run."""
    source_latency_ms: str | None = None
    """The same for the original, measured in the same run."""
    guardrail: GuardrailStatus | None = None
    """What the run proved; where `original` is set, of the compressed model that does not serve."""
    original: bool | None = None
    """True where the uncompressed original serves, because the guardrail was missed and onFail says so."""
    template: Annotated[str, Field(max_length=16_384)] | None = None
    """What its pods are made from beside the artifact: fields of the spec in JSON, by their paths."""

    @property
    def called(self) -> str:
        """Return the revision as a sentence calls it."""
        return f"revision {self.name} (the original)" if self.original else f"revision {self.name}"


class ReplicasStatus(Told):
    """Replicas of the model."""

    desired: Annotated[int, Field(ge=0)] = 0
    """Wanted."""
    ready: Annotated[int, Field(ge=0)] = 0
    """Healthy at the gateway."""
    on_demand: Annotated[int, Field(ge=0)] = 0
    """Ready on on-demand nodes."""
    spot: Annotated[int, Field(ge=0)] = 0
    """Ready on spot nodes."""


class WeightStatus(Told):
    """A revision's share of the traffic."""

    revision: str
    """The revision's name."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """In percent."""


class TrafficStatus(Told):
    """What the gateway is to do; its agent reads it here."""

    revisions: list[WeightStatus] = Field(default_factory=list)
    """Shares of the traffic."""
    avoid_nodes: list[str] = Field(default_factory=list)
    """Nodes that go away: their replicas get no new request."""


class RolloutStatus(Told):
    """The rollout under way."""

    revision: str
    """The candidate."""
    steps: Annotated[int, Field(ge=0)] = 0
    """Canary steps in all."""
    steps_passed: Annotated[int, Field(ge=0)] = 0
    """Canary steps that it has passed."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the traffic that its canary has reached, in percent."""
    since: str | None = None
    """Since when the step's traffic is measured."""
    analysis: str = ""
    """What keeps the step from ending."""
    admitted: Annotated[int, Field(ge=0)] = 0
    """Most replicas that the gateway had admitted."""
    remaining: Annotated[int, Field(ge=0)] = 0
    """Fewest pods of the active revision that were left."""
    progressed_at: str
    """When it last came further: progressDeadline counts from here."""


class RollbackStatus(Told):
    """What a person decided: that a revision does not serve."""

    revision: str
    """The revision that does not serve, as the annotation trimtab.dev/rollback names it."""
    to: str
    """The revision that serves instead."""
    asked: str | None = None
    """The revision that the spec asks for; a rollback ends when it asks for another one."""
    reason: str = ""
    """Why, in the words of who decided it."""
    since: str
    """When the operator learned of it."""


class PoolCostStatus(Told):
    """What is used of one pool."""

    model_config = ConfigDict(json_schema_extra={"x-trimtab-list-key": "pool"})
    pool: str
    """The CapacityPool."""
    replicas: Annotated[int, Field(ge=0)] = 0
    """Replicas on its nodes; of the pool itself, its nodes."""
    per_hour: str
    """What they cost together now."""
    spent: str
    """What they have cost since `cost.since`, until `cost.measuredAt`."""


class CostStatus(Told):
    """What replicas, or a pool's nodes, cost, from the pools' prices."""

    per_hour: str
    """Now."""
    all_on_demand_per_hour: str
    """The same replicas on on-demand nodes alone."""
    currency: str
    """ISO 4217."""
    spent: str = "0"
    """Since `since`, until `measuredAt`; it grows by perHour from then on."""
    all_on_demand_spent: str = "0"
    """What the same replicas would have cost on on-demand nodes alone."""
    since: str | None = None
    """When the sums began."""
    measured_at: str | None = None
    """How far the sums reach: they are written with anything else, and for their own sake once a day."""
    pools: Annotated[list[PoolCostStatus], Field(max_length=64)] = Field(default_factory=list)
    """The same by pool."""


class DecisionStatus(Told):
    """Why something changed."""

    time: str
    """When."""
    kind: Annotated[str, Field(pattern="^(Scaling|Placement|Rollout)$")]
    """What it is about."""
    message: str
    """What and why."""


class Summary(Told):
    """Strings for kubectl's columns."""

    status: str = ""
    """Phase in a word or two."""
    compression: str = ""
    """Preset or steps."""
    size: str = ""
    """Before and after."""
    drop: str = ""
    """Of the score."""
    replicas: str = ""
    """Ready of wanted."""
    spot: str = ""
    """Share on spot nodes."""
    load_balancing: str = ""
    """Policy."""
    cost_per_hour: str = ""
    """With currency."""
    message: str = ""
    """Of the condition that matters most."""


class OptimizedModelStatus(Told):
    """What is."""

    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] = -1
    """The generation that was processed; -1 before the first."""
    conditions: list[ConditionStatus] = Field(default_factory=list)
    """Ready, Reconciling, Stalled, Available, Optimized, GuardrailPassed, RolledOut, CapacityMet."""
    url: str | None = None
    """Where requests go: <url>/v2/models/<name>/infer."""
    last_run: RunStatus | None = None
    """The last run."""
    guardrail: GuardrailStatus | None = None
    """What the last run's guardrail measured."""
    active_revision: RevisionStatus | None = None
    """What serves."""
    candidate_revision: RevisionStatus | None = None
    """What is being rolled out."""
    rollout: RolloutStatus | None = None
    """How far that is."""
    rollback: RollbackStatus | None = None
    """Which revision does not serve because a person decided so, and what serves instead."""
    revisions: list[RevisionStatus] = Field(default_factory=list)
    """What served before, newest first."""
    replicas: ReplicasStatus | None = None
    """Replicas of the model."""
    traffic: TrafficStatus | None = None
    """What the gateway is to do."""
    cost: CostStatus | None = None
    """What the replicas cost."""
    decisions: Annotated[list[DecisionStatus], Field(max_length=5)] = Field(default_factory=list)
    """The last five scaling, placement and rollout decisions, newest first."""
    summary: Summary | None = None
    """Strings for kubectl's columns."""


class ZoneStatus(Told):
    """What happened in one zone of a pool: what a restarted operator goes on with."""

    model_config = ConfigDict(json_schema_extra={"x-trimtab-list-key": "zone"})
    zone: Annotated[str, Field(max_length=253)]
    """The zone; of a pool that names none, the pool."""
    since: str
    """Since when it has been watched."""
    updated_at: str
    """When nodes were last lost, or were to be."""
    losses: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{6}$")]
    """Blows until then, of which half are forgotten in six hours."""
    cooling_until: str
    """Until when nothing is ordered there."""
    cool_down_seconds: Annotated[int, Field(ge=0)]
    """How long the last cool-down was."""


class HeardStatus(Told):
    """An event of capacity that was counted, and does not count again."""

    id: Annotated[str, Field(max_length=512)]
    """Whose it is and which."""
    at: str
    """When it was heard of."""


class CapacityPoolStatus(Told):
    """What a pool has."""

    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] = -1
    """The generation that was processed; -1 before the first."""
    conditions: list[ConditionStatus] = Field(default_factory=list)
    """Ready; Reconciling and Stalled while True."""
    desired: Annotated[int, Field(ge=0)] = 0
    """Nodes ordered."""
    ready: Annotated[int, Field(ge=0)] = 0
    """Nodes ready."""
    doomed: Annotated[int, Field(ge=0)] = 0
    """Nodes with an interruption notice."""
    interruptions: Annotated[int, Field(ge=0)] = 0
    """Notices since the pool was created."""
    cost: CostStatus | None = None
    """What the nodes cost, from their order on, used or not."""
    decisions: Annotated[list[DecisionStatus], Field(max_length=5)] = Field(default_factory=list)
    """The last five orders, newest first, and why."""
    zones: Annotated[list[ZoneStatus], Field(max_length=32)] = Field(default_factory=list)
    """What happened to its zones."""
    quota_until: str | None = None
    """Until when nothing more is ordered, because the account's quota was reached."""
    heard: Annotated[list[HeardStatus], Field(max_length=32)] = Field(default_factory=list)
    """The last events of capacity."""
