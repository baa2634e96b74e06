"""StatefulSets, DaemonSets and CronJobs, with the kubelet played."""

import pytest

from trimtab.local.statuses import ApiError


def template(image="i:1", **spec):
    return {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": image}], **spec}}


def selecting(**spec):
    return {"selector": {"matchLabels": {"app": "x"}}, "template": template(), **spec}


def stateful(stage, replicas=3, **spec):
    body = selecting(replicas=replicas, serviceName="db", **spec)
    return stage.make("statefulsets.apps", "StatefulSet", "db", body, "apps/v1")


def names(stage):
    return [p["metadata"]["name"] for p in stage.list("pods")]


async def ready(stage, *, rounds=20):
    """Pods become ready and leave when told to, one round after the other."""
    for _ in range(rounds):
        await stage.settle()
        stage.finish()
        await stage.settle()
        waiting = [p for p in stage.list("pods") if not stage.condition(p, "Ready")]
        if not waiting and not any("deletionTimestamp" in p["metadata"] for p in stage.list("pods")):
            break
        for pod in waiting:
            stage.report(pod)
    await stage.settle()


async def test_a_stateful_set_starts_in_order_and_ends_in_reverse(stage):
    """Each pod waits for the one before; names, hostnames and labels stay."""
    stateful(stage)
    await stage.settle()
    assert names(stage) == ["db-0"]
    stage.report(stage.get("pods", "db-0"))
    await stage.settle()
    assert names(stage) == ["db-0", "db-1"]
    await ready(stage)
    pod = stage.get("pods", "db-2")
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-2", "db")
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "2"
    status = stage.get("statefulsets.apps", "db")["status"]
    assert (status["readyReplicas"], status["currentReplicas"], status["updatedReplicas"]) == (3, 3, 3)
    stage.patch("statefulsets.apps", "db", {"spec": {"replicas": 1}})
    await stage.settle()
    assert ["deletionTimestamp" in p["metadata"] for p in stage.list("pods")] == [False, False, True]
    await ready(stage)
    assert names(stage) == ["db-0"]


async def test_a_parallel_stateful_set_does_not_wait(stage):
    """All at once, up and down."""
    stateful(stage, podManagementPolicy="Parallel")
    await stage.settle()
    assert names(stage) == ["db-0", "db-1", "db-2"]


async def test_a_stateful_set_updates_from_the_highest_number_to_the_partition(stage):
    """One at a time; below the partition the old revision stays."""
    stateful(stage, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    await ready(stage)
    before = stage.get("statefulsets.apps", "db")["status"]["currentRevision"]
    stage.patch("statefulsets.apps", "db", {"spec": {"template": template("i:2")}})
    await stage.settle()
    assert ["deletionTimestamp" in p["metadata"] for p in stage.list("pods")] == [False, False, True]
    await ready(stage)
    images = [p["spec"]["containers"][0]["image"] for p in stage.list("pods")]
    assert images == ["i:1", "i:2", "i:2"]
    status = stage.get("statefulsets.apps", "db")["status"]
    assert (status["currentRevision"], status["currentReplicas"], status["updatedReplicas"]) == (before, 1, 2)
    stage.patch("statefulsets.apps", "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    await ready(stage)
    status = stage.get("statefulsets.apps", "db")["status"]
    assert status["currentRevision"] == status["updateRevision"] != before
    assert [r["revision"] for r in stage.list("controllerrevisions.apps")] in ([1, 2], [2, 1])


async def test_a_lost_pod_of_a_stateful_set_comes_back_under_its_name(stage):
    """Whoever deleted it."""
    stateful(stage, 2)
    await ready(stage)
    uid = stage.get("pods", "db-0")["metadata"]["uid"]
    stage.registry.delete("pods", "db-0", "d", grace_seconds=0)
    await stage.settle()
    assert stage.get("pods", "db-0")["metadata"]["uid"] != uid


async def test_a_claim_of_a_stateful_set_is_refused(stage):
    """As there are no persistent volumes."""
    with pytest.raises(ApiError, match=r"spec.volumeClaimTemplates: Forbidden: the embedded cluster has no persistent"):
        stateful(stage, volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}])


def daemons(stage, **spec):
    return stage.make("daemonsets.apps", "DaemonSet", "agent", selecting(**spec), "apps/v1")


def places(stage):
    return sorted(p["spec"].get("nodeName", "") for p in stage.list("pods"))


async def test_a_daemon_set_has_a_pod_on_every_node(stage):
    """On those that come later too, cordoned or not; not where a taint keeps it away."""
    daemons(stage)
    await stage.settle()
    assert places(stage) == ["n1", "n2"]
    stage.add_node("n3")
    stage.add_node("spot", taints=[{"key": "spot", "effect": "NoSchedule"}])
    await ready(stage)
    assert places(stage) == ["n1", "n2", "n3"]
    cordon = {"spec": {"unschedulable": True}}
    stage.registry.patch("nodes", "n3", None, cordon, "application/merge-patch+json", manager="u")
    await ready(stage)
    status = stage.get("daemonsets.apps", "agent")["status"]
    assert places(stage) == ["n1", "n2", "n3"]
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable")
    assert [status[c] for c in counts] == [3, 3, 3, 3]
    assert (status["updatedNumberScheduled"], status["numberMisscheduled"]) == (3, 0)


async def test_a_daemon_set_keeps_to_its_selector(stage):
    """A node that no longer matches loses its pod."""
    stage.add_node("gpu", labels={"gpu": "yes"})
    daemons(stage, template=template(nodeSelector={"gpu": "yes"}))
    await ready(stage)
    assert places(stage) == ["gpu"]
    stage.registry.patch(
        "nodes", "gpu", None, {"metadata": {"labels": {"gpu": "no"}}}, "application/merge-patch+json", manager="u"
    )
    await stage.settle()
    assert all("deletionTimestamp" in p["metadata"] for p in stage.list("pods"))


async def test_a_daemon_set_updates_one_node_at_a_time(stage):
    """As many at once as may be unavailable."""
    daemons(stage)
    await ready(stage)
    stage.patch("daemonsets.apps", "agent", {"spec": {"template": template("i:2")}})
    await stage.settle()
    assert sum("deletionTimestamp" in p["metadata"] for p in stage.list("pods")) == 1
    await ready(stage)
    assert {p["spec"]["containers"][0]["image"] for p in stage.list("pods")} == {"i:2"}
    generation = "deprecated.daemonset.template.generation"
    assert stage.get("daemonsets.apps", "agent")["metadata"]["annotations"][generation] == "2"


def cron(stage, schedule="*/5 * * * *", **spec):
    job = {"spec": {"template": template(restartPolicy="Never")}}
    body = {"schedule": schedule, "jobTemplate": job, **spec}
    return stage.make("cronjobs.batch", "CronJob", "tick", body, "batch/v1")


def jobs(stage):
    return [j["metadata"]["name"] for j in stage.list("jobs.batch")]


async def finish_jobs(stage, phase="Succeeded"):
    for pod in stage.list("pods"):
        if pod["status"]["phase"] == "Pending":
            stage.report(pod, phase, code=0 if phase == "Succeeded" else 1)
    await stage.settle()


async def test_a_cron_job_starts_jobs_by_the_clock(stage):
    """Named after their time; the status lists what runs and when it last did."""
    cron(stage)
    await stage.settle(seconds=60)
    assert jobs(stage) == []
    await stage.settle(seconds=300)
    minute = int(stage.now.timestamp()) // 300 * 5
    assert jobs(stage) == [f"tick-{minute}"]
    status = stage.get("cronjobs.batch", "tick")["status"]
    assert (status["lastScheduleTime"], len(status["active"])) == ("2026-01-01T12:05:00Z", 1)
    await finish_jobs(stage)
    status = stage.get("cronjobs.batch", "tick")["status"]
    assert "active" not in status
    assert status["lastSuccessfulTime"] == "2026-01-01T12:06:00Z"


@pytest.mark.parametrize(("policy", "left"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
async def test_runs_that_would_overlap(stage, policy, left):
    """Both, only the first, or only the second."""
    cron(stage, concurrencyPolicy=policy)
    await stage.settle(seconds=300)
    first = jobs(stage)
    await stage.settle(seconds=300)
    assert len(jobs(stage)) == left
    assert (first[0] in jobs(stage)) == (policy != "Replace")


async def test_a_cron_job_keeps_a_history(stage):
    """As many finished Jobs as it is told to; suspended it starts none."""
    cron(stage, successfulJobsHistoryLimit=1)
    for _ in range(3):
        await stage.settle(seconds=300)
        await finish_jobs(stage)
    assert len(jobs(stage)) == 1
    stage.patch("cronjobs.batch", "tick", {"spec": {"suspend": True}})
    before = jobs(stage)
    await stage.settle(seconds=600)
    assert jobs(stage) == before


async def test_a_start_that_comes_too_late_is_missed(stage):
    """After startingDeadlineSeconds the run is left out, and said to be."""
    cron(stage, startingDeadlineSeconds=10)
    await stage.settle(seconds=330)
    assert jobs(stage) == []


async def test_what_is_no_schedule_is_refused(stage):
    """With the part that is wrong."""
    with pytest.raises(ApiError, match=r"spec.schedule: Invalid value: .*: end of range \(61\) above maximum"):
        cron(stage, "61 * * * *")
