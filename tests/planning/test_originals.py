"""`guardrail.onFail: ServeOriginal`: what the status says of a model that is served but not compressed."""

from dataclasses import replace
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.api.status import ArtifactStatus, OptimizedModelStatus, RunPhase, RunStatus
from trimtab.errors import Stalled
from trimtab.planning.model import Memory, plan
from trimtab.planning.plan import Announce
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import DeploymentView, JobPhase, PodView, RunView
from trimtab.planning.support import refusals
from trimtab.planning.target import target

OUTPUT = "file:///artifacts"
ORIGINAL = ArtifactStatus(
    uri="file:///artifacts/x/original", digest="sha256:" + "c" * 64, bytes=1000, source_bytes=1000
)


def falling_back(make: Any, **guardrail: Any) -> Any:
    return make.spec(
        guardrail={"dataset": {"uri": "file:///data/digits.npz"}, "onFail": "ServeOriginal", **guardrail},
    )


def missed(make: Any, verdict: Verdict = Verdict.FAILED, original: ArtifactStatus | None = ORIGINAL) -> RunView:
    key = run_key(make.spec(), OUTPUT)
    result = make.result(verdict).model_copy(update={"original": original})
    return RunView(name=f"digits-run-{key}", key=key, phase=JobPhase.COMPLETE, result=result)


@pytest.fixture
def served(a_snapshot: Any, after: Any, make: Any) -> Any:
    """A model whose compressed form missed, and whose original serves with one replica."""
    world = a_snapshot(spec=falling_back(make), runs=(missed(make),))
    first, memory = plan(world, Memory())
    name = first.status["candidateRevision"]["name"]
    pod = PodView("p1", name, CapacityType.ON_DEMAND, "node-a", "a", ready=True, terminating=False, age_s=60)
    views = (DeploymentView(f"{name}-od", name, CapacityType.ON_DEMAND, 1, 1),)
    world = after(world, first.status, deployments=views, pods=(pod,), traffic=make.traffic(name))
    second, memory = plan(world, memory)
    return after(world, second.status), second, memory


def test_the_original_of_the_run_is_the_revision(a_snapshot: Any, make: Any) -> None:
    """Its artifact, its latency; the verdict that keeps the compressed model away stays with it."""
    found = target(a_snapshot(spec=falling_back(make), runs=(missed(make),)))
    assert found.problem is None
    assert found.revision is not None
    assert (found.revision.artifact, found.revision.original) == (ORIGINAL, True)
    assert (found.revision.latency_ms, found.revision.source_latency_ms) == ("0.5", "0.5")
    assert found.revision.guardrail is not None
    assert found.revision.guardrail.verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("verdict", "more", "serves"),
    [
        pytest.param(Verdict.PASSED, {}, "artifact", id="passed: the compressed model"),
        pytest.param(Verdict.FAILED, {}, "original", id="failed"),
        pytest.param(Verdict.INCONCLUSIVE, {}, None, id="inconclusive waits for a person"),
        pytest.param(Verdict.INCONCLUSIVE, {"onInconclusive": "Fail"}, "original", id="or counts as failed"),
        pytest.param(Verdict.FAILED, {"onFail": "KeepPrevious"}, None, id="the default"),
    ],
)
def test_when_the_original_serves(a_snapshot: Any, make: Any, verdict: Verdict, more: Any, serves: str | None) -> None:
    """On a failure, and on nothing else."""
    spec = falling_back(make, **more)
    view = replace(missed(make, verdict), key=run_key(spec, OUTPUT), name=f"digits-run-{run_key(spec, OUTPUT)}")
    found = target(a_snapshot(spec=spec, runs=(view,)))
    made = {"artifact": view.result.artifact, "original": ORIGINAL} if view.result else {}
    assert (found.revision.artifact if found.revision else None) == (made[serves] if serves else None)


