"""What a pool's status keeps of its zones: enough to go on with, little, and the same until something happens."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.base import CapacityType
from trimtab.api.status import CapacityPoolStatus
from trimtab.planning import capacity, zonememory, zones
from trimtab.planning.capacity import PoolView, SplitConfig, SplitState
from trimtab.planning.zones import CapacityEvent, Loss, Notice, Quota, Shortage, ZoneState

NOW = 1_772_366_400.0
zone = st.sampled_from(["a", "b", "c"])
events = st.lists(
    st.tuples(
        st.floats(0, 20_000),
        st.one_of(
            st.builds(lambda n, z: Loss(f"l{n}", z, pool="p"), st.integers(0, 99), zone),
            st.builds(lambda n, z: Notice(f"n{n}", z, pool="p"), st.integers(0, 99), zone),
            st.builds(lambda n, z: Shortage(f"s{n}", (z,), "p"), st.integers(0, 99), zone),
            st.builds(lambda n: Quota(f"q{n}", "p"), st.integers(0, 99)),
        ),
    ),
    max_size=50,
)


def after(found: list[tuple[float, CapacityEvent]]) -> ZoneState:
    state = ZoneState()
    for at, event in sorted(found, key=lambda entry: entry[0]):
        state = zones.with_event(state, event, NOW + at)
    return state


def restarted(state: ZoneState) -> ZoneState:
    return zonememory.read(CapacityPoolStatus.model_validate(zonememory.written(state, "p")), "p")


@given(events, st.floats(0, 25_000))
def test_a_restart_changes_nothing_but_seconds(found: list[tuple[float, CapacityEvent]], later: float) -> None:
    """Zones cool and are feared as before, quotas hold, and what was counted last does not count again."""
    before, now = after(found), NOW + 20_000 + later
    state = restarted(before)
    for name in "abc":
        assert abs(zones.hazard(state, name, now) - zones.hazard(before, name, now)) < 1e-3
        if name in before.zones and abs(before.zones[name].cooling_until - now) > 1:  # a second is what is rounded
            assert zones.is_cooling(state, name, now) == zones.is_cooling(before, name, now)
    if abs(before.quota_until.get("p", 0.0) - now) > 1:
        assert zones.is_over_quota(state, "p", now) == zones.is_over_quota(before, "p", now)
    for event, _ in before.seen[-zonememory.HEARD_KEPT :]:
        assert state.has_seen(Loss(event, "a"))


@given(events)
def test_it_is_written_once_per_event(found: list[tuple[float, CapacityEvent]]) -> None:
    """What was read is written again as it was, so that a restart writes nothing."""
    told = zonememory.written(after(found), "p")
    assert zonememory.written(restarted(after(found)), "p") == told
    assert zonememory.written(zonememory.merged([restarted(after(found)), ZoneState()]), "p") == told
    assert set(told) <= set(zonememory.FIELDS)


def test_it_is_bounded() -> None:
    """Hundreds of zones and events leave the latest of them."""
    state = after([(float(n), Loss(f"node-{n}", f"zone-{n}")) for n in range(200)])
    told = zonememory.written(state, "p")
    assert (len(told["zones"]), len(told["heard"])) == (zonememory.ZONES_KEPT, zonememory.HEARD_KEPT)
    assert told["heard"][-1]["id"] == "node-199"
    assert {entry["zone"] for entry in told["zones"]} == {f"zone-{n}" for n in range(168, 200)}


def test_pools_that_share_a_zone_are_taken_together() -> None:
    """The longest cool-down, and the losses of both."""
    one = after([(0.0, Loss("1", "a", pool="p"))])
    other = after([(3600.0, Loss("2", "a", pool="q")), (3600.0, Quota("3", "q"))])
    both = zonememory.merged([one, other])
    assert both.zones["a"].cooling_until == other.zones["a"].cooling_until
    assert both.zones["a"].since == one.zones["a"].since
    assert 1.8 < both.zones["a"].losses < 2
    assert both.quota_until == other.quota_until
    assert [event for event, _ in both.seen] == ["1", "2", "3"]
    assert zonememory.merged([one]) == one


def test_a_split_goes_on_where_it_was() -> None:
    """With every zone cooling, on demand covers at once: a new operator that forgot it would wait for spot."""
    pools = [PoolView("od", CapacityType.ON_DEMAND), PoolView("p", CapacityType.SPOT, ("a", "b"))]
    before = replace(SplitState(), zones=after([(0.0, Shortage("1", ("a", "b"), "p"))]))
    for state in (before, replace(before, zones=restarted(before.zones))):
        made, _ = capacity.split(4, SplitConfig(1, 100), pools, 0, state=state, now=NOW + 60)
        assert (made.on_demand, made.cover) == (4, 3)
    forgot, _ = capacity.split(4, SplitConfig(1, 100), pools, 0, state=SplitState(), now=NOW + 60)
    assert forgot.cover == 0
