"""From a message about an instance to a node that is marked: the message may go only when the mark is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from trimtab.api.capacity import CapacityPool
from trimtab.api.names import INTERRUPTED_TAINT, POOL_LABEL
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.nodes import Nodes
from trimtab.effects.pools.provider import ProviderError
from trimtab.errors import NotYet
from trimtab.planning.interruptions import Event, Hook, Interruption, doom, parsed

log = structlog.get_logger(__name__)


class Interruptions:
    """Carries out what messages say. Twice is once, and in any order: a node keeps its earliest end."""

    def __init__(self, nodes: Nodes, aws: Aws, pools: Callable[[], Sequence[CapacityPool]]) -> None:
        self._nodes = nodes
        self._aws = aws
        self._pools = pools

    async def __call__(self, body: str, region: str) -> bool:
        """Carry a message out; return whether it is done with. One that is not will be delivered again."""
        try:
            event = parsed(body)
        except ValueError as error:
            # Left to the queue's own dead-letter queue: somebody wanted to say something here.
            log.warning("interruption.not_understood", error=str(error))
            return False
        if event is None:
            return True
        try:
            return await self._carry_out(event, region)
        except (NotYet, ProviderError) as error:
            log.warning("interruption.put_off", instance=event.instance, kind=event.kind, error=error.message)
            return False

    async def _carry_out(self, event: Event, region: str) -> bool:
        node = self._nodes.by_instance(event.instance)
        if node is None:
            log.debug("interruption.of_no_node", instance=event.instance, kind=event.kind)
            # A machine of a group of ours that is no node (any more) need not be waited for; one of another cluster's
            # is that cluster's to empty.
            if event.hook is None or not self._keeps(event.hook.group):
                return True
            return await self._release(event.hook, event.instance, region)
        name, own = node["metadata"]["name"], node["metadata"]["labels"].get(POOL_LABEL)
        pool = next((pool for pool in self._pools() if pool.name == own), None)
        pending = [entry for entry in self._nodes.of_pool(own or "") if entry is not node and _is_rebalanced(entry)]
        found = doom(event, pool, len(pending))
        if found is None:
            log.info("interruption.passed_over", node=name, kind=event.kind)
            return True
        if await self._nodes.doom(name, found.until, found.why):
            log.info("node.doomed", node=name, kind=event.kind, until=found.until.isoformat())
        if event.hook is None:
            return True
        # Until then the message comes back by itself: the queue remembers it, should we be restarted.
        return await self._nodes.is_idle(name) and await self._release(event.hook, event.instance, region)

    def _keeps(self, group: str) -> bool:
        """Whether a pool is this Auto Scaling group."""
        named = (pool.spec.provider.auto_scaling_group for pool in self._pools())
        return any(one is not None and one.name == group for one in named)

    async def _release(self, hook: Hook, instance: str, region: str) -> bool:
        """Tell the group that the instance may go."""

        def complete(asg: Any) -> None:
            from botocore.exceptions import ClientError  # noqa: PLC0415

            try:
                asg.complete_lifecycle_action(
                    AutoScalingGroupName=hook.group,
                    LifecycleHookName=hook.name,
                    LifecycleActionToken=hook.token,
                    LifecycleActionResult="CONTINUE",
                    InstanceId=instance,
                )
            except ClientError as error:
                if error.response["Error"].get("Code") != "ValidationError":  # it ran out, or was completed before
                    raise

        await self._aws.call("autoscaling", region, complete)
        log.info("interruption.hook_completed", instance=instance, group=hook.group)
        return True


def _is_rebalanced(node: dict[str, Any]) -> bool:
    taints = node["spec"]["taints"]
    return any(t["key"] == INTERRUPTED_TAINT and t.get("value") == Interruption.REBALANCE for t in taints)
