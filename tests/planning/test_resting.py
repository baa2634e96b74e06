"""Models that nobody needs to look at, and what they decide when something wakes them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.gateway import ModelStats
from trimtab.planning.model import Memory, plan
from trimtab.planning.plan import Announce
from trimtab.planning.resting import LONGEST_REST_SECONDS, REST_SECONDS, rest_seconds
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import DeploymentView, JobPhase, Owner, PodView, RunView

LATER = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def served(a_snapshot: Any, after: Any, make: Any) -> Any:
    """Return a model with its one replica, looked at for some seconds: world, memory and the last plan."""
    spec = make.spec()
    key = run_key(spec, "file:///artifacts")
    done = RunView(f"digits-run-{key}", key, JobPhase.COMPLETE, result=make.result())
    world, memory = a_snapshot(spec=spec, runs=(done,), traffic=ModelStats()), Memory()
    found, memory = plan(world, memory)
    name = found.status["candidateRevision"]["name"]
    world = after(
        world,
        found.status,
        pods=(PodView(f"{name}-0", name, CapacityType.ON_DEMAND, "node-a", "a", True, False, 60),),
        deployments=(DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 1, 1),),
        traffic=make.traffic(name),
    )
    for _ in range(10):
        found, memory = plan(world, memory)
        world = after(world, found.status, now=world.now + timedelta(seconds=1))
    return world, memory, found


def test_a_model_without_requests_is_left_alone(served: Any) -> None:
    """It has its one replica, and nothing to go down to; after a restart the first look is enough to see it."""
    world, _, found = served
    assert found.rest_seconds == REST_SECONDS
    anew, _ = plan(world, Memory())
    assert anew.rest_seconds == REST_SECONDS
    assert anew.status == world.status.wire()


def test_what_is_kept_between_looks_decides_the_same(served: Any) -> None:
    """What a spec came to, which is most of what a model on its way would hold, is made anew by the next look."""
    world, memory, _ = served
    assert memory.scaling.terms is not None
    assert memory.kept().scaling.terms is None
    (found, after), (other, of_kept) = plan(world, memory), plan(world, memory.kept())
    assert (found, after) == (other, of_kept)


@pytest.mark.parametrize(("models", "seconds"), [(1, REST_SECONDS), (3, 3 * REST_SECONDS), (99, LONGEST_REST_SECONDS)])
def test_one_look_in_a_namespace_sees_to_what_its_models_share(a_snapshot: Any, models: int, seconds: float) -> None:
    """Else thousands of models at rest would be looked at several times a second."""
    owners = tuple(Owner(f"m{number}", f"uid-{number}") for number in range(models))
    assert rest_seconds(a_snapshot(owners=owners)) == seconds


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda w: {"traffic": None}, id="a gateway that is silent"),
        pytest.param(lambda w: {"traffic": w.traffic.model_copy(update={"in_flight": 1})}, id="a request"),
        pytest.param(lambda w: {"traffic": w.traffic.model_copy(update={"queued": 1})}, id="a request that waits"),
        pytest.param(lambda w: {"traffic": w.traffic.model_copy(update={"requests_total": 1})}, id="one just answered"),
        pytest.param(lambda w: {"gateway_ready": False}, id="no gateway"),
        pytest.param(lambda w: {"pods": ()}, id="a replica gone"),
        pytest.param(lambda w: {"pods": (*w.pods, *w.pods)}, id="a replica too many"),
        pytest.param(lambda w: {"pods": (replace(w.pods[0], ready=False),)}, id="a replica that is not ready"),
        pytest.param(lambda w: {"pods": (replace(w.pods[0], terminating=True),)}, id="a replica that leaves"),
        pytest.param(lambda w: {"deployments": (replace(w.deployments[0], ready=0),)}, id="a Deployment behind"),
        pytest.param(lambda w: {"doomed_nodes": {"node-a": w.now}}, id="a node that goes away"),
        pytest.param(lambda w: {"settings": replace(w.settings, prometheus_url="http://p")}, id="figures elsewhere"),
    ],
)
def test_what_keeps_an_eye_on_it(served: Any, change: Any) -> None:
    """Whatever may ask for a step soon, or whose change nobody would tell."""
    world, memory, _ = served
    found, _ = plan(replace(world, **change(world)), memory)
    assert found.rest_seconds is None
    assert found.requeue_after == 1.0


def test_a_burst_finds_a_rested_model_as_ready_as_one_that_was_watched(served: Any, after: Any) -> None:
    """What it was seen with went on until it was woken, so the figures reach back, and replicas come at once."""
    world, memory, _ = served
    watched, watched_memory = world, memory
    for _ in range(70):
        found, watched_memory = plan(watched, watched_memory)
        watched = after(watched, found.status, now=watched.now + timedelta(seconds=1))
    traffic = world.traffic.model_copy(update={"in_flight": 16, "queued": 200, "requests_total": 1})
    expected, _ = plan(replace(watched, traffic=traffic), watched_memory)
    rested, _ = plan(replace(world, traffic=traffic, now=LATER), memory.at_rest())
    forgotten, _ = plan(replace(world, traffic=traffic, now=LATER), memory)
    assert rested.status["replicas"]["desired"] == expected.status["replicas"]["desired"] > 1
    assert forgotten.status["replicas"]["desired"] == 1, "without it, figures first have to be gathered"


def test_rest_takes_no_memory(served: Any) -> None:
    """Of a minute's samples that say the same, the ends are kept."""
    _, memory, _ = served
    assert len(memory.scaling.signal.times) > 5
    assert len(memory.at_rest().scaling.signal.times) == 2


def test_a_restart_tells_no_events_again(served: Any) -> None:
    """The API server would refuse each, as it is there: a request per model for nothing."""
    world, _, _ = served
    found, _ = plan(world, Memory())
    assert not [action for action in found.actions if isinstance(action, Announce)]
