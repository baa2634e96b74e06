"""What a cloud's group tells: shortages, quotas, slow starts, and how it comes to its size."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.capacity import CapacityPool, Limits
from trimtab.planning.groups import Failure, Group, GroupMemory, Instance, Trouble, bounded, news, steps
from trimtab.planning.zones import Quota, Shortage, ZoneState, with_event

ZONES = ["eu-west-1a", "eu-west-1b"]
NO_SPOT = (
    "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available that matches "
    "your request. Launching EC2 instance failed."
)
NO_ZONE = "We currently do not have sufficient m7i.large capacity in the Availability Zone you requested (eu-west-1a)."
TOO_MANY = "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded."
VCPUS = (
    "You have requested more vCPU capacity than your current vCPU limit of 32 allows. Launching EC2 instance failed."
)
BROKEN = "The image id '[ami-1]' does not exist. Launching EC2 instance failed."


def pool(kind: str = "Spot", zones: list[str] = ZONES, **more: Any) -> CapacityPool:
    provider = {"autoScalingGroup": {"name": "g", "region": "eu-west-1"}}
    spec = {"capacityType": kind, "provider": provider, "zones": zones, **more}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "p"}, "spec": spec}
    return CapacityPool.model_validate(body)


def short_group(message: str, at: float | None = 990.0, zone: str = "") -> Group:
    return Group(desired=2, instances=(Instance("i-1"),), failures=(Failure("f", message, at, zone),))


@pytest.mark.parametrize(
    ("message", "zone", "events", "reason", "said"),
    [
        pytest.param(
            NO_SPOT, "", (Shortage("p f", tuple(ZONES), "p"),), "Shortage", "on-demand pools stand in", id="spot"
        ),
        pytest.param(
            NO_ZONE, "eu-west-1a", (Shortage("p f", ("eu-west-1a",), "p"),), "Shortage", "in eu-west-1a", id="zone"
        ),
        pytest.param(
            NO_ZONE, "eu-west-1z", (Shortage("p f", tuple(ZONES), "p"),), "Shortage", "missing", id="another zone"
        ),
        pytest.param(TOO_MANY, "", (Quota("p f", "p"),), "QuotaReached", "have the quota raised", id="spot quota"),
        pytest.param(VCPUS, "", (Quota("p f", "p"),), "QuotaReached", "lower spec.limits.maxNodes", id="vCPUs"),
        pytest.param(BROKEN, "", (), "LaunchFailed", "correct the group's launch template", id="broken"),
    ],
)
def test_a_failed_launch_is_an_event_and_a_sentence(
    message: str, zone: str, events: tuple[Any, ...], reason: str, said: str
) -> None:
    """Shortages strike zones, quotas the pool; what is merely broken tells nothing of capacity."""
    found = news(pool(), short_group(message, zone=zone), frozenset(), GroupMemory(), 1000.0)
    assert found.events == events
    assert found.trouble is not None
    assert found.trouble.reason == reason
    assert found.trouble.message.startswith("1 of the ordered nodes are missing")
    assert message in found.trouble.message
    assert said in found.trouble.message


def test_old_failures_are_no_news() -> None:
    """A group keeps its activities for weeks."""
    found = news(pool(), short_group(NO_SPOT, at=1000.0 - 181), frozenset(), GroupMemory(), 1000.0)
    assert (found.events, found.trouble) == ((), None)


def test_a_failure_is_no_trouble_once_every_node_is_there() -> None:
    """The zone still cools down; nobody waits."""
    group = Group(desired=1, instances=(Instance("i-1"),), failures=(Failure("f", NO_SPOT, 990.0),))
    found = news(pool(zones=[]), group, frozenset({"i-1"}), GroupMemory(), 1000.0)
    assert (found.events, found.trouble) == ((Shortage("p f", ("p",), "p"),), None)


def test_an_order_that_is_not_launched_is_a_shortage() -> None:
    """After a minute, whatever the provider says or does not; each order once."""
    group = Group(desired=3, instances=(Instance("i-1"),))
    first = news(pool(), group, frozenset({"i-1"}), GroupMemory(), 1000.0)
    waiting = news(pool(), group, frozenset({"i-1"}), first.memory, 1059.0)
    late = news(pool(), group, frozenset({"i-1"}), waiting.memory, 1060.0)
    assert (first.events, waiting.events, waiting.trouble) == ((), (), None)
    assert late.events == (Shortage("p launches 1000", tuple(ZONES), "p"),)
    assert late.trouble == Trouble(
        "Shortage",
        "2 of 3 ordered nodes have not been launched in 60 s, and the provider does not say why; look at the group's "
        "activities",
    )
    more = news(pool(), Group(desired=4, instances=(Instance("i-1"),)), frozenset({"i-1"}), late.memory, 1070.0)
    assert more.events == ()


def test_a_machine_that_does_not_join_is_named() -> None:
    """After 1.5 times what was expected from the moment it was first seen."""
    group = Group(desired=1, instances=(Instance("i-1"),))
    first = news(pool(startup={"expected": "90s"}), group, frozenset(), GroupMemory(), 1000.0)
    later = news(pool(startup={"expected": "90s"}), group, frozenset(), first.memory, 1136.0)
    assert first.trouble is None
    assert later.trouble is not None
    assert later.trouble.reason == "SlowStart"
    assert later.trouble.message == (
        "i-1 launched more than 135 s ago and is no Ready node yet; raise spec.startup.expected (90s) if that is "
        "usual, else look at the node's bootstrap"
    )
    assert news(pool(), group, frozenset({"i-1"}), later.memory, 2000.0).trouble is None


def test_the_groups_own_maximum_is_named() -> None:
    """Two maxima, and the smaller one is not ours to change."""
    size, trouble = bounded(7, 0, Limits(max_nodes=10), Group(desired=3, max_size=5))
    assert size == 5
    assert trouble == Trouble(
        "LimitReached",
        "7 nodes are needed, and spec.limits.maxNodes allows 10, but the group's own maximum is 5: raise that one",
    )


@given(
    desired=st.integers(-3, 30),
    doomed=st.integers(0, 5),
    limits=st.tuples(st.integers(0, 10), st.integers(0, 10)).map(sorted),
    group=st.tuples(st.integers(0, 10), st.integers(0, 10)).map(sorted),
)
def test_no_order_leaves_the_groups_bounds(desired: int, doomed: int, limits: list[int], group: list[int]) -> None:
    """What AWS would refuse is never asked for."""
    own = Group(desired=0, min_size=group[0], max_size=group[1])
    size, _ = bounded(desired, doomed, Limits(min_nodes=limits[0], max_nodes=limits[1]), own)
    assert size <= group[1]
    assert size <= limits[1] + doomed
    assert size >= min(group[0], limits[1] + doomed)


MACHINES = tuple(Instance(f"i-{n}") for n in range(3))


@pytest.mark.parametrize(
    ("desired", "size", "victims", "remove", "resize"),
    [
        pytest.param(3, 5, (), (), 5, id="more"),
        pytest.param(3, 3, (), (), None, id="nothing to do"),
        pytest.param(3, 2, ("i-1",), ("i-1",), None, id="one by name"),
        pytest.param(3, 2, (), (), None, id="none is chosen for us"),
        pytest.param(5, 3, (), (), 3, id="what was never launched"),
        pytest.param(3, 3, ("i-1",), ("i-1",), 3, id="replaced"),
        pytest.param(3, 2, ("i-9",), (), None, id="gone already"),
        pytest.param(3, 0, ("i-0", "i-1", "i-2"), ("i-0", "i-1"), None, id="down to the group's minimum"),
    ],
)
def test_steps_to_a_size(
    desired: int, size: int, victims: tuple[str, ...], remove: tuple[str, ...], resize: int | None
) -> None:
    """Machines go by name only."""
    made = steps(Group(desired=desired, min_size=1, instances=MACHINES), size, victims)
    assert (made.remove, made.resize) == (remove, resize)


@given(
    desired=st.integers(0, 8),
    running=st.integers(0, 8),
    size=st.integers(0, 8),
    victims=st.sets(st.integers(0, 8), max_size=4),
)
def test_no_machine_but_victims_is_lost(desired: int, running: int, size: int, victims: set[int]) -> None:
    """Whatever is ordered, the group is never made smaller than what must stay."""
    instances = tuple(Instance(f"i-{n}") for n in range(running))
    made = steps(Group(desired=desired, instances=instances), size, [f"i-{n}" for n in sorted(victims)])
    left = running - len(made.remove)
    after = desired - len(made.remove) if made.resize is None else made.resize
    assert set(made.remove) <= {f"i-{n}" for n in victims}
    assert made.resize is None or after >= left or after > desired - len(made.remove)


@pytest.mark.parametrize("message", [NO_SPOT, TOO_MANY])
def test_what_is_short_on_demand_is_an_event_too(message: str) -> None:
    """One that no zone of spot cools down for."""
    (event,) = news(pool("OnDemand"), short_group(message), frozenset(), GroupMemory(), 1000.0).events
    assert (event.pool, event.spot) == ("p", False)
    after = with_event(ZoneState(), event, 1000.0)
    assert (after.zones, after.quota_until, after.has_seen(event)) == ({}, {}, True)
