"""Builders of worlds: each gives a valid one, the test changes what it is about."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.conditions import Condition
from trimtab.api.gateway import EndpointState, EndpointStats, ModelStats, RevisionStats
from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.names import Key
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.overrides import Overrides
from trimtab.api.runs import RunResult
from trimtab.api.status import ArtifactStatus, GuardrailStatus, OptimizedModelStatus
from trimtab.planning.model import Memory, plan
from trimtab.planning.plan import Announce
from trimtab.planning.runs import run_key
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import DeploymentView, JobPhase, Owner, PodView, RunView, Snapshot

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key("default", "digits")


def spec_of(**changes: Any) -> OptimizedModelSpec:
    """Return the ten-line spec; keyword arguments replace its parts."""
    parts: dict[str, Any] = {
        "source": {"uri": "file:///models/digits"},
        "compression": {"preset": "Fast", "output": {"uri": "file:///artifacts"}},
        "guardrail": {"dataset": {"uri": "file:///data/digits.npz"}},
        "serving": {"maxReplicas": 4},
    }
    return OptimizedModelSpec.model_validate({**parts, **changes})


def verdict_of(verdict: Verdict, drop: float = 0.002) -> GuardrailStatus:
    return GuardrailStatus(
        verdict=verdict,
        metric=Metric.ACCURACY,
        baseline="0.98",
        candidate=str(0.98 - drop),
        drop=str(drop),
        lower=str(drop - 0.005),
        upper=str(drop + 0.005),
        limit="0.01",
        confidence="95%",
        samples=900,
        message=f"accuracy fell {100 * drop:.1f}pp, limit 1pp",
    )


def result_of(verdict: Verdict = Verdict.PASSED, digest: str = "sha256:" + "a" * 64) -> RunResult:
    artifact = ArtifactStatus(uri="file:///artifacts/x", digest=digest, bytes=100, source_bytes=1000)
    return RunResult(artifact=artifact, guardrail=verdict_of(verdict), latency_ms="0.2", source_latency_ms="0.5")


def traffic_of(*revisions: str, node: str = "node-a") -> ModelStats:
    """Return what a gateway says that has one healthy replica per name given."""
    return ModelStats(
        endpoints=[
            EndpointStats(
                address=f"127.1.0.{index}:8080",
                pod=f"{revision}-{index}",
                revision=revision,
                node=node,
                state=EndpointState.HEALTHY,
                max_concurrency=16,
            )
            for index, revision in enumerate(revisions)
        ]
    )


@pytest.fixture
def a_snapshot() -> Callable[..., Snapshot]:
    def build(**changes: Any) -> Snapshot:
        base = Snapshot(
            key=KEY,
            uid="uid-1",
            generation=1,
            spec=spec_of(),
            invalid=None,
            status=OptimizedModelStatus(),
            conditions=(),
            settings=Settings("trimtab/compress:1", "trimtab/serve:1", "trimtab/gateway:1"),
            now=NOW,
            owners=(Owner("digits", "uid-1"),),
            gateway_ready=True,
        )
        return replace(base, **changes)

    return build


@pytest.fixture
def after() -> Callable[..., Snapshot]:
    """Return the world after a plan was carried out: its status is what the next look sees."""

    def advance(snapshot: Snapshot, status: dict[str, Any], **changes: Any) -> Snapshot:
        parsed = OptimizedModelStatus.model_validate(status)
        conditions = tuple(Condition.read(entry) for entry in status.get("conditions", ()))
        return replace(snapshot, **{"status": parsed, "conditions": conditions, **changes})

    return advance


@pytest.fixture
def make() -> Any:
    """Return the parts that worlds are made of."""

    class Parts:
        spec = staticmethod(spec_of)
        result = staticmethod(result_of)
        verdict = staticmethod(verdict_of)
        traffic = staticmethod(traffic_of)
        now = NOW
        key = KEY

    return Parts


OUTPUT = "file:///artifacts"
CANARY_STEPS = [{"weight": "10%", "hold": "30s"}, {"weight": "50%", "hold": "30s", "maxErrorRate": "2%"}]


@dataclass
class Life:
    """A model in a world that does at once what its plans say; each look is a second, with traffic by the weights."""

    make: Any
    world: Any
    memory: Memory = field(default_factory=Memory)
    errors: float = 0.0
    """Share of the candidate's requests that fail."""
    ms_bucket: int = 20
    requests: int = 200
    counted: dict[str, RevisionStats] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)
    """Deployments as they were last applied, by name."""

    def look(self, after: Any, seconds: float = 1) -> dict[str, Any]:
        found, self.memory = plan(self.world, self.memory)
        self.status = found.status
        self.told += [a.message for a in found.actions if isinstance(a, Announce)]
        views: dict[str, DeploymentView] = {view.name: view for view in self.world.deployments}
        for action in found.actions:
            kind = type(action).__name__
            if kind == "Apply" and action.manifest["kind"] == "Deployment":
                name = action.manifest["metadata"]["name"]
                revision = action.manifest["metadata"]["labels"].get("trimtab.dev/revision")
                if revision:
                    self.made[name] = action.manifest
                    count = action.manifest["spec"]["replicas"]
                    views[name] = DeploymentView(name, revision, CapacityType.ON_DEMAND, count, count)
            elif kind == "Scale":
                views[action.name] = replace(views[action.name], replicas=action.replicas, ready=action.replicas)
            elif kind == "Delete" and action.kind == "Deployment":
                views.pop(action.name, None)
        pods = tuple(
            PodView(f"{view.name}-{i}", view.revision, CapacityType.ON_DEMAND, "node-a", "a", True, False, 60)
            for view in views.values()
            for i in range(view.replicas)
        )
        self._serve()
        traffic = self.make.traffic(*(pod.revision for pod in pods)).model_copy(
            update={"revisions": dict(self.counted)}
        )
        self.world = after(
            self.world,
            found.status,
            deployments=tuple(views.values()),
            pods=pods,
            traffic=traffic,
            now=self.world.now + timedelta(seconds=seconds),
        )
        return self.status

    def _serve(self) -> None:
        for name, weight in self.weights.items():
            before = self.counted.get(name, RevisionStats())
            count = self.requests * weight // 100
            new = name == (self.status.get("candidateRevision") or {}).get("name")
            bucket = self.ms_bucket if new else 20
            self.counted[name] = RevisionStats(
                requests=before.requests + count,
                errors=before.errors + (round(count * self.errors) if new else 0),
                latencies={**before.latencies, bucket: before.latencies.get(bucket, 0) + count},
            )

    def ask(self, **serving: Any) -> None:
        """Change the spec's serving; the artifact stays, its run is remembered."""
        body = self.world.spec.wire()
        spec = self.make.spec(**{**body, "serving": {**body["serving"], **serving}})
        key = run_key(spec, OUTPUT)
        run = RunView(f"digits-run-{key}", key, JobPhase.COMPLETE, result=self.make.result())
        self.world = replace(self.world, spec=spec, generation=self.world.generation + 1, runs=(run,))

    def annotate(self, **overrides: Any) -> None:
        """Say what a person decided; nothing else of it stays."""
        self.world = replace(self.world, overrides=Overrides(**overrides))

    def looks(self, after: Any, count: int) -> dict[str, Any]:
        for _ in range(count):
            self.look(after)
        return self.status

    @property
    def active(self) -> str:
        return str(self.status["activeRevision"]["name"])

    @property
    def weights(self) -> dict[str, int]:
        return {w["revision"]: w["weight"] for w in self.status["traffic"]["revisions"]}

    @property
    def candidate(self) -> str:
        return str(self.status["candidateRevision"]["name"])

    def reason(self, kind: str = "Ready") -> str:
        return next((c["reason"] for c in self.status["conditions"] if c["type"] == kind), "")


@pytest.fixture
def live(a_snapshot: Any, after: Any, make: Any) -> Any:
    """Return a model that serves with `replicas` and then asks for a canary of something new."""

    def begin(replicas: int = 4, steps: Any = None, **rollout: Any) -> Life:
        def spec(image: str) -> Any:
            canary = {"steps": steps or CANARY_STEPS}
            serving = {"minReplicas": replicas, "maxReplicas": replicas, "image": image}
            return make.spec(serving={**serving, "rollout": {"canary": canary, **rollout}})

        def run(for_spec: Any) -> RunView:
            key = run_key(for_spec, OUTPUT)
            return RunView(f"digits-run-{key}", key, JobPhase.COMPLETE, result=make.result())

        first, second = spec("serve:1"), spec("serve:2")
        life = Life(make, a_snapshot(spec=first, runs=(run(first),)))
        for _ in range(4):
            life.look(after)
        assert life.reason() == "Serving"
        life.world = replace(life.world, spec=second, generation=2, runs=(run(second),))
        return life

    return begin
