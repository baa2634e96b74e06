"""What a Job does next."""

from datetime import UTC, datetime, timedelta

import pytest

from trimtab.local.controllers.jobindexes import parse_indexes, written_indexes
from trimtab.local.controllers.jobplan import TRACKING, BackOffRecord, expires_in, plan_job

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def job(**spec):
    body = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": {"spec": {}}, **spec}
    return {"metadata": {"name": "j", "namespace": "d"}, "spec": body, "status": {"startTime": "2026-01-01T12:00:00Z"}}


def pod(phase, *, code=None, conditions=(), finalizer=True, deleting=False, restarts=0, name="j-x"):
    metadata = {"name": name, "namespace": "d", "finalizers": [TRACKING] if finalizer else []}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    state = {"terminated": {"exitCode": code}} if code is not None else {"running": {}}
    status = {
        "phase": phase,
        "conditions": [{"type": c, "status": "True"} for c in conditions],
        "containerStatuses": [{"name": "main", "state": state, "restartCount": restarts}],
    }
    return {"metadata": metadata, "spec": {}, "status": status}


def plan(of, *pods, back_off=None, now=NOW):
    return plan_job(of, pods, back_off or BackOffRecord(), now, 1.0)


def conditions(found):
    return {c["type"]: c["reason"] for c in found.status.get("conditions", ())}


def test_a_failed_pod_is_counted_once_and_followed_after_a_back_off():
    """The count goes into the status, the finalizer goes, and the next pod waits 10 s, then 20 s."""
    first = plan(job(), pod("Failed", code=1))
    assert (first.status["failed"], len(first.release), first.create) == (1, 1, ())
    assert first.requeue_after == 10
    counted = job() | {"status": first.status}
    again = plan(counted, pod("Failed", code=1, finalizer=False), back_off=first.back_off)
    assert again.status["failed"] == 1
    later = plan(counted, back_off=first.back_off, now=NOW + timedelta(seconds=10))
    assert later.create == (None,)
    second = plan(counted, pod("Failed", code=1), back_off=first.back_off)
    assert second.requeue_after == 20


@pytest.mark.parametrize(
    ("spec", "pods", "reason"),
    [
        pytest.param({"backoffLimit": 0}, [pod("Failed", code=1)], "BackoffLimitExceeded", id="too many failures"),
        pytest.param(
            {"backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure"}}},
            [pod("Running", restarts=2)],
            "BackoffLimitExceeded",
            id="too many restarts",
        ),
        pytest.param(
            {"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}},
            [pod("Failed", code=42)],
            "PodFailurePolicy",
            id="policy",
        ),
    ],
)
def test_a_job_fails(spec, pods, reason):
    """The target condition comes first; what still runs is deleted before the Job counts as failed."""
    found = plan(job(**spec), *pods)
    assert conditions(found)["FailureTarget"] == reason
    assert ("Failed" in conditions(found)) == (not found.delete)


def test_what_is_not_supported_is_refused():
    """A field that would be ignored fails the Job with a message that names it."""
    found = plan(job(backoffLimitPerIndex=1))
    wanted = "spec.backoffLimitPerIndex is not supported by the embedded cluster; remove it"
    assert {c["message"] for c in found.status["conditions"]} == {wanted}
    assert found.create == ()


def test_the_failure_policy_says_which_rule_it_was():
    """The message names container, pod, exit code and rule."""
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    found = plan(job(podFailurePolicy={"rules": rules}), pod("Failed", code=42))
    wanted = "Container main for pod d/j-x failed with exit code 42 matching FailJob rule at index 0"
    assert found.status["conditions"][0]["message"] == wanted


def test_disruptions_can_be_ignored():
    """A pod that somebody else ended costs no attempt, and is replaced."""
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
    lost = pod("Failed", code=137, conditions=["DisruptionTarget"])
    found = plan(job(backoffLimit=0, podFailurePolicy={"rules": rules}), lost)
    assert "failed" not in found.status
    assert conditions(found) == {}
    assert found.requeue_after == 10


def test_the_deadline_ends_a_job():
    """After activeDeadlineSeconds what runs is deleted."""
    running = pod("Running")
    waiting = plan(job(activeDeadlineSeconds=30), running)
    assert waiting.requeue_after == 30
    over = plan(job(activeDeadlineSeconds=30), running, now=NOW + timedelta(seconds=30))
    assert conditions(over) == {"FailureTarget": "DeadlineExceeded"}
    assert over.delete == (running,)


def test_success_completes_and_expires():
    """A Job is complete with its last success, and goes after its time to live."""
    of = job(ttlSecondsAfterFinished=60)
    found = plan(of, pod("Succeeded", code=0))
    assert conditions(found) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    done = of | {"status": found.status}
    assert expires_in(done, NOW) == 60
    assert expires_in(done, NOW + timedelta(seconds=61)) == 0


def test_an_indexed_job_makes_the_missing_indexes():
    """Each index that has not succeeded and does not run gets a pod."""
    of = job(completions=4, parallelism=4, completionMode="Indexed")
    of["status"]["completedIndexes"] = "1"
    running = pod("Running")
    running["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": "2"}
    assert plan(of, running).create == (0, 3)


@pytest.mark.parametrize(
    ("indexes", "text"), [([], ""), ([0, 1], "0,1"), ([0, 1, 2, 5], "0-2,5"), ([1, 3, 4, 5, 7, 8], "1,3-5,7,8")]
)
def test_completed_indexes(indexes, text):
    """Three and more in a row are a range."""
    assert written_indexes(indexes) == text
    assert parse_indexes(text) == indexes
