"""One model's life, look by look: conditions, traffic, replicas, and what kstatus makes of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.guardrail import Verdict
from trimtab.api.runs import RunResult
from trimtab.planning.model import Memory, plan
from trimtab.planning.placement import DELETION_COST
from trimtab.planning.plan import Annotate, Announce, Apply, Delete, Scale
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import DeploymentView, JobPhase, PodView, RunView

OUTPUT = "file:///artifacts"


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in status["conditions"]}


def kstatus(status: dict[str, Any], generation: int) -> str:
    """Return what kstatus computes (cli-utils, pkg/kstatus): Stalled and Reconciling before Ready."""
    found = conditions(status)
    if status["observedGeneration"] != generation or found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "Current" if found["Ready"] == "True" else "InProgress"


def run(make: Any, phase: JobPhase, spec: Any = None, **more: Any) -> RunView:
    key = run_key(spec or make.spec(), OUTPUT)
    return RunView(name=f"digits-run-{key}", key=key, phase=phase, **more)


def deployments(found: Any) -> dict[str, int]:
    return {
        action.manifest["metadata"]["name"]: action.manifest["spec"]["replicas"]
        for action in found.actions
        if isinstance(action, Apply) and action.manifest["kind"] == "Deployment"
    }


def pod(name: str, revision: str, **more: Any) -> PodView:
    base = PodView(name, revision, CapacityType.ON_DEMAND, "node-a", "a", ready=True, terminating=False, age_s=60)
    return replace(base, **more)


@pytest.fixture
def served(a_snapshot: Any, after: Any, make: Any) -> Any:
    """A model whose first revision serves with one replica."""
    world = a_snapshot(runs=(run(make, JobPhase.COMPLETE, result=make.result()),))
    first, memory = plan(world, Memory())
    name = first.status["candidateRevision"]["name"]
    world = after(
        world,
        first.status,
        deployments=(DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 1, 1),),
        pods=(pod("p1", name),),
        traffic=make.traffic(name),
    )
    second, memory = plan(world, memory)
    return after(world, second.status), second, memory


def test_just_applied_is_in_progress(a_snapshot: Any) -> None:
    """Nothing observed, nothing claimed."""
    found, _ = plan(a_snapshot(), Memory())
    assert kstatus(found.status, 1) == "InProgress"
    assert conditions(found.status)["Available"] == "False"
    assert "Stalled" not in conditions(found.status)


def test_a_bad_spec_is_failed(a_snapshot: Any) -> None:
    """Stalled, never together with Reconciling."""
    found, _ = plan(a_snapshot(spec=None, invalid="spec.source: no"), Memory())
    assert kstatus(found.status, 1) == "Failed"
    assert "Reconciling" not in conditions(found.status)
    assert found.status["summary"]["message"] == "spec.source: no"


def test_a_passed_run_rolls_out(a_snapshot: Any, make: Any) -> None:
    """Gateway, Services and one Deployment; traffic is to go there as soon as it is healthy."""
    world = a_snapshot(runs=(run(make, JobPhase.COMPLETE, result=make.result()),))
    found, _ = plan(world, Memory())
    name = found.status["candidateRevision"]["name"]
    assert deployments(found) == {"trimtab-gateway": 2, f"{name}-od": 1}
    assert found.status["traffic"]["revisions"] == [{"revision": name, "weight": 100}]
    assert kstatus(found.status, 1) == "InProgress"


def test_a_served_model_is_current(served: Any) -> None:
    """Every promise kept, every condition says so."""
    _, found, _ = served
    assert kstatus(found.status, 1) == "Current"
    states = conditions(found.status)
    assert states == dict.fromkeys(
        ["Available", "CapacityMet", "GuardrailPassed", "Optimized", "Ready", "RolledOut"], "True"
    )
    summary = found.status["summary"]
    assert (summary["status"], summary["replicas"], summary["drop"]) == ("Serving", "1/1", "0.20pp")
    assert summary["size"] == "1000 B -> 100 B"


@pytest.mark.parametrize("answers", [True, False])
def test_a_gateway_that_takes_no_connections_makes_nothing_available(served: Any, answers: bool) -> None:
    """Its agent may answer us before the Service leads to it: who trusts Ready must get through."""
    world, before, memory = served
    traffic = world.traffic if answers else None
    found, _ = plan(replace(world, gateway_ready=False, traffic=traffic), memory)
    states = {entry["type"]: entry for entry in found.status["conditions"]}
    assert (states["Available"]["status"], states["Ready"]["status"]) == ("False", "False")
    assert states["Ready"]["reason"] == "NoEndpoints"
    assert "no gateway pod is Ready" in states["Ready"]["message"]
    assert found.status["activeRevision"] == before.status["activeRevision"]


def test_planning_again_changes_nothing(served: Any) -> None:
    """The same world gives the same status: no write, no event storm."""
    world, found, memory = served
    again, _ = plan(world, memory)
    assert again.status == found.status


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.INCONCLUSIVE])
def test_a_miss_keeps_the_old_revision(served: Any, make: Any, verdict: Verdict) -> None:
    """Fail closed, keep serving: Failed for kstatus, Available for the on-call."""
    world, before, memory = served
    spec = make.spec(compression={"preset": "Smallest", "output": {"uri": OUTPUT}})
    job = run(make, JobPhase.COMPLETE, spec, result=make.result(verdict, "sha256:" + "b" * 64))
    found, _ = plan(replace(world, spec=spec, generation=2, runs=(job,)), memory)
    assert kstatus(found.status, 2) == "Failed"
    assert conditions(found.status)["Available"] == "True"
    assert found.status["activeRevision"] == before.status["activeRevision"]
    assert found.status["traffic"]["revisions"] == before.status["traffic"]["revisions"]
    ready = next(entry for entry in found.status["conditions"] if entry["type"] == "Ready")
    assert "keeps serving" in ready["message"]
    assert not any(isinstance(action, Delete) and action.kind == "Deployment" for action in found.actions)


@pytest.mark.parametrize(
    "failure",
    [
        RunResult(reason="SourceNotFound", message="spec.source.uri: file:///x does not exist"),
        RunResult(reason="StoreUnreachable", message="spec.source.uri: s3://x cannot be reached"),
    ],
)
def test_a_failed_run_keeps_the_old_revision(served: Any, make: Any, failure: RunResult) -> None:
    """The message of the run is the condition's."""
    world, _, memory = served
    spec = make.spec(source={"uri": "file:///x"})
    job = run(make, JobPhase.FAILED, spec, result=failure)
    found, _ = plan(replace(world, spec=spec, generation=2, runs=(job,)), memory)
    assert kstatus(found.status, 2) == "Failed"
    assert conditions(found.status)["Available"] == "True"
    assert failure.message in found.status["summary"]["message"]


