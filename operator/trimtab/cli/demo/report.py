"""The report: one HTML file with its plots inside, and the recording that they are drawn from."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimtab.cli.demo.table import rows
from trimtab.cli.demo.timeline import Mark, Outcome, Proof, Sample

_ON_DEMAND, _SPOT, _LINE, _BAD = "#2f6fb0", "#3a9d5d", "#444444", "#c0392b"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .3rem .6rem; text-align: left; vertical-align: top; }
tr { border-bottom: 1px solid #ddd; } td.number { text-align: right; white-space: nowrap; }
tr.interruption, tr.replaced { background: #fff6e5; } svg { width: 100%; height: auto; } h2 { margin-top: 2rem; }
"""


def write_report(outcome: Outcome, folder: Path) -> Path:
    """Write index.html and recording.json into `folder` and return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recording.json").write_text(json.dumps(outcome.recording(), indent=1))
    page = folder / "index.html"
    page.write_text(document(outcome))
    return page


def document(outcome: Outcome) -> str:
    """Return the page; it needs nothing but itself."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Trimtab demo</title><style>{_STYLE}</style></head><body>
<h1>Trimtab demo</h1>
<p>A digit recogniser, compressed, proven, served and scaled over on-demand and spot nodes in
{outcome.seconds:.0f} seconds on an embedded cluster.</p>
{_summary(outcome)}
<h2>Guardrail</h2>
<p>{html.escape(outcome.proof.message)}</p>
{interval_plot(outcome.proof)}
<h2>Under load</h2>
{load_plots(outcome.samples, outcome.marks)}
<h2>What happened</h2>
{_timeline(outcome.marks)}
</body></html>
"""


def _summary(outcome: Outcome) -> str:
    lines = [
        f"<tr><th>{html.escape(row.what)}</th><td class=number>{html.escape(row.before)}</td>"
        f"<td class=number>{html.escape(row.after)}</td><td>{html.escape(row.note)}</td></tr>"
        for row in rows(outcome)
    ]
    return "<table><tr><th></th><th>before</th><th>after</th><th></th></tr>" + "".join(lines) + "</table>"


def _timeline(marks: Sequence[Mark]) -> str:
    lines = [
        f"<tr class={mark.kind}><td class=number>{mark.at:.1f} s</td><td>{html.escape(mark.text)}</td></tr>"
        for mark in marks
    ]
    return "<table>" + "".join(lines) + "</table>"


def interval_plot(proof: Proof) -> str:
    """Return the drop's interval against its limit, as SVG."""
    figure = Figure(figsize=(9, 1.3), layout="constrained")
    axes = figure.add_subplot()
    colour = _SPOT if proof.upper <= proof.limit else _BAD
    axes.hlines(0, proof.lower * 100, proof.upper * 100, colors=colour, linewidth=4)
    axes.plot([proof.drop * 100], [0], "o", color=colour, markersize=9)
    axes.axvline(proof.limit * 100, color=_BAD, linestyle="--")
    axes.axvline(0, color="#bbbbbb", linewidth=1)
    axes.annotate("limit", (proof.limit * 100, 0.6), color=_BAD, ha="left", xytext=(4, 0), textcoords="offset points")
    axes.set(ylim=(-1, 1), yticks=[], xlabel="drop of accuracy, percentage points (right is worse)")
    axes.spines[["top", "left", "right"]].set_visible(False)
    return _svg(figure)


def load_plots(samples: Sequence[Sample], marks: Sequence[Mark]) -> str:
    """Return replicas, requests, latency and cost over time, as one SVG."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    replicas, rate, latency, cost = figure.subplots(4, 1, sharex=True)
    at = [sample.at for sample in samples]
    on_demand, spot = [s.on_demand for s in samples], [s.spot for s in samples]
    replicas.stackplot(at, on_demand, spot, colors=[_ON_DEMAND, _SPOT], labels=["on demand", "spot"], step="post")
    replicas.step(at, [s.wanted for s in samples], where="post", color=_LINE, linestyle="--", label="wanted")
    replicas.set_ylabel("ready replicas")
    rate.plot(at, [s.offered_per_s for s in samples], color="#bbbbbb", label="offered")
    rate.plot(at, [s.answered_per_s for s in samples], color=_ON_DEMAND, label="answered")
    rate.plot(at, [s.failed for s in samples], color=_BAD, label="failed so far")
    rate.set_ylabel("requests/s")
    latency.plot(at, [s.p95_ms for s in samples], color=_LINE, label="95 % of the last 3 s are faster")
    latency.set_ylabel("latency, ms")
    cost.step(at, [s.all_on_demand_per_hour for s in samples], where="post", color=_ON_DEMAND, label="all on demand")
    cost.step(at, [s.cost_per_hour for s in samples], where="post", color=_SPOT, label="as it is")
    cost.set(ylabel="cost per hour", xlabel="seconds since the load began")
    for axes in (replicas, rate, latency, cost):
        _finish(axes, marks)
    return _svg(figure)


def _finish(axes: Axes, marks: Sequence[Mark]) -> None:
    """Mark notice and replacement, and take away what is not data."""
    for mark in marks:
        if mark.kind in {"interruption", "replaced"}:
            axes.axvline(mark.at, color=_BAD if mark.kind == "interruption" else _SPOT, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=3, fontsize="small")


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    # Text stays text, so that it can be found and read aloud; equal data give equal files.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "trimtab"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
