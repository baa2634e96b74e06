"""Canaries, look by look: traffic in steps, judged, promoted or rolled back by themselves."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trimtab.api.conditions import moment
from trimtab.api.serving import Canary, Rollout
from trimtab.planning.canary import replicas_for
from trimtab.planning.model import Memory
from trimtab.planning.rollout import shares


def test_steps_pass_and_the_candidate_takes_over(live: Any, after: Any) -> None:
    """10 %, 50 %, everything: each weight with its replicas, each step told with its figures."""
    life = live()
    active = life.status["activeRevision"]["name"]
    seen = []
    for _ in range(90):
        life.look(after)
        if not seen or seen[-1] != life.weights:
            seen.append(dict(life.weights))
        if life.reason() == "Serving":
            break
    new = life.status["activeRevision"]["name"]
    assert new != active
    assert seen[:3] == [{active: 100, new: 0}, {active: 90, new: 10}, {active: 50, new: 50}]
    assert seen[-1] == {new: 100}
    assert all(split.get(new, 100) >= 50 for split in seen[2:]), "after its last step a share only grows"
    messages = [d["message"] for d in life.status["decisions"]]
    assert any("canary step 2 of 2 (50%) passed: 0 of " in text for text in messages)
    assert any("canary step 1 of 2 (10%) passed: 0 of " in text for text in life.told)
    assert "rollout" not in life.status


@pytest.mark.parametrize(("errors", "bucket", "why"), [(0.5, 20, "more of its requests fail"), (0, 40, "p95 is above")])
def test_a_bad_candidate_is_rolled_back(live: Any, after: Any, errors: float, bucket: int, why: str) -> None:
    """As soon as it is sure, all traffic is back; the reason is on the object, and it is not tried again."""
    life = live()
    active = life.status["activeRevision"]["name"]
    life.errors, life.ms_bucket = errors, bucket
    for _ in range(15):  # the hold ends later
        life.look(after)
        if life.reason() == "CanaryFailed":
            break
    for _ in range(3):
        life.look(after)
    assert life.weights == {active: 100}
    assert life.reason("Stalled") == "CanaryFailed"
    message = life.status["summary"]["message"]
    assert why in message
    assert f"revision {active} keeps serving" in message
    assert "change the spec" in message
    assert message in [d["message"] for d in life.status["decisions"]]
    assert message in life.told
    assert [view.revision for view in life.world.deployments] == [active]
    assert life.world.deployments[0].replicas == 4
    assert "rollout" not in life.status


def test_without_traffic_it_holds_and_then_stalls(live: Any, after: Any) -> None:
    """Inconclusive holds; the deadline counts from the end of the hold, and says what was missing."""
    life = live(progressDeadline="2m")
    life.requests = 1
    for _ in range(100):
        life.look(after)
    assert life.reason() == "RollingOut"
    assert "inconclusive: it has had fewer than minSamples (100) requests" in life.status["summary"]["message"]
    assert life.weights[life.candidate] == 10
    status = life.look(after)
    assert life.look(after) == status, "waiting writes nothing"
    for _ in range(60):
        life.look(after)
    assert life.reason("Stalled") == "ProgressDeadlineExceeded"
    assert "canary step 1 of 2 at 10%: inconclusive: it has had fewer" in life.status["summary"]["message"]


def test_a_long_canary_is_no_standstill(live: Any, after: Any) -> None:
    """Steps that hold longer than the progress deadline are not late."""
    life = live(steps=[{"weight": "20%", "hold": "10m"}, {"weight": "60%", "hold": "10m"}], progressDeadline="1m")
    for _ in range(300):
        life.look(after, seconds=10)
        assert not life.reason("Stalled")
    assert life.reason() == "Serving"


def test_a_newer_generation_supersedes_at_once(live: Any, after: Any, make: Any) -> None:
    """The candidate of the step before loses its traffic in the very next look."""
    life = live()
    for _ in range(10):
        life.look(after)
    old = life.candidate
    assert life.weights[old] == 10
    spec = life.world.spec.model_copy(deep=True)
    life.world = replace(
        life.world,
        spec=spec.model_copy(update={"serving": spec.serving.model_copy(update={"image": "serve:3"})}),
        generation=3,
    )
    life.look(after)
    assert life.candidate != old
    assert life.weights.get(old, 0) == 0
    assert life.status["rollout"]["revision"] == life.candidate
    assert not any(view.revision == old for view in life.world.deployments)


def test_suspend_pauses_and_going_on_begins_the_step_anew(live: Any, after: Any) -> None:
    """Weight and replicas stay for as long as it takes, and no deadline runs."""
    life = live(progressDeadline="2m")
    for _ in range(10):
        life.look(after)
    new = life.candidate
    active = life.world.spec
    life.world = replace(life.world, spec=active.model_copy(update={"suspend": True}), generation=3)
    for _ in range(5):
        status = life.look(after, seconds=600)
    assert life.reason() == "Suspended"
    assert life.weights[new] == 10
    assert life.look(after) == status
    life.world = replace(life.world, spec=active, generation=4)
    for _ in range(28):
        life.look(after)
        assert life.weights[new] == 10
    for _ in range(60):
        life.look(after)
    assert life.reason() == "Serving"
    assert life.status["activeRevision"]["name"] == new


def test_a_new_operator_begins_the_step_anew(live: Any, after: Any) -> None:
    """What was counted when the step began is lost with the operator: a hold is, no step."""
    life = live()
    for _ in range(40):
        life.look(after)
    assert life.weights[life.candidate] == 50
    life.memory = Memory()
    for _ in range(29):
        life.look(after)
        assert life.weights[life.candidate] == 50
    for _ in range(30):
        life.look(after)
    assert life.reason() == "Serving"


def test_a_gateway_that_counts_anew_begins_the_step_anew(live: Any, after: Any) -> None:
    """A restarted HAProxy has counted nothing: no verdict rests on what it lost, and a silent one gives none."""
    life = live()
    for _ in range(20):
        life.look(after)
    life.counted = {}
    for _ in range(28):
        life.look(after)
        assert life.weights[life.candidate] == 10
    life.world = replace(life.world, traffic=None)
    life.look(after)
    assert life.weights[life.candidate] == 10


def warms_up(life: Any) -> bool:
    """Whether the replicas of the canary's step had their first traffic less than 3 s ago, or had none."""
    since = life.status.get("rollout", {}).get("since")
    return since is None or life.world.now < moment(since) + timedelta(seconds=3)


