"""What controllers say about objects is kept where kubectl looks for it."""

import re

from trimtab.local.controllers.events import EventRecorder


def test_events_of_one_moment_are_all_kept(registry, clock):
    """Each has a name that the API accepts; the same one again counts up."""
    recorder = EventRecorder(registry, clock, "test")
    about = registry.create("configmaps", {"metadata": {"name": "c"}}, "default")
    for message in ("one", "two", "one"):
        recorder.record(about, "Normal", "Said", message)
    events = registry.list("events", "default")[0]
    assert sorted((e["message"], e["count"]) for e in events) == [("one", 2), ("two", 1)]
    assert all(re.fullmatch(r"c\.[0-9a-f]{16}", e["metadata"]["name"]) for e in events)
    assert events[0]["involvedObject"]["uid"] == about["metadata"]["uid"]
