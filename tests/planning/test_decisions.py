"""Each kind of decision is told in one sentence with its numbers, once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import Reason
from trimtab.api.status import DecisionStatus
from trimtab.planning import zones
from trimtab.planning.decisions import KEPT, decisions, unsaid
from trimtab.planning.scaling import Wanted
from trimtab.planning.serving import Serving
from trimtab.planning.snapshot import PodView, Snapshot
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
            "node n goes away in 20 s: 1 replicas are replaced elsewhere; a cools down for 180 s",
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
