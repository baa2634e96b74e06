"""What an agent makes of containers that another agent ran."""

from datetime import UTC, datetime

import pytest

from trimtab.local.agent.podstatus import ContainerRecord
from trimtab.local.agent.resuming import resume

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = {"state": {"running": {"startedAt": "2025-12-31T00:00:00Z"}}, "restartCount": 2, "containerID": "process://7"}
DONE = {"state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2025-12-31T00:00:00Z"}}}
FAILED = {"state": {"terminated": {"exitCode": 3, "reason": "Error", "message": "why"}}, "restartCount": 1}
LOOPING = {
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    "restartCount": 4,
}
NEW = {"state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {}, "restartCount": 0}


def resumed(policy, known, init=None):
    """The record of the container, and of an init container, and whether the pod runs."""
    status = {"containerStatuses": [{"name": "c", **known}]} if known else {}
    if init:
        status["initContainerStatuses"] = [{"name": "i", **init}]
    record, first = ContainerRecord("c", "busybox"), ContainerRecord("i", "busybox")
    runs = resume({"spec": {"restartPolicy": policy}, "status": status}, [first] if init else [], [record], NOW)
    return runs, record, first


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
@pytest.mark.parametrize("known", [None, NEW])
def test_what_has_never_run_starts_as_new(policy, known):
    """A pod that was bound and not begun is simply run."""
    runs, record, _ = resumed(policy, known)
    assert (runs, record) == (True, ContainerRecord("c", "busybox"))


@pytest.mark.parametrize(
    ("policy", "known", "restarts", "code"),
    [
        ("Always", RUNNING, 3, 255),
        ("OnFailure", RUNNING, 3, 255),
        ("Always", DONE, 1, 0),
        ("OnFailure", FAILED, 2, 3),
        ("Always", LOOPING, 5, 1),
    ],
)
def test_what_ran_runs_again(policy, known, restarts, code):
    """It has been restarted once more, and its last run is known."""
    runs, record, _ = resumed(policy, known)
    assert (runs, record.restarts, record.ended) == (True, restarts, None)
    assert record.last is not None
    assert record.last.exit_code == code


def test_what_completed_stays_so():
    """Under OnFailure success is the end."""
    runs, record, _ = resumed("OnFailure", DONE)
    assert (runs, record.waiting, record.restarts) == (True, None, 0)
    assert record.ended is not None
    assert record.ended.exit_code == 0


@pytest.mark.parametrize(("known", "code", "reason"), [(RUNNING, 255, "Unknown"), (FAILED, 3, "Error")])
def test_what_may_run_once_does_not_run_again(known, code, reason):
    """What ran when the machine died has failed; what ended before keeps its end."""
    runs, record, _ = resumed("Never", known)
    assert not runs
    assert record.ended is not None
    assert (record.ended.exit_code, record.ended.reason) == (code, reason)


def test_init_containers_run_again():
    """The containers of a pod share what its init containers prepared, and that went with the machine."""
    runs, record, first = resumed("Always", NEW, init=DONE)
    assert (runs, first.restarts, first.ended) == (True, 1, None)
    assert record.last is None
