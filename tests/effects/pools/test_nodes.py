"""What nodes are labelled with, and what is said of them that nobody can read."""

from datetime import UTC, datetime

import pytest

from trimtab.api.capacity import CapacityPool
from trimtab.effects.capacityevents import CapacityEvents
from trimtab.effects.pools.nodes import Nodes
from trimtab.effects.pools.orders import Orders

from .conftest import Nodes as FakeNodes

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def pool(kind: str) -> CapacityPool:
    spec = {"capacityType": kind, "provider": {"labels": {"matchLabels": {"role": "models"}}}}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "p"}, "spec": spec}
    return CapacityPool.model_validate(body)


def nodes(cluster: FakeNodes) -> Nodes:
    return Nodes(cluster.world(), cluster)  # type: ignore[arg-type]


async def test_a_node_is_of_its_pools_capacity_type(cluster: FakeNodes) -> None:
    """Also after the pool was corrected: else the floor would stay on what is spot by now."""
    cluster.add("n", role="models")
    for kind, label in (("OnDemand", "on-demand"), ("Spot", "spot")):
        await nodes(cluster).label([pool(kind)], {})
        assert cluster.nodes["n"]["metadata"]["labels"]["trimtab.dev/capacity-type"] == label
    await nodes(cluster).label([pool("Spot")], {})
    assert cluster.written == ["n", "n"]


@pytest.mark.parametrize("said", ["soon", "2026-03-01T12:00:30"])
async def test_an_end_that_nobody_can_read_is_written_anew(cluster: FakeNodes, said: str) -> None:
    """Whoever owns a node may write what they like there; notices for it arrive all the same."""
    cluster.add("n")
    cluster.nodes["n"]["metadata"]["annotations"]["trimtab.dev/leaves-at"] = said
    cluster.nodes["n"]["spec"]["taints"] = [{"key": "trimtab.dev/interrupted"}]
    assert await nodes(cluster).doom("n", NOW, "SpotInterruption")
    assert cluster.nodes["n"]["metadata"]["annotations"]["trimtab.dev/leaves-at"] == "2026-03-01T12:00:00Z"


class NoClouds:
    """No pool has a cloud any more."""

    def sync(self, _: object) -> None:
        """There is nothing to keep."""

    def keeper(self, _: str) -> None:
        return None


async def test_a_market_ends_with_its_cloud(cluster: FakeNodes) -> None:
    """A pool whose nodes somebody else makes by now costs what its spec says."""
    market = {"p": pool("Spot").spec.price}
    world, quiet = cluster.world(), NoClouds()
    orders = Orders(world, nodes(cluster), quiet, quiet, CapacityEvents(), market, 30)  # type: ignore[arg-type]
    await orders.look([pool("Spot")], NOW)
    assert market == {}
