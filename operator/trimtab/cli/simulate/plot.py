"""Curves of one stretch: what was needed, what each policy had, and what it paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from trimtab.cli.simulate.replay import Point

INK, NEEDED, ON_DEMAND, SPOT = "#6a7381", "#d1444b", "#8c959f", "#2f81d6"


def draw(curves: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Write a PNG or SVG: a panel of replicas per policy over time, and the running cost of all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.2 * (len(curves) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(curves) + 1, 1, sharex=True)
    for panel, (name, points) in zip(panels, curves.items(), strict=False):
        hours = [point.at / 3600 for point in points]
        panel.stackplot(
            hours,
            [point.on_demand for point in points],
            [point.spot for point in points],
            labels=["on demand", "spot"],
            colors=[ON_DEMAND, SPOT],
            step="post",
            alpha=0.75,
        )
        panel.step(hours, [point.needed for point in points], where="post", color=NEEDED, lw=0.8, label="needed")
        missing = [point.ready < point.needed for point in points]
        panel.fill_between(
            hours, 0, 1, where=missing, transform=panel.get_xaxis_transform(), color=NEEDED, alpha=0.25, label="too few"
        )
        panel.set_title(name, fontsize=9, loc="left")
        panel.set_ylabel("replicas", fontsize=8)
    panels[0].legend(fontsize=7, ncols=4, loc="upper right")
    last = panels[-1]
    for name, points in curves.items():
        spent, total = [], 0.0
        for before, after in pairwise(points):
            total += before.per_hour * (after.at - before.at) / 3600
            spent.append(total)
        last.plot([point.at / 3600 for point in points[1:]], spent, label=name, lw=1.2)
    last.set_title("cost so far", fontsize=9, loc="left")
    last.set_xlabel("hours", fontsize=8)
    last.legend(fontsize=7)
    for panel in panels:
        panel.tick_params(labelsize=7, colors=INK)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
