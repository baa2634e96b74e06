"""report.html: the report on one page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

from trimtab.workloads.compress.report.text import facts_sentence, size_sentence

_COLOURS = {"Passed": "#1a7f37", "Failed": "#cf222e", "Inconclusive": "#9a6700"}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d1d9e0;vertical-align:top}
th{font-weight:600;white-space:nowrap}code{font-size:.85em;word-break:break-all}svg{width:100%;height:auto}
.verdict{font-weight:600}
"""
_WIDTH, _MARGIN = 640, 40


def page(report: dict[str, Any]) -> str:
    """Return a self-contained HTML document; everything that came from outside is escaped."""
    title = f"{report['namespace']}/{report['model']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(size_sentence(report))}{escape(_latency(report))}</p>",
        _guardrail(report["guardrail"]),
        _steps(report["steps"]),
        _warnings(report["warnings"]),
        _origin(report),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>"
    )


def interval_svg(lower: float, upper: float, drop: float, limit: float, colour: str) -> str:
    """Draw the drop's interval against zero and the limit, all in shares of 1."""
    low, high = min(lower, 0.0), max(upper, limit, 0.0)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return _MARGIN + (value - low) / span * (_WIDTH - 2 * _MARGIN)

    def mark(value: float, label: str, stroke: str) -> str:
        return (
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="14" y2="62" stroke="{stroke}" stroke-dasharray="4 3"/>'
            f'<text x="{x(value):.1f}" y="78" text-anchor="middle" font-size="12">{label}</text>'
        )

    return (
        f'<svg viewBox="0 0 {_WIDTH} 84" role="img" aria-label="interval of the drop">'
        f"{mark(0.0, 'no change', '#59636e')}{mark(limit, f'limit {limit * 100:.2g}pp', '#cf222e')}"
        f'<line x1="{x(lower):.1f}" x2="{x(upper):.1f}" y1="38" y2="38" stroke="{colour}" stroke-width="6"/>'
        f'<circle cx="{x(drop):.1f}" cy="38" r="7" fill="{colour}"/></svg>'
    )


def _latency(report: dict[str, Any]) -> str:
    if not report["latencyMs"]:
        return ""
    return f"; {report['sourceLatencyMs']} ms → {report['latencyMs']} ms for one sample"


def _guardrail(guardrail: dict[str, Any] | None) -> str:
    if guardrail is None:
        return "<h2>Guardrail</h2><p>Disabled: nothing was proven.</p>"
    colour = _COLOURS[guardrail["verdict"]]
    lower, upper, drop, limit = (float(guardrail[name]) for name in ("lower", "upper", "drop", "limit"))
    return (
        f'<h2>Guardrail</h2><p><span class="verdict" style="color:{colour}">{guardrail["verdict"]}</span>: '
        f"{escape(guardrail['message'])}</p>{interval_svg(lower, upper, drop, limit, colour)}"
        f"<p>Accuracy {float(guardrail['baseline']):.2%} before, {float(guardrail['candidate']):.2%} after, on "
        f"the same {guardrail['samples']:,} samples, both in the engine that serves.</p>"
    )


def _steps(steps: list[dict[str, Any]]) -> str:
    if not steps:
        return "<h2>Steps</h2><p>Export only.</p>"
    rows = [f"<tr><th>{escape(s['title'])}</th><td>{escape(facts_sentence(s['facts']))}</td></tr>" for s in steps]
    return f"<h2>Steps</h2><table>{''.join(rows)}</table>"


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    return f"<h2>Warnings</h2><ul>{''.join(f'<li>{escape(warning)}</li>' for warning in warnings)}</ul>"


def _origin(report: dict[str, Any]) -> str:
    environment = report["environment"]
    libraries = ", ".join(f"{name} {version}" for name, version in environment["libraries"].items())
    rows = {
        "Source": f"{report['source']['uri']} ({report['source']['digest']})",
        **{f"Data {uri}": digest for uri, digest in report["data"].items()},
        "Key": report["key"],
        "Machine": f"{environment['cpu']}, {environment['threads']} threads, "
        f"{'with' if environment['vnni'] else 'without'} VNNI",
        "Libraries": libraries,
    }
    cells = [f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>" for name, value in rows.items()]
    return f"<h2>Made from</h2><table>{''.join(cells)}</table>"
