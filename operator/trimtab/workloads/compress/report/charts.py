"""The report's plots, each drawn on given axes from report.json alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from trimtab.api.quantities import human_bytes

Report = dict[str, Any]
INK = "#6a7381"  # readable on white and on black
BEFORE, AFTER, LIMIT = "#8c959f", "#2f81d6", "#d1444b"
_VERDICT = {"Passed": "#2da44e", "Failed": LIMIT, "Inconclusive": "#bf8700"}
_CLASSES = (
    "#2f81d6",
    "#d1444b",
    "#2da44e",
    "#bf8700",
    "#8250df",
    "#1b9e9e",
    "#d6608a",
    "#7d6b5d",
    "#8c959f",
    "#e07b39",
)
_LAYERS = 16  # of the most sensitive; the rest is told by their number
_NAME = 30  # characters of a layer's name that fit


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot and the room that it needs."""

    title: str
    height: float
    """In inches, at the width of a phone."""
    draw: Callable[[Axes], None]
    note: str = ""
    """What it shows, in a sentence."""


def charts(report: Report) -> list[Chart]:
    """Return the plots that a report has the numbers for, in reading order."""
    pairs = [*_of_guardrail(report), *_of_latency(report), *_of_confusion(report), *_of_projection(report)]
    rest = [*_of_errors(report), *_of_sizes(report), *_of_search(report), *_of_sensitivity(report)]
    return [*pairs, *_of_neighbours(report), *rest]


def _of_guardrail(report: Report) -> list[Chart]:
    guardrail = report["guardrail"]
    if not guardrail:
        return []
    note = f"Dot and bar: the drop and its {guardrail['confidence']} interval; right is worse."
    return [Chart("Guardrail", 1.5, lambda axes: _interval(axes, guardrail, report["maxDrop"]), note)]


def _interval(axes: Axes, guardrail: dict[str, Any], max_drop: str) -> None:
    scale = 100.0
    low, high, drop, limit = (float(guardrail[name]) * scale for name in ("lower", "upper", "drop", "limit"))
    colour = _VERDICT[guardrail["verdict"]]
    axes.hlines(0, low, high, colors=colour, linewidth=4)
    axes.plot([drop], [0], "o", color=colour, markersize=8)
    axes.axvline(0, color=BEFORE, linewidth=1)
    axes.axvline(limit, color=LIMIT, linestyle="--", linewidth=1)
    left, right = min(low, 0.0, limit), max(high, 0.0, limit)
    room = (right - left or 1.0) * 0.12
    side = "right" if limit > (left + right) / 2 else "left"
    axes.annotate(
        f"limit {max_drop}",
        (limit, 0.62),
        color=LIMIT,
        ha=side,
        xytext=(-4 if side == "right" else 4, 0),
        textcoords="offset points",
    )
    axes.set(xlim=(left - room, right + room), ylim=(-1, 1.1), yticks=[])
    axes.set_xlabel("drop, " + ("% of the original" if _is_relative(max_drop) else "percentage points"))
    axes.spines[["left"]].set_visible(False)


def _is_relative(max_drop: str) -> bool:
    return max_drop.endswith("%")


def _of_latency(report: Report) -> list[Chart]:
    times = report["latencies"]
    if not times:
        return []
    note = "Share of single-sample requests that were answered within a time; both models were asked in turns."
    return [Chart("Latency", 2.6, lambda axes: _latency(axes, times), note)]


def _latency(axes: Axes, times: dict[str, list[float]]) -> None:
    for name, colour, label in (("baseline", BEFORE, "before"), ("candidate", AFTER, "after")):
        values = np.sort(times[name])
        shares = np.arange(1, len(values) + 1) / len(values) * 100
        axes.step(values, shares, where="post", color=colour, linewidth=2, label=f"{label} {np.median(values):.3g} ms")
    every = np.concatenate([times["baseline"], times["candidate"]])
    low, high = float(every.min()), float(np.quantile(every, 0.99))
    room = (high - low or 1.0) * 0.05
    axes.set(xlim=(max(low - room, 0.0), high + room), ylim=(0, 101), xlabel="ms", ylabel="% of requests")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _legend(axes)


