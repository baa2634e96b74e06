"""What should serve: refusals, runs, verdicts."""

from dataclasses import replace
from typing import Any

import pytest

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.api.runs import Progress, RunResult
from trimtab.api.status import RunPhase, RunStatus
from trimtab.errors import NotYet, Stalled
from trimtab.planning.plan import Announce, Apply, Delete
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import JobPhase, RunView
from trimtab.planning.target import target

OUTPUT = "file:///artifacts"


def applied(actions: Any) -> list[str]:
    return [f"{a.manifest['kind']}/{a.manifest['metadata']['name']}" for a in actions if isinstance(a, Apply)]


def run(make: Any, phase: JobPhase, **more: Any) -> RunView:
    key = run_key(make.spec(), OUTPUT)
    return RunView(name=f"digits-run-{key}", key=key, phase=phase, **more)


def test_a_new_model_gets_one_job(a_snapshot: Any, make: Any) -> None:
    """The Job's name is made from what is asked for, so that asking again makes no second one."""
    first, again = target(a_snapshot()), target(a_snapshot())
    assert applied(first.actions) == applied(again.actions) == [f"Job/digits-run-{run_key(make.spec(), OUTPUT)}"]
    assert isinstance(first.problem, NotYet)
    assert first.problem.reason == Reason.RUN_PENDING
    job = next(a.manifest for a in first.actions if isinstance(a, Apply))
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert job["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"source": {"uri": "hf://org/m"}}, "NotSupported", "spec.source.uri: hf://org/m"),
        (
            {"source": {"uri": "file:///m", "entrypoint": "m:build"}},
            "CodeNotAllowed",
            "not allowed in namespace default",
        ),
        ({"compression": {"preset": "Fast"}}, "NoOutput", "spec.compression.output.uri: not set"),
        (
            {"compression": {"search": {"objective": "Size"}, "workers": 2, "output": {"uri": "file:///a"}}},
            "NotSupported",
            "spec.compression.workers: 2 with a search is not supported by this version; use 1",
        ),
        (
            {"compression": {"steps": [{"quantize": {"scheme": "BF16"}}], "output": {"uri": "file:///a"}}},
            "NotSupported",
            "spec.compression.steps[0].quantize.scheme: BF16",
        ),
        ({"serving": {"prefetch": True}}, "NotSupported", "spec.serving.prefetch"),
        ({"serving": {"minReplicas": 0}}, "NotSupported", "spec.serving.scaling.idleAfter: minReplicas 0 without it"),
        ({"capacity": {"pools": ["gold"]}}, "NoPool", "spec.capacity.pools: gold: no such CapacityPool"),
        ({"reoptimize": {"schedule": "0 0 * * *"}}, "NotSupported", "spec.reoptimize"),
    ],
)
def test_what_cannot_be_done_is_refused(a_snapshot: Any, make: Any, changes: Any, reason: str, said: str) -> None:
    """Nothing is silently ignored: reason, field, value and remedy are there, and no Job is made."""
    found = target(a_snapshot(spec=make.spec(**changes)))
    assert isinstance(found.problem, Stalled)
    assert found.problem.reason == reason
    assert said in found.problem.message
    assert found.actions == ()


def test_an_unreadable_spec_is_named(a_snapshot: Any) -> None:
    """The message is the validation's own."""
    found = target(a_snapshot(spec=None, invalid="spec.source.uri: required, but not set"))
    assert isinstance(found.problem, Stalled)
    assert found.problem.message == "spec.source.uri: required, but not set"


def test_a_taken_name_is_named(a_snapshot: Any) -> None:
    """A Service of somebody else's is left alone."""
    found = target(a_snapshot(name_taken=True))
    assert found.problem is not None
    assert found.problem.reason == Reason.NAME_TAKEN