def test_changing_one_s_mind_repeats_no_run(a_snapshot: Any, make: Any) -> None:
    """KeepPrevious becomes ServeOriginal: the Job that is there says where the original is, else one looks it up."""
    key = run_key(make.spec(), OUTPUT)
    assert key == run_key(falling_back(make), OUTPUT)
    last = RunStatus(name=f"digits-run-{key}", key=key, phase=RunPhase.SUCCEEDED)
    status = OptimizedModelStatus(last_run=last, guardrail=make.verdict(Verdict.FAILED))
    kept = target(a_snapshot(status=status))
    assert kept.problem is not None
    assert (kept.problem.reason, kept.actions) == (Reason.GUARDRAIL_FAILED, ())
    there = target(a_snapshot(spec=falling_back(make), status=status, runs=(missed(make),)))
    assert there.revision is not None
    gone = target(a_snapshot(spec=falling_back(make), status=status))
    assert gone.problem is not None
    assert gone.problem.reason == Reason.RUN_PENDING


def test_going_back_to_keep_previous_keeps_what_serves(served: Any, make: Any) -> None:
    """That is the original now: the status says that it serves on, and that the generation failed."""
    world, before, memory = served
    found, _ = plan(replace(world, spec=make.spec(), generation=2), memory)
    states = {entry["type"]: entry for entry in found.status["conditions"]}
    assert (states["Stalled"]["status"], states["Available"]["status"]) == ("True", "True")
    assert "(the original) keeps serving" in states["Stalled"]["message"]
    assert found.status["activeRevision"] == before.status["activeRevision"]


def test_nothing_claims_that_the_model_is_compressed(served: Any) -> None:
    """Ready, since a person asked for just this; every sentence says that it is the original."""
    _, found, _ = served
    states = {entry["type"]: entry for entry in found.status["conditions"]}
    assert {kind: entry["status"] for kind, entry in states.items()} == {
        "Available": "True",
        "CapacityMet": "True",
        "GuardrailPassed": "False",
        "Optimized": "True",
        "Ready": "True",
        "RolledOut": "True",
    }
    assert states["Ready"]["reason"] == "ServingOriginal"
    name = found.status["activeRevision"]["name"]
    assert states["Ready"]["message"] == (
        f"accuracy fell 0.2pp, limit 1pp; revision {name} (the original) serves, uncompressed, as "
        "spec.guardrail.onFail: ServeOriginal asks"
    )
    assert states["GuardrailPassed"]["reason"] == "GuardrailFailed"
    assert states["Optimized"]["message"].endswith("made an artifact, which does not serve")
    assert states["RolledOut"]["message"] == f"all traffic goes to revision {name} (the original)"
    summary = found.status["summary"]
    assert (summary["status"], summary["compression"]) == ("ServingOriginal", "none (Fast missed)")
    assert (summary["drop"], summary["size"]) == ("0.00pp", "1000 B -> 1000 B")
    told = [action for action in found.actions if isinstance(action, Announce)]
    assert [(event.reason, event.type) for event in told] == [
        ("ServingOriginal", "Warning"),
        ("RolledOut", "Normal"),
    ]


def test_a_look_later_nothing_changes(served: Any) -> None:
    """With the Job gone as well: no new one is made for what serves."""
    world, found, memory = served
    again, _ = plan(replace(world, runs=()), memory)
    assert again.status == found.status


def test_a_run_without_an_original_says_so(a_snapshot: Any, make: Any) -> None:
    """An artifact of an older version has none beside it."""
    found = target(a_snapshot(spec=falling_back(make), runs=(missed(make, original=None),)))
    assert isinstance(found.problem, Stalled)
    assert found.problem.message.endswith(
        "ended without the original that spec.guardrail.onFail asks for; change spec.rerun.reason"
    )


@pytest.mark.parametrize("engine", ["Auto", "OnnxRuntime"])
def test_engines_that_take_the_original(make: Any, engine: str) -> None:
    """It is an ONNX graph."""
    spec = falling_back(make).model_copy(update={"serving": make.spec(serving={"engine": engine}).serving})
    assert refusals(spec) == []


def test_another_engine_is_refused(make: Any) -> None:
    """Field, value, remedy."""
    steps = {"steps": [{"compile": {"engine": "OpenVino"}}], "output": {"uri": OUTPUT}}
    guardrail = {"dataset": {"uri": "file:///d.npz"}, "onFail": "ServeOriginal"}
    spec = make.spec(compression=steps, guardrail=guardrail, serving={"engine": "OpenVino"})
    (refused,) = refusals(spec)
    assert str(refused) == (
        "spec.serving.engine: OpenVino with guardrail.onFail: ServeOriginal is not supported by this version; "
        "use Auto: the original is judged and served in OnnxRuntime"
    )
