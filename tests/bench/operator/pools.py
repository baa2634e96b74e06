"""What a look at four pools costs, with thousands of models at rest on a hundred nodes.

    python tests/bench/operator/pools.py [--models 5000] [--looks 10]

The operator's own code looks at tables as its watches fill them; what it would ask the API server is answered in
memory, so that the processor time is that of the look alone. One comes every two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))
from quietclouds import QuietClouds

from trimtab.api import names
from trimtab.api.base import CapacityType
from trimtab.effects.fleet import Fleet
from trimtab.effects.fleetview import wish_of
from trimtab.effects.gather import Gatherer
from trimtab.effects.mirrors import Mirrors
from trimtab.effects.tables import Packed, pack
from trimtab.effects.world import world_of
from trimtab.planning.settings import Settings

Object = dict[str, Any]
POOLS = 4
NODES = 100
POD = {"containers": [{"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]}


class Outside(QuietClouds):
    """The API server, an executor and the clouds, for pools that the embedded cluster makes nodes for."""

    def __init__(self, pools: dict[str, list[Object]]) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.pools = pools
        self.groups: dict[str, Object] = {}
        self.writes = 0

    async def get(self, _: Any, name: str) -> Object | None:
        return self.groups.get(name)

    async def list(self, *_: Any, **__: Any) -> list[Object]:
        return []

    async def apply(self, manifest: Object, **_: Any) -> Object:
        self.writes += 1
        name = manifest["metadata"]["name"]
        self.pools[name] = [{**self.pools[name][0], "status": manifest["status"]}]
        return manifest

    async def execute(self, _: Object, actions: Any) -> list[str]:
        for action in actions:
            if hasattr(action, "manifest"):
                self.groups[action.manifest["metadata"]["name"]] = action.manifest
        return []

    async def look(self, *_: Any) -> tuple[()]:
        return ()


def served(mirrors: Mirrors, number: int) -> tuple[names.Key, Packed]:
    """Return a model, after its Deployment and its replica went into the mirrors."""
    name, namespace = f"model-{number}", f"team-{number % 50}"
    labels = {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.MODEL_LABEL: name,
        names.REVISION_LABEL: f"{name}-1",
        names.WORKLOAD_LABEL: f"{name}-1-od",
        names.CAPACITY_TYPE_LABEL: CapacityType.ON_DEMAND.label,
    }
    meta = {"name": f"{name}-1-od", "namespace": namespace, "uid": f"d{number}", "labels": labels}
    spec = {"replicas": 1, "template": {"spec": POD}}
    mirrors.deployments.put({"metadata": meta, "spec": spec, "status": {"readyReplicas": 1}})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    on = {**POD, "nodeName": f"node-{number % NODES}"}
    mirrors.pods.put({"metadata": {**meta, "name": f"{name}-1-od-0"}, "spec": on, "status": status})
    conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "Available", "CapacityMet")]
    body = {
        "metadata": {"name": name, "namespace": namespace, "uid": f"u{number}", "resourceVersion": "1"},
        "spec": {"source": {"uri": f"s3://models/{name}"}, "serving": {"maxReplicas": 8}},
        "status": {"conditions": conditions},
    }
    return names.Key(namespace, name), Packed(f"u{number}", pack(body), wish_of(body))


def node(number: int) -> Object:
    labels = {names.POOL_LABEL: f"pool-{number % POOLS}", names.ZONE_LABEL: "a"}
    status = {"allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"}, "conditions": []}
    return {"metadata": {"name": f"node-{number}", "labels": labels}, "spec": {"providerID": "x"}, "status": status}


def pool(number: int) -> Object:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "CapacityPool",
        "metadata": {"name": f"pool-{number}", "uid": f"p{number}", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "capacityType": "OnDemand",
            "provider": {"embedded": {"cpu": "8", "memory": "32Gi"}},
            "limits": {"minNodes": NODES // POOLS, "maxNodes": NODES},
            "price": {"perNodeHour": "0.1", "currency": "USD"},
        },
    }


async def look(models: int, looks: int) -> None:
    mirrors = Mirrors()
    index = {key: [packed] for key, packed in (served(mirrors, number) for number in range(models))}
    for number in range(NODES):
        mirrors.nodes.put(node(number))
    pools = {f"pool-{number}": [pool(number)] for number in range(POOLS)}
    outside: Any = Outside(pools)
    settings, world = Settings("a", "b", "c"), world_of(index, {}, pools, mirrors, ())
    gatherer = Gatherer(world, outside, outside, settings, lambda: outside.now)
    fleet = Fleet(world, gatherer, outside, outside, settings, lambda: outside.now, outside)
    took = []
    for _ in range(looks + 1):
        began = time.process_time()
        await fleet.reconcile()
        took.append(1000 * (time.process_time() - began))
        outside.now += timedelta(seconds=2)
    rest = statistics.median(took[1:])
    print(f"{models} models, {POOLS} pools, {NODES} nodes; processor time of a look, ms")
    print(f"the first: {took[0]:.1f}; at rest: {rest:.1f} (median of {looks}, at most {max(took[1:]):.1f})")
    print(f"at rest, of a core: {rest / 20:.2f} %; statuses written: {outside.writes}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--looks", type=int, default=10)
    options = parser.parse_args()
    asyncio.run(look(options.models, options.looks))


if __name__ == "__main__":
    main()