def test_the_first_answers_of_a_step_do_not_count(live: Any, after: Any) -> None:
    """Replicas that are new answer slowly at first, as the active revision's did once: no step holds longer."""
    took = []
    for slow in (20, 50):
        life, looks = live(), 0
        while life.reason() != "Serving" or looks < 5:
            life.ms_bucket = slow if warms_up(life) else 20
            life.look(after)
            looks += 1
            assert looks < 90
        took.append(looks)
    assert took[0] == took[1]


def test_failures_count_from_the_first_one_on(live: Any, after: Any) -> None:
    """What fails while it warms up has failed."""
    life = live()
    for _ in range(12):
        life.errors = float(warms_up(life))
        life.look(after)
    assert life.reason("Stalled") == "CanaryFailed"


def test_a_stall_rolls_nothing_back(live: Any, after: Any) -> None:
    """All answers of four seconds are slow, as many as would be proof: the step holds until they are few enough."""
    life, took = live(), 0
    for looks in range(200):
        life.ms_bucket = 50 if 15 <= looks < 19 else 20
        life.look(after)
        assert not life.reason("Stalled")
        took += "not beyond chance, for long" in life.status["summary"]["message"]
        if life.reason() == "Serving":
            break
    assert life.reason() == "Serving"
    assert took > 10


def test_a_gateway_that_counts_anew_is_seen_by_a_part(live: Any, after: Any) -> None:
    """Counts that fell, but not below those of the step's begin: of several gateways, one started anew."""
    life = live()
    for _ in range(20):
        life.look(after)
    assert life.status["rollout"]["since"]
    for name, stats in life.counted.items():
        less = {bucket: count - count // 8 for bucket, count in stats.latencies.items()}
        life.counted[name] = stats.model_copy(update={"requests": sum(less.values()), "latencies": less})
    life.world = replace(life.world, traffic=life.world.traffic.model_copy(update={"revisions": dict(life.counted)}))
    life.look(after)
    assert life.status["rollout"]["analysis"] == "the gateway counts anew"


@pytest.mark.parametrize("weight", ["0%", "12.5%", "101%"])
def test_a_weight_is_whole_percents(weight: str) -> None:
    """A share that the gateway cannot keep, or none, is no step."""
    with pytest.raises(ValidationError, match="weight"):
        Canary.model_validate({"steps": [{"weight": weight}]})


@settings(deadline=None)
@given(
    wanted=st.integers(1, 20),
    weights=st.lists(st.integers(1, 100), min_size=1, max_size=4),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
)
def test_every_step_gets_its_replicas(wanted: int, weights: list[int], surge: int, unavailable: int) -> None:
    """In both modes: a step's replicas come, the active revision's share stays, and bounds hold on the way."""
    if surge + unavailable == 0:
        surge = 1
    canary = Canary.model_validate({"steps": [{"weight": f"{weight}%"} for weight in weights]})
    limits = Rollout(max_surge=surge, max_unavailable=unavailable)
    healthy = 0
    for passed in range(len(weights)):
        most = replicas_for(canary, passed, wanted)
        assert most is not None
        for _ in range(3 * wanted + 3):
            found = shares(wanted, healthy=healthy, floor=1, old_left=wanted, limits=limits, most=most)
            assert not found.done
            assert found.active + healthy >= wanted - unavailable
            assert found.active + found.candidate <= wanted + surge
            healthy = found.candidate
        assert healthy == most
        assert found.active == min(wanted, wanted + surge - most)
