"""What was found, as Markdown for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
OURS = "ours-"
LIMIT = 0.01
METRICS = {"batch 1": "latency_1", "batch 32": "latency_32", "size": "bytes"}
COLUMNS = (
    *("variant", "batch 1, ms (× eager)", "batch 32, ms (× eager)", "size, MB (× eager)"),
    *("accuracy (drop, 95% interval)", "coverage", "to make"),
)


def document(results: dict[str, Any]) -> str:
    parts = [_machine(results["machine"]), _summary(results["models"])]
    for name, model in results["models"].items():
        parts += [f"### {name}", _table(model["variants"])]
    return "\n\n".join(parts) + "\n"


def best(rows: list[Row], metric: str, *, ours: bool) -> Row | None:
    """Return the best variant of ours, or of everybody else's, among those that lost no more than is allowed."""
    found = [
        row for row in rows if row["variant"].startswith(OURS) is ours and metric in row and row["drop"] <= LIMIT + 1e-9
    ]
    return min(found, key=lambda row: float(row[metric]), default=None)


def _machine(machine: dict[str, Any]) -> str:
    versions = [f"{name} {version}" for name, version in machine["versions"].items()]
    versions += [packages[0].replace("==", " ") for packages in machine["environments"].values()]
    vnni = "with" if machine["vnni"] else "without"
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"{machine['cpu']} {vnni} VNNI, {threads}, {machine['rounds']} rounds; {', '.join(versions)}."


def _summary(models: dict[str, Any]) -> str:
    """Our best and the best of the others, by metric: a factor above 1 says that ours is faster or smaller."""
    lines = ["| model | " + " | ".join(METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for name, model in models.items():
        cells = [_duel(model["variants"], metric) for metric in METRICS.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _duel(rows: list[Row], metric: str) -> str:
    mine, other = best(rows, metric, ours=True), best(rows, metric, ours=False)
    if mine is None or other is None:
        return "–"
    return f"{other[metric] / mine[metric]:.2f}× ({mine['variant'].removeprefix(OURS)} : {other['variant']})"


def _table(rows: list[Row]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * (len(COLUMNS) - 1)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def _cells(row: Row) -> Iterator[str]:
    yield row["variant"]
    if "error" in row:
        yield f"failed: {row['error'].replace('|', '/')[:120]}"
        yield from [""] * (len(COLUMNS) - 2)
        return
    for batch in (1, 32):
        if f"latency_{batch}" not in row:
            yield "–"
            continue
        noisy = "*" if row[f"iqr_{batch}"] > 0.15 * row[f"ratio_{batch}"] else ""
        yield f"{row[f'latency_{batch}'] * 1000:.3g} ({row[f'ratio_{batch}']:.3f}{noisy})"
    yield f"{row['bytes'] / 1e6:.2f} ({row['size_ratio']:.2f})"
    points = ", ".join(f"{row[name] * 100:+.1f}" for name in ("lower", "upper"))
    yield f"{row['accuracy'] * 100:.1f} ({row['drop'] * 100:+.1f}, [{points}])"
    yield "–" if row["coverage"] is None else f"{row['coverage'] * 100:.0f}%"
    yield f"{row['seconds']:.0f} s"
