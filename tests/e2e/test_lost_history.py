"""Changes that no watch tells of any more: what went meanwhile is as gone as if it had been watched."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.cluster import FaultyCluster, faulty_cluster
from faults.world import through

from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# Nothing is run or served: it is what the operator says of each that tells what it has in mind.
SPEC = {
    "source": {"uri": "file:///nowhere/model"},
    "compression": {"preset": "None"},
    "guardrail": {"dataset": {"uri": "file:///nowhere/data.npz"}},
    "suspend": True,
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyCluster]:
    with faulty_cluster(tmp_path_factory.mktemp("f"), 0) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kubeconfig(faulty: FaultyCluster) -> Path:
    return faulty.kubeconfig


@pytest.fixture(scope="module")
def operators_kubeconfig(faulty: FaultyCluster, operators_kubeconfig: Path) -> Path:
    """The operator's account, through the wire that fails."""
    operators_kubeconfig.write_text(through(faulty.url, operators_kubeconfig.read_text()))
    return operators_kubeconfig


async def test_models_that_went_unseen(world: Any, operator: Any, faulty: FaultyCluster) -> None:
    """One is deleted, one replaced, and the watch has lost its history: nobody takes the new one for the old one."""

    async def looked_at(generation: int) -> Any:
        return await world.until("a look", lambda s: s["observedGeneration"] == generation, name="replaced")

    async def apply(name: str, **more: Any) -> None:
        await world.cluster.apply(world.model(name, **SPEC, **more))

    for generation in (1, 2):
        for name in ("deleted", "replaced"):
            await apply(name, rerun={"reason": f"{generation}"})
        old = await looked_at(generation)
    await asyncio.to_thread(faulty.tell, "refuse", 500, 1.0)
    await asyncio.to_thread(faulty.tell, "cut")
    for name in ("deleted", "replaced"):
        await world.cluster.delete(kinds.MODELS, name, world.namespace)
    await apply("replaced")
    await asyncio.to_thread(faulty.tell, "forget history")
    await asyncio.to_thread(faulty.tell, "refuse", 0, 0.0)
    new = await looked_at(1)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]

    missed = set[str]()
    while missed != {"deleted", "replaced"}:  # the test's own time limit ends it
        await asyncio.sleep(0.2)
        lines = operator.log.read_text().splitlines()
        missed = {name for name in ("deleted", "replaced") for line in lines if _missed(line, name)}
    await apply("replaced", rerun={"reason": "once more"})
    await looked_at(2)


def _missed(line: str, name: str) -> bool:
    return '"watch.missed_deletion"' in line and f'"name": "{name}"' in line
