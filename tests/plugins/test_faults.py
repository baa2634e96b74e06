"""What a chaotic run rests on: plans that can be had again, and invariants that notice."""

import json
from typing import Any

import pytest
from faults.invariants import Invariants
from faults.models import Wishes
from faults.plan import DEEDS, FAULTS, plan
from faults.running import unproven_artifacts
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=25)
@given(st.integers(), st.floats(0, 900), st.floats(1, 20))
def test_a_plan_is_a_function_of_its_seed(seed: int, seconds: float, every: float) -> None:
    """The same seed gives the same faults, in time, in order, and as long as each kind lasts."""
    events = plan(seed, seconds, every)
    assert events == plan(seed, seconds, every)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert all(0 <= event.at <= seconds + 0.05 for event in events)
    for event in events:
        shortest, longest = FAULTS.get(event.what, (0, 0))
        assert shortest <= event.seconds <= longest
        assert 0 <= event.draw <= 1


def test_every_kind_comes_before_any_comes_again() -> None:
    """A plan of some minutes has all of them; seeds differ in order, length and victims."""
    events = plan(1, 600, 5)
    assert {event.what for event in events} == {*FAULTS, *DEEDS}
    assert events != plan(2, 600, 5)
    assert "disk full" not in {event.what for event in plan(1, 600, 5, frozenset({"disk full"}))}


def model(uid: str = "m", **status: Any) -> dict[str, Any]:
    return {"kind": "OptimizedModel", "metadata": {"uid": uid, "name": "digits"}, "status": status}


def child(kind: str, uid: str, owner: str = "m", run: str = "k") -> dict[str, Any]:
    meta = {"uid": uid, "name": uid, "labels": {"trimtab.dev/run": run}}
    return {"kind": kind, "metadata": {**meta, "ownerReferences": [{"kind": "OptimizedModel", "uid": owner}]}}


def traffic(revision: str) -> dict[str, Any]:
    return {"traffic": {"revisions": [{"revision": revision, "weight": 100}]}}


PROVEN = {"activeRevision": {"name": "digits-1", "guardrail": {"verdict": "Passed"}}}
FAILED = {"activeRevision": {"name": "digits-2", "guardrail": {"verdict": "Failed"}}}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([("ADDED", model(**PROVEN)), ("MODIFIED", model(**traffic("digits-1")))], []),
        ([("ADDED", model(**FAILED, **traffic("digits-2")))], ["digits-2, which nothing proved"]),
        ([("ADDED", child("Job", "a")), ("MODIFIED", child("Job", "a")), ("ADDED", child("Job", "b", run="l"))], []),
        ([("ADDED", child("Job", "a")), ("DELETED", child("Job", "a")), ("ADDED", child("Job", "b"))], []),
        ([("ADDED", child("Job", "a")), ("ADDED", child("Job", "b"))], ["two Jobs for key k"]),
        (
            [("ADDED", model(conditions=[{"type": t, "status": "True"} for t in ("Stalled", "Reconciling")]))],
            ["Stalled and Reconciling"],
        ),
    ],
)
def test_what_must_hold(changes: Any, found: list[str]) -> None:
    """Each violation is told once, and nothing else is one."""
    seen = Invariants()
    for change, item in changes:
        seen.see(change, item)
        seen.see("MODIFIED", item) if change != "DELETED" else None
    assert len(seen.violations) == len(found), seen.violations
    for said, wanted in zip(seen.violations, found, strict=True):
        assert wanted in said


def test_orphans() -> None:
    """What a model owned is an orphan when the model is gone and it is not."""
    seen = Invariants()
    for item in (model("m"), model("n"), child("Job", "a", "m"), child("Pod", "b", "n"), child("Pod", "c", "m")):
        seen.see("ADDED", item)
    assert seen.orphans() == []
    seen.see("DELETED", model("m"))
    seen.see("DELETED", child("Pod", "c", "m"))
    assert seen.orphans() == ["Job/a"]


@pytest.mark.parametrize(("later", "found"), [(60.0, 0), (200.0, 1)])
def test_children_of_models_that_are_gone(later: float, found: int) -> None:
    """One that is made soon is counted: nobody could know. Later, somebody will never know."""
    seen = Invariants()
    seen.see("ADDED", model("m"), 0.0)
    seen.see("ADDED", child("Job", "a"), 1.0)
    seen.see("DELETED", model("m"), 10.0)
    seen.see("DELETED", child("Job", "a"), 11.0)
    assert seen.late == 0
    seen.see("ADDED", child("Job", "b"), 10.0 + later)
    assert seen.late == 1
    assert len(seen.violations) == found, seen.violations


def test_artifacts_that_nothing_lists(tmp_path: Any) -> None:
    """A visible folder has a manifest, and its files are as long as that says; a hidden one is being written."""
    for name in ("good", "bare", "short", ".partial"):
        (tmp_path / "digits" / name).mkdir(parents=True)
        (tmp_path / "digits" / name / "model.onnx").write_bytes(b"weights")
    for name, size in (("good", 7), ("short", 9)):
        listed = {"files": [{"name": "model.onnx", "size": size}]}
        (tmp_path / "digits" / name / "manifest.json").write_text(json.dumps(listed))
    found = sorted(unproven_artifacts(tmp_path))
    assert len(found) == 2
    assert "bare has no manifest" in found[0]
    assert "short: ['model.onnx'] are not as the manifest says" in found[1]


def test_wishes(tmp_path: Any) -> None:
    """A ruined model is to stall with its reason, and the next change puts it right; absent guests cannot change."""
    wishes = Wishes(tmp_path, tmp_path, None)
    wishes.begin()
    body = wishes.manifest("digits", "n")
    assert body is not None
    assert wishes.change("ruins", 0.0) == "digits"
    ruined = wishes.manifest("digits", "n")
    assert ruined is not None
    assert "steps" in ruined["spec"]["compression"]
    conditions = [
        {"type": "Stalled", "status": "True", "reason": "GuardrailFailed"},
        {"type": "Available", "status": "True"},
    ]
    seen = {**ruined, "metadata": {"generation": 2}}
    status = {"observedGeneration": 2, "conditions": conditions, "replicas": {"ready": 2}}
    assert wishes.unfulfilled("digits", {**seen, "status": status}) is None
    wishes.change("rolls out", 0.0)
    assert wishes.unfulfilled("digits", {**seen, "status": status}) == "its spec is not what was applied"
    assert wishes.change("deletes a guest", 0.9) is None
    assert wishes.change("adds a guest", 0.9) == "guest-2"
    assert wishes.change("replaces a guest", 0.1) == "guest-2"
    assert wishes.change("deletes a guest", 0.1) == "guest-2"
    assert wishes.unfulfilled("guest-2", None) is None
    assert "is there" in str(wishes.unfulfilled("guest-2", seen))