def test_a_new_artifact_rolls(served: Any, after: Any, make: Any) -> None:
    """Old replicas go only when new ones were admitted; then the new revision is active, the old one history."""
    world, before, memory = served
    old = before.status["activeRevision"]["name"]
    spec = make.spec(compression={"preset": "Smallest", "output": {"uri": OUTPUT}})
    job = run(make, JobPhase.COMPLETE, spec, result=make.result(digest="sha256:" + "b" * 64))
    world = replace(world, spec=spec, generation=2, runs=(job,))
    rolling, memory = plan(world, memory)
    new = rolling.status["candidateRevision"]["name"]
    assert deployments(rolling)[f"{new}-od"] == 1
    assert not any(isinstance(action, Scale) for action in rolling.actions)
    assert {w["revision"] for w in rolling.status["traffic"]["revisions"]} == {old, new}
    assert conditions(rolling.status)["Available"] == "True"

    views = (*world.deployments, DeploymentView(f"{new}-od", new, CapacityType.ON_DEMAND, 1, 1))
    pods = (pod("p1", old), pod("p2", new))
    world = after(world, rolling.status, deployments=views, pods=pods, traffic=make.traffic(old, new))
    admitted, memory = plan(world, memory)
    assert Scale("default", f"{old}-od", 0) in admitted.actions
    weights = {w["revision"]: w["weight"] for w in admitted.status["traffic"]["revisions"]}
    assert weights == {old: 0, new: 100}

    world = after(world, admitted.status, pods=(pod("p2", new),), traffic=make.traffic(new))
    done, memory = plan(world, memory)
    assert done.status["activeRevision"]["name"] == new
    assert [revision["name"] for revision in done.status["revisions"]] == [old]
    assert Delete("apps/v1", "Deployment", "default", f"{old}-od") in done.actions
    assert kstatus(done.status, 2) == "Current"


