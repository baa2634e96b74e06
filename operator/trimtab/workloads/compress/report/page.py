"""report.html: the report on one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from trimtab.api.guardrail import Metric
from trimtab.api.quantities import human_bytes
from trimtab.workloads.compress.report.charts import Chart, charts
from trimtab.workloads.compress.report.gaps import unmeasured
from trimtab.workloads.compress.report.rendering import svg
from trimtab.workloads.compress.report.text import facts_sentence, headline

Report = dict[str, Any]
_STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--back:#fff;--line:#d1d9e0;--soft:#59636e}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--back:#0d1117;--line:#3d444d;--soft:#9198a1}}
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:1.5rem auto;padding:0 1rem;color:var(--ink)}
body{background:var(--back);overflow-wrap:break-word}code,li{overflow-wrap:anywhere}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .4rem;vertical-align:top}
td,th{border-bottom:1px solid var(--line)}th{font-weight:600}
.figures td{font-variant-numeric:tabular-nums;white-space:nowrap}small,.note{color:var(--soft);font-size:.8rem}
td small,th small{display:block;font-weight:400}
code,pre{font-size:.85em}pre{border:1px solid var(--line);border-radius:6px;padding:.7rem;overflow-x:auto}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 2rem}
figure{margin:0}figure h2{margin-bottom:0}svg{width:100%;height:auto}
svg text{font-family:system-ui,sans-serif!important}
.note{margin:.1rem 0}
.Passed,.Failed,.Inconclusive,.Disabled{display:inline-block;border-radius:1em;padding:0 .7em;color:#fff}
.Passed{background:#1a7f37}.Failed{background:#cf222e}.Inconclusive{background:#9a6700}.Disabled{background:#59636e}
"""


def page(report: Report) -> str:
    """Return a self-contained HTML document; everything that came from outside is escaped."""
    title = f"{report['namespace']}/{report['model']}"
    parts = [
        f"<h1>{escape(title)}</h1><p>{escape(headline(report))}</p>",
        _verdict(report["guardrail"]),
        _table(report),
        _warnings(report["warnings"]),
        _charts(charts(report)),
        _steps(report["steps"]),
        _recipe(report),
        _gaps(report),
        _origin(report),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><title>{escape(title)}</title><style>{_STYLE}</style><body>{"".join(parts)}</body></html>'
    )


def _verdict(guardrail: dict[str, Any] | None) -> str:
    if guardrail is None:
        return '<p><span class="Disabled">Guardrail disabled</span> Nothing was proven.</p>'
    verdict = escape(guardrail["verdict"])
    return f'<p><span class="{verdict}">{verdict}</span> {escape(guardrail["message"])}</p>'


def _table(report: Report) -> str:
    sizes = human_bytes(report["source"]["bytes"]), human_bytes(report["bytes"])
    rows = [_row("Size", sizes), *_latency(report), *_score(report)]
    head = "<tr><th></th><th>before</th><th>after</th></tr>"
    return f'<table class="figures">{head}{"".join(rows)}</table>'


def _row(what: str, values: Sequence[str], note: str = "", ranges: Sequence[str] = ("", "")) -> str:
    """Return a row with a value before and after, each with its range below."""
    cells = [f"<td>{escape(value)}{_small(told)}</td>" for value, told in zip(values, ranges, strict=True)]
    return f"<tr><th>{escape(what)}{_small(note)}</th>{''.join(cells)}</tr>"


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>" if text else ""


def _latency(report: Report) -> list[str]:
    times = report["latencies"]
    if not times:
        return []
    pair = [times["baseline"], times["candidate"]]
    medians = [f"{np.median(one):.3g} ms" for one in pair]
    ranges = ["{:.3g}..{:.3g} ms".format(*np.quantile(one, [0.05, 0.95])) for one in pair]
    return [_row("Latency", medians, "one sample; median, 5..95 % of requests", ranges)]


def _score(report: Report) -> list[str]:
    guardrail = report["guardrail"]
    if not guardrail:
        return []
    metric = Metric(guardrail["metric"])
    scores = [_told(float(guardrail[name]), metric) for name in ("baseline", "candidate")]
    found = (report["evidence"] or {}).get("scores")
    ranges = [_range(found[name], metric) for name in ("baseline", "candidate")] if found else ["", ""]
    note = f"{guardrail['samples']:,} samples, {guardrail['confidence']} interval"
    return [_row(metric.noun[:1].upper() + metric.noun[1:], scores, note, ranges)]


def _told(score: float, metric: Metric) -> str:
    return f"{score:.4g}" if metric.is_error else f"{score * 100:.2f} %"


def _range(ends: Sequence[float], metric: Metric) -> str:
    low, high = (_told(end, metric) for end in ends)
    return f"{low.removesuffix(' %')}..{high}"


def _charts(found: list[Chart]) -> str:
    figures = [
        f'<figure><h2>{escape(chart.title)}</h2><p class="note">{escape(chart.note)}</p>{svg(chart)}</figure>'
        for chart in found
    ]
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _steps(steps: list[dict[str, Any]]) -> str:
    if not steps:
        return "<h2>Steps</h2><p>Export only.</p>"
    rows = [
        f"<tr><th>{escape(step['title'])}</th><td>{escape(facts_sentence(_without_ranking(step['facts'])))}</td></tr>"
        for step in steps
    ]
    return f"<h2>Steps</h2><table>{''.join(rows)}</table>"


def _without_ranking(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is drawn."""
    return {name: value for name, value in facts.items() if name != "sensitivity"}


def _recipe(report: Report) -> str:
    chosen = (report.get("search") or {}).get("steps") or report["recipeYaml"]
    why = "".join(f"<li>{escape(reason)}</li>" for reason in report.get("why") or ())
    because = f"<p>Why these steps:</p><ul>{why}</ul>" if why else ""
    note = "<p class=note>As spec.compression.steps.</p>"
    return f"<h2>Recipe</h2>{because}{note}<pre>{escape(chosen.strip())}</pre>"


def _warnings(warnings: Iterable[str]) -> str:
    told = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f"<h2>Warnings</h2><ul>{told}</ul>" if told else ""


def _gaps(report: Report) -> str:
    told = "".join(f"<li>{escape(sentence)}</li>" for sentence in unmeasured(report))
    return f"<h2>Not measured</h2><ul>{told}</ul>"


def _origin(report: Report) -> str:
    environment = report["environment"]
    libraries = ", ".join(f"{name} {version}" for name, version in environment["libraries"].items())
    rows = [
        ("Source", f"{report['source']['uri']} {report['source']['digest']}"),
        *((f"Data {uri}", digest) for uri, digest in report["data"].items()),
        ("Key", report["key"]),
        ("Seeds", ", ".join(map(str, report["seeds"])) or "none: nothing is drawn"),
        ("CPU", f"{environment['cpu']}, {environment['threads']} threads, {_with_vnni(environment)}"),
        ("Versions", f"trimtab {environment['trimtab']}, {libraries}"),
    ]
    cells = [f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>" for name, value in rows]
    return f'<h2>Made from</h2><table class="origin">{"".join(cells)}</table>'


def _with_vnni(environment: dict[str, Any]) -> str:
    return f"{'with' if environment['vnni'] else 'without'} VNNI"