def test_progress_is_passed_on(a_snapshot: Any, make: Any) -> None:
    """A running Job's last line is what the status says."""
    progress = Progress(step="distill", index=2, steps=4, percent=41, remaining_seconds=12)
    found = target(a_snapshot(runs=(run(make, JobPhase.RUNNING, progress=progress),)))
    assert found.run is not None
    assert (found.run.phase, found.run.progress_percent, found.run.step) == (RunPhase.RUNNING, 41, "distill (2/4)")
    assert found.run.estimated_remaining_seconds == 12
    assert isinstance(found.problem, NotYet)
    assert "41% done" in found.problem.message


def test_progress_is_kept_while_a_log_cannot_be_read(a_snapshot: Any, make: Any) -> None:
    """As between the end of its pod and that of its Job: the status stays as it is, and is not written."""
    progress = Progress(step="distill", index=2, steps=4, percent=41, remaining_seconds=12)
    first = target(a_snapshot(runs=(run(make, JobPhase.RUNNING, progress=progress),))).run
    remembered = a_snapshot().status.model_copy(update={"last_run": first})
    assert target(a_snapshot(status=remembered, runs=(run(make, JobPhase.RUNNING),))).run == first


def test_a_passed_run_is_a_revision(a_snapshot: Any, make: Any) -> None:
    """The revision's name is a hash of artifact and serving spec."""
    found = target(a_snapshot(runs=(run(make, JobPhase.COMPLETE, result=make.result()),)))
    assert found.problem is None
    assert found.revision is not None
    assert found.revision.artifact.bytes == 100
    other = make.spec(serving={"maxReplicas": 4, "batching": {"maxSize": 2}})
    changed = target(a_snapshot(spec=other, runs=(run(make, JobPhase.COMPLETE, result=make.result()),)))
    assert changed.revision is not None
    assert changed.revision.run_name == found.revision.run_name
    assert changed.revision.name != found.revision.name
    scaled = make.spec(serving={"maxReplicas": 9})
    same = target(a_snapshot(spec=scaled, runs=(run(make, JobPhase.COMPLETE, result=make.result()),)))
    assert same.revision is not None
    assert same.revision.name == found.revision.name, "scaling bounds make no new revision"


@pytest.mark.parametrize(
    ("verdict", "guardrail", "reason"),
    [
        pytest.param(Verdict.FAILED, {}, Reason.GUARDRAIL_FAILED, id="failed"),
        pytest.param(Verdict.INCONCLUSIVE, {}, Reason.GUARDRAIL_INCONCLUSIVE, id="held"),
        pytest.param(Verdict.INCONCLUSIVE, {"onInconclusive": "Fail"}, Reason.GUARDRAIL_FAILED, id="counts as failed"),
    ],
)
def test_a_miss_never_serves(a_snapshot: Any, make: Any, verdict: Verdict, guardrail: Any, reason: str) -> None:
    """The candidate stays away from traffic, and the message says what serves."""
    spec = make.spec(guardrail={"dataset": {"uri": "file:///data/digits.npz"}, **guardrail})
    found = target(a_snapshot(spec=spec, runs=(run(make, JobPhase.COMPLETE, result=make.result(verdict)),)))
    assert found.revision is None
    assert isinstance(found.problem, Stalled)
    assert found.problem.reason == reason
    assert "nothing serves yet" in found.problem.message


def test_report_mode_serves_a_miss(a_snapshot: Any, make: Any) -> None:
    """Report only reports."""
    spec = make.spec(guardrail={"dataset": {"uri": "file:///data/digits.npz"}, "mode": "Report"})
    key = run_key(spec, OUTPUT)
    view = RunView(name=f"digits-run-{key}", key=key, phase=JobPhase.COMPLETE, result=make.result(Verdict.FAILED))
    assert target(a_snapshot(spec=spec, runs=(view,))).revision is not None


def test_a_failed_run_stays_failed(a_snapshot: Any, make: Any) -> None:
    """Its reason and message become the condition's, and the status remembers when the Job is gone."""
    failed = RunResult(reason="SourceNotFound", message="spec.source.uri: file:///models/digits does not exist")
    first = target(a_snapshot(runs=(run(make, JobPhase.FAILED, result=failed),)))
    assert isinstance(first.problem, Stalled)
    assert (first.problem.reason, first.problem.message) == (failed.reason, failed.message)
    remembered = a_snapshot().status.model_copy(update={"last_run": first.run})
    again = target(a_snapshot(status=remembered))
    assert isinstance(again.problem, Stalled)
    assert applied(again.actions) == []


