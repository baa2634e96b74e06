"""A pool's keeper: carries the last order out, tells what it was refused, asks a provider that fails more rarely."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import structlog

from trimtab.api.capacity import CapacityPool
from trimtab.effects.pools.keeper import LOOK_S, Keeper, _wait
from trimtab.effects.pools.provider import ProviderError
from trimtab.planning.groups import Failure, Group, Instance, Trouble
from trimtab.planning.zones import Shortage

SPEC = {"capacityType": "Spot", "provider": {"autoScalingGroup": {"name": "g", "region": "eu-west-1"}}}
POOL = CapacityPool.model_validate(
    {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "p"}, "spec": SPEC}
)


class Cloud:
    """A group that does at once what it is told, unless it refuses."""

    resizable = True

    def __init__(self, running: int) -> None:
        self.group = Group(desired=running, instances=tuple(Instance(f"i-{n}") for n in range(running)))
        self.calls: list[str] = []
        self.refused: dict[str, ProviderError] = {}

    async def look(self) -> Group:
        self._ask("look")
        return self.group

    async def resize(self, desired: int) -> None:
        self._ask(f"resize {desired}")
        missing = range(len(self.group.instances), desired)
        instances = (*self.group.instances, *(Instance(f"i-new-{n}") for n in missing))
        self.group = replace(self.group, desired=desired, instances=instances)

    async def remove(self, instance: str) -> None:
        self._ask(f"remove {instance}")
        left = tuple(entry for entry in self.group.instances if entry.id != instance)
        self.group = replace(self.group, desired=self.group.desired - 1, instances=left)

    def _ask(self, call: str) -> None:
        self.calls.append(call)
        if call in self.refused:
            raise self.refused[call]


@asynccontextmanager
async def kept(
    cloud: Any, may_change: Callable[[], bool] = lambda: True
) -> AsyncIterator[tuple[Keeper, Callable[[Callable[[], bool]], Any]]]:
    """Run a keeper; the second value waits until something is so, asked at every change that it tells."""
    changed = asyncio.Event()
    keeper = Keeper(POOL, cloud, lambda: 1000.0, changed.set, may_change, jitter=lambda: 0.0)

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                changed.clear()
                await changed.wait()

    task = asyncio.create_task(keeper.run())
    try:
        yield keeper, until
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_last_order_is_carried_out() -> None:
    """More at once, less by name; what was done is known before the next look."""
    cloud = Cloud(2)
    async with kept(cloud) as (keeper, until):
        keeper.order(4, ())
        await until(lambda: keeper.report.group is not None and keeper.report.group.desired == 4)
        keeper.order(3, ("i-0",))
        await until(lambda: keeper.report.group is not None and keeper.report.group.desired == 3)
    assert cloud.calls == ["look", "resize 4", "look", "remove i-0"]
    assert keeper.report.group is not None
    assert "i-0" not in {entry.id for entry in keeper.report.group.instances}


async def test_one_refusal_holds_up_no_other_machine() -> None:
    """Two of three go; how many did not, and why, is told."""
    cloud = Cloud(3)
    cloud.refused["remove i-1"] = ProviderError("ProviderThrottled", "autoscaling is throttled")
    async with kept(cloud) as (keeper, until):
        keeper.order(0, ("i-0", "i-1", "i-2"))
        await until(lambda: keeper.report.problem is not None)
    assert cloud.calls == ["look", "remove i-0", "remove i-1", "remove i-2"]
    assert keeper.report.problem == Trouble(
        "ProviderThrottled", "1 of 3 nodes could not be given back: autoscaling is throttled"
    )
    assert keeper.report.group is not None
    assert [entry.id for entry in keeper.report.group.instances] == ["i-1"]


async def test_a_provider_that_fails_is_told_once_and_not_pressed() -> None:
    """What was known stays known; an order in the meantime makes nobody ask sooner."""
    cloud = Cloud(1)
    cloud.refused["look"] = ProviderError("ProviderUnreachable", "autoscaling does not answer")
    with structlog.testing.capture_logs() as lines:
        async with kept(cloud) as (keeper, until):
            await until(lambda: keeper.report.problem is not None)
            keeper.order(5, ())
            await asyncio.sleep(0)
    assert cloud.calls == ["look"]
    assert [(line["event"], line["reason"]) for line in lines] == [("pool.refused", "ProviderUnreachable")]


async def test_a_group_with_an_objection_is_not_touched() -> None:
    """It is looked at, so that the objection goes when its cause does."""
    cloud = Cloud(1)
    cloud.group = replace(cloud.group, objections=("Cluster Autoscaler resizes it",))
    async with kept(cloud) as (keeper, until):
        keeper.order(3, ())
        await until(lambda: keeper.report.group is not None)
    assert cloud.calls == ["look"]


async def test_who_no_longer_leads_changes_nothing() -> None:
    """Two operators that both keep a group would undo each other's orders."""
    cloud = Cloud(2)
    for size, victims in ((4, ()), (1, ("i-0",))):
        async with kept(cloud, may_change=lambda: False) as (keeper, until):
            keeper.order(size, victims)
            await until(lambda: keeper.report.group is not None)
    assert set(cloud.calls) == {"look"}
    assert keeper.report.problem is None


async def test_a_failed_launch_is_heard() -> None:
    """As an event for the planner and a sentence for people."""
    cloud = Cloud(1)
    failure = Failure("f", "InsufficientInstanceCapacity", 999.0)
    cloud.group = replace(cloud.group, desired=2, failures=(failure,))
    async with kept(cloud) as (keeper, until):
        await until(lambda: keeper.report.news.trouble is not None)
    assert keeper.report.news.events == (Shortage("p f", ("p",), "p"),)
    assert keeper.report.news.trouble is not None
    assert keeper.report.news.trouble.reason == "Shortage"


def test_failures_make_looks_rarer() -> None:
    """Doubling up to two minutes, half of it drawn."""
    assert [_wait(failures, 0.0) for failures in (0, 1, 2, 3, 9)] == [LOOK_S, 5.0, 10.0, 20.0, 60.0]
    assert _wait(9, 1.0) == 120.0
