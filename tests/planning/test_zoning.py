"""Zones that a pool's nodes are to be in."""

from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning import zones, zoning
from trimtab.planning.zones import Loss, ZoneState

names = st.sampled_from("abcde")
struck = st.lists(st.tuples(st.floats(0, 9000), names), max_size=6)


@given(st.dictionaries(names, st.integers(0, 6), min_size=1), st.integers(0, 25), struck)
def test_nodes_come_one_by_one_to_the_emptiest_zone(
    running: dict[str, int], count: int, losses: list[tuple[float, str]]
) -> None:
    """As if each was placed alone: of equals in the zone with the fewest losses, in none that cools down."""
    known, now = ZoneState(), 9000.0
    for at, name in sorted(losses):
        known = zones.with_event(known, Loss(f"{name} {at}", name), at)
    expected = dict(running)
    open_zones = [name for name in expected if not zones.is_cooling(known, name, now)]
    while open_zones and sum(expected.values()) < count:
        expected[min(open_zones, key=lambda name: (expected[name], zones.hazard(known, name, now), name))] += 1
    while sum(expected.values()) > count:
        expected[max(expected, key=lambda name: (expected[name], zones.hazard(known, name, now), name))] -= 1
    assert zoning.placed(count, running, known, now) == expected
