"""Deletion along the lines of ownership, with the kubelet played."""


def deployment(stage):
    template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "main", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "w"}}, "template": template}
    return stage.make("deployments.apps", "Deployment", "web", spec, "apps/v1")


async def test_a_foreground_deletion_waits_from_the_bottom_up(stage):
    """Each owner waits for what it owns; pods own nothing, so they just go."""
    deployment(stage)
    await stage.settle()
    stage.report(stage.list("pods")[0])
    await stage.settle()
    stage.registry.delete("deployments.apps", "web", "d", propagation="Foreground")
    await stage.settle()
    [web], [owned], [pod] = stage.list("deployments.apps"), stage.list("replicasets.apps"), stage.list("pods")
    assert [o["metadata"].get("finalizers") for o in (web, owned, pod)] == [
        ["foregroundDeletion"],
        ["foregroundDeletion"],
        None,
    ]
    assert all("deletionTimestamp" in o["metadata"] for o in (web, owned, pod))
    stage.finish()
    await stage.settle()
    assert [stage.list(r) for r in ("deployments.apps", "replicasets.apps", "pods")] == [[], [], []]


async def test_orphans_live_on(stage):
    """They lose the reference, and nothing else."""
    deployment(stage)
    await stage.settle()
    stage.registry.delete("deployments.apps", "web", "d", propagation="Orphan")
    await stage.settle()
    [left] = stage.list("replicasets.apps")
    assert "ownerReferences" not in left["metadata"]
    assert len(stage.list("pods")) == 1


async def test_a_namespace_waits_for_finalizers(stage):
    """And says so until they are taken away."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["x.io/hold"]}}
    stage.registry.create("configmaps", body, "d")
    stage.registry.delete("namespaces", "d")
    await stage.settle(seconds=1)
    await stage.settle(seconds=1)
    namespace = stage.registry.get("namespaces", "d")
    held = stage.condition(namespace, "NamespaceFinalizersRemaining")
    assert (held["status"], held["reason"]) == ("True", "SomeFinalizersRemain")
    stage.patch("configmaps", "held", {"metadata": {"finalizers": None}})
    await stage.settle()
    assert stage.registry.find("namespaces", "", "d") is None
