"""Completion indexes of Indexed Jobs."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.local.objects import Object

INDEX = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Object) -> int | None:
    """The completion index that the pod was made for."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else None


def parse_indexes(text: str) -> list[int]:
    """Read `1,3-5`."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def written_indexes(indexes: Iterable[int]) -> str:
    """Write `1,3-5`; two neighbours stay apart with a comma, as Kubernetes writes them."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(_written(run) for run in runs)


def _written(run: list[int]) -> str:
    if len(run) > 2:
        return f"{run[0]}-{run[-1]}"
    return ",".join(str(i) for i in run)
