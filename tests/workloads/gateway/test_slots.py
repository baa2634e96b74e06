"""Prepared backends: who gets which, and how many there are."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.serving import Policy
from trimtab.planning.traffic import ModelTraffic
from trimtab.workloads.gateway.slots import SPARE, Profile, assigned, layout, profile_of


def traffic(name, policy=Policy.ROUND_ROBIN, retries=3, header=""):
    return ModelTraffic(name, policy, retries, (), header)


def test_a_slot_says_what_it_is():
    """The name is all that an agent that starts has; other backends are nobody's."""
    slot = Profile("leastconn", 5).slot(7)
    assert slot == "leastconn-r5-07"
    assert profile_of(slot) == Profile("leastconn", 5)
    assert profile_of("MASTER") is None
    session = Profile("hash", 3, "x-session-2")
    assert session.slot(12) == "hash-r3-x-session-2-12"
    assert profile_of(session.slot(12)) == session
    calls = Profile("leastconn", 3, grpc=True)
    assert calls.slot(1) == "grpc_leastconn-r3-01"
    assert profile_of(calls.slot(1)) == calls


@pytest.mark.parametrize(
    ("models", "routes", "free", "slots", "missing"),
    [
        pytest.param(
            [traffic("a"), traffic("b")],
            {},
            ["leastconn-r3-00", "roundrobin-r3-01", "roundrobin-r3-00"],
            {"a": "roundrobin-r3-01", "b": "roundrobin-r3-00"},
            [],
            id="the first that fits",
        ),
        pytest.param(
            [traffic("a")],
            {"a": "roundrobin-r3-05"},
            ["roundrobin-r3-00"],
            {"a": "roundrobin-r3-05"},
            [],
            id="kept",
        ),
        pytest.param(
            [traffic("a", Policy.LEAST_CONNECTIONS)],
            {"a": "roundrobin-r3-05"},
            ["leastconn-r3-02"],
            {"a": "leastconn-r3-02"},
            [],
            id="another policy",
        ),
        pytest.param(
            [traffic("a", retries=1), traffic("b")],
            {},
            ["roundrobin-r3-00"],
            {"b": "roundrobin-r3-00"},
            ["a"],
            id="no such slot",
        ),
    ],
)
def test_assigned(models, routes, free, slots, missing):
    """A model keeps a slot that fits, else gets a free one that does."""
    got, left = assigned(models, routes, free)
    assert (got, [item.model for item in left]) == (slots, missing)


models = st.lists(
    st.builds(
        traffic,
        st.sampled_from("abcdef"),
        st.sampled_from(Policy),
        st.sampled_from([0, 3, 10]),
        st.sampled_from(["", "x-a", "x-a-1"]),
    ),
    unique_by=lambda item: item.route,
)


@given(models, models)
def test_layout(before, after):
    """Every model has a fitting slot of its own, stays where it can, and every kind has spares."""
    old, _ = layout(before, {})
    slots, prepared = layout(after, old)
    assert len(set(slots.values())) == len(after)
    assert set(slots.values()) <= set(prepared)
    for item in after:
        assert profile_of(slots[item.route]) == Profile.of(item)
        if item.route in old and profile_of(old[item.route]) == Profile.of(item):
            assert slots[item.route] == old[item.route]
    spare = Counter(profile_of(slot) for slot in set(prepared) - set(slots.values()))
    kinds = {Profile("roundrobin", 3), Profile("leastconn", 3), *(Profile.of(item) for item in after)}
    assert spare == dict.fromkeys(kinds, SPARE)


def test_many_models_have_more_spare_slots():
    """A reload for each seventeenth model would be one an hour where a thousand are."""
    _, prepared = layout([traffic(f"m{number}") for number in range(200)], {})
    assert sum(slot.startswith("roundrobin") for slot in prepared) == 225
