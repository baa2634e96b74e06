"""The registry's own rules: versions, generations, deletion, watches."""

import asyncio

import pytest

from trimtab.local.deleting import DeleteOptions
from trimtab.local.objects import Object
from trimtab.local.patching import APPLY, MERGE, STRATEGIC
from trimtab.local.registry import ApiError, Registry


def a_config_map(**data: str) -> Object:
    return {"metadata": {"name": "c"}, "data": data}


def a_pod(name: str = "p", **spec: object) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "app:1"}], **spec}}


def a_deployment(**spec: object) -> Object:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    selector = {"matchLabels": {"app": "d"}}
    return {"metadata": {"name": "d"}, "spec": {"selector": selector, "template": template, **spec}}


def test_writes_that_change_nothing_keep_the_version(registry: Registry):
    """Nobody is woken by a write that says what is so already."""
    first = registry.create("configmaps", a_config_map(a="1"), "default")
    again = registry.patch("configmaps", "c", "default", {"data": {"a": "1"}}, MERGE, manager="m")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert registry.version == int(first["metadata"]["resourceVersion"])


def test_an_update_of_an_old_version_is_refused(registry: Registry):
    """Who read before somebody else wrote has to read again."""
    old = registry.create("configmaps", a_config_map(a="1"), "default")
    registry.patch("configmaps", "c", "default", {"data": {"a": "2"}}, MERGE, manager="m")
    with pytest.raises(ApiError, match="the object has been modified") as refused:
        registry.update("configmaps", {**old, "data": {"a": "3"}})
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")


def test_generation_counts_changes_of_the_spec_alone(registry: Registry):
    """Labels and status leave the generation; the spec moves it by one."""
    registry.create("deployments.apps", a_deployment(replicas=1), "default")
    steps = [
        ({"metadata": {"labels": {"k": "v"}}}, None, 1),
        ({"status": {"replicas": 1}}, "status", 1),
        ({"spec": {"replicas": 2}}, None, 2),
        ({"spec": {"replicas": 2}}, None, 2),
    ]
    for patch, subresource, generation in steps:
        changed = registry.patch("deployments.apps", "d", "default", patch, MERGE, subresource=subresource, manager="m")
        assert changed["metadata"]["generation"] == generation


def test_a_status_write_changes_no_spec_and_the_other_way_round(registry: Registry):
    """Each side of an object is written on its own."""
    registry.create("deployments.apps", a_deployment(replicas=1), "default")
    both = {"spec": {"replicas": 5}, "status": {"replicas": 4}}
    by_status = registry.patch("deployments.apps", "d", "default", both, MERGE, subresource="status", manager="m")
    assert (by_status["spec"]["replicas"], by_status["status"]["replicas"]) == (1, 4)
    by_spec = registry.patch(
        "deployments.apps", "d", "default", {"spec": {"replicas": 6}, "status": {"replicas": 9}}, MERGE, manager="m"
    )
    assert (by_spec["spec"]["replicas"], by_spec["status"]["replicas"]) == (6, 4)


def test_bound_pods_wait_for_their_node_and_others_go_at_once(registry: Registry):
    """A pod that may run somewhere gets its grace period; one that runs nowhere needs none."""
    registry.create("pods", a_pod("loose"), "default")
    registry.delete("pods", "loose", "default")
    assert registry.find("pods", "default", "loose") is None
    registry.create("pods", a_pod("bound", terminationGracePeriodSeconds=7), "default")
    registry.bind("bound", "default", "node-1")
    marked = registry.delete("pods", "bound", "default")
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:07Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 7
    registry.delete("pods", "bound", "default", grace_seconds=0)
    assert registry.find("pods", "default", "bound") is None


def test_a_second_deletion_can_only_shorten_the_grace_period(registry: Registry):
    """Asking again, more patiently, gives nobody more time."""
    registry.create("pods", a_pod(terminationGracePeriodSeconds=30), "default")
    registry.bind("p", "default", "node-1")
    graces = [
        registry.delete("pods", "p", "default", grace_seconds=s)["metadata"]["deletionGracePeriodSeconds"]
        for s in (30, 60, 5)
    ]
    assert graces == [30, 30, 5]


