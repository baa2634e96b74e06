"""What a Job does next."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.controllers.jobbackoff import BackOffRecord
from trimtab.local.controllers.jobends import expires_in
from trimtab.local.controllers.jobindexes import FAILURES, INDEX, failure_notes, parse_indexes, written_indexes
from trimtab.local.controllers.jobplan import plan_job
from trimtab.local.controllers.jobtally import TRACKING

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def job(**spec):
    body = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": {"spec": {}}, **spec}
    return {"metadata": {"name": "j", "namespace": "d"}, "spec": body, "status": {"startTime": "2026-01-01T12:00:00Z"}}


def pod(
    phase, *, code=None, conditions=(), finalizer=True, deleting=False, restarts=0, name="j-x", index=None, failures=0
):
    metadata = {"name": name, "namespace": "d", "finalizers": [TRACKING] if finalizer else [], "uid": name}
    metadata |= {"creationTimestamp": "2026-01-01T12:00:00Z", "annotations": {}}
    if index is not None:
        metadata["annotations"] = {INDEX: str(index), FAILURES: str(failures)}
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
    assert plan(of, pod("Running", index=2)).create == (0, 3)


PER_INDEX = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
LIMITLESS = {**PER_INDEX, "backoffLimit": 2**31 - 1}


def test_an_index_has_retries_of_its_own():
    """A failed pod waits, uncounted, for its replacement, which takes its failures over; then its index fails."""
    of = job(**LIMITLESS)
    lost, others = pod("Failed", code=1, index=0, name="a"), [pod("Running", index=i, name=str(i)) for i in (1, 2)]
    waiting = plan(of, lost, *others)
    assert (waiting.create, waiting.requeue_after, waiting.release) == ((), 10, ())
    assert waiting.status["failedIndexes"] == ""
    due = plan(of, lost, *others, now=NOW + timedelta(seconds=10))
    assert due.create == (0,)
    assert failure_notes(of, due.replaced[0]) == {FAILURES: "1"}
    again = pod("Running", index=0, failures=1, name="b")
    assert plan(of, lost, again, *others).release == (lost,)
    failed = plan(of, pod("Failed", code=1, index=0, failures=1, name="b"), *others)
    assert (failed.status["failedIndexes"], failed.status["failed"], failed.create) == ("0", 1, ())


@pytest.mark.parametrize(
    ("spec", "phases", "target", "reason"),
    [
        pytest.param(LIMITLESS, "SSF", "FailureTarget", "FailedIndexes", id="the rest succeeded"),
        pytest.param(
            {**LIMITLESS, "maxFailedIndexes": 1}, "FFR", "FailureTarget", "MaxFailedIndexesExceeded", id="max"
        ),
        pytest.param(
            {**PER_INDEX, "backoffLimitPerIndex": None, "successPolicy": {"rules": [{"succeededIndexes": "1-2"}]}},
            "RSS",
            "SuccessCriteriaMet",
            "SuccessPolicy",
            id="the leaders succeeded",
        ),
        pytest.param(
            {**PER_INDEX, "backoffLimitPerIndex": None, "successPolicy": {"rules": [{"succeededCount": 1}]}},
            "RRS",
            "SuccessCriteriaMet",
            "SuccessPolicy",
            id="enough succeeded",
        ),
    ],
)
def test_an_indexed_job_ends_early(spec, phases, target, reason):
    """By indexes that failed for good, or by its success policy; what still runs is deleted."""
    words = {"S": "Succeeded", "F": "Failed", "R": "Running"}
    mine = [pod(words[p], index=i, failures=1, name=str(i)) for i, p in enumerate(phases)]
    found = plan(job(**spec), *mine)
    assert conditions(found)[target] == reason
    assert len(found.delete) == phases.count("R")


def test_a_rule_can_fail_an_index_at_once():
    """FailIndex leaves no retries."""
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]
    found = plan(job(**LIMITLESS, podFailurePolicy={"rules": rules}), pod("Failed", code=42, index=1))
    assert (found.status["failedIndexes"], found.create) == ("1", (0, 2))


def test_a_scaled_down_indexed_job_gives_up_the_highest_indexes():
    """Pods with an index that is no longer asked for go, uncounted."""
    running = [pod("Running", index=i, name=str(i)) for i in range(3)]
    found = plan(job(completions=2, parallelism=2, completionMode="Indexed"), *running)
    assert found.discard == (running[2],)
    assert "failed" not in found.status


def test_a_suspended_job_stops_and_starts_anew():
    """Its pods go uncounted; its time starts with the resumption."""
    running = pod("Running")
    stopped = plan(job(suspend=True), running)
    assert (stopped.discard, stopped.release, "startTime" in stopped.status) == ((running,), (), False)
    assert (stopped.status["terminating"], conditions(stopped)) == (1, {"Suspended": "JobSuspended"})
    later = NOW + timedelta(hours=1)
    resumed = plan(job() | {"status": stopped.status}, now=later)
    assert (resumed.status["startTime"], conditions(resumed)) == ("2026-01-01T13:00:00Z", {"Suspended": "JobResumed"})


@given(
    completions=st.integers(1, 6),
    parallelism=st.integers(0, 6),
    fates=st.lists(st.sampled_from(["Running", "Succeeded", "Failed", "gone"]), max_size=6),
    indexed=st.booleans(),
)
def test_a_job_never_runs_more_than_it_may(completions, parallelism, fates, indexed):
    """Nor more than are still to succeed; no index runs twice; nothing is made while pods are too many."""
    spec = {"completions": completions, "parallelism": parallelism, "backoffLimit": 99}
    spec |= {"completionMode": "Indexed"} if indexed else {}
    mine = [
        pod("Running" if f == "gone" else f, deleting=f == "gone", index=i if indexed else None, name=str(i))
        for i, f in enumerate(fates)
    ]
    found = plan(job(**spec), *mine, now=NOW + timedelta(hours=1))
    stay = [p for p, f in zip(mine, fates, strict=True) if f == "Running" and p not in (*found.discard, *found.delete)]
    assert len(stay) + len(found.create) <= max(parallelism, 0)
    assert not (found.create and (found.discard or found.delete))
    held = [p["metadata"]["annotations"].get(INDEX) for p in stay]
    assert not indexed or len({*held, *map(str, found.create)}) == len(held) + len(found.create)


@pytest.mark.parametrize(
    ("indexes", "text"), [([], ""), ([0, 1], "0,1"), ([0, 1, 2, 5], "0-2,5"), ([1, 3, 4, 5, 7, 8], "1,3-5,7,8")]
)
def test_completed_indexes(indexes, text):
    """Three and more in a row are a range."""
    assert written_indexes(indexes) == text
    assert parse_indexes(text) == indexes