def test_a_rollout_that_does_not_end_is_rolled_back(served: Any, after: Any, make: Any) -> None:
    """After the deadline: Stalled with the cause, traffic back, and no second try until the spec changes."""
    world, before, memory = served
    old = before.status["activeRevision"]["name"]
    spec = make.spec(serving={"maxReplicas": 4, "image": "broken:1"})
    world = replace(world, spec=spec, generation=2)
    rolling, memory = plan(world, memory)
    new = rolling.status["candidateRevision"]["name"]
    stuck = pod("p2", new, ready=False, trouble="pod p2: ImagePullBackOff no such image")
    views = (*world.deployments, DeploymentView(f"{new}-od", new, CapacityType.ON_DEMAND, 1, 0))
    late = world.now + timedelta(minutes=11)
    world = after(world, rolling.status, deployments=views, pods=(pod("p1", old), stuck), now=late)
    failed, memory = plan(world, memory)
    assert kstatus(failed.status, 2) == "Failed"
    assert "ImagePullBackOff" in failed.status["summary"]["message"]
    assert failed.status["traffic"]["revisions"] == [{"revision": old, "weight": 100}]
    assert "candidateRevision" not in failed.status
    assert Delete("apps/v1", "Deployment", "default", f"{new}-od") in failed.actions
    again, _ = plan(after(world, failed.status, deployments=world.deployments[:1], pods=world.pods[:1]), memory)
    assert again.status == failed.status


def test_a_corrupt_artifact_ends_the_rollout_at_once(served: Any, after: Any, make: Any) -> None:
    """No use in waiting for a deadline."""
    world, _, memory = served
    world = replace(world, spec=make.spec(serving={"maxReplicas": 4, "batching": {"maxSize": 2}}), generation=2)
    rolling, memory = plan(world, memory)
    new = rolling.status["candidateRevision"]["name"]
    broken = pod("p2", new, ready=False, fatal=True, trouble="pod p2 exited with 65: model.onnx: wrong checksum")
    found, _ = plan(after(world, rolling.status, pods=(*world.pods, broken)), memory)
    assert kstatus(found.status, 2) == "Failed"
    assert "model.onnx: wrong checksum" in found.status["summary"]["message"]
    assert "keeps serving" in found.status["summary"]["message"]


def pool(name: str, kind: str, price: str) -> CapacityPool:
    return CapacityPool.model_validate(
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "CapacityPool",
            "metadata": {"name": name},
            "spec": {
                "capacityType": kind,
                "provider": {"embedded": {}},
                "price": {"perNodeHour": price},
                "interruption": {"notice": "12s", "taints": ["gone"]},
            },
        }
    )


def test_an_interrupted_spot_node(served: Any, after: Any, make: Any) -> None:
    """Avoid the node, order replacements on both capacity types, mark the pods, evict at the last moment."""
    world, before, memory = served
    name = before.status["activeRevision"]["name"]
    pools = (pool("od", "OnDemand", "0.19"), pool("spot", "Spot", "0.06"))
    spec = make.spec(serving={"minReplicas": 3, "maxReplicas": 4}, capacity={"onDemandBase": 1, "spotPercent": 100})
    spot = {"capacity_type": CapacityType.SPOT, "pool": "spot"}
    pods = (
        pod("p1", name, pool="od"),
        pod("s1", name, node="spot-a", **spot),
        pod("s2", name, node="spot-b", **spot),
    )
    views = (
        DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 1, 1),
        DeploymentView(f"{name}-spot", name, CapacityType.SPOT, 2, 2),
    )
    world = replace(world, spec=spec, pools=pools, pods=pods, deployments=views)
    calm, memory = plan(world, memory)
    assert deployments(calm) == {"trimtab-gateway": 2, f"{name}-od": 1, f"{name}-spot": 2}

    until = world.now + timedelta(seconds=12)
    world = after(world, calm.status, doomed_nodes={"spot-a": until}, traffic=make.traffic(name, name))
    hit, memory = plan(world, memory)
    assert hit.status["traffic"]["avoidNodes"] == ["spot-a"]
    assert deployments(hit) == {"trimtab-gateway": 2, f"{name}-od": 2, f"{name}-spot": 3}
    assert any(isinstance(a, Annotate) and a.pod == "s1" and DELETION_COST in a.annotations for a in hit.actions)
    assert Delete("v1", "Pod", "default", "s1") not in hit.actions
    assert kstatus(hit.status, 1) == "Current", "spot churn above the floor is no news for GitOps"
    assert conditions(hit.status)["CapacityMet"] == "False"

    stood_in = replace(
        world,
        pods=(*pods, pod("p2", name, pool="od")),
        deployments=tuple(replace(view, replicas=view.replicas + 1) for view in views),
        traffic=make.traffic(*[name] * 3),
    )
    waiting, _ = plan(stood_in, memory)
    assert deployments(waiting)[f"{name}-spot"] == 3, "on demand stands in; the spot replica is still on order"

    late, _ = plan(replace(world, now=until - timedelta(seconds=2)), memory)
    assert Delete("v1", "Pod", "default", "s1") in late.actions