def test_finalizers_hold_an_object_until_the_last_is_taken_away(registry: Registry):
    """Deletion marks; the object goes with its last finalizer."""
    held = a_config_map() | {"metadata": {"name": "c", "finalizers": ["example.com/a", "example.com/b"]}}
    registry.create("configmaps", held, "default")
    registry.delete("configmaps", "c", "default")
    registry.patch("configmaps", "c", "default", {"metadata": {"finalizers": ["example.com/b"]}}, MERGE, manager="m")
    assert registry.find("configmaps", "default", "c") is not None
    registry.patch("configmaps", "c", "default", {"metadata": {"finalizers": None}}, MERGE, manager="m")
    assert registry.find("configmaps", "default", "c") is None


@pytest.mark.parametrize(
    ("propagation", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])],
)
def test_propagation_is_left_to_the_collector_as_a_finalizer(
    registry: Registry, propagation: str, finalizers: list[str]
):
    """Foreground and Orphan wait for whoever knows the dependents."""
    registry.create("configmaps", a_config_map(), "default")
    marked = registry.delete("configmaps", "c", "default", propagation=propagation)
    assert marked["metadata"]["finalizers"] == finalizers


def test_namespaces_terminate_and_take_nothing_new(registry: Registry):
    """A namespace stays until its finalizer is taken away, and refuses new content meanwhile."""
    registry.create("namespaces", {"metadata": {"name": "n"}})
    marked = registry.delete("namespaces", "n")
    assert (marked["status"]["phase"], marked["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
    with pytest.raises(ApiError, match="because it is being terminated") as refused:
        registry.create("configmaps", a_config_map(), "n")
    assert refused.value.status == 403
    registry.update("namespaces", {"metadata": {"name": "n"}, "spec": {"finalizers": []}}, subresource="finalize")
    assert registry.find("namespaces", "", "n") is None


def test_services_get_addresses_of_the_range_and_give_them_back(registry: Registry):
    """An address belongs to one Service at a time."""
    service = {"spec": {"ports": [{"port": 80}]}}
    first = registry.create("services", {"metadata": {"name": "a"}, **service}, "default")
    address = first["spec"]["clusterIP"]
    taken = {"metadata": {"name": "b"}, "spec": {**service["spec"], "clusterIP": address}}
    with pytest.raises(ApiError, match="already allocated") as refused:
        registry.create("services", taken, "default")
    assert refused.value.status == 422
    registry.delete("services", "a", "default")
    assert registry.create("services", taken, "default")["spec"]["clusterIP"] == address


def test_evictions_ask_the_budget(registry: Registry):
    """A budget that allows no disruption refuses; one that does is charged."""
    registry.create("pods", a_pod() | {"metadata": {"name": "p", "labels": {"app": "x"}}}, "default")
    registry.bind("p", "default", "node-1")
    running = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    registry.patch("pods", "p", "default", running, MERGE, subresource="status", manager="m")
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}
    registry.create("poddisruptionbudgets.policy", budget, "default")
    counted = {"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 1, "currentHealthy": 1}}
    registry.patch("poddisruptionbudgets.policy", "b", "default", counted, MERGE, subresource="status", manager="m")
    with pytest.raises(ApiError, match="violate the pod's disruption budget") as refused:
        registry.evict("p", "default", DeleteOptions())
    assert refused.value.status == 429
    assert "needs 1 healthy pods and has 1 currently" in refused.value.to_status()["details"]["causes"][0]["message"]
    counted["status"]["disruptionsAllowed"] = 1
    registry.patch("poddisruptionbudgets.policy", "b", "default", counted, MERGE, subresource="status", manager="m")
    registry.evict("p", "default", DeleteOptions())
    left = registry.get("poddisruptionbudgets.policy", "b", "default")["status"]
    assert (left["disruptionsAllowed"], list(left["disruptedPods"])) == (0, ["p"])


async def test_a_watch_sees_what_happens_after_it_was_opened(registry: Registry):
    """Events come in order; what is there when it opens comes first."""
    registry.create("configmaps", a_config_map(a="1"), "default")
    watch = registry.watch("configmaps")
    registry.patch("configmaps", "c", "default", {"data": {"a": "2"}}, MERGE, manager="m")
    registry.delete("configmaps", "c", "default")
    seen = [await anext(watch) for _ in range(3)]
    assert [(e.type, e.object["data"]["a"]) for e in seen] == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]
    watch.close()
    assert [event async for event in watch] == []


async def test_a_waiting_watch_is_woken(registry: Registry):
    """A watcher that waits gets the event without asking again."""
    watch = registry.watch("configmaps", "default")
    waiting = asyncio.create_task(anext(watch))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    registry.create("configmaps", a_config_map(), "default")
    assert (await asyncio.wait_for(waiting, 30)).type == "ADDED"


def test_a_watch_from_a_forgotten_version_is_told_so(registry: Registry):
    """Whoever was away for too long has to list again."""
    registry.create("configmaps", a_config_map(a="0"), "default")
    for number in range(5_000):
        registry.patch("configmaps", "c", "default", {"data": {"a": str(number + 1)}}, MERGE, manager="m")
    with pytest.raises(ApiError, match="too old resource version") as refused:
        registry.watch("configmaps", resource_version="3")
    assert (refused.value.status, refused.value.reason) == (410, "Expired")


def test_a_dropped_watch_costs_nothing_any_more(registry: Registry):
    """The registry does not keep watches that nobody holds."""
    watch = registry.watch("configmaps")
    del watch
    assert not list(registry._store._watches["configmaps"])


def test_apply_takes_over_conflicts_and_gives_up(registry: Registry):
    """Managers own what they apply; what the last owner drops goes."""
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}

    def applied(manager: str, force: bool = False, **data: str) -> Object:
        config = {**base, "data": data}
        return registry.patch("configmaps", "c", "default", config, APPLY, manager=manager, force=force)

    applied("one", a="1", b="1")
    with pytest.raises(ApiError, match=r'Apply failed with 1 conflict: conflict with "one": \.data\.a') as refused:
        applied("two", a="2")
    assert refused.value.status == 409
    assert applied("two", force=True, a="2")["data"] == {"a": "2", "b": "1"}
    assert applied("one", a="2")["data"] == {"a": "2"}
    assert applied("one")["data"] == {"a": "2"}
    assert "data" not in applied("two")


