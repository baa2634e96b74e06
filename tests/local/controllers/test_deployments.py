"""What a Deployment does from creation to clean-up, with the kubelet played."""

import pytest

PROGRESS = "deployment.kubernetes.io/"


def deployment(stage, replicas=3, image="i:1", **spec):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": image}]}}
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return stage.make("deployments.apps", "Deployment", "web", body, "apps/v1")


def new_image(stage, image):
    containers = [{"name": "main", "image": image}]
    stage.patch("deployments.apps", "web", {"spec": {"template": {"spec": {"containers": containers}}}})


def sets(stage):
    """Image to ReplicaSet."""
    return {s["spec"]["template"]["spec"]["containers"][0]["image"]: s for s in stage.list("replicasets.apps")}


def sizes(stage):
    return {image: s["spec"]["replicas"] for image, s in sets(stage).items()}


def reason(stage):
    return stage.condition(stage.get("deployments.apps", "web"), "Progressing")["reason"]


async def all_ready(stage):
    """Pods become ready, and leave when told to, until nothing changes."""
    for _ in range(20):
        await stage.settle()
        stage.finish()
        waiting = [p for p in stage.list("pods") if not stage.condition(p, "Ready")]
        if not waiting:
            break
        for pod in waiting:
            stage.report(pod)
    await stage.settle()


async def test_a_paused_deployment_waits_and_its_deadline_too(stage):
    """Paused, a new template starts nothing but scaling works; resumed, it rolls out."""
    deployment(stage)
    await all_ready(stage)
    stage.patch("deployments.apps", "web", {"spec": {"paused": True}})
    new_image(stage, "i:2")
    await stage.settle()
    paused = stage.condition(stage.get("deployments.apps", "web"), "Progressing")
    assert (paused["status"], paused["reason"], paused["message"]) == (
        "Unknown",
        "DeploymentPaused",
        "Deployment is paused",
    )
    stage.patch("deployments.apps", "web", {"spec": {"replicas": 4}})
    await stage.settle(seconds=3600)
    assert (sizes(stage), reason(stage)) == ({"i:1": 4}, "DeploymentPaused")
    stage.patch("deployments.apps", "web", {"spec": {"paused": False}})
    await stage.settle()
    assert sizes(stage) == {"i:1": 3, "i:2": 2}
    await all_ready(stage)
    assert (sizes(stage), reason(stage)) == ({"i:1": 0, "i:2": 4}, "NewReplicaSetAvailable")


async def test_recreate_ends_the_old_pods_before_it_makes_new_ones(stage):
    """No two versions run at the same time."""
    deployment(stage, 2, strategy={"type": "Recreate"})
    await all_ready(stage)
    new_image(stage, "i:2")
    await stage.settle()
    assert sizes(stage) == {"i:1": 0}
    stage.finish()
    await stage.settle()
    assert sizes(stage) == {"i:1": 0, "i:2": 2}
    await all_ready(stage)
    assert reason(stage) == "NewReplicaSetAvailable"


async def test_a_rollback_gives_the_old_replica_set_a_new_revision(stage):
    """It keeps its former ones as history, and takes the cause of the change over."""
    deployment(stage, 1)
    await all_ready(stage)
    new_image(stage, "i:2")
    await all_ready(stage)
    stage.patch("deployments.apps", "web", {"metadata": {"annotations": {"kubernetes.io/change-cause": "oops"}}})
    new_image(stage, "i:1")
    await all_ready(stage)
    annotations = sets(stage)["i:1"]["metadata"]["annotations"]
    assert annotations[PROGRESS + "revision"] == "3"
    assert annotations[PROGRESS + "revision-history"] == "1"
    assert annotations["kubernetes.io/change-cause"] == "oops"
    assert stage.get("deployments.apps", "web")["metadata"]["annotations"][PROGRESS + "revision"] == "3"


async def test_a_stuck_rollout_passes_its_deadline(stage):
    """Progressing turns False; the old pods go on."""
    deployment(stage, 1, progressDeadlineSeconds=30)
    await all_ready(stage)
    new_image(stage, "i:2")
    await stage.settle()
    await stage.settle(seconds=40)
    found = stage.condition(stage.get("deployments.apps", "web"), "Progressing")
    name = sets(stage)["i:2"]["metadata"]["name"]
    assert (found["status"], found["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert found["message"] == f'ReplicaSet "{name}" has timed out progressing.'
    assert sizes(stage) == {"i:1": 1, "i:2": 1}


async def test_scaling_in_the_middle_of_a_rollout_is_shared_out(stage):
    """Old and new grow in proportion."""
    deployment(stage, 10, strategy={"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}})
    await all_ready(stage)
    new_image(stage, "i:2")
    await stage.settle()
    assert sizes(stage) == {"i:1": 8, "i:2": 5}
    stage.patch("deployments.apps", "web", {"spec": {"replicas": 15}})
    await stage.settle()
    assert sizes(stage) == {"i:1": 11, "i:2": 7}


@pytest.mark.parametrize(("limit", "kept"), [(0, ["i:4"]), (1, ["i:3", "i:4"])])
async def test_old_revisions_are_forgotten(stage, limit, kept):
    """As many as the history may hold are kept."""
    deployment(stage, 1, revisionHistoryLimit=limit)
    await all_ready(stage)
    for number in (2, 3, 4):
        new_image(stage, f"i:{number}")
        await all_ready(stage)
    assert sorted(sets(stage)) == kept


async def test_available_means_ready_for_long_enough(stage):
    """With minReadySeconds a pod counts once it has been ready for that time."""
    deployment(stage, 1, minReadySeconds=30)
    await all_ready(stage)
    status = stage.get("deployments.apps", "web")["status"]
    assert (status["readyReplicas"], "availableReplicas" in status) == (1, False)
    await stage.settle(seconds=31)
    assert stage.get("deployments.apps", "web")["status"]["availableReplicas"] == 1
    stage.patch("deployments.apps", "web", {"spec": {"minReadySeconds": 0}})
    await stage.settle()
    assert "minReadySeconds" not in sets(stage)["i:1"]["spec"]


async def test_a_pod_that_no_longer_matches_is_released_and_one_that_does_is_adopted(stage):
    """The released pod lives on and is replaced; the adopted one is one too many."""
    deployment(stage, 1)
    await all_ready(stage)
    [pod] = stage.list("pods")
    stage.patch("pods", pod["metadata"]["name"], {"metadata": {"labels": {"app": "debug"}}})
    await stage.settle()
    assert len(stage.list("pods")) == 2
    assert "ownerReferences" not in stage.get("pods", pod["metadata"]["name"])["metadata"]
    stage.patch("pods", pod["metadata"]["name"], {"metadata": {"labels": {"app": "web"}}})
    await stage.settle()
    left = [p for p in stage.list("pods") if "deletionTimestamp" not in p["metadata"]]
    assert len(left) == 1


async def test_events_say_what_was_scaled(stage):
    """In the words that kubectl describe shows."""
    deployment(stage, 2)
    await stage.settle()
    name = sets(stage)["i:1"]["metadata"]["name"]
    stage.patch("deployments.apps", "web", {"spec": {"replicas": 0}})
    await stage.settle()
    wanted = {f"Scaled up replica set {name} from 0 to 2", f"Scaled down replica set {name} from 2 to 0"}
    assert set(stage.said("ScalingReplicaSet")) == wanted
