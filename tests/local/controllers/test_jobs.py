"""Jobs from beginning to end, with the kubelet played."""

import pytest

TRACKING = "batch.kubernetes.io/job-tracking"


def job(stage, **spec):
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}
    return stage.make("jobs.batch", "Job", "j", {"template": template, **spec}, "batch/v1")


def status(stage):
    return stage.get("jobs.batch", "j")["status"]


def unfinished(stage):
    return [p for p in stage.list("pods") if p["status"]["phase"] == "Pending"]


def conditions(stage):
    return [(c["type"], c["reason"]) for c in status(stage).get("conditions", ())]


async def test_a_work_queue_ends_with_its_last_pod(stage):
    """Without a number of completions one success starts the end; nothing new is made."""
    job(stage, parallelism=2)
    await stage.settle()
    first, second = stage.list("pods")
    stage.report(first, "Succeeded", code=0)
    await stage.settle()
    assert (status(stage)["active"], status(stage)["succeeded"], conditions(stage)) == (1, 1, [])
    stage.report(second, "Succeeded", code=0)
    await stage.settle()
    assert [c for c, _ in conditions(stage)] == ["SuccessCriteriaMet", "Complete"]


async def test_parallelism_can_change(stage):
    """Fewer at once: the surplus goes and does not count as failed."""
    job(stage, parallelism=3, completions=5)
    await stage.settle()
    assert status(stage)["active"] == 3
    stage.patch("jobs.batch", "j", {"spec": {"parallelism": 1}})
    await stage.settle()
    stage.finish()
    await stage.settle()
    assert (status(stage)["active"], "failed" in status(stage), status(stage)["terminating"]) == (1, False, 0)


async def test_nothing_is_active_while_a_job_waits(stage):
    """As Kubernetes reports it, pods that run on included."""
    job(stage, parallelism=2, completions=2)
    await stage.settle()
    stage.report(stage.list("pods")[0], "Failed", code=1)
    stage.report(stage.list("pods")[1])
    await stage.settle()
    assert (status(stage).get("active"), status(stage)["failed"], status(stage)["ready"]) == (None, 1, 1)
    await stage.settle(seconds=11)
    assert status(stage)["active"] == 2


async def test_a_success_policy_ends_a_job_early(stage):
    """What still runs is deleted; the Job completes once it has gone."""
    policy = {"rules": [{"succeededIndexes": "0"}]}
    job(stage, parallelism=2, completions=2, completionMode="Indexed", successPolicy=policy)
    await stage.settle()
    leader = next(p for p in stage.list("pods") if p["spec"]["hostname"] == "j-0")
    stage.report(leader, "Succeeded", code=0)
    await stage.settle()
    assert conditions(stage) == [("SuccessCriteriaMet", "SuccessPolicy")]
    stage.finish()
    await stage.settle()
    assert conditions(stage)[1] == ("Complete", "SuccessPolicy")
    assert (status(stage)["succeeded"], status(stage)["completedIndexes"]) == (1, "0")


@pytest.mark.parametrize(("policy", "at_once"), [("TerminatingOrFailed", True), ("Failed", False)])
async def test_a_pod_that_is_told_to_go_is_replaced(stage, policy, at_once):
    """At once, or when it has ended."""
    job(stage, podReplacementPolicy=policy)
    await stage.settle()
    [pod] = stage.list("pods")
    stage.report(pod)
    await stage.settle()
    stage.registry.delete("pods", pod["metadata"]["name"], "d")
    await stage.settle()
    await stage.settle(seconds=11)
    assert len(stage.list("pods")) == (2 if at_once else 1)
    stage.report(stage.get("pods", pod["metadata"]["name"]), "Failed", code=137)
    await stage.settle()
    await stage.settle(seconds=11)
    assert len(unfinished(stage)) == 1
    assert status(stage)["failed"] == 1


async def test_orphaned_pods_are_let_go(stage):
    """A Job that is deleted without its pods leaves nothing that holds them."""
    job(stage)
    await stage.settle()
    stage.registry.delete("jobs.batch", "j", "d", propagation="Orphan")
    await stage.settle()
    [pod] = stage.list("pods")
    assert "ownerReferences" not in pod["metadata"]
    assert "finalizers" not in pod["metadata"]


async def test_somebody_elses_job_is_left_alone(stage):
    """`managedBy` names who runs it."""
    job(stage, managedBy="example.com/queue")
    await stage.settle()
    assert (stage.list("pods"), status(stage)) == ([], {})
