"""What is taken in of what carries our labels: anybody may write those."""

from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.api.names import Key
from trimtab.effects.fleetview import demands, wish_of
from trimtab.effects.mirrors import Mirrors
from trimtab.effects.views import deployment_view, pod_view, run_view
from trimtab.effects.world import world_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key("team", "digits")
MODEL = {"metadata": {"namespace": "team", "name": "digits"}}
LABELS = {
    "trimtab.dev/model": "digits",
    "trimtab.dev/revision": "digits-1a2b3c4d",
    "trimtab.dev/workload": "digits-1a2b3c4d-spot",
    "trimtab.dev/capacity-type": "spot",
    "trimtab.dev/run": "1a2b3c4d",
}


def item(labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    meta = {"namespace": "team", "name": "x", "labels": labels, "creationTimestamp": "2026-03-01T12:00:00Z"}
    pod = {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}
    return {"metadata": meta, "spec": {**spec, **pod, "template": {"spec": pod}}, "status": {}}


@pytest.mark.parametrize("without", [(), *((name,) for name in LABELS)])
@pytest.mark.parametrize("kind", ["spot", "free"])
def test_labels_of_others_stop_nobody(without: tuple[str, ...], kind: str) -> None:
    """Whatever is missing of them, or wrong, the pools of all tenants are looked at and every view can be made."""
    mirrors = Mirrors()
    labels = {name: text for name, text in LABELS.items() if name not in without}
    if "trimtab.dev/capacity-type" in labels:
        labels["trimtab.dev/capacity-type"] = kind
    taken = mirrors.deployments.put(item(labels, replicas=2_000_000_000))
    mirrors.pods.put(item(labels))
    mirrors.jobs.put(item(labels))
    world = world_of({}, {}, {}, mirrors, ())
    found = demands(world, {KEY: wish_of(MODEL)})
    assert len(found) == int(taken)
    assert all(demand.replicas <= 4000 for demand in found)
    for deployment in world.deployments.get(KEY, ()):
        deployment_view(deployment)
    for pod in world.pods.get(KEY, ()):
        if "trimtab.dev/revision" in pod["metadata"]["labels"]:
            pod_view(pod, world.node, NOW)
    for job in world.jobs.get(KEY, ()):
        run_view(job, (), "")
    if not without and kind == "spot":
        assert taken
