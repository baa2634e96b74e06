"""What was found, as Markdown for docs/benchmarks.md."""

from __future__ import annotations

import statistics
from typing import Any

OURS = "trimtab"


def document(parts: dict[str, dict[str, Any]]) -> str:
    return "\n\n".join(f"#### {name}\n\n{_said(part)}\n\n{_table(part['rows'])}" for name, part in parts.items())


def _said(part: dict[str, Any]) -> str:
    return (
        f"{part['answers']:,} answers compared, {part['wrong']} wrong; the client was busy for at most "
        f"{part['client']:.0%} of the time."
    )


def _table(rows: dict[str, dict[str, list[float]]]) -> str:
    """Medians of the rounds; in brackets our value divided by the server's, so many times."""
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for row, found in rows.items():
        lines.append(f"| {row} | " + " | ".join(_cell(found, name) for name in names) + " |")
    return "\n".join(lines)


def _cell(found: dict[str, list[float]], name: str) -> str:
    if name not in found:
        return "–"
    value = statistics.median(found[name])
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    if name == OURS or OURS not in found or not value:
        return shown
    return f"{shown} ({statistics.median(found[OURS]) / value:.3g})"
