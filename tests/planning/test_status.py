"""Conditions that never lie: what they say is of this generation, and what they remember is not lost."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trimtab.api.conditions import Reason
from trimtab.api.status import OptimizedModelStatus
from trimtab.errors import Stalled
from trimtab.planning.model import plan
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import JobPhase, RunView
from trimtab.planning.target import target

OUTPUT = "file:///artifacts"


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(entry for entry in status["conditions"] if entry["type"] == kind)


def refused(life: Any) -> None:
    life.memory = replace(life.memory, refused="PATCH services: 403 exceeded quota")


def nameless(life: Any) -> None:
    life.world = replace(life.world, name_taken=not life.world.name_taken)


@pytest.mark.parametrize("trouble", [refused, nameless])
def test_trouble_makes_nobody_forget_that_a_canary_failed(
    live: Any, after: Any, trouble: Callable[[Any], None]
) -> None:
    """It would be tried again, on the same traffic, as soon as the trouble is over."""
    life = live()
    active, life.errors = life.active, 0.5
    for _ in range(15):
        if life.look(after) and life.reason("RolledOut") == "CanaryFailed":
            break
    failed = condition(life.status, "RolledOut")
    trouble(life)
    life.look(after)
    assert life.reason() in {"ApiRefused", "NameTaken"}
    assert condition(life.status, "RolledOut") == failed
    if trouble is nameless:
        trouble(life)
    life.looks(after, 3)
    assert (life.reason(), life.weights) == ("CanaryFailed", {active: 100})


def test_what_was_not_judged_never_serves(a_snapshot: Any, make: Any) -> None:
    """A run that ends without a verdict proved nothing."""
    key = run_key(make.spec(), OUTPUT)
    unjudged = make.result().model_copy(update={"guardrail": None})
    view = RunView(f"digits-run-{key}", key, JobPhase.COMPLETE, result=unjudged)
    found = target(a_snapshot(runs=(view,)))
    assert found.revision is None
    assert isinstance(found.problem, Stalled)
    assert "ended without a verdict" in found.problem.message
    open_to_all = make.spec(guardrail={"dataset": {"uri": "file:///data/digits.npz"}, "mode": "Disabled"})
    key = run_key(open_to_all, OUTPUT)
    view = RunView(f"digits-run-{key}", key, JobPhase.COMPLETE, result=unjudged)
    assert target(a_snapshot(spec=open_to_all, runs=(view,))).revision is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"rerun": {"reason": "again"}}, Reason.RUN_PENDING, id="a run goes on"),
        pytest.param({"rerun": {"reason": "again"}, "suspend": True}, Reason.SUSPENDED, id="suspended"),
        pytest.param({"reoptimize": {"schedule": "0 3 * * *"}}, Reason.NOT_SUPPORTED, id="refused"),
    ],
)
def test_a_verdict_is_of_its_generation(live: Any, after: Any, make: Any, changes: dict[str, Any], reason: str) -> None:
    """What an earlier one proved is no proof of this one; it stays where the typed results are."""
    life = live()
    before = life.status["guardrail"]
    life.world = replace(life.world, spec=make.spec(**{**life.world.spec.wire(), **changes}), generation=7)
    life.look(after)
    passed, optimized = condition(life.status, "GuardrailPassed"), condition(life.status, "Optimized")
    assert (passed["status"], passed["reason"], passed["observedGeneration"]) == ("Unknown", "Progressing", 7)
    assert (optimized["status"], optimized["reason"]) == ("False", reason)
    assert life.status["guardrail"] == before
    assert condition(life.status, "Available")["status"] == "True"


def test_a_verdict_stays_while_its_generation_meets_trouble(live: Any, after: Any) -> None:
    """A pool or a name that goes away does not take back what was proven."""
    life = live()
    life.looks(after, 2)
    proven = [condition(life.status, kind) for kind in ("GuardrailPassed", "Optimized")]
    nameless(life)
    life.look(after)
    assert life.reason() == "NameTaken"
    assert [condition(life.status, kind) for kind in ("GuardrailPassed", "Optimized")] == proven


def test_nodes_that_go_are_avoided_whatever_the_spec_says(live: Any, after: Any) -> None:
    """What serves goes on while nobody can read the spec; its replicas on a node under notice get nothing new."""
    life = live()
    shares = life.weights
    going = {"node-a": life.world.now + timedelta(seconds=90)}
    life.world = replace(life.world, spec=None, invalid="spec.source: no", doomed_nodes=going)
    found, _ = plan(life.world, life.memory)
    assert found.status["traffic"]["avoidNodes"] == ["node-a"]
    assert {entry["revision"]: entry["weight"] for entry in found.status["traffic"]["revisions"]} == shares


def test_an_older_operator_reads_what_a_newer_one_wrote(live: Any) -> None:
    """After an upgrade was taken back, fields that it does not know are passed over, at any depth."""
    told = live().status
    newer = copy.deepcopy(told)
    active = newer["activeRevision"]
    for part in (newer, active, active["artifact"], newer["traffic"], newer["lastRun"]):
        part["later"] = {"a": 1}
    newer["conditions"][0]["later"] = True
    assert OptimizedModelStatus.model_validate(newer) == OptimizedModelStatus.model_validate(told)


def test_replicas_on_nodes_that_go_serve_until_then(live: Any, after: Any) -> None:
    """The gateway sends them requests while there is nobody else: users notice nothing, nor should an alert."""
    life = live()
    life.world = replace(life.world, doomed_nodes={"node-a": life.world.now + timedelta(seconds=90)})
    life.look(after)
    available = condition(life.status, "Available")
    assert (available["status"], available["reason"]) == ("True", "Serving")
    assert life.status["replicas"]["ready"] == 0
