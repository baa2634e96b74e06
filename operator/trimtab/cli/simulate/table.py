"""What a comparison says, for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trimtab.api.quantities import counted
from trimtab.cli.simulate.experiment import Mean, Result
from trimtab.cli.simulate.replay import Case

_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_HEADER = ("policy", "cost", "x bound", "too few", "requests above", "launches/d", "turns/h", "spot")


def as_text(results: Sequence[Result], heading: str) -> str:
    """Return the table. Cost is a share of the peak's replicas on demand all day."""
    rows = [_HEADER, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([heading, "", lines[0], "-" * len(lines[0]), *lines[1:], "", _LEGEND])


_LEGEND = (
    "cost: share of what the peak's replicas on demand would cost all the time\n"
    "x bound: times what a clairvoyant pays at least\n"
    "too few: share of the time with fewer ready replicas than needed\n"
    "requests above: share of the requests that arrived above what the ready replicas take at once\n"
    "Each with half of its 95 % interval over the stretches."
)


def _row(result: Result) -> tuple[str, ...]:
    return (
        result.policy,
        _with_half(result.cost, 1, 3),
        _with_half(result.over_bound, 1, 2),
        _with_half(result.unavailable, 100, 3) + " %",
        _with_half(result.overload, 100, 4) + " %",
        f"{result.launches_per_day.value:.0f}",
        f"{result.turns_per_hour.value:.1f}",
        f"{result.spot_share.value:.0%}",
    )


def _with_half(mean: Mean, factor: float, digits: int) -> str:
    if math.isnan(mean.value):
        return "-"
    if math.isinf(mean.half):
        return f"{mean.value * factor:.{digits}f}"
    return f"{mean.value * factor:.{digits}f}±{mean.half * factor:.{digits}f}"


def traces_told(case: Case) -> list[str]:
    """Return what the traces are, a line each, so that one that was misread is noticed."""
    supply, demand = case.supply, case.demand
    every = [sum(at) for at in zip(*supply.counts.values(), strict=True)]
    lines = [f"spot: {lasting(supply.length_s)}, {min(every)} to {counted(max(every), 'node')}"]
    if case.fixed is None:
        mean, most = sum(demand.rates) / len(demand.rates), max(demand.rates)
        missing = f"; no line for {lasting(demand.missing_s)}" if demand.missing_s else ""
        lines.append(f"requests: {lasting(demand.length_s)}, {mean:,.4g} a second, {most:,.4g} at the most{missing}")
    if case.fixed is None and supply.length_s != demand.length_s:
        lines[supply.length_s > demand.length_s] += ", again and again"
    return lines


def lasting(seconds: float) -> str:
    """Return a time in the largest unit that it has two of."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"
