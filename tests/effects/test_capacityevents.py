"""Events of capacity are counted once, and told to whoever asks."""

from trimtab.effects.capacityevents import CapacityEvents
from trimtab.planning import zones
from trimtab.planning.zones import Notice, Shortage


def test_an_event_counts_once() -> None:
    """However often it is delivered."""
    events = CapacityEvents()
    notice = Notice("node-a 10", "a", "node-a")
    assert [events.note(notice, 0.0), events.note(notice, 5.0)] == [True, False]
    assert events.recent() == (notice,)
    assert zones.is_cooling(events.known, "a", 10.0)


def test_what_is_old_is_no_news() -> None:
    """After an hour nobody has to hear of it any more."""
    events = CapacityEvents()
    events.note(Shortage("1", ("a",)), 0.0)
    events.note(Shortage("2", ("b",)), zones.MEMORY_S + 1)
    assert [event.id for event in events.recent()] == ["2"]
