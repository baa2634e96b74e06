"""Completion indexes of Indexed Jobs: which succeeded, which failed for good, which come next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from trimtab.local.controllers.jobbackoff import finished_at, wait_after
from trimtab.local.controllers.jobfailures import failure_action, has_failed
from trimtab.local.objects import Object

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def is_indexed(job: Object) -> bool:
    """Whether each pod of the Job has a completion index."""
    return bool(job["spec"].get("completionMode") == "Indexed")


def index_of(pod: Object) -> int | None:
    """The completion index that the pod was made for."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else None


def parse_indexes(text: str) -> list[int]:
    """Read `1,3-5`; what is no range of numbers is left out, as in Kubernetes."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
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


def has_limit_per_index(job: Object) -> bool:
    """Whether every index has retries of its own."""
    return is_indexed(job) and job["spec"].get("backoffLimitPerIndex") is not None


def fails_index(job: Object, pod: Object) -> bool:
    """Whether a pod ends its index for good: by a rule, or as its retries are used up."""
    if not has_failed(job, pod):
        return False
    action = failure_action(job, pod)
    if action.kind == "FailIndex":
        return True
    return action.kind != "Ignore" and _noted(pod, FAILURES) >= int(job["spec"]["backoffLimitPerIndex"])


def _noted(pod: Object, annotation: str) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isdigit() else 0


def _all_failures(pod: Object) -> int:
    return _noted(pod, FAILURES) + _noted(pod, IGNORED)


def awaiting_replacement(job: Object, uncounted: Sequence[Object], settled: AbstractSet[int]) -> dict[int, Object]:
    """The last failed pod by index, where the index goes on.

    It keeps its finalizer until its replacement exists, which takes the number of failures over from it.
    `settled` are the indexes that succeeded, failed for good, or have an active pod.
    """
    found: dict[int, Object] = {}
    for pod in uncounted:
        index = index_of(pod)
        if index is None or index in settled or not has_failed(job, pod):
            continue
        known = found.get(index)
        if known is None or (_all_failures(known) <= _all_failures(pod) and finished_at(pod) >= finished_at(known)):
            found[index] = pod
    return found


def failure_notes(job: Object, replaced: Object | None) -> dict[str, str]:
    """The annotations by which a pod knows how often its index failed before."""
    if replaced is None:
        return {FAILURES: "0"}
    counts = failure_action(job, replaced).kind != "Ignore"
    failures = _noted(replaced, FAILURES) + counts
    ignored = _noted(replaced, IGNORED) + (not counts)
    return {FAILURES: str(failures), **({IGNORED: str(ignored)} if ignored else {})}


def due_indexes(
    missing: Sequence[int], replaced: Mapping[int, Object], now: datetime, scale: float
) -> tuple[tuple[int, ...], float | None]:
    """The indexes whose back-off is over; where none is, the seconds until the first one."""
    waits = {
        index: wait_after(_all_failures(pod) + 1, finished_at(pod), now, scale) if (pod := replaced.get(index)) else 0.0
        for index in missing
    }
    due = tuple(index for index in missing if not waits[index])
    return due, None if due else min(waits.values(), default=None)


def success_policy_met(job: Object, succeeded: AbstractSet[int]) -> str | None:
    """The message of the first rule of successPolicy that holds."""
    completions = int(job["spec"].get("completions") or 0)
    rules: Sequence[Object] = (job["spec"].get("successPolicy") or {}).get("rules") or ()
    for position, rule in enumerate(rules):
        count = rule.get("succeededCount")
        if rule.get("succeededIndexes") is None:
            met = count is not None and len(succeeded) >= int(count)
        else:
            wanted = {i for i in parse_indexes(rule["succeededIndexes"]) if i < completions}
            have = len(wanted & succeeded)
            met = bool(wanted) and (have == len(wanted) or (count is not None and have >= int(count)))
        if met and succeeded:
            return f"Matched rules at index {position}"
    return None
