"""Objects that went while nobody could tell are noticed, and are there for nobody."""

from typing import Any

import pytest

from trimtab.effects.ghosts import Ghosts, Living
from trimtab.effects.kinds import POOLS
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.mirrors import Mirrors
from trimtab.effects.tables import Packed, pack
from trimtab.effects.world import world_of


def item(uid: str, name: str = "a", version: int = 1) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": name, "resourceVersion": str(version)}}


def test_what_is_gone_is_not_seen() -> None:
    """Of several that share a key those that live are left; a key that has nothing else is none."""
    gone: set[str] = set()
    index = {"a": [item("1"), item("2")], "b": [item("3", "b")]}
    seen = Living(index, gone, lambda one: str(one["metadata"]["uid"]))
    assert dict(seen) == index
    gone |= {"1", "3"}
    assert dict(seen) == {"a": [item("2")]}
    assert "b" not in seen
    assert len(seen) == 1
    assert seen.get("b", ()) == ()
    with pytest.raises(KeyError):
        seen["b"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_belongs_to_whoever_has_it_now(order: int) -> None:
    """Before anybody looked for what is gone, a new object is not mistaken for the one that it replaced."""
    both = [item("old", version=99), item("new", version=100)][::order]
    models = {"shop/a": [Packed(one["metadata"]["uid"], pack(one)) for one in both]}
    gone: set[str] = set()
    world = world_of(models, {}, {"a": both}, Mirrors(), gone)
    assert world.model("shop/a") == item("new", version=100)  # type: ignore[arg-type]
    gone.add("new")
    assert world.model("shop/a") == item("old", version=99)  # type: ignore[arg-type]
    gone.add("old")
    assert world.model("shop/a") is None  # type: ignore[arg-type]


@pytest.mark.integration
async def test_ghosts_are_found_by_asking(cluster: Cluster) -> None:
    """Whatever was known before and is there no more; each is told once, and what is there is none."""
    bodies = []
    for name in ("ghost-stays", "ghost-goes"):
        spec = {"capacityType": "OnDemand", "provider": {"embedded": {"cpu": "1", "memory": "1Gi"}}}
        manifest = {"apiVersion": POOLS.api_version, "kind": POOLS.kind, "metadata": {"name": name}, "spec": spec}
        bodies.append(await cluster.apply(manifest))
    ghosts = Ghosts({POOLS: {body["metadata"]["name"]: [body] for body in bodies}})
    assert await ghosts.look(cluster) == []
    await cluster.delete(POOLS, "ghost-goes")
    assert await ghosts.look(cluster) == [(POOLS, bodies[1])]
    assert ghosts.gone == {bodies[1]["metadata"]["uid"]}
    assert await ghosts.look(cluster) == []
    await cluster.delete(POOLS, "ghost-stays")
