"""Scale to zero: a model falls asleep, is woken by requests, and is Ready all the while."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.gateway import ModelStats
from trimtab.planning.model import Memory, plan
from trimtab.planning.plan import Apply
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import DeploymentView, JobPhase, PodView, RunView
from trimtab.planning.support import refusals

SERVING: dict[str, Any] = {"minReplicas": 0, "maxReplicas": 2, "scaling": {"idleAfter": "10s"}}


def replicas(found: Any) -> dict[str, int]:
    """Return the replicas of the model's own Deployments that a plan orders."""
    return {
        action.manifest["metadata"]["name"]: action.manifest["spec"]["replicas"]
        for action in found.actions
        if isinstance(action, Apply)
        and action.manifest["kind"] == "Deployment"
        and action.manifest["metadata"]["name"] != "trimtab-gateway"
    }


@pytest.fixture
def sleeper(a_snapshot: Any, after: Any, make: Any) -> Any:
    """Return a model that has a revision and no replica, after looks for ten seconds."""
    spec = make.spec(serving=SERVING)
    key = run_key(spec, "file:///artifacts")
    done = RunView(f"digits-run-{key}", key, JobPhase.COMPLETE, result=make.result())
    world, memory = a_snapshot(spec=spec, runs=(done,), traffic=ModelStats()), Memory()
    for _ in range(10):
        found, memory = plan(world, memory)
        world = after(world, found.status, now=world.now + timedelta(seconds=1), traffic=ModelStats())
    return world, memory, found


def test_asleep_is_ready(sleeper: Any) -> None:
    """Everything is as the spec asks for, so nobody is alarmed; the traffic has nowhere to go and says so."""
    _, _, found = sleeper
    conditions = {entry["type"]: (entry["status"], entry["reason"]) for entry in found.status["conditions"]}
    assert conditions["Ready"] == conditions["Available"] == ("True", "Asleep")
    assert "Reconciling" not in conditions
    assert [entry["weight"] for entry in found.status["traffic"]["revisions"]] == [0]
    assert found.status["summary"]["status"] == "Asleep"
    assert "the next request starts a replica" in found.status["summary"]["message"]


def test_without_a_gateway_nothing_can_wake_it(sleeper: Any) -> None:
    """A model that sleeps is not ready before somebody takes requests for it."""
    world, memory, _ = sleeper
    found, _ = plan(replace(world, gateway_ready=False), memory)
    conditions = {entry["type"]: (entry["status"], entry["reason"]) for entry in found.status["conditions"]}
    assert conditions["Ready"] == conditions["Available"] == ("False", "NoEndpoints")


def test_a_request_wakes_it_and_quiet_lets_it_sleep(sleeper: Any, after: Any, make: Any) -> None:
    """One replica for the requests that wait, with all the traffic as soon as it is there; none after the quiet."""
    world, memory, _ = sleeper
    woken, memory = plan(replace(world, traffic=ModelStats(in_flight=1, queued=3)), memory)
    name = woken.status["activeRevision"]["name"]
    assert replicas(woken) == {f"{name}-od": 1}
    assert woken.status["traffic"]["revisions"] == [{"revision": name, "weight": 100}]
    assert any("-> 1 replicas" in entry["message"] for entry in woken.status["decisions"])
    assert available(woken) == ("True", "Waking"), "its requests are held, so nobody is alarmed"
    pod = PodView("p1", name, CapacityType.ON_DEMAND, "node-a", "a", True, False, 1)
    world = after(
        world,
        woken.status,
        pods=(pod,),
        deployments=(DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 1, 1),),
    )
    traffic = make.traffic(name).model_copy(update={"requests_total": 4})
    states = []
    for _ in range(30):
        world = replace(world, now=world.now + timedelta(seconds=1), traffic=traffic)
        found, memory = plan(world, memory)
        states.append(replicas(found)[f"{name}-od"])
        world = after(world, found.status)
    assert states[:8] == [1] * 8, "not before the quiet lasted"
    assert states[-1] == 0


def available(found: Any) -> tuple[str, str]:
    """Return status and reason of Available, which Ready has as well."""
    (one, other) = [
        (entry["status"], entry["reason"])
        for entry in found.status["conditions"]
        if entry["type"] in {"Available", "Ready"}
    ]
    assert one == other
    return one


def test_waking_ends(sleeper: Any, after: Any) -> None:
    """What takes longer than requests are held, or cannot start, is amiss: an alert may tell."""
    world, memory, _ = sleeper
    asked = ModelStats(in_flight=1)
    found, memory = plan(replace(world, traffic=asked), memory)
    assert available(found) == ("True", "Waking")
    world = after(world, found.status, traffic=asked)
    starting = PodView("p1", "r", CapacityType.ON_DEMAND, "node-a", "a", ready=False, terminating=False, age_s=1)
    broken = replace(starting, trouble="pod p1: ImagePullBackOff")
    for seconds, pod, wanted in (
        (1, starting, ("True", "Waking")),
        (29, starting, ("True", "Waking")),
        (29, broken, ("False", "NoEndpoints")),
        (31, starting, ("False", "NoEndpoints")),
    ):
        later = replace(world, now=world.now + timedelta(seconds=seconds), pods=(pod,))
        assert available(plan(later, memory)[0]) == wanted, (seconds, pod)


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        pytest.param({"minReplicas": 0}, "spec.serving.scaling.idleAfter: minReplicas 0 without it", id="when?"),
        pytest.param({"scaling": {"idleAfter": "1m"}}, "idleAfter: minReplicas 1 with it", id="never"),
        pytest.param(SERVING, None, id="both"),
    ],
)
def test_both_fields_or_none(make: Any, serving: dict[str, Any], message: str | None) -> None:
    """One without the other would do nothing, so it is refused."""
    found = [str(refusal) for refusal in refusals(make.spec(serving=serving))]
    assert found == [] if message is None else message in found[0]
