"""Plots as SVG inside a page, and as one PNG; equal reports give equal bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trimtab.workloads.compress.report.charts import Chart, Report, charts
from trimtab.workloads.compress.report.text import headline, verdict_sentence

_WIDTH = 4.4  # inches: at 72 dots each about as wide as a phone's page, so that 9 points stay 9 points
_TEXT = "#010203"  # stands for the page's own colour, which differs between light and dark
_DPI = 150
_TITLE = 0.3  # inches above a plot
_METADATA = ("Creator", "Date", "Format", "Type")
_ADDRESS = re.compile(r' xmlns(:xlink)?="[^"]*"')  # names that only files need: a page is to hold no address at all
_RC: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # text stays text: it can be found and read aloud
    "svg.hashsalt": "trimtab",
}


def svg(chart: Chart) -> str:
    """Return a plot as an SVG element that takes text colour and font from the page around it."""
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    out = io.StringIO()
    with rc_context(_RC | dict.fromkeys(inked, _TEXT)):
        figure = Figure(figsize=(_WIDTH, chart.height), layout="constrained")
        chart.draw(figure.add_subplot())
        figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    text = out.getvalue()
    return _ADDRESS.sub("", text[text.index("<svg") :]).replace(_TEXT, "currentColor")


def png(report: Report) -> bytes:
    """Return the report as one picture for a chat: what came out in words, and the plots in two columns."""
    found = charts(report)
    rows = [found[index : index + 2] for index in range(0, len(found), 2)]
    heights = [max(chart.height for chart in row) + _TITLE for row in rows]
    with rc_context(_RC):
        height = _head_height(report) + sum(heights)
        figure = Figure(figsize=(2 * _WIDTH, height))
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.12)
        ratios = [_head_height(report), *heights]
        parts = np.ravel(figure.subfigures(len(ratios), 1, squeeze=False, height_ratios=ratios)).tolist()
        _write_head(parts[0], report)
        for part, row in zip(parts[1:], rows, strict=True):
            _draw_row(part, row)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    return out.getvalue()


def _head_height(report: Report) -> float:
    return 0.75 + 0.18 * len(verdict_sentence(report).splitlines())


def _write_head(part: Any, report: Report) -> None:
    part.text(0.02, 0.95, f"{report['namespace']}/{report['model']}", fontsize=14, fontweight="bold", va="top")
    part.text(0.02, 0.95, f"\n\n{headline(report)}\n{verdict_sentence(report)}", fontsize=9, va="top", linespacing=1.4)


def _draw_row(part: Any, row: Sequence[Chart]) -> None:
    axes = part.subplots(1, 2)
    for at, chart in zip(axes, row, strict=False):
        chart.draw(at)
        at.set_title(chart.title, loc="left", fontsize=10, fontweight="bold", pad=18)
    for empty in axes[len(row) :]:
        empty.set_axis_off()
