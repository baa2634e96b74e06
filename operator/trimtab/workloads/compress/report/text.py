"""The sentences that are made of a report."""

from __future__ import annotations

import textwrap
from typing import Any

from trimtab.api.quantities import human_bytes


def size_sentence(report: dict[str, Any]) -> str:
    """Return `960.6 KiB → 82.0 KiB (11.7x smaller)`."""
    before, after = report["source"]["bytes"], report["bytes"]
    return f"{human_bytes(before)} → {human_bytes(after)} ({_times(before, after, 'smaller', 'larger')})"


def headline(report: dict[str, Any]) -> str:
    """Return size and latency in one line."""
    size = size_sentence(report)
    if not report["latencyMs"]:
        return size
    before, after = float(report["sourceLatencyMs"]), float(report["latencyMs"])
    return f"{size}; {before:.3g} ms → {after:.3g} ms ({_times(before, after, 'faster', 'slower')})"


def verdict_sentence(report: dict[str, Any], width: int = 110) -> str:
    """Return the verdict with its message, wrapped to `width` characters."""
    guardrail = report["guardrail"]
    if not guardrail:
        return "Guardrail disabled: nothing was proven."
    return textwrap.fill(f"{guardrail['verdict']}: {guardrail['message']}", width)


def _times(before: float, after: float, better: str, worse: str) -> str:
    ratio = before / after if after else 1.0
    return f"{ratio:.1f}x {better}" if ratio >= 1 else f"{1 / ratio:.1f}x {worse}"


def as_text(report: dict[str, Any]) -> str:
    """Return a report for a terminal."""
    lines = [f"{report['namespace']}/{report['model']}  {report['key']}", f"  size       {size_sentence(report)}"]
    if report["latencyMs"]:
        lines.append(f"  latency    {report['sourceLatencyMs']} ms → {report['latencyMs']} ms (median, one sample)")
    guardrail = report["guardrail"]
    if guardrail:
        lines.append(f"  guardrail  {guardrail['verdict']}: {guardrail['message']}")
    else:
        lines.append("  guardrail  disabled")
    for index, step in enumerate(report["steps"], start=1):
        lines.append(f"  step {index}     {step['title']}: {facts_sentence(step['facts'])}")
    lines += [f"  warning    {warning}" for warning in report["warnings"]]
    environment = report["environment"]
    lines.append(f"  measured   on {environment['cpu']}, {environment['threads']} threads")
    return "\n".join(lines)


def facts_sentence(facts: dict[str, Any]) -> str:
    """Return `epochs 15, samples 997`, camelCase names spelled as words."""
    return ", ".join(f"{_words(name)} {_value(value)}" for name, value in facts.items() if value not in ([], None))


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
