"""Traces are read by their columns, and refused with the row and what is expected."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli.simulate.traces import Supply, read_demand, read_supply
from trimtab.errors import Stalled


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_rate_is_kept_and_starts_again(tmp_path: Path) -> None:
    """A column rps is a rate from its row on; the trace repeats."""
    demand = read_demand(written(tmp_path, "t_s,rps\n0,2.5\n600,7\n"))
    assert [demand.rate(at) for at in (0, 599, 600, 1199, 1200)] == [2.5, 2.5, 7, 7, 2.5]


def test_counts_per_minute_become_a_rate(tmp_path: Path) -> None:
    """A column requests counts the requests of its minute."""
    demand = read_demand(written(tmp_path, "minute,requests\n0,60\n1,120\n"))
    assert [demand.rate(at) for at in (0, 60)] == [1.0, 2.0]


def test_single_requests_are_counted_per_step(tmp_path: Path) -> None:
    """Any other trace with t_s has one request per row."""
    demand = read_demand(written(tmp_path, "t_s,tokens\n100,1\n101,1\n106,1\n"), step_s=5)
    assert list(demand.rates) == [0.4, 0.2]


def test_zones_by_column_hold_over_missing_probes(tmp_path: Path) -> None:
    """Each column is a zone; an empty cell goes on as before."""
    supply = read_supply(written(tmp_path, "t_s,a,b\n0,1,4\n300,,2\n600,0,\n"))
    assert supply.counts == {"a": (1, 1, 0), "b": (4, 2, 2)}
    assert supply.length_s == 900


def test_events_add_up_to_nodes(tmp_path: Path) -> None:
    """Nodes that come and go make one zone; of events at one moment the last counts; gzip is read too."""
    text = "t_s,event,node\n60,add,x\n60,add,y\n120,remove,x\n"
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    supply = read_supply(path)
    assert (supply.times, supply.counts) == ((0, 60), {"zone": (2, 1)})


EVENTS = (
    "t_s,event,node,zone\n0,add,1,a\n0,add,2,a\n0,add,3,a\n0,add,4,a\n0,add,5,b\n0,add,6,b\n"
    "60,remove,5,b\n60,remove,6,b\n60,remove,1,a\n"
    "120,add,7,b\n120,add,8,b\n120,add,9,b\n120,add,5,b\n120,add,6,b\n"
)
ANY_SPOT = "t_s,a,b\n0,4,2\n60,3,0\n120,3,5\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(ANY_SPOT.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(b"\xef\xbb\xbf" + ANY_SPOT.encode(), id="a byte order mark"),
        pytest.param(ANY_SPOT.encode("utf-16"), id="UTF-16, as a spreadsheet exports"),
        pytest.param(ANY_SPOT.replace(",", ";").encode(), id="semicolons"),
        pytest.param(ANY_SPOT.replace(",", "\t").encode(), id="tabs"),
        pytest.param(ANY_SPOT.replace("\n", "\n\n").encode(), id="empty lines"),
        pytest.param(gzip.compress(ANY_SPOT.encode()), id="gzip under another name"),
        pytest.param(b"T_S,a,b\n120,3,5\n0,4,2\n60,3,0\n", id="in any order"),
        pytest.param(b"t_ms,a,b\n5000,4,2\n65000,3,0\n125000,3,5\n", id="milliseconds"),
        pytest.param(b"minute,a,b\n7,4,2\n8,3,0\n9,3,5\n", id="minutes"),
        pytest.param(b"timestamp,a,b\n1700000000,4,2\n1700000060,3,0\n1700000120,3,5\n", id="seconds since 1970"),
        pytest.param(
            b"time,a,b\n2024-02-29T23:59:00Z,4,2\n2024-03-01T01:00:00+01:00,3,0\n2024-03-01 00:01:00,3,5\n", id="dates"
        ),
        pytest.param(
            b'{"t_s": 0, "a": 4, "b": 2}\n{"b": 0, "t_s": 60, "a": 3}\n\n{"t_s": 120, "a": null, "b": 5}\n',
            id="JSON lines",
        ),
        pytest.param(b"t_s,zone,nodes\n0,a,4\n0,b,2\n60,a,3\n60,b,0\n120,b,5\n", id="a zone per line"),
        pytest.param(EVENTS.encode(), id="events in zones"),
    ],
)
def test_whatever_program_wrote_it(tmp_path: Path, data: bytes) -> None:
    """The same two zones, in every shape."""
    path = tmp_path / "spot.txt"
    path.write_bytes(data)
    supply = read_supply(path)
    assert supply == Supply((0.0, 60.0, 120.0), {"a": (4, 3, 3), "b": (2, 0, 5)}, 180.0)


@pytest.mark.parametrize(
    ("text", "step_s", "rates", "missing_s"),
    [
        pytest.param("t_s,rpm\n0,60\n60,120\n", 60, [1, 2], 0, id="per minute"),
        pytest.param("minute,requests\n0,600\n5,1200\n", 300, [2, 4], 0, id="counts of five minutes"),
        pytest.param("t_ms,requests\n0,10\n1000,20\n", 1, [10, 20], 0, id="counts of a second"),
        pytest.param("t_s,rps\n10,1\n0,2\n10,1\n20,3\n", 10, [2, 1, 3], 0, id="any order, one line twice"),
        pytest.param("t_s,rps\n0,1\n10,2\n20,3\n40,5\n", 5, [1, 1, 2, 2, 3, 3, 3, 3, 5, 5], 10, id="a rate goes on"),
        pytest.param(
            "t_s,requests\n0,10\n10,20\n20,30\n40,50\n", 5, [1, 1, 2, 2, 3, 3, 0, 0, 5, 5], 10, id="none counted"
        ),
        pytest.param("t_s,rps\n0,10\n3,20\n6,30\n8,40\n", 5, [14, 32, 40], 0, id="steps of their own"),
    ],
)
def test_rates_of_any_kind(tmp_path: Path, text: str, step_s: float, rates: list[float], missing_s: float) -> None:
    """Gaps are filled, and said: a rate goes on, of a time without a count nobody counted any."""
    demand = read_demand(written(tmp_path, text))
    assert demand.step_s == step_s
    assert list(demand.rates) == pytest.approx(rates)
    assert demand.missing_s == missing_s


counts = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 500)), min_size=3, max_size=40)


@given(counts, st.randoms(use_true_random=False))
def test_no_request_is_lost_or_made_up(tmp_path_factory: pytest.TempPathFactory, found, rng) -> None:
    """However far apart lines are, and in whatever order: the rates add up to what was counted."""
    at, lines = 0, []
    for gap, count in found:
        at += gap
        lines.append(f"{at},{count}\n")
    rng.shuffle(lines)
    demand = read_demand(written(tmp_path_factory.mktemp("trace"), f"t_s,requests\n{''.join(lines)}"))
    spans = [demand.step_s] * len(demand.rates)
    gaps = [gap for gap, _ in found[1:]]
    usual = min(gaps, key=lambda gap: (-gaps.count(gap), gap))
    spans[-1] = (at - found[0][0] + usual) - sum(spans[:-1])
    assert sum(rate * span for rate, span in zip(demand.rates, spans, strict=True)) == pytest.approx(
        sum(count for _, count in found)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,4\n", r"no time \(t_s, t_ms, minute, time, timestamp\) among a, b; a trace has a time"),
        ("", "is empty; a trace has"),
        ("0,1\n60,2\n", "line 1: 0,1 are no names of columns; a trace has"),
        ("t_s,a\n", "lines of two moments at least, this one has 0"),
        ("t_s,a\n0,1\n", "this one has 1; what never changes is said at its beginning and its end"),
        ("t_s,a\n0,1\n5,x\n", "line 3: 'x' is no number"),
        ("t_s,a\n0,1\n\n\n5\n", "line 5: 1 columns, the header has 2"),
        ("t_s;a\n0;1\n5;1,5\n", "line 3: '1,5' is no number; write a point before the decimals"),
        ("t_s,a\n5,1\n5,2\n", "this one has 1"),
        ("t_s,a\n0,-1\n5,2\n", r"line 2: -1 is not within 0 and 1e\+12"),
        ("t_s\n0\n5\n", "no zone"),
        ("t_s,a,a\n0,1,2\n5,1,2\n", "line 1: there are two columns 'a'; name each once"),
        ("t_s,event,node\n0,add,x\n5,stop,x\n", "line 3: event is 'stop'; it must be add or remove"),
        ("t_s,event\n0,add\n5,add\n", "no column node among t_s, event"),
        ("t_s,a\n1700000000000,1\n1700000060000,1\n", "line 2: t_s 1700000000000 is no moment; .* milliseconds t_ms"),
        ("t_s,a\n0,1\n1700000000,1\n1700000060,1\n", "line 3: 19,676 days from line 2; a trace spans 400 days at most"),
        ("timestamp,a\n2024-13-01,1\n", "line 2: '2024-13-01' is no number"),
        ('{"t_s": 0, "a": 1}\n{"t_s": 5}\n', "line 2: no a, which line 1 has"),
        ('{"t_s": 0, "a": 1}\n[]\n', r"line 2: no JSON object, '\[\]'; each line is one"),
    ],
)
def test_bad_supply_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message says where, what, and what is expected."""
    with pytest.raises(Stalled, match=message) as refused:
        read_supply(written(tmp_path, text))
    assert str(tmp_path / "trace.csv") in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rps,x\n0,1\n60,1\n", "no time"),
        ("t_s,rps\n0,nan\n60,1\n", "line 2: nan is not within .* leave out what was not measured"),
        ("t_s,rps\n0,\n60,1\n", "line 2: '' is no number; leave the line out where nothing was measured"),
        ("t_s,rps\n0,1\n60,2\n0,3\n", "line 4: 3 at the moment of line 2, which says 1; add up what several servers"),
        ("t_s,rps\n0,1\n", "this one has 1; for a constant number of replicas use --replicas"),
        ("t_s,tokens\n0,1\n", "1 requests; a trace has two at least"),
        (
            "t_s,qps\n" + "".join(f"{60 * n},{n}\n" for n in range(20)),
            "lines are 60 s apart, each of them, so they are no",
        ),
        ("t_s,tokens\n0,1\n3,1\n1700000000,1\n", "line 4: 19,676 days from line 3"),
    ],
)
def test_bad_demand_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message says where, what, and what is expected."""
    with pytest.raises(Stalled, match=message):
        read_demand(written(tmp_path, text))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x00\xff\x00", id="no text"),
        pytest.param(gzip.compress(b"t_s,rps\n0,1\n" * 1000)[:40], id="gzip that ends early"),
        pytest.param(b"\x1f\x8bxxxxxxxxxxxx", id="no gzip"),
        pytest.param(b't_s,rps\n0,1\n60,"2\n' + b"x" * 200_000, id="a quote that never ends"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, data: bytes) -> None:
    """By name."""
    path = tmp_path / "x.csv.gz"
    path.write_bytes(data)
    with pytest.raises(Stalled, match=r"x\.csv\.gz: cannot be read as a trace of CSV or JSON lines: "):
        read_demand(path)


@given(
    counts=st.lists(st.integers(0, 9), min_size=2, max_size=6),
    since=st.floats(0, 500),
    span=st.floats(0, 500),
)
def test_changes_agree_with_the_capacity(counts: list[int], since: float, span: float) -> None:
    """Every change within a span is listed with the capacity that holds from then on, over the trace's end too."""
    supply = Supply(tuple(float(i * 30) for i in range(len(counts))), {"a": tuple(counts)}, 30.0 * len(counts))
    changes = supply.changes("a", since, since + span)
    assert all(supply.capacity("a", at) == capacity for at, capacity in changes)
    assert all(since < at <= since + span for at, _ in changes)
    assert len(changes) == int((since + span) // 30) - int(since // 30)


def test_the_traces_of_the_benchmark_are_read() -> None:
    """Requests and spot capacity as their sources measured them."""
    folder = Path(__file__).parents[2] / "bench" / "autoscaling" / "traces"
    demand = read_demand(folder / "worldcup98_1998-06-08_35d_1min.csv.gz")
    supply = read_supply(folder / "gcp_v100x1_us-east1c_2021-12.csv")
    assert (demand.length_s / 86400, demand.rate(0)) == (35, 3726 / 60)
    assert (supply.zones, supply.capacity("running_nodes", 0)) == (("running_nodes",), 80)