def _of_search(report: Report) -> list[Chart]:
    search = report.get("search")
    trials = [trial for trial in (search or {}).get("trials", []) if _is_placed(trial)]
    if not search or not trials:
        return []
    note = "Every recipe that was tried: left is faster, down is more accurate, area is size; the line is the front."
    return [Chart("Search", 3.2, lambda axes: _pareto(axes, search), note)]


def _is_placed(trial: dict[str, Any]) -> bool:
    return trial.get("ratio") is not None and trial.get("drop") is not None


def _pareto(axes: Axes, search: dict[str, Any]) -> None:
    trials = search["trials"]
    largest = max(float(trial.get("bytes") or 0) for trial in trials) or 1.0
    for feasible, colour, label in ((True, AFTER, "within the guardrail"), (False, BEFORE, "beyond")):
        some = [trial for trial in trials if _is_placed(trial) and bool(trial.get("feasible")) is feasible]
        if some:
            sizes = [20 + 160 * float(trial.get("bytes") or 0) / largest for trial in some]
            axes.scatter(*_places(some), s=sizes, color=colour, alpha=0.6, linewidths=0)
            axes.scatter([], [], s=30, color=colour, alpha=0.6, linewidths=0, label=label)
    front = sorted((trials[index] for index in search.get("front", []) if _is_placed(trials[index])), key=_ratio_of)
    if len(front) > 1:
        axes.plot(*_places(front), color=INK, linewidth=1, linestyle=":")
    chosen = search.get("chosen")
    axes.margins(0.12)
    if isinstance(chosen, int) and _is_placed(trials[chosen]):
        axes.scatter(*_places([trials[chosen]]), s=110, marker="*", color=_VERDICT["Passed"], label="chosen", zorder=3)
    axes.axvline(1, color=BEFORE, linewidth=1)
    axes.set(xlabel="latency, in the original's in this engine", ylabel="drop, percentage points")
    _legend(axes)


