"""Everything a plan for one model may look at. If it is not here, planning cannot know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import Condition
from trimtab.api.gateway import ModelStats
from trimtab.api.names import Key
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.overrides import Overrides
from trimtab.api.runs import Progress, RunResult
from trimtab.api.status import OptimizedModelStatus
from trimtab.planning.loads import Load
from trimtab.planning.settings import Settings
from trimtab.planning.zones import CapacityEvent, ZoneState


class JobPhase(StrEnum):
    """How far a Job is."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class RunView:
    """A compression Job and its newest pod."""

    name: str
    key: str
    phase: JobPhase
    started_at: str | None = None
    finished_at: str | None = None
    result: RunResult | None = None
    """From the newest pod that left one."""
    progress: Progress | None = None
    waiting: str | None = None
    """Why no pod runs: not schedulable, image not found."""
    failure: str | None = None
    """Reason of the Job's Failed condition."""
    deleting: bool = False

    @property
    def has_ended(self) -> bool:
        return self.phase in (JobPhase.COMPLETE, JobPhase.FAILED)


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One of a revision's two Deployments."""

    name: str
    revision: str
    capacity_type: CapacityType
    replicas: int
    ready: int


@dataclass(frozen=True, slots=True)
class PodView:
    """A serving pod."""

    name: str
    revision: str
    capacity_type: CapacityType
    node: str | None
    zone: str | None
    ready: bool
    terminating: bool
    age_s: float
    pool: str | None = None
    """Pool of its node."""
    share: float | None = None
    """Share of its node that it reserves, where the node says what it has."""
    condemned: bool = False
    """Whether it already carries the annotation that makes a scale-down take it first."""
    trouble: str | None = None
    """Why it does not start, in Kubernetes' words."""
    fatal: bool = False
    """Whether trying again cannot help: the artifact is corrupt, say."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A model that keeps shared objects of its namespace alive."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model and its world at one moment."""

    key: Key
    uid: str
    generation: int
    spec: OptimizedModelSpec | None
    invalid: str | None
    """Why the spec could not be read; then `spec` is None."""
    status: OptimizedModelStatus
    conditions: tuple[Condition, ...]
    settings: Settings
    now: datetime
    overrides: Overrides = field(default_factory=Overrides)
    """What a person decided about its rollout, beside the spec."""
    owners: tuple[Owner, ...] = ()
    """Every model of the namespace, this one included."""
    gateway_owners: frozenset[str] = frozenset()
    """UIDs of those that the namespace's gateway names as its owners."""
    runs: tuple[RunView, ...] = ()
    deployments: tuple[DeploymentView, ...] = ()
    pods: tuple[PodView, ...] = ()
    cluster_ip: str | None = None
    """Of the model's Service, once there is one."""
    name_taken: bool = False
    """Whether a Service of the model's name exists that is not ours."""
    load: Load | None = None
    """What Prometheus reports, where it is the source; None when it did not answer or knows too little."""
    traffic: ModelStats | None = None
    """What the gateway reports; None when it did not answer."""
    gateway_ready: bool = False
    """Whether a gateway pod is Ready in Kubernetes' eyes: until then no Service leads to it."""
    pools: tuple[CapacityPool, ...] = ()
    doomed_nodes: Mapping[str, datetime] = field(default_factory=dict)
    """Nodes that go away, and when."""
    retiring: frozenset[str] = frozenset()
    """Of them, those that we empty ourselves: they wait until their replicas are replaced."""
    events: tuple[CapacityEvent, ...] = ()
    """What happened to capacity in the last hour: notices, losses, shortages, quotas; the oldest first."""
    zones: Mapping[str, ZoneState] = field(default_factory=dict)
    """What is known of each pool's zones, where anything happened: what a model's first decision starts from."""
    bad_pools: Mapping[str, str] = field(default_factory=dict)
    """Pools whose spec could not be read, and why."""

    @property
    def leaving_nodes(self) -> dict[str, datetime]:
        """Nodes that go away whatever we do, and when."""
        doomed = self.doomed_nodes
        return {name: until for name, until in doomed.items() if name not in self.retiring} if doomed else {}

    @property
    def timestamp(self) -> float:
        return self.now.timestamp()


Object = dict[str, Any]
