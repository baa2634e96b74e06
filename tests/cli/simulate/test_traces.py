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
    assert demand.rates == (0.4, 0.2)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,4\n", "no column t_s among a, b"),
        ("t_s,a\n0,1\n", "a header and two rows at least"),
        ("t_s,a\n0,1\n5,x\n", "row 3: 'x' is no number"),
        ("t_s,a\n0,1\n5\n", "row 3: 1 columns, the header has 2"),
        ("t_s,a\n9,1\n5,1\n", "must not fall from row to row"),
        ("t_s,a\n5,1\n5,2\n", "all rows are of one moment"),
        ("t_s,a\n0,-1\n5,2\n", "row 2: -1 is not within 0 and 1e12"),
        ("t_s\n0\n5\n", "no zone"),
        ("t_s,event,node\n0,add,x\n5,stop,x\n", "row 3: event is 'stop'; it must be add or remove"),
    ],
)
def test_bad_supply_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message says where and what is expected."""
    with pytest.raises(Stalled, match=message):
        read_supply(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t_s,rps\n0,1\n60,1\n90,1\n", "rows of a rate must be equally far apart"),
        ("rps,x\n0,1\n60,1\n", "no column t_s"),
        ("t_s,rps\n0,nan\n60,1\n", "nan is not within"),
    ],
)
def test_bad_demand_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message says where and what is expected."""
    with pytest.raises(Stalled, match=message):
        read_demand(written(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Neither gzip nor text."""
    path = tmp_path / "x.csv.gz"
    path.write_bytes(b"\x00\xff\x00")
    with pytest.raises(Stalled, match="cannot be read as a CSV trace"):
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
