"""Each kind of decision is told in one sentence with its numbers, once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import Reason
from trimtab.api.status import DecisionStatus
from trimtab.planning import zones
from trimtab.planning.decisions import KEPT, decisions, explained, unsaid
from trimtab.planning.scaling import ScalingState, Wanted, scale
from trimtab.planning.serving import Serving
from trimtab.planning.snapshot import DeploymentView, PodView, Snapshot
from trimtab.planning.zones import Loss, Notice, Quota, Shortage, ZoneState

NONE: frozenset[str] = frozenset()


def wanted(on_demand: int = 1, spot: int = 1, why: str = "load", held: bool = False) -> Wanted:
    return Wanted(on_demand + spot, on_demand, spot, why, "floor 1, 100 % of the rest on spot", held=held)


def pool(name: str, kind: str, names: list[str]) -> CapacityPool:
    spec = {"capacityType": kind, "provider": {"embedded": {}}, "zones": names}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


@pytest.fixture
def world(a_snapshot: Callable[..., Snapshot]) -> Callable[..., Snapshot]:
    """A model with a replica on the spot node `n`, which goes away in 20 s, and pools in zones a and b."""

    def build(*events: Any) -> Snapshot:
        snapshot = a_snapshot()
        replica = PodView("p", "r", CapacityType.SPOT, "n", "a", True, False, 60.0, pool="spot")
        return a_snapshot(
            pools=(pool("spot", "Spot", ["a", "b"]), pool("od", "OnDemand", [])),
            pods=(replica,),
            doomed_nodes={"n": snapshot.now + timedelta(seconds=20)},
            events=events,
        )

    return build


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param(
            wanted(), wanted(1, 3, "5.1 requests need 4"), ["2 -> 4 replicas: 5.1 requests need 4"], id="scale up"
        ),
        pytest.param(
            wanted(1, 3),
            wanted(1, 2, "for 300 s no more than 3"),
            ["4 -> 3 replicas: for 300 s no more than 3"],
            id="down",
        ),
        pytest.param(
            wanted(),
            wanted(why="the gateway's last figures are 7 s old: holding 2", held=True),
            ["2 replicas stay: the gateway's last figures are 7 s old: holding 2"],
            id="stale figures",
        ),
        pytest.param(wanted(held=True), wanted(why="still nothing", held=True), [], id="still holding"),
        pytest.param(wanted(), wanted(why="another reason"), [], id="nothing changed"),
    ],
)
def test_scaling(world: Callable[..., Snapshot], before: Wanted, after: Wanted, told: list[str]) -> None:
    """Replicas before and after, and what asked for it; what stays is not told again."""
    found = decisions(world(), before, after, Serving(), NONE, ZoneState())
    assert [one.entry.message for one in found if one.entry.kind == "Scaling"] == told


def test_a_new_split_is_told(world: Callable[..., Snapshot]) -> None:
    """Both capacity types, before and after."""
    (found,) = decisions(world(), wanted(1, 1), wanted(2, 0), Serving(), NONE, ZoneState())
    assert (found.entry.kind, found.event) == ("Placement", Reason.SCALED)
    assert found.entry.message == ("1 on-demand + 1 spot -> 2 on-demand + 0 spot: floor 1, 100 % of the rest on spot")


@pytest.mark.parametrize(
    ("event", "message", "reason"),
    [
        pytest.param(
            Notice("n 1", "a", "n"),
            "node n goes away in 20 s: 1 replica is replaced elsewhere; a cools down for 180 s",
            None,
            id="notice",
        ),
        pytest.param(
            Loss("n", "a", "n"),
            "node n was lost without a notice; a cools down for 180 s",
            Reason.SPOT_INTERRUPTED,
            id="loss",
        ),
        pytest.param(
            Shortage("1", ("a", "elsewhere")),
            "the provider has no spot node in a; a cools down for 180 s",
            Reason.SHORTAGE,
            id="shortage",
        ),
        pytest.param(
            Quota("1", "spot"),
            "pool spot is at the account's quota: nothing more is ordered there for 30 min",
            Reason.QUOTA_REACHED,
            id="quota",
        ),
        pytest.param(Notice("m 1", "b", "m"), None, None, id="a node of others"),
        pytest.param(Shortage("1", ("elsewhere",)), None, None, id="zones of others"),
        pytest.param(Quota("1", "other"), None, None, id="a pool of others"),
    ],
)
def test_events(world: Callable[..., Snapshot], event: Any, message: str | None, reason: str | None) -> None:
    """What happened, to whom, and for how long it matters; once."""
    snapshot = world(event)
    known = zones.with_event(ZoneState(), event, snapshot.timestamp)
    found = list(decisions(snapshot, wanted(), wanted(), Serving(), NONE, known))
    assert [(one.entry.message, one.event) for one in found] == ([] if message is None else [(message, reason)])
    assert not list(decisions(snapshot, wanted(), wanted(), Serving(), frozenset({event.id}), known))


def test_a_new_operator_tells_no_old_tales(world: Callable[..., Snapshot]) -> None:
    """It does not know what was wanted before, so nothing is known to have changed."""
    assert not list(decisions(world(Quota("1", "spot")), None, wanted(), Serving(), NONE, ZoneState()))


def test_the_same_words_are_not_told_twice(world: Callable[..., Snapshot]) -> None:
    """Another kind in between does not matter; other words are news."""
    made = tuple(decisions(world(), wanted(), wanted(1, 3, "load"), Serving(), NONE, ZoneState()))
    placement = DecisionStatus(time="2026-03-01T11:00:00Z", kind="Placement", message="something else")
    scaling = made[0].entry.model_copy(update={"time": "2026-03-01T11:00:00Z"})
    assert [one.entry.kind for one in unsaid(made, [placement, scaling])] == ["Placement"]
    assert unsaid(made, [placement]) == made
    assert KEPT == 5


@pytest.mark.parametrize("event", [Shortage("1", ("a",), "other"), Loss("m", "a", "m", "other"), Quota("1", "other")])
def test_pools_that_a_model_may_not_use_are_nothing_to_it(
    world: Callable[..., Snapshot], make: Any, event: Any
) -> None:
    """Though they have the same zones: nothing is told, and nothing cools down."""
    snapshot = world(event)
    snapshot = replace(
        snapshot,
        pools=(*snapshot.pools, pool("other", "Spot", ["a"])),
        spec=make.spec(capacity={"pools": ["spot", "od"], "spotPercent": 100}),
        doomed_nodes={},
    )
    assert snapshot.spec is not None
    assert explained(event, snapshot, ZoneState()) is None
    _, state = scale(snapshot, snapshot.spec, ScalingState(), 1)
    assert (state.split.zones, state.split.zones.seen) == (ZoneState(), ())
    everything = make.spec(capacity={"spotPercent": 100})
    assert explained(event, replace(snapshot, spec=everything), ZoneState()) is not None
    _, state = scale(snapshot, everything, ScalingState(), 1)
    assert state.split.zones.has_seen(event)


def test_a_shortage_on_demand_is_told_to_those_that_wait(world: Callable[..., Snapshot]) -> None:
    """A model whose replicas are there has nothing of it; spot does not cool down."""
    short, over = Shortage("1", ("od",), "od", spot=False), Quota("2", "od", spot=False)
    snapshot = world(short, over)
    assert [explained(event, snapshot, ZoneState()) for event in snapshot.events] == [None, None]
    waiting = replace(snapshot, deployments=(DeploymentView("d", "r", CapacityType.ON_DEMAND, 2, 1),))
    found = list(decisions(waiting, wanted(), wanted(), Serving(), NONE, ZoneState()))
    assert [(one.entry.message, one.event) for one in found] == [
        (
            "pool od is at the account's quota; replicas that need a node of it wait until it is raised",
            Reason.QUOTA_REACHED,
        ),
        ("the provider has no on-demand node in od; replicas that need one wait for it", Reason.SHORTAGE),
    ]


def test_a_new_operator_starts_from_what_the_pools_say(world: Callable[..., Snapshot], make: Any) -> None:
    """Of those that the model may use; what it remembers itself it keeps."""
    cooling = zones.with_event(ZoneState(), Loss("n", "a", pool="spot"), world().timestamp)
    snapshot = replace(world(), zones={"spot": cooling, "other": cooling}, doomed_nodes={}, pods=())
    spec = make.spec(capacity={"spotPercent": 100})
    _, state = scale(snapshot, spec, ScalingState(), 1)
    assert state.split.zones == cooling
    _, later = scale(replace(snapshot, zones={"spot": ZoneState()}), spec, state, 1)
    assert later.split.zones == cooling
