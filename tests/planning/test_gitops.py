"""What kubectl wait, Argo CD and Flux make of a model, in every situation: conditions, kstatus, both health checks."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cel_expr_python import cel
from lupa import LuaRuntime

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.gateway import ModelStats
from trimtab.api.guardrail import Verdict
from trimtab.api.optimizedmodel import OptimizedModel
from trimtab.api.overrides import Overrides
from trimtab.planning.model import Memory, plan
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import DeploymentView, JobPhase, PodView, RunView

GITOPS = Path(__file__).parents[2] / "manifests" / "gitops"
LUA = (GITOPS / "argocd" / "health.lua").read_text()
FLUX = [body for body in yaml.safe_load_all((GITOPS / "flux" / "models.yaml").read_text()) if body]
POOLS = tuple(
    CapacityPool.model_validate(
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "CapacityPool",
            "metadata": {"name": name},
            "spec": {"capacityType": kind, "provider": {"embedded": {}}, "price": {"perNodeHour": price}},
        }
    )
    for name, kind, price in (("od", "OnDemand", "0.19"), ("spot", "Spot", "0.06"))
)


class Life:
    """The situations of a model, as the planner writes them."""

    def __init__(self, a_snapshot: Any, after: Any, make: Any) -> None:
        self.a_snapshot, self.after, self.make = a_snapshot, after, make

    def run(self, spec: Any, phase: JobPhase, **more: Any) -> RunView:
        key = run_key(spec, "file:///artifacts")
        return RunView(name=f"digits-run-{key}", key=key, phase=phase, **more)

    def told(self, world: Any, memory: Memory | None = None) -> dict[str, Any]:
        return plan(world, memory or Memory())[0].status

    def served(self) -> tuple[Any, Memory]:
        done = self.run(self.make.spec(), JobPhase.COMPLETE, result=self.make.result())
        world = self.a_snapshot(runs=(done,))
        first, memory = plan(world, Memory())
        name = first.status["candidateRevision"]["name"]
        pod = PodView("p1", name, CapacityType.ON_DEMAND, "node-a", "a", ready=True, terminating=False, age_s=60)
        deployment = DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 1, 1)
        more = {"deployments": (deployment,), "pods": (pod,), "traffic": self.make.traffic(name)}
        world = self.after(world, first.status, **more)
        second, memory = plan(world, memory)
        return self.after(world, second.status), memory

    def applied(self) -> dict[str, Any]:
        return {"observedGeneration": -1}

    def unread(self) -> dict[str, Any]:
        return {**self.serves(), "observedGeneration": 0}

    def compresses(self) -> dict[str, Any]:
        return self.told(self.a_snapshot(runs=(self.run(self.make.spec(), JobPhase.RUNNING),)))

    def invalid(self) -> dict[str, Any]:
        return self.told(self.a_snapshot(spec=None, invalid="spec.source: no"))

    def missed(self, served: bool = False) -> dict[str, Any]:
        world = self.served()[0] if served else self.a_snapshot()
        spec = self.make.spec(compression={"preset": "Smallest", "output": {"uri": "file:///artifacts"}})
        failed = self.run(spec, JobPhase.COMPLETE, result=self.make.result(Verdict.FAILED))
        return self.told(replace(world, spec=spec, runs=(failed,)))

    def missed_while_one_serves(self) -> dict[str, Any]:
        return self.missed(served=True)

    def suspended(self) -> dict[str, Any]:
        return self.told(self.a_snapshot(spec=self.make.spec(suspend=True)))

    def rolls_out(self) -> dict[str, Any]:
        done = self.run(self.make.spec(), JobPhase.COMPLETE, result=self.make.result())
        return self.told(self.a_snapshot(runs=(done,)))

    def serves(self) -> dict[str, Any]:
        return self.told(*self.served())

    def rolled_back(self) -> dict[str, Any]:
        world, memory = self.served()
        name = world.status.active_revision.name
        world = replace(world, spec=self.make.spec(serving={"image": "serve:2"}))
        (run,) = world.runs
        second = self.run(world.spec, JobPhase.COMPLETE, result=run.result)
        wanted = self.told(replace(world, runs=(second,)), memory)["candidateRevision"]["name"]
        assert wanted != name
        return self.told(replace(world, runs=(second,), overrides=Overrides(rollback=wanted)), memory)

    def asleep(self) -> dict[str, Any]:
        spec = self.make.spec(serving={"minReplicas": 0, "maxReplicas": 2, "scaling": {"idleAfter": "10s"}})
        done = self.run(spec, JobPhase.COMPLETE, result=self.make.result())
        world, memory = self.a_snapshot(spec=spec, runs=(done,), traffic=ModelStats()), Memory()
        for _ in range(10):
            found, memory = plan(world, memory)
            world = self.after(world, found.status, now=world.now + timedelta(seconds=1))
        return self.told(world, memory)

    def lacks_spot(self) -> dict[str, Any]:
        """The replica on demand is there, those on spot are ordered, and no node comes for them."""
        world, memory = self.served()
        name = world.status.active_revision.name
        spec = self.make.spec(
            serving={"minReplicas": 3, "maxReplicas": 4}, capacity={"onDemandBase": 1, "spotPercent": 100}
        )
        ordered = DeploymentView(f"{name}-spot", name, CapacityType.SPOT, 2, 0)
        world = replace(world, spec=spec, deployments=(*world.deployments, ordered), pools=POOLS)
        status = self.told(world, memory)
        assert {"type": "CapacityMet", "status": "False", "reason": "SpotShort"}.items() <= next(
            entry for entry in status["conditions"] if entry["type"] == "CapacityMet"
        ).items()
        return status

    def loses_its_replicas(self) -> dict[str, Any]:
        world, memory = self.served()
        return self.told(replace(world, pods=(), traffic=ModelStats()), memory)


SITUATIONS = [
    # situation, kstatus, Argo CD, Available
    pytest.param(Life.applied, "InProgress", "Progressing", None, id="just applied"),
    pytest.param(Life.unread, "InProgress", "Progressing", "True", id="changed, not read yet"),
    pytest.param(Life.compresses, "InProgress", "Progressing", "False", id="a run goes on"),
    pytest.param(Life.rolls_out, "InProgress", "Progressing", "False", id="a rollout goes on"),
    pytest.param(Life.suspended, "InProgress", "Suspended", "False", id="suspended before its run"),
    pytest.param(Life.invalid, "Failed", "Degraded", "False", id="invalid"),
    pytest.param(Life.missed, "Failed", "Degraded", "False", id="guardrail failed, nothing serves"),
    pytest.param(Life.missed_while_one_serves, "Failed", "Degraded", "True", id="guardrail failed, the old one serves"),
    pytest.param(Life.rolled_back, "Failed", "Degraded", "True", id="rolled back by a person"),
    pytest.param(Life.serves, "Current", "Healthy", "True", id="serves"),
    pytest.param(Life.lacks_spot, "Current", "Healthy", "True", id="spot is missing above the floor"),
    pytest.param(Life.asleep, "Current", "Healthy", "True", id="scaled to zero"),
    pytest.param(Life.loses_its_replicas, "InProgress", "Progressing", "False", id="all replicas lost"),
]


@pytest.fixture
def life(a_snapshot: Any, after: Any, make: Any) -> Life:
    return Life(a_snapshot, after, make)


def kstatus(body: dict[str, Any]) -> str:
    """The rules of cli-utils' pkg/kstatus for kinds that it does not know."""
    status = body.get("status") or {}
    found = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
    if "observedGeneration" in status and status["observedGeneration"] != body["metadata"]["generation"]:
        return "InProgress"
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    if "Ready" in found:
        return "Current" if found["Ready"] == "True" else "InProgress"
    return "Current"


