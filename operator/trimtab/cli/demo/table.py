"""The table that the demo ends with."""

from __future__ import annotations

import math
from typing import NamedTuple

from rich.table import Table

from trimtab.api.quantities import human_bytes
from trimtab.cli.demo.timeline import Outcome, average_cost


class Row(NamedTuple):
    """One line: what, before, after, and what that means."""

    what: str
    before: str
    after: str
    note: str


def rows(outcome: Outcome) -> tuple[Row, ...]:
    """Return the table's lines."""
    proof, requests, peak = outcome.proof, outcome.requests, outcome.peak
    cost, alternative = average_cost(outcome.samples)
    answered = max(1, requests.sent - requests.failed)
    return (
        Row(
            "model size",
            human_bytes(proof.bytes_before),
            human_bytes(proof.bytes_after),
            f"{proof.bytes_before / max(1, proof.bytes_after):.1f} times smaller",
        ),
        Row(
            "accuracy",
            f"{proof.accuracy_before:.2%}",
            f"{proof.accuracy_after:.2%}",
            f"drop {proof.drop * 100:.2f}pp ({proof.confidence} interval {proof.lower * 100:.2f}.."
            f"{proof.upper * 100:.2f}pp, n={proof.samples}), limit {proof.limit * 100:g}pp: {proof.verdict}",
        ),
        Row("one inference", *_latency(proof.latency_before_ms, proof.latency_after_ms)),
        Row(
            "requests",
            "",
            f"{requests.sent:,}",
            f"{requests.failed:,} failed, p95 {requests.p95_ms:.1f} ms, {requests.right / answered:.2%} answered right",
        ),
        Row(
            "replicas",
            "",
            f"{peak.ready}",
            f"at the peak: {peak.on_demand} on demand, {peak.spot} on spot; {outcome.interruptions} interruption(s)",
        ),
        Row("cost per hour", f"{alternative:.3f}", f"{cost:.3f}", f"{_saved(alternative, cost)} than all on demand"),
    )


def _latency(before: float, after: float) -> tuple[str, str, str]:
    if math.isnan(before) or math.isnan(after):
        return "", "", "not measured"
    return f"{before:.3f} ms", f"{after:.3f} ms", f"{before / max(after, 1e-9):.1f} times as fast"


def _saved(alternative: float, cost: float) -> str:
    if alternative <= 0:
        return "no more"
    share = 1 - cost / alternative
    return f"{share:.0%} less" if share >= 0 else f"{-share:.0%} more"


def table(outcome: Outcome) -> Table:
    """Return the table for a terminal or a log."""
    drawn = Table(show_edge=False, pad_edge=False, header_style="bold")
    drawn.add_column("")
    drawn.add_column("before", justify="right")
    drawn.add_column("after", justify="right")
    drawn.add_column("", overflow="fold")
    for row in rows(outcome):
        drawn.add_row(row.what, row.before, row.after, row.note)
    return drawn
