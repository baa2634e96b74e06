"""What the operator is measured beside: Kopf with empty handlers for the same kinds, or bare watches of them."""

from __future__ import annotations

import asyncio
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
    """Counts objects, and writes the number down once it stands still for a moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def note(self) -> None:
        self._count += 1

    async def write(self) -> None:
        written = 0
        while True:
            await asyncio.sleep(0.2)
            if self._count != written:
                written = self._count
                self._path.write_text(str(written))


def with_kopf(seen: Seen) -> None:
    """Run Kopf as it comes, with a handler for events that does nothing but count."""

    async def handler(**_: Any) -> None:
        seen.note()

    for kind in WATCHED:
        group, _, version = kind.api_version.rpartition("/")
        kopf.on.event(group, version, kind.plural)(handler)

    @kopf.on.login()
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.startup()
    async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
        settings.posting.enabled = False
        memo.task = asyncio.create_task(seen.write())

    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(kopf.operator(clusterwide=True, standalone=True))


def with_watches(seen: Seen) -> None:
    """Follow the kinds and forget what comes."""

    async def follow(cluster: Cluster, kind: kinds.Kind) -> None:
        async for change, _ in cluster.watch(kind):
            if change != "SYNCED":
                seen.note()

    async def main() -> None:
        async with await Cluster.connect() as cluster, asyncio.TaskGroup() as group:
            group.create_task(seen.write())
            for kind in WATCHED:
                group.create_task(follow(cluster, kind))

    asyncio.run(main())


PEERS: dict[str, Callable[[Seen], None]] = {"kopf": with_kopf, "watch": with_watches}

if __name__ == "__main__":
    PEERS[sys.argv[1]](Seen(Path(sys.argv[2])))
