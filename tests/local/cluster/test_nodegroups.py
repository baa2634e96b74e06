"""Simulated machines: they boot, are interrupted, drained and replaced."""

import pytest

pytestmark = pytest.mark.integration

GROUPS = "nodegroups.local.trimtab.dev"
TAINT = {"key": "local.trimtab.dev/interruption", "effect": "NoSchedule"}


def group(desired, **spec):
    body = {
        "desired": desired,
        "bootDelay": "1s",
        "zones": ["a", "b"],
        "template": {"labels": {"pool": "spot"}},
        **spec,
    }
    metadata = {"name": "spot"}
    return {"apiVersion": "local.trimtab.dev/v1", "kind": "NodeGroup", "metadata": metadata, "spec": body}


def nodes(embedded):
    return embedded.list("nodes", "pool=spot")


def patch(embedded, resource, name, change):
    embedded.registry.patch(resource, name, None, change, "application/merge-patch+json", manager="test")


async def test_nodes_boot_and_spread_over_zones(embedded):
    """Ordered nodes appear after the boot delay, one per zone, ready, with what pods are placed by."""
    embedded.create(GROUPS, group(2, template={"labels": {"pool": "spot"}, "capacity": {"cpu": 3}}), None)
    assert nodes(embedded) == []
    made = await embedded.until(lambda: len(found := nodes(embedded)) == 2 and found)
    assert {n["metadata"]["labels"]["topology.kubernetes.io/zone"] for n in made} == {"a", "b"}
    assert {n["status"]["allocatable"]["cpu"] for n in made} == {"3"}
    assert all("taints" not in n["spec"] for n in await embedded.until(lambda: _untainted(embedded)))


def _untainted(embedded):
    found = nodes(embedded)
    return found if not any(n["spec"].get("taints") for n in found) else None


async def test_an_interrupted_node_goes_with_its_pods_and_is_replaced(embedded):
    """At the deadline processes die at once, the pod's object goes, and a new node is ordered."""
    embedded.create(GROUPS, group(1, notice="2s"), None)
    (node,) = await embedded.until(lambda: _untainted(embedded))
    spec = {"nodeSelector": {"pool": "spot"}, "restartPolicy": "Always"}
    embedded.run_pod("p", "trap '' TERM; while :; do sleep 0.1; done", spec=spec)
    await embedded.pod("p", "Running")
    name = node["metadata"]["name"]
    patch(embedded, "nodes", name, {"spec": {"taints": [TAINT]}})

    def annotated():
        found = embedded.get("nodes", name, None)
        return found is not None and "local.trimtab.dev/terminates-at" in (found["metadata"].get("annotations") or {})

    await embedded.until(annotated)
    status = embedded.get(GROUPS, "spot", None)["status"]
    assert [n["phase"] for n in status["nodes"]] == ["Interrupted"]
    await embedded.until(lambda: embedded.get("nodes", name, None) is None)
    await embedded.until(lambda: embedded.get("pods", "p") is None)
    (replacement,) = await embedded.until(lambda: nodes(embedded))
    assert replacement["metadata"]["name"] != name


async def test_scaling_in_drains_the_victim(embedded):
    """A named victim goes first; its pod gets its grace period, then the node goes."""
    embedded.create(GROUPS, group(2), None)
    made = await embedded.until(lambda: len(found := _untainted(embedded) or []) == 2 and found)
    victim = min(n["metadata"]["name"] for n in made)
    spec = {"nodeSelector": {"kubernetes.io/hostname": victim}}
    embedded.run_pod("p", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done", spec=spec)
    await embedded.pod("p", "Running")
    patch(embedded, GROUPS, "spot", {"spec": {"desired": 1, "victims": [victim]}})
    draining = await embedded.until(
        lambda: (n := embedded.get("nodes", victim, None))["spec"].get("unschedulable") and n
    )
    assert "local.trimtab.dev/draining-since" in draining["metadata"]["annotations"]
    assert embedded.get("pods", "p") is not None
    await embedded.until(lambda: embedded.get("nodes", victim, None) is None)
    assert embedded.get("pods", "p") is None
    assert len(nodes(embedded)) == 1


async def test_no_zone_left_is_said(embedded):
    """A group that can have no node says so, and fills up when a zone comes back."""
    embedded.create(GROUPS, group(1, unavailableZones=["a", "b"]), None)

    def short(status):
        def asked():
            found = embedded.get(GROUPS, "spot", None).get("status") or {}
            return next((c for c in found.get("conditions") or () if c["status"] == status), None)

        return asked

    condition = await embedded.until(short("True"))
    assert condition["message"] == "1 of 1 nodes cannot be had: no capacity in a, b"
    patch(embedded, GROUPS, "spot", {"spec": {"unavailableZones": ["a"]}})
    await embedded.until(short("False"))
    (node,) = await embedded.until(lambda: nodes(embedded))
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "b"