def _places(trials: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [_ratio_of(trial) for trial in trials], [float(trial["drop"]) * 100 for trial in trials]


def _ratio_of(trial: dict[str, Any]) -> float:
    return float(trial["ratio"])


def _of_confusion(report: Report) -> list[Chart]:
    confusion = (report["evidence"] or {}).get("confusion")
    if not confusion:
        return []
    classes = len(confusion["classes"])
    some = "" if confusion["of"] == classes else f" The {classes} of {confusion['of']} classes most often mistaken."
    note = f"Rows are labels, columns are answers; colour counts mistakes.{some}"
    height = 1.1 + 0.28 * classes
    return [Chart(f"Confusion {when}", height, _confusion_of(confusion, name), note) for name, when in _WHEN.items()]


def _of_projection(report: Report) -> list[Chart]:
    projection = (report["evidence"] or {}).get("projection")
    if not projection:
        return []
    note = (
        "Outputs of the same samples on the two main axes of the original's "
        f"({sum(projection['explained']):.0%} of its variance){', coloured by label' if projection['groups'] else ''}."
    )
    return [Chart(f"Outputs {when}", 3.2, _points_of(projection, name), note) for name, when in _WHEN.items()]


def _of_neighbours(report: Report) -> list[Chart]:
    places = (report["evidence"] or {}).get("neighbours")
    if not places:
        return []
    coloured = ", coloured by label" if places["groups"] else ""
    note = f"The same samples by t-SNE: near is alike, and a place means the same in both pictures{coloured}."
    return [Chart(f"Neighbours {when}", 3.2, _points_of(places, name), note) for name, when in _WHEN.items()]


def _of_errors(report: Report) -> list[Chart]:
    errors = (report["evidence"] or {}).get("errors")
    if not errors:
        return []
    return [Chart("Errors", 2.6, lambda axes: _errors(axes, errors), f"Samples by {errors['what']}.")]


def _of_sizes(report: Report) -> list[Chart]:
    after = [(step["title"], step["facts"].get("bytesAfter")) for step in report["steps"]]
    if not after or not all(size for _, size in after):
        return []
    bars = [("original", report["source"]["bytes"]), *after, ("as delivered", report["bytes"])]
    note = "The model after each step: its weights while it is a network, its file then; pale is what the step took."
    return [Chart("Size by step", 0.8 + 0.3 * len(bars), lambda axes: _waterfall(axes, bars), note)]


def _waterfall(axes: Axes, bars: list[tuple[str, int]]) -> None:
    places = list(range(len(bars)))[::-1]
    sizes = [size for _, size in bars]
    before = [sizes[0], *sizes[:-1]]
    colours = [BEFORE, *[AFTER] * (len(bars) - 2), _VERDICT["Passed"]]
    axes.barh(places, [max(one - other, 0) for one, other in zip(before, sizes, strict=True)], left=sizes,
              color=AFTER, alpha=0.25, height=0.6)  # fmt: skip
    axes.barh(places, sizes, color=colours, height=0.6)
    for place, one, size in zip(places, before, sizes, strict=True):
        axes.annotate(human_bytes(size), (max(one, size), place), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=7)  # fmt: skip
    axes.set_yticks(places, [_shortened(name) for name, _ in bars])
    axes.set(xticks=[], xlim=(0, max(sizes) * 1.22))
    axes.spines[["bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


_WHEN = {"baseline": "before", "candidate": "after"}


def _confusion_of(confusion: dict[str, Any], name: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        counts = np.array(confusion[name])
        mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
        most = max(int(np.array(confusion[which])[~np.eye(len(counts), dtype=bool)].max(initial=1)) for which in _WHEN)
        shades = np.zeros((*counts.shape, 4))
        shades[..., :3] = [0.82, 0.27, 0.29]
        shades[..., 3] = 0.85 * np.sqrt(mistakes / most)
        axes.imshow(shades, aspect="auto", interpolation="nearest")
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=7)
        ticks = list(range(len(counts)))
        axes.set_xticks(ticks, confusion["classes"])
        axes.set_yticks(ticks, confusion["classes"])
        axes.set(xlabel="answer", ylabel="label")
        axes.tick_params(length=0)

    return draw


def _errors(axes: Axes, errors: dict[str, Any]) -> None:
    for name, colour in (("baseline", BEFORE), ("candidate", AFTER)):
        if name in errors:
            axes.stairs(
                errors[name], errors["edges"], color=colour, linewidth=2, fill=name == "candidate", alpha=0.7,
                label=_WHEN[name],
            )  # fmt: skip
    axes.set(xlabel=errors["what"], ylabel="samples")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _legend(axes)


def _points_of(projection: dict[str, Any], name: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        places = np.array(projection[name])
        groups = projection["groups"]
        colours = AFTER if groups is None else [_CLASSES[group % len(_CLASSES)] for group in groups]
        axes.scatter(places[:, 0], places[:, 1], s=9, c=colours, alpha=0.75, linewidths=0)
        every = np.concatenate([projection["baseline"], projection["candidate"]])
        (left, bottom), (right, top) = every.min(axis=0), every.max(axis=0)
        across, up = ((right - left) or 1.0) * 0.05, ((top - bottom) or 1.0) * 0.05
        axes.set(xlim=(left - across, right + across), ylim=(bottom - up, top + up), xlabel="axis 1", ylabel="axis 2")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))

    return draw


def _of_sensitivity(report: Report) -> list[Chart]:
    found = []
    for step in report["steps"]:
        ranking = step["facts"].get("sensitivity")
        if not ranking:
            continue
        worst = sorted(ranking, key=lambda pair: -float(pair[1]))[:_LAYERS]
        rest = f" The {len(worst)} most sensitive of {len(ranking)}." if len(ranking) > len(worst) else ""
        note = f"How far the outputs move when this layer alone is changed by the step.{rest}"
        title = f"Sensitivity: {step['title']}"
        found.append(Chart(title, 0.8 + 0.21 * len(worst), _bars_of(worst), note))
    return found


def _bars_of(ranking: list[tuple[str, float]]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        places = list(range(len(ranking)))[::-1]
        axes.barh(places, [float(value) for _, value in ranking], color=AFTER, height=0.65)
        axes.set_yticks(places, [_shortened(str(name)) for name, _ in ranking])
        axes.set(xlabel="change of the outputs", ylim=(-0.6, len(ranking) - 0.4))
        axes.tick_params(axis="y", length=0, labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(4))

    return draw


def _shortened(layer: str) -> str:
    """Return a name that fits; layers differ at the end of their names."""
    return layer if len(layer) <= _NAME else f"…{layer[1 - _NAME :]}"


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), frameon=False, ncols=3, borderaxespad=0.1, columnspacing=1
    )
