"""The operator's endpoint for Prometheus."""

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from trimtab.effects.world import World
from trimtab.handlers.looks import Looks
from trimtab.handlers.metrics import OWN_PATH, metrics

pytestmark = pytest.mark.integration


async def test_prometheus_reads_the_statuses() -> None:
    """Over HTTP, in its text format; the port is free again afterwards."""
    pool = {"metadata": {"name": "spot"}, "status": {"desired": 2}}
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    world = World(**{**fields, "pools": {"spot": [pool]}})
    looks = Looks()
    looks.note(0.003)
    own = 'trimtab_operator_reconcile_seconds_bucket{le="0.004"} 1'
    async with aiohttp.ClientSession() as session:
        async with metrics(world, looks, lambda: datetime.now(UTC), "127.0.0.1", 0) as url:
            async with session.get(url) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                lines = (await answer.text()).splitlines()
            assert {'trimtab_pool_nodes{pool="spot",state="desired"} 2', own} <= set(lines)
            async with session.get(url.replace("/metrics", OWN_PATH)) as answer:
                lines = (await answer.text()).splitlines()
            assert own in lines
            assert not [line for line in lines if "trimtab_pool" in line]
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