def test_rerun_repeats(a_snapshot: Any, make: Any) -> None:
    """A new reason is a new run; the old Job goes."""
    old = run(make, JobPhase.COMPLETE, result=make.result())
    found = target(a_snapshot(spec=make.spec(rerun={"reason": "again"}), runs=(old,)))
    assert Delete("batch/v1", "Job", "default", old.name) in found.actions
    assert applied(found.actions)
    assert any(isinstance(a, Announce) and a.reason == Reason.RUN_STARTED for a in found.actions)


def test_a_lost_result_is_made_again(a_snapshot: Any, make: Any) -> None:
    """A Job that completed but whose message nobody read is removed, and then made again."""
    view = run(make, JobPhase.COMPLETE)
    found = target(a_snapshot(runs=(view,)))
    assert Delete("batch/v1", "Job", "default", view.name) in found.actions
    assert isinstance(found.problem, NotYet)


def test_suspend_starts_nothing(a_snapshot: Any, make: Any) -> None:
    """The run waits, and the condition says so."""
    found = target(a_snapshot(spec=make.spec(suspend=True)))
    assert found.actions == ()
    assert found.problem is not None
    assert found.problem.reason == Reason.SUSPENDED


def test_going_back_needs_no_job(a_snapshot: Any, make: Any) -> None:
    """A spec whose run some revision remembers rolls back to it at once."""
    done = target(a_snapshot(runs=(run(make, JobPhase.COMPLETE, result=make.result()),)))
    newer = RunStatus(name="digits-run-x", key="x", phase=RunPhase.SUCCEEDED)
    status = a_snapshot().status.model_copy(update={"revisions": [done.revision], "last_run": newer})
    back = target(a_snapshot(status=status))
    assert applied(back.actions) == []
    assert back.revision is not None
    assert done.revision is not None
    assert back.revision.name == done.revision.name


@pytest.mark.parametrize(
    "remedy",
    [
        pytest.param(
            {"compression": {"preset": "Fast", "output": {"uri": OUTPUT}, "job": {"deadline": "9h"}}}, id="job"
        ),
        pytest.param({"source": {"uri": "file:///models/digits", "secretRef": {"name": "keys"}}}, id="secret"),
    ],
)
def test_what_a_failed_run_asked_for_is_tried(a_snapshot: Any, make: Any, remedy: Any) -> None:
    """Deadline, memory and credentials are no part of its key: the old Job goes, and the next one is made."""
    failed = run(make, JobPhase.FAILED, failure="DeadlineExceeded")
    remembered = a_snapshot().status.model_copy(update={"last_run": target(a_snapshot()).run})
    ended = target(a_snapshot(status=remembered, runs=(failed,)))
    assert isinstance(ended.problem, Stalled)
    world = a_snapshot(status=remembered.model_copy(update={"last_run": ended.run}), runs=(failed,))
    assert target(world).actions == (), "nothing else is a reason to try again"
    world = replace(world, spec=make.spec(**remedy), generation=2)
    first = target(world)
    assert first.actions == (Delete("batch/v1", "Job", "default", failed.name),)
    assert isinstance(first.problem, NotYet)
    # An operator that ended between saying so and doing so finds the old Job.
    crashed = target(replace(world, status=remembered.model_copy(update={"last_run": first.run})))
    again = target(replace(world, status=remembered.model_copy(update={"last_run": crashed.run})))
    assert again.actions == first.actions
    gone = target(replace(world, status=remembered.model_copy(update={"last_run": first.run}), runs=()))
    assert applied(gone.actions)
    made = target(replace(world, status=remembered.model_copy(update={"last_run": gone.run})))
    assert isinstance(made.problem, Stalled), "the new Job failed as well: no endless tries"
