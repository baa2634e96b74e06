"""Spot nodes come and go under load: no request is lost, the floor holds, and nothing stays ordered in the end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from samplepools import NOTICE, pool

from trimtab.api.names import POOL_LABEL
from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nodes", "this-machine"), pytest.mark.timeout(240)]


@pytest.fixture
async def pools(world: Any) -> AsyncIterator[tuple[str, str]]:
    """An on-demand and a spot pool that only this test's model uses."""
    if not await world.cluster.get(kinds.CRDS, "nodegroups.local.trimtab.dev"):
        pytest.skip("only the embedded cluster has nodes to order and to interrupt")
    names = (f"{world.namespace}-od", f"{world.namespace}-spot")
    for name, kind in zip(names, ("OnDemand", "Spot"), strict=True):
        await world.cluster.apply(pool(name, kind))
    yield names
    for name in names:
        await world.cluster.delete(kinds.POOLS, name)


async def nodes_of(world: Any, name: str) -> set[str]:
    return {node["metadata"]["name"] for node in await world.cluster.list(kinds.NODES, labels=f"{POOL_LABEL}={name}")}


def ready(status: dict[str, Any]) -> bool:
    """Whether the model says that requests get through; its replicas may be there before its gateway is."""
    return any((e["type"], e["status"]) == ("Ready", "True") for e in status.get("conditions") or ())


async def until_gone(what: str, left: Any, timeout: float) -> None:
    end = asyncio.get_running_loop().time() + timeout
    while found := await left():
        assert asyncio.get_running_loop().time() < end, f"{what} still there: {found}"
        await asyncio.sleep(0.2)


async def test_losing_all_spot_nodes_under_load(
    world: Any, customer: Path, exported: str, loading: Any, pools: Any
) -> None:
    """Every spot node gets its notice at once: three of four replicas move, and nobody notices."""
    on_demand, spot = pools
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}},
        "serving": {"minReplicas": 4, "maxReplicas": 4, "resources": {"requests": {"cpu": "200m"}}},
        "capacity": {"pools": [on_demand, spot], "onDemandBase": 1, "spotPercent": 100},
    }
    await world.cluster.apply(world.model(**spec))

    def settled(status: dict[str, Any]) -> bool:
        replicas = status.get("replicas") or {}
        return ready(status) and (replicas.get("onDemand"), replicas.get("spot"), replicas.get("ready")) == (1, 3, 4)

    body = await world.until("one on-demand and three spot replicas", settled)
    doomed = await nodes_of(world, spot)
    assert doomed
    fewest = 4
    async with loading(body["status"]["url"]) as load:
        await asyncio.sleep(1)
        for name in doomed:
            await world.cluster.merge(kinds.NODES, name, None, {"spec": {"taints": [NOTICE]}})

        async def left() -> Any:
            nonlocal fewest
            fewest = min(fewest, (await world.get())["status"]["replicas"]["onDemand"])
            return doomed & await nodes_of(world, spot)

        await until_gone("interrupted nodes", left, 30)
        back = await world.until("spot replicas on new nodes", settled)
        await asyncio.sleep(1)
    load.check()
    assert fewest >= 1, "the floor held"
    assert not doomed & await nodes_of(world, spot)
    now, was = (next(e for e in b["status"]["conditions"] if e["type"] == "Ready") for b in (back, body))
    assert (now["status"], now["lastTransitionTime"]) == ("True", was["lastTransitionTime"]), "churn is no news"

    await world.cluster.delete(kinds.MODELS, "digits", world.namespace)

    async def ordered() -> Any:
        return await nodes_of(world, on_demand) | await nodes_of(world, spot)

    await until_gone("nodes without work", ordered, 30)


async def test_a_deleted_pool_gives_its_nodes_back(
    world: Any, customer: Path, exported: str, loading: Any, pools: Any
) -> None:
    """Replicas move off it first; then the nodes go, and with them the group that ordered them."""
    _, spot = pools
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}},
        "serving": {"minReplicas": 2, "maxReplicas": 2, "resources": {"requests": {"cpu": "200m"}}},
        "capacity": {"onDemandBase": 1, "spotPercent": 100},
    }
    await world.cluster.apply(world.model(**spec))
    body = await world.until(
        "a spot replica",
        lambda s: ready(s) and (s.get("replicas") or {}).get("spot") == 1 and s["replicas"]["ready"] == 2,
    )
    async with loading(body["status"]["url"]) as load:
        await asyncio.sleep(1)
        await world.cluster.delete(kinds.POOLS, spot)

        async def group() -> Any:
            return await world.cluster.get(kinds.NODE_GROUPS, spot)

        await until_gone("the pool's group", group, 45)
        await world.until(
            "both replicas on demand", lambda s: s["replicas"]["onDemand"] == 2 and s["replicas"]["ready"] == 2
        )
    load.check()
    assert not await nodes_of(world, spot)


async def test_a_node_that_others_have_room_for(
    world: Any, operator: Any, customer: Path, exported: str, loading: Any
) -> None:
    """Two nodes with a replica each, after one left: one node is emptied, and nobody notices."""
    operator.stop()
    operator.environment["TRIMTAB_NODE_HOLD"] = "1s"
    operator.start()
    name = f"{world.namespace}-od"
    await world.cluster.apply(pool(name, "OnDemand"))
    serving = {"maxReplicas": 3, "resources": {"requests": {"cpu": "400m"}}, "scaling": {"scaleDownDelay": "1s"}}
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}},
        "serving": {**serving, "minReplicas": 3},
        "capacity": {"pools": [name]},
    }
    try:
        await world.cluster.apply(world.model(**spec))
        body = await world.until("three replicas", lambda s: ready(s) and s["replicas"]["ready"] == 3)
        assert len(await nodes_of(world, name)) == 2
        fewest = 3
        async with loading(body["status"]["url"]) as load:
            await world.cluster.apply(world.model(**{**spec, "serving": {**serving, "minReplicas": 2}}))
            await world.until("two replicas wanted", lambda s: s["replicas"]["desired"] == 2)

            async def surplus() -> bool:
                nonlocal fewest
                fewest = min(fewest, (await world.get())["status"]["replicas"]["ready"])
                return len(await nodes_of(world, name)) > 1

            await until_gone("the second node", surplus, 90)
        load.check()
        assert fewest >= 2
        told = (await world.cluster.get(kinds.POOLS, name))["status"]["decisions"]
        assert any("room for its 1 replica" in entry["message"] for entry in told), told
    finally:
        await world.cluster.delete(kinds.POOLS, name)
