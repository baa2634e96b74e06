"""The operator's endpoint for Prometheus."""

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from trimtab.effects.gather import World
from trimtab.handlers.metrics import metrics

pytestmark = pytest.mark.integration


async def test_prometheus_reads_the_statuses() -> None:
    """Over HTTP, in its text format; the port is free again afterwards."""
    pool = {"metadata": {"name": "spot"}, "status": {"desired": 2}}
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    world = World(**{**fields, "pools": {"spot": [pool]}})
    async with aiohttp.ClientSession() as session:
        async with metrics(world, lambda: datetime.now(UTC), "127.0.0.1", 0) as url, session.get(url) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert 'trimtab_pool_nodes{pool="spot",state="desired"} 2' in (await answer.text()).splitlines()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
