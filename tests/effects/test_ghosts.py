"""Objects that went while nobody could tell are noticed, and are there for nobody."""

from typing import Any

import pytest

from trimtab.effects.ghosts import Ghosts, Living
from trimtab.effects.kinds import POOLS
from trimtab.effects.kubernetes import Cluster


def item(uid: str, name: str = "a") -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": name}}


def test_what_is_gone_is_not_seen() -> None:
    """One whose name somebody else has now is not mistaken for it; a key that has nothing else is none."""
    gone: set[str] = set()
    index = {"a": [item("1"), item("2")], "b": [item("3", "b")]}
    seen = Living(index, gone)
    assert dict(seen) == index
    gone |= {"1", "3"}
    assert dict(seen) == {"a": [item("2")]}
    assert "b" not in seen
    assert len(seen) == 1
    assert seen.get("b", ()) == ()
    with pytest.raises(KeyError):
        seen["b"]


@pytest.mark.integration
async def test_ghosts_are_found_by_asking(cluster: Cluster) -> None:
    """Whatever was known before and is there no more; each is told once, and what is there is none."""
    bodies = []
    for name in ("ghost-stays", "ghost-goes"):
        spec = {"capacityType": "OnDemand", "provider": {"embedded": {"cpu": "1", "memory": "1Gi"}}}
        manifest = {"apiVersion": POOLS.api_version, "kind": POOLS.kind, "metadata": {"name": name}, "spec": spec}
        bodies.append(await cluster.apply(manifest))
    index = {body["metadata"]["name"]: [body] for body in bodies}
    ghosts = Ghosts({POOLS: index})
    assert await ghosts.look(cluster) == []
    assert {body["metadata"]["uid"] for body in bodies} <= await cluster.uids(POOLS)
    await cluster.delete(POOLS, "ghost-goes")
    assert await ghosts.look(cluster) == [bodies[1]]
    assert ghosts.gone == {bodies[1]["metadata"]["uid"]}
    assert await ghosts.look(cluster) == []
    await cluster.delete(POOLS, "ghost-stays")