def argocd(body: dict[str, Any]) -> tuple[str, str]:
    """What Argo CD gets from the Lua: no file, no library, as in Argo CD."""
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    check = lua.execute(f"return function(obj)\n{LUA}\nend")
    found = check(lua.table_from(body, recursive=True))
    return found["status"], found["message"]


def flux(body: dict[str, Any]) -> str:
    """What Flux makes of the expressions: in its order, and in progress where none holds."""
    (check,) = FLUX[1]["spec"]["healthCheckExprs"]
    assert (check["apiVersion"], check["kind"]) == (body["apiVersion"], body["kind"])
    env = cel.NewEnv(variables={"status": cel.Type.DYN, "metadata": cel.Type.DYN})
    for name, said in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
        data = {"status": body["status"], "metadata": body["metadata"]}
        if env.compile(check[name]).eval(data=data).value() is True:
            return said
    return "InProgress"


@pytest.mark.parametrize(("situation", "wanted", "health", "available"), SITUATIONS)
def test_everybody_sees_the_same(
    life: Life, situation: Callable[[Life], dict[str, Any]], wanted: str, health: str, available: str | None
) -> None:
    """Situation, conditions, kstatus, Argo CD and Flux, in one table."""
    meta = {"name": "digits", "namespace": "models", "generation": 1}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "OptimizedModel", "metadata": meta, "status": situation(life)}
    conditions = {entry["type"]: entry["status"] for entry in body["status"].get("conditions") or ()}
    assert conditions.get("Available") == available
    assert not {"Stalled", "Reconciling"} <= conditions.keys()
    assert (kstatus(body), flux(body)) == (wanted, wanted)
    status, message = argocd(body)
    assert status == health
    assert message


def test_argo_cds_message_says_what_to_do(life: Life) -> None:
    """The reason first, as in docs/conditions.md."""
    meta = {"name": "digits", "namespace": "models", "generation": 1}
    _, message = argocd({"metadata": meta, "status": life.invalid()})
    assert message == "InvalidSpec: spec.source: no"


def test_the_samples_are_models() -> None:
    """What the repository's layout shows is what the API takes."""
    (body,) = yaml.safe_load_all((GITOPS / "repository" / "base" / "digits.yaml").read_text())
    assert OptimizedModel.model_validate(body).spec.serving.max_replicas == 2
