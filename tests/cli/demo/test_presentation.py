"""What a person is shown: lines, table, report."""

import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from trimtab.cli.demo.live import View, sentence
from trimtab.cli.demo.report import document, interval_plot, write_report
from trimtab.cli.demo.table import rows, table
from trimtab.cli.demo.timeline import Outcome, Proof

from .conftest import a_sample


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain_view() -> tuple[View, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    return View(Console(file=out, width=200), clock), out, clock


def test_rows_say_before_after_and_what_it_means(outcome: Outcome) -> None:
    """Every number of the promise is in the table."""
    text = "\n".join(" ".join(row) for row in rows(outcome))
    assert "8.0 times smaller" in text
    assert "99.25% 98.75% drop 0.50pp (95% interval -0.10..1.20pp, n=800), limit 2pp: Passed" in text
    assert "8,000 0 failed, p95 31.2 ms, 98.75% answered right" in text
    assert "at the peak: 2 on demand, 4 on spot; 1 interruption(s)" in text
    assert "0.500 0.250 50% less than all on demand" in text


@pytest.mark.parametrize(("cost", "said"), [(0.1, "50% less"), (0.2, "0% less"), (0.3, "50% more")])
def test_savings_are_honest(outcome: Outcome, cost: float, said: str) -> None:
    """Spot that costs more than on demand is said to cost more."""
    dear = replace(outcome, samples=(a_sample(0, cost=cost, all_on_demand=0.2), a_sample(1, cost=cost)))
    assert f"{said} than all on demand" in rows(dear)[-1].note


def test_table_fits_a_narrow_terminal(outcome: Outcome) -> None:
    """Long notes wrap instead of being cut."""
    out = io.StringIO()
    Console(file=out, width=80).print(table(outcome))
    assert all(len(line) <= 80 for line in out.getvalue().splitlines())
    assert "Passed" in out.getvalue()


def test_plain_output_has_a_line_per_phase_and_step() -> None:
    """Without a terminal there is nothing to redraw: each new detail is one line, repeats are not."""
    view, out, clock = plain_view()
    with view:
        view.phase("Compressing")
        clock.now += 2.5
        for percent in (10, 11, 12):
            view.progress("prune (1/4)", percent)
        view.progress("distill (2/4)", 30)
    lines = out.getvalue().splitlines()
    assert lines == ["[  0.0 s] Compressing", "[  2.5 s]   prune (1/4), 10 %", "[  2.5 s]   distill (2/4), 30 %"]
    assert view.title == "Compressing"


def test_plain_samples_are_rationed() -> None:
    """A log gets a sample every few seconds, not every one."""
    view, out, clock = plain_view()
    with view:
        for _ in range(20):
            view.sample(a_sample(0))
            clock.now += 0.5
    assert len(out.getvalue().splitlines()) == 2


def test_sentence() -> None:
    """One line says how many of what, and at what price."""
    assert sentence(a_sample(3, on_demand=1, spot=2)) == (
        "3 replicas (1 on demand, 2 spot; load asks for 3), 100 requests/s, p95 12.5 ms, 300 sent, 0 failed, "
        "0.100/h against 0.200/h"
    )


def test_live_picture_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal replicas are drawn by capacity type."""
    monkeypatch.setenv("TERM", "xterm")
    out, clock = io.StringIO(), Clock()
    with View(Console(file=out, width=100, force_terminal=True, color_system=None), clock) as view:
        view.phase("Load rises")
        view.progress("prune (1/4)", 40)
        view.sample(a_sample(1, on_demand=1, spot=2))
    assert "Load rises" in out.getvalue()
    assert "■ ■ ■" in out.getvalue()


def test_report_is_one_file_that_needs_nothing_else(outcome: Outcome, tmp_path: Path) -> None:
    """The page has its plots inside, marks the interruption, escapes what it shows and loads nothing."""
    page = write_report(outcome, tmp_path / "report")
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "notice for &lt;spot-1&gt;" in text
    assert "<tr class=interruption>" in text
    assert not re.search(r"<script|<link|<img|@import", text)
    assert len(json.loads((tmp_path / "report" / "recording.json").read_text())["samples"]) == 3


def test_plots_are_the_same_for_the_same_run(outcome: Outcome) -> None:
    """Equal recordings give equal pages, so that two can be compared."""
    assert document(outcome) == document(outcome)


def test_interval_plot_is_well_formed(proof: Proof) -> None:
    """The guardrail's picture is XML and names its limit."""
    drawn = interval_plot(proof)
    ET.fromstring(drawn)
    assert "limit" in drawn
