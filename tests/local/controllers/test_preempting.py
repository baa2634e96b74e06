"""What the scheduler does with a pod that is more important than others."""


async def test_a_more_important_pod_takes_the_place_of_another(stage):
    """Its victim is told why; it waits, nominated, until the victim has gone."""
    for name, value in (("low", 1), ("high", 100)):
        body = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
        stage.registry.create("priorityclasses.scheduling.k8s.io", body)

    def pod(name, cls):
        resources = {"requests": {"cpu": "3"}}
        spec = {"containers": [{"name": "main", "image": "i", "resources": resources}], "priorityClassName": cls}
        return stage.make("pods", "Pod", name, spec)

    pod("a", "low")
    pod("b", "high")
    await stage.settle()
    pod("c", "high")
    await stage.settle()
    victim, waiting = stage.get("pods", "a"), stage.get("pods", "c")
    target = stage.condition(victim, "DisruptionTarget")
    assert "deletionTimestamp" in victim["metadata"]
    assert (target["reason"], target["message"]) == (
        "PreemptionByScheduler",
        "default-scheduler: preempting to accommodate a higher priority pod",
    )
    node = victim["spec"]["nodeName"]
    assert waiting["status"]["nominatedNodeName"] == victim["spec"]["nodeName"]
    assert stage.said("Preempted") == [
        f"Preempted by pod {waiting['metadata']['uid']} on node {victim['spec']['nodeName']}"
    ]
    pod("d", "low")
    stage.finish()
    await stage.settle()
    assert stage.get("pods", "c")["spec"]["nodeName"] == node
    assert "nominatedNodeName" not in stage.get("pods", "c")["status"]
    assert "nodeName" not in stage.get("pods", "d")["spec"]
