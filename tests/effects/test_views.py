"""Raw objects become views: what a Job's pods said, why a pod does not start."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.runs import EXIT_INPUT
from trimtab.effects.views import is_in_service, pod_view, progress_of, run_view
from trimtab.planning.snapshot import JobPhase

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def job(*conditions: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits-run-1", "labels": {"trimtab.dev/run": "1"}},
        "status": {"startTime": "2026-03-01T11:59:00Z", "conditions": list(conditions)},
    }


def job_pod(name: str, created: str, phase: str = "Running", terminated: Any = None) -> dict[str, Any]:
    state = {"terminated": terminated} if terminated else {"running": {}}
    return {
        "metadata": {"name": name, "creationTimestamp": created, "labels": {"trimtab.dev/run": "1"}},
        "status": {"phase": phase, "containerStatuses": [{"name": "compress", "state": state}]},
    }


def said(reason: str | None, message: str) -> str:
    return json.dumps({"message": message, **({"reason": reason} if reason else {})})


def test_services_lead_to_ready_pods_that_stay() -> None:
    """As Kubernetes lists endpoints."""
    ready = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_in_service(ready)
    assert not is_in_service({**ready, "metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}})
    assert not is_in_service({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert not is_in_service({"metadata": {}})


def test_a_running_job_has_progress() -> None:
    """The last progress line of the log counts; other lines are for people."""
    log = '{"event":"loaded"}\n{"event":"progress","step":"prune","index":1,"steps":2,"percent":30}\nnot json\n'
    view = run_view(job(), [job_pod("p", "2026-03-01T11:59:01Z")], log)
    assert view.phase is JobPhase.RUNNING
    assert view.progress is not None
    assert view.progress.percent == 30


def test_a_half_written_line_is_passed_over() -> None:
    """The log may be read while a line is being written."""
    log = '{"event":"progress","step":"prune","index":1,"steps":2,"percent":30}\n{"event":"progress","st'
    progress = progress_of(log)
    assert progress is not None
    assert progress.step == "prune"


def test_a_failed_job_says_what_its_newest_pod_said() -> None:
    """Between several attempts the last word counts."""
    pods = [
        job_pod("old", "2026-03-01T11:58:00Z", "Failed", {"exitCode": 75, "message": said("StoreUnreachable", "old")}),
        job_pod("new", "2026-03-01T11:59:00Z", "Failed", {"exitCode": 65, "message": said("SourceInvalid", "new")}),
    ]
    failed = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "lastTransitionTime": "t"}
    view = run_view(job(failed), pods, "")
    assert view.phase is JobPhase.FAILED
    assert view.result is not None
    assert view.result.message == "new"


def test_a_complete_job_ignores_failed_attempts() -> None:
    """The result is that of the attempt that succeeded."""
    pods = [
        job_pod("a", "2026-03-01T11:58:00Z", "Failed", {"exitCode": 75, "message": said("StoreUnreachable", "old")}),
        job_pod("b", "2026-03-01T11:57:00Z", "Succeeded", {"exitCode": 0, "message": said(None, "done")}),
    ]
    view = run_view(job({"type": "Complete", "status": "True", "lastTransitionTime": "t"}), pods, "")
    assert view.result is not None
    assert view.result.message == "done"


def serving_pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "digits-1-od-x",
            "creationTimestamp": "2026-03-01T11:59:30Z",
            "labels": {"trimtab.dev/revision": "digits-1", "trimtab.dev/capacity-type": "on-demand"},
        },
        "spec": {"nodeName": "node-a"},
        "status": status,
    }


def test_a_ready_pod() -> None:
    """Readiness, age, zone and capacity type come from where Kubernetes keeps them."""
    nodes = {"node-a": {"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}}}
    view = pod_view(serving_pod(conditions=[{"type": "Ready", "status": "True"}]), nodes.get, NOW)
    assert (view.ready, view.zone, view.capacity_type, view.age_s) == (True, "a", CapacityType.ON_DEMAND, 30)
    assert view.trouble is None


def test_a_corrupt_artifact_is_fatal() -> None:
    """The exit code tells that trying again cannot help; the message is passed on."""
    terminated = {"exitCode": EXIT_INPUT, "message": "model.onnx: expected sha256:a, found sha256:b"}
    crashed = {"name": "serve", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {}}
    view = pod_view(serving_pod(containerStatuses=[{**crashed, "lastState": {"terminated": terminated}}]), {}.get, NOW)
    assert view.fatal
    assert view.trouble is not None
    assert "expected sha256:a, found sha256:b" in view.trouble


def test_waiting_pods_say_why() -> None:
    """Not scheduled and no image are told apart."""
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    view = pod_view(serving_pod(conditions=[unscheduled]), {}.get, NOW)
    assert view.trouble == "pod digits-1-od-x: 0/3 nodes are available"
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    view = pod_view(serving_pod(containerStatuses=[{"name": "serve", "state": waiting}]), {}.get, NOW)
    assert view.trouble == "pod digits-1-od-x: ImagePullBackOff no such image"
    assert not view.fatal


def test_a_ready_pod_has_no_trouble() -> None:
    """It failed once, was started again and serves: what its last container said is over."""
    ended = {"terminated": {"exitCode": EXIT_INPUT, "message": "model.onnx: no such file"}}
    body = {
        "metadata": {
            "name": "p",
            "creationTimestamp": "2026-03-01T11:59:00Z",
            "labels": {"trimtab.dev/revision": "r", "trimtab.dev/capacity-type": "spot"},
        },
        "spec": {},
        "status": {
            "containerStatuses": [{"state": {"running": {}}, "lastState": ended}],
            "conditions": [{"type": "Ready", "status": "False"}],
        },
    }
    waiting = pod_view(body, {}.get, NOW)
    assert (waiting.fatal, "no such file" in str(waiting.trouble)) == (True, True)
    body["status"] |= {"conditions": [{"type": "Ready", "status": "True"}]}
    ready = pod_view(body, {}.get, NOW)
    assert (ready.fatal, ready.trouble) == (False, None)


def test_a_pod_that_was_killed_for_its_memory() -> None:
    """It could write no message: the kernel killed it. The Job tries again; in the end this is why it failed."""
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": "t"}
    killed = job_pod("p", "2026-03-01T11:59:01Z", "Failed", {"exitCode": 137, "reason": "OOMKilled"})
    killed["spec"] = {"containers": [{"resources": {"limits": {"memory": "2Gi"}}}]}
    for conditions in ((), (failed,)):
        result = run_view(job(*conditions), [killed], "").result
        assert result is not None
        assert result.reason == "RunOutOfMemory"
        assert "pod p was killed for its memory (its limit is 2Gi); raise" in result.message
    del killed["spec"]
    unlimited = run_view(job(failed), [killed], "").result
    assert unlimited is not None
    assert "the node had no more" in unlimited.message


def worker(index: int, phase: str = "Running", code: int | None = None, message: str = "") -> dict[str, Any]:
    """A pod of an Indexed Job, created in the order of the indexes."""
    ended = {"exitCode": code, "message": message} if code is not None else None
    pod = job_pod(f"digits-run-1-{index}", f"2026-03-01T11:59:0{index}Z", phase, ended)
    pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = str(index)
    return pod


def test_worker_0_brings_the_verdict() -> None:
    """The others have none, although they may end later."""
    pods = [
        worker(0, "Succeeded", 0, said(None, "accuracy fell 0.1pp")),
        worker(1, "Succeeded", 0, said(None, "worker 1 of 2 has done its part")),
    ]
    view = run_view(job({"type": "SuccessCriteriaMet", "status": "True"}), pods, "")
    assert view.result is not None
    assert view.result.message == "accuracy fell 0.1pp"


@pytest.mark.parametrize("failed", [0, 1])
def test_any_worker_tells_what_failed(failed: int) -> None:
    """And not the one that only ended because the other did, nor one that had done its part."""
    pods = [worker(index, "Failed", 76, said("RunFailed", "lost another worker")) for index in range(2)]
    pods[failed] = worker(failed, "Failed", 65, said("DiskFull", "the volume is full"))
    pods.append(worker(2, "Succeeded", 0, said(None, "worker 2 of 3 has done its part")))
    view = run_view(job({"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}), pods, "")
    assert view.result is not None
    assert view.result.reason == "DiskFull"


def test_workers_wait_for_one_that_cannot_start() -> None:
    """The others run, but the run does not go on."""
    late = worker(1, "Pending")
    late["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}],
    }
    view = run_view(job(), [worker(0), late, worker(2)], "")
    assert view.phase is JobPhase.PENDING
    assert view.waiting == "pod digits-run-1-1: 0/3 nodes are available"
    assert run_view(job(), [worker(0), worker(1)], "").phase is JobPhase.RUNNING