def test_an_update_takes_ownership_of_what_it_changes(registry: Registry):
    """An applier meets the manager that changed its field."""
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    registry.patch("configmaps", "c", "default", {**base, "data": {"a": "1"}}, APPLY, manager="one")
    registry.patch("configmaps", "c", "default", {"data": {"a": "2"}}, MERGE, manager="hand")
    with pytest.raises(ApiError, match='conflict with "hand" using v1 at 2026-01-01T00:00:00Z'):
        registry.patch("configmaps", "c", "default", {**base, "data": {"a": "1"}}, APPLY, manager="one")


def test_strategic_patches_are_for_built_in_kinds(registry: Registry):
    """A custom kind has no merge keys to go by."""
    definition = {
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    registry.create("customresourcedefinitions.apiextensions.k8s.io", definition)
    registry.create("things.example.com", {"metadata": {"name": "t"}}, "default")
    with pytest.raises(ApiError, match="unknown format") as refused:
        registry.patch("things.example.com", "t", "default", {}, STRATEGIC, manager="m")
    assert refused.value.status == 415


def test_kinds_that_are_not_served_are_not_found(registry: Registry):
    """There is nothing to read or write where no kind is."""
    with pytest.raises(ApiError, match="could not find the requested resource") as refused:
        registry.list("horizontalpodautoscalers.autoscaling")
    assert refused.value.status == 404
