"""What a report does not know: a reader shall not take silence for good news."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trimtab.workloads.compress.search.timing import THROUGHPUT_BATCH

_ALWAYS = (
    "Memory, start-up time and energy.",
    "Samples unlike those of the guardrail's data set, and groups among them: one score stands for all.",
)


def unmeasured(report: dict[str, Any]) -> list[str]:
    """Return what was not measured in this run, each a sentence."""
    return [*_told(report), *_ALWAYS]


def _told(report: dict[str, Any]) -> Iterator[str]:
    environment, search = report["environment"], report.get("search")
    if not report["guardrail"]:
        yield "Whether the model is still right: the guardrail is disabled."
    elif report["guardrail"]["metric"] == "CosineSimilarity":
        yield "Whether the answers are right: there are no labels, they were compared with the original's."
    batches = f"batches of {THROUGHPUT_BATCH} were timed against candidate 0 while searching only"
    objective = (search or {}).get("objective")
    yield f"Latency of batches{f': {batches}' if objective == 'Throughput' else ': single samples were timed'}."
    yield f"Other machines than {environment['cpu']} with {environment['threads']} threads, and load by others on it."
    steps = report["steps"]
    if len(steps) > 1:
        yield "What each step alone costs in accuracy: only all of them together were judged."
    if steps and not any(step["facts"].get("sensitivity") for step in steps):
        yield "How sensitive single layers are: no step of this recipe looks at them one by one."
    if search:
        ends = [trial.get("outcome") for trial in search["trials"]]
        told = {"Failed": "could not be made", "CutOff": "cut off by the timeout"}
        some = [f"{ends.count(outcome)} {what}" for outcome, what in told.items() if outcome in ends]
        also = f", of which {', '.join(some)}" if some else ""
        yield f"Recipes beyond the {len(search['trials'])} trials of this search{also}."
