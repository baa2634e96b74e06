"""Everything about clouds' pools, put together and ended together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from trimtab.effects.gather import Gatherer
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.clouds import Clouds
from trimtab.effects.pools.interruptions import Interruptions
from trimtab.effects.pools.nodes import Nodes
from trimtab.effects.pools.orders import Orders
from trimtab.effects.pools.queues import Queues
from trimtab.effects.world import World


@asynccontextmanager
async def cloud_orders(
    world: World,
    gatherer: Gatherer,
    cluster: Cluster,
    hold_s: float,
    clock: Callable[[], float],
    changed: Callable[[], None],
) -> AsyncIterator[Orders]:
    """Keep clouds' pools while the block lasts.

    `hold_s` is how long a node must be empty before it is given back, `clock` in Unix seconds; `changed` is called when
    a provider tells something new.
    """
    async with AsyncExitStack() as stack:
        aws = Aws()
        stack.push_async_callback(aws.close)
        nodes = Nodes(world, cluster)
        queues = Queues(aws, Interruptions(nodes, aws, lambda: gatherer.pools()[0]))
        stack.push_async_callback(queues.close)
        clouds = Clouds(cluster, aws, clock, changed)
        stack.push_async_callback(clouds.close)
        yield Orders(world, nodes, clouds, queues, gatherer.events, gatherer.market, hold_s)
