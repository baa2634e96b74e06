"""The sum of what gateways report is the same, however little of it is read."""

from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trimtab.api.gateway import EndpointState, EndpointStats, GatewayStats, ModelStats, RevisionStats
from trimtab.effects import reports
from trimtab.effects.reports import Reports

ADDRESSES = ("127.1.0.1", "127.1.0.2")

counts = st.integers(0, 3)
endpoints = st.fixed_dictionaries(
    {
        "address": st.sampled_from(["10.0.0.1:8080", "10.0.0.2:8080"]),
        "pod": st.just("p"),
        "revision": st.sampled_from(["r", "s"]),
        "state": st.sampled_from(EndpointState),
        "in_flight": counts,
        "max_concurrency": counts,
    }
).map(lambda fields: EndpointStats(**fields))
revisions = st.fixed_dictionaries(
    {"requests": counts, "errors": counts, "latencies": st.dictionaries(counts, counts, max_size=2)}
).map(lambda fields: RevisionStats(**fields))
models = st.fixed_dictionaries(
    {
        "in_flight": counts,
        "requests_total": counts,
        "latency_ms_average": st.sampled_from([0.0, 0.1, 2.5]),
        "wake_seconds": st.sampled_from([None, 1.5]),
        "endpoints": st.lists(endpoints, max_size=2, unique_by=lambda endpoint: endpoint.address),
        "revisions": st.dictionaries(st.sampled_from(["r", "s"]), revisions, max_size=2),
    }
).map(lambda fields: ModelStats(**fields))
told = st.fixed_dictionaries(
    {
        "time": st.floats(0, 10),
        "proxy_up": st.sampled_from([True] * 9 + [False]),
        "models": st.dictionaries(st.sampled_from(["a", "b", "c"]), models, max_size=3),
    }
).map(lambda fields: GatewayStats(**fields))
reported = st.tuples(st.sampled_from(ADDRESSES), told)
steps = st.one_of(
    reported,
    reported,
    reported,
    st.tuples(st.just("follow"), st.sets(st.sampled_from(ADDRESSES), min_size=1)),
    st.tuples(st.sampled_from(ADDRESSES), st.just("again")),
    st.tuples(st.sampled_from(ADDRESSES), st.just("lost")),
)


def read_whole(samples: list[GatewayStats | None]) -> dict[str, ModelStats] | None:
    """Return the sum from all that the gateways said last."""
    if not samples or any(sample is None or not sample.proxy_up for sample in samples):
        return None
    heard = [sample for sample in samples if sample is not None]
    names = {name for sample in heard for name in sample.models}
    return {name: reduce(reports._sum, (sample.models.get(name, ModelStats()) for sample in heard)) for name in names}


@settings(max_examples=100)
@given(st.lists(steps, min_size=3, max_size=15))
def test_the_sum_is_that_of_whole_reports(walk: list[tuple[str, object]]) -> None:
    """Whoever says what and when, falls silent, comes back, or is another gateway."""
    kept = Reports()
    kept.follow(ADDRESSES)
    said: dict[str, GatewayStats | None] = dict.fromkeys(ADDRESSES)
    before: dict[str, GatewayStats] = {}
    for number, (who, what) in enumerate(walk):
        if who == "follow":
            kept.follow(what)  # type: ignore[arg-type]
            said = {address: said.get(address) for address in sorted(what)}  # type: ignore[call-overload]
            before = {address: report for address, report in before.items() if address in said}
        elif what == "again":
            if (tag := kept.tag(who)) is not None:
                kept.confirm(who, tag)
                said[who] = before[who]
        elif what == "lost":
            kept.lose(who)
            if who in said:
                said[who] = None
        else:
            assert isinstance(what, GatewayStats)
            kept.take(who, what.model_dump_json(by_alias=True).encode(), str(number))
            if who in said:
                said[who] = before[who] = what
        assert kept.total() == read_whole(list(said.values()))


def body(**found: ModelStats) -> bytes:
    return GatewayStats(time=1, proxy_up=True, models=found).model_dump_json(by_alias=True).encode()


def test_of_a_hundred_models_only_the_one_that_changed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is awake, every second brings a report of all."""
    kept = Reports()
    kept.follow(ADDRESSES)
    hundred = {f"m{number}": ModelStats(requests_total=number) for number in range(100)}
    for address in ADDRESSES:
        kept.take(address, body(**hundred), "1")
    before = kept.total()
    read: list[bytes | None] = []
    monkeypatch.setattr(reports, "_read", lambda model: read.append(model) or ModelStats(requests_total=500))
    kept.take(ADDRESSES[0], body(**{**hundred, "m7": ModelStats(requests_total=8)}), "2")
    after = kept.total()
    assert len(read) == 2, "what each gateway says of it"
    assert before is not None
    assert after is not None
    assert after["m7"].requests_total == 1000
    assert before["m7"].requests_total == 14, "who holds the sum before holds what it was"
    assert all(after[name] is before[name] for name in hundred if name != "m7")
    assert kept.total() is after


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"time": 1}',
        b'{"time": 1, "proxyUp": true, "models": []}',
        b'{"time": 1, "proxyUp": true, "more": 1}',
        b'{"time": 1, "proxyUp": true, "models": {"a": {"queued": "x"}}}',
    ],
)
def test_what_is_no_report_is_refused_whole(broken: bytes) -> None:
    """Nothing of it is taken in, and the gateway is asked for all of it again."""
    with pytest.raises(ValidationError):
        GatewayStats.model_validate_json(broken)
    kept = Reports()
    kept.follow(ADDRESSES[:1])
    kept.take(ADDRESSES[0], body(a=ModelStats(queued=1), b=ModelStats()), "1")
    before = kept.total()
    with pytest.raises(ValueError):
        kept.take(ADDRESSES[0], broken, "2")
    assert kept.tag(ADDRESSES[0]) == "1"
    assert kept.total() is before


def test_a_name_of_another_report_confirms_nothing() -> None:
    """An answer to an earlier question may come after a newer report."""
    kept = Reports()
    kept.follow(ADDRESSES[:1])
    for tag in ("1", "2"):
        kept.take(ADDRESSES[0], body(a=ModelStats(queued=int(tag))), tag)
    kept.lose(ADDRESSES[0])
    kept.confirm(ADDRESSES[0], "1")
    assert kept.total() is None
    kept.confirm(ADDRESSES[0], "2")
    assert kept.total() == {"a": ModelStats(queued=2)}
