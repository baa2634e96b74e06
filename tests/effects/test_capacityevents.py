"""Events of capacity are counted once, and told to whoever asks."""

from trimtab.effects.capacityevents import CapacityEvents
from trimtab.planning import zonememory, zones
from trimtab.planning.zones import Loss, Notice, Shortage


def test_an_event_counts_once() -> None:
    """However often it is delivered."""
    events = CapacityEvents()
    notice = Notice("node-a 10", "a", "node-a")
    assert [events.note(notice, 0.0), events.note(notice, 5.0)] == [True, False]
    assert events.recent(10.0) == (notice,)
    assert events.recent(11.0) is events.recent(10.0)
    assert zones.is_cooling(events.known, "a", 10.0)


def test_what_is_old_is_no_news() -> None:
    """After an hour nobody has to hear of it any more."""
    events = CapacityEvents()
    events.note(Shortage("1", ("a",)), 0.0)
    events.note(Shortage("2", ("b",)), zones.MEMORY_S + 1)
    assert [event.id for event in events.recent(zones.MEMORY_S + 2)] == ["2"]
    assert events.recent(2 * zones.MEMORY_S + 2) == ()


def test_a_new_operator_recalls_what_the_old_one_wrote() -> None:
    """Of each pool once, beside what it heard of itself; a status that cannot be read is no memory."""
    old, new = CapacityEvents(), CapacityEvents()
    old.note(Loss("n", "a", "n", "spot"), 1_000_000.0)
    new.note(Loss("m", "b", "m", "other"), 1_000_010.0)
    told = zonememory.written(old.by_pool["spot"], "spot")
    new.recall("spot", told)
    new.recall("other", {"zones": "none"})
    assert [zones.is_cooling(new.known, name, 1_000_060.0) for name in "ab"] == [True, True]
    assert [zones.is_cooling(new.by_pool["spot"], name, 1_000_060.0) for name in "ab"] == [True, False]
    assert not new.note(Loss("n", "a", "n", "spot"), 1_000_020.0)
    new.note(Loss("o", "c", "o", "spot"), 1_000_030.0)
    new.recall("spot", told)
    assert zones.is_cooling(new.by_pool["spot"], "c", 1_000_060.0)
    assert [event.id for event in new.recent(1_000_060.0)] == ["m", "o"], "old tales are not told again"