def test_cost_is_told_against_all_on_demand(served: Any, make: Any) -> None:
    """One replica per pod slot share: 500m of 4 CPUs is an eighth of each node's price."""
    world, before, memory = served
    name = before.status["activeRevision"]["name"]
    pools = (pool("od", "OnDemand", "0.16"), pool("spot", "Spot", "0.08"))
    pods = (
        pod("p1", name, pool="od"),
        pod("s1", name, pool="spot", capacity_type=CapacityType.SPOT),
    )
    found, _ = plan(replace(world, pools=pools, pods=pods), memory)
    cost = found.status["cost"]
    assert (cost["perHour"], cost["allOnDemandPerHour"], cost["currency"]) == ("0.0300", "0.0400", "USD")
    assert {row["pool"]: row["perHour"] for row in cost["pools"]} == {"od": "0.0200", "spot": "0.0100"}


def test_cost_alone_is_no_reason_to_write(served: Any, after: Any) -> None:
    """Hours pass, and the plan says what the status says; when something else is to be told, the sums come along."""
    world, before, memory = served
    name = before.status["activeRevision"]["name"]
    world = replace(world, pools=(pool("od", "OnDemand", "0.16"),), pods=(pod("p1", name, pool="od"),))
    found, memory = plan(world, memory)
    told = found.status
    for _ in range(5):
        world = after(world, told, now=world.now + timedelta(hours=4))
        found, memory = plan(world, memory)
        assert found.status == told
    gone = replace(world, generation=2)
    assert plan(gone, memory)[0].status["cost"]["spent"] == "0.400000000"


def test_a_silent_gateway_scales_nothing(served: Any) -> None:
    """No figures are not zero figures."""
    world, _, memory = served
    found, _ = plan(replace(world, traffic=None), memory)
    assert not any(isinstance(action, Scale | Delete) for action in found.actions)
    assert conditions(found.status)["Available"] == "True"


def test_one_capacity_type_takes_over_before_the_other_goes(served: Any, make: Any) -> None:
    """Replicas move to spot: on-demand ones stay until spot ones serve, and not a look longer."""
    world, before, memory = served
    name = before.status["activeRevision"]["name"]
    spec = make.spec(
        serving={"minReplicas": 4, "maxReplicas": 4}, capacity={"onDemandBase": 1, "spotPercent": 100, "pools": []}
    )
    pools = tuple(
        CapacityPool.model_validate(
            {
                "apiVersion": "trimtab.dev/v1alpha1",
                "kind": "CapacityPool",
                "metadata": {"name": kind.lower()},
                "spec": {"capacityType": kind, "provider": {"labels": {"matchLabels": {"kind": kind}}}},
            }
        )
        for kind in ("OnDemand", "Spot")
    )
    on_demand = DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 4, 4)
    pods = tuple(pod(f"od{i}", name) for i in range(4))
    world = replace(
        world, spec=spec, pools=pools, deployments=(on_demand,), pods=pods, traffic=make.traffic(*[name] * 4)
    )
    moving, memory = plan(world, memory)
    assert deployments(moving) == {"trimtab-gateway": 2, f"{name}-od": 4, f"{name}-spot": 3}

    spot = DeploymentView(f"{name}-spot", name, CapacityType.SPOT, 3, 3)
    pods += tuple(pod(f"spot{i}", name, capacity_type=CapacityType.SPOT) for i in range(3))
    world = replace(world, deployments=(on_demand, spot), pods=pods)
    unknown, _ = plan(replace(world, traffic=None), memory)
    assert deployments(unknown)[f"{name}-od"] == 4, "a silent gateway has admitted nobody"
    moved, _ = plan(replace(world, traffic=make.traffic(*[name] * 7)), memory)
    assert deployments(moved) == {"trimtab-gateway": 2, f"{name}-od": 1, f"{name}-spot": 3}


def test_what_serves_is_kept_whole_while_something_new_fails(served: Any, make: Any) -> None:
    """A Deployment of the active revision that somebody deleted comes back, though the spec asks for another one."""
    world, before, memory = served
    name = before.status["activeRevision"]["name"]
    spec = make.spec(compression={"preset": "Smallest", "output": {"uri": OUTPUT}})
    job = run(make, JobPhase.COMPLETE, spec, result=make.result(Verdict.FAILED, "sha256:" + "b" * 64))
    found, _ = plan(replace(world, spec=spec, generation=2, runs=(job,), deployments=(), pods=()), memory)
    assert kstatus(found.status, 2) == "Failed"
    assert deployments(found)[f"{name}-od"] == 1


