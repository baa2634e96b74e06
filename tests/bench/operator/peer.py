"""What the operator is measured beside: Kopf as it comes, or bare watches, over the same kinds.

    python tests/bench/operator/peer.py kopf|watch SEEN OBJECTS

OBJECTS is JSON, how many there are by resource; once each was seen, SEEN tells how many.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kopf

from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

WATCHED = (
    kinds.MODELS,
    kinds.POOLS,
    kinds.DEPLOYMENTS,
    kinds.JOBS,
    kinds.PODS,
    kinds.SERVICES,
    kinds.NODES,
)


class Seen:
    """The objects that came, each counted once: nodes and what Kopf writes itself come again."""

    def __init__(self, path: Path, objects: dict[str, int]) -> None:
        self._path = path
        self._wanted = sum(count for resource, count in objects.items() if resource in map(_resource, WATCHED))
        self._uids: set[str] = set()

    def note(self, body: Any) -> None:
        """Take note of an object; the last one is told."""
        self._uids.add(body["metadata"]["uid"])
        if len(self._uids) == self._wanted and not self._path.exists():
            self._path.write_text(str(self._wanted))


def _resource(kind: kinds.Kind) -> str:
    group = kind.api_version.rpartition("/")[0]
    return f"{kind.plural}.{group}" if group else kind.plural


def with_kopf(seen: Seen) -> None:
    """Run Kopf as it comes: a model's creation ends in its status, everything else is only heard of."""

    async def heard(body: kopf.Body, **_: Any) -> None:
        seen.note(body)

    for kind in WATCHED:
        group, _, version = kind.api_version.rpartition("/")
        kopf.on.event(group, version, kind.plural)(heard)

    @kopf.on.create(*kinds.MODELS.api_version.split("/"), kinds.MODELS.plural)
    async def created(patch: kopf.Patch, **_: Any) -> None:
        patch.status["summary"] = {"status": "Handled"}

    @kopf.on.login()
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.startup()
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False

    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(kopf.operator(clusterwide=True, standalone=True))


def with_watches(seen: Seen) -> None:
    """Follow the kinds and forget what comes."""

    async def follow(cluster: Cluster, kind: kinds.Kind) -> None:
        async for change, item in cluster.watch(kind):
            if change != "SYNCED":
                seen.note(item)

    async def main() -> None:
        async with await Cluster.connect() as cluster, asyncio.TaskGroup() as group:
            for kind in WATCHED:
                group.create_task(follow(cluster, kind))

    asyncio.run(main())


PEERS: dict[str, Callable[[Seen], None]] = {"kopf": with_kopf, "watch": with_watches}

if __name__ == "__main__":
    PEERS[sys.argv[1]](Seen(Path(sys.argv[2]), json.loads(sys.argv[3])))