def test_a_broken_artifact_is_told_while_others_serve(served: Any) -> None:
    """A replica that cannot start again is Stalled: what runs keeps serving, but nothing can replace it."""
    world, before, memory = served
    name = before.status["activeRevision"]["name"]
    broken = pod("p2", name, ready=False, trouble="pod p2 exited with 3: model.onnx: sha256 differs", fatal=True)
    found, _ = plan(replace(world, pods=(*world.pods, broken)), memory)
    assert kstatus(found.status, 1) == "Failed"
    assert conditions(found.status)["Available"] == "True"
    message = found.status["summary"]["message"]
    assert "model.onnx" in message
    assert "spec.rerun.reason" in message


def test_a_refusal_of_the_api_server_is_told(a_snapshot: Any) -> None:
    """A quota that keeps the Job away is on the object, once as an event, and gone when the quota is."""
    said = "POST jobs: 403 exceeded quota: team, requested: count/jobs.batch=1"
    found, after_it = plan(a_snapshot(), Memory(refused=said))
    ready = next(entry for entry in found.status["conditions"] if entry["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("ApiRefused", said)
    assert kstatus(found.status, 1) == "InProgress"
    told = [action for action in found.actions if isinstance(action, Announce) and action.reason == "ApiRefused"]
    assert [event.message for event in told] == [said]
    assert found.actions[0] == told[0], "told before the action that is refused"
    assert after_it.refused is None
    stalled, _ = plan(a_snapshot(spec=None, invalid="spec.source: no"), Memory(refused=said))
    assert stalled.status["summary"]["message"] == "spec.source: no", "what needs the user comes first"


@pytest.mark.parametrize(
    ("verdict", "reason", "kind"),
    [(Verdict.PASSED, "GuardrailPassed", "Normal"), (Verdict.FAILED, "GuardrailReported", "Warning")],
)
def test_the_verdict_is_announced_as_it_is(
    a_snapshot: Any, make: Any, verdict: Verdict, reason: str, kind: str
) -> None:
    """A miss that mode Report lets through is no pass."""
    guardrail = {"mode": "Report", "dataset": {"uri": "file:///data/digits.npz"}}
    spec = make.spec(guardrail=guardrail)
    job = run(make, JobPhase.COMPLETE, spec, result=make.result(verdict))
    found, _ = plan(a_snapshot(spec=spec, runs=(job,)), Memory())
    told = [action for action in found.actions if isinstance(action, Announce) and "Guardrail" in action.reason]
    assert [(event.reason, event.type) for event in told] == [(reason, kind)]


def test_a_silent_gateway_does_not_count_as_no_replica(served: Any) -> None:
    """Then Kubernetes' word counts, in the numbers as in the conditions."""
    world, found, memory = served
    silent, _ = plan(replace(world, traffic=None), memory)
    assert silent.status["replicas"] == found.status["replicas"]


def test_a_node_that_is_emptied_loses_nobody(served: Any, after: Any, make: Any) -> None:
    """Replicas are replaced, then leave: still sent to meanwhile, never evicted, no news, nobody stands in for them."""
    world, before, memory = served
    name = before.status["activeRevision"]["name"]
    pools = (pool("od", "OnDemand", "0.19"), pool("spot", "Spot", "0.06"))
    spec = make.spec(serving={"minReplicas": 2, "maxReplicas": 2}, capacity={"onDemandBase": 1, "spotPercent": 100})
    pods = (pod("p1", name), pod("s1", name, node="spot-a", capacity_type=CapacityType.SPOT, pool="spot"))
    views = (
        DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 1, 1),
        DeploymentView(f"{name}-spot", name, CapacityType.SPOT, 1, 1),
    )
    world = replace(
        world, spec=spec, pools=pools, pods=pods, deployments=views, traffic=make.traffic(name, name, node="spot-a")
    )
    calm, memory = plan(world, memory)
    moving = {"doomed_nodes": {"spot-a": world.now + timedelta(seconds=1)}, "retiring": frozenset({"spot-a"})}
    found, _ = plan(after(world, calm.status, **moving), memory)
    assert deployments(found) == {"trimtab-gateway": 2, f"{name}-od": 1, f"{name}-spot": 2}
    assert any(isinstance(action, Annotate) and action.pod == "s1" for action in found.actions)
    assert not any(isinstance(action, Delete) for action in found.actions)
    assert found.status["traffic"].get("avoidNodes", []) == []
    assert (found.status["replicas"]["ready"], conditions(found.status)["CapacityMet"]) == (2, "True")
    assert not any(isinstance(a, Announce) and a.reason == "SpotInterrupted" for a in found.actions)
