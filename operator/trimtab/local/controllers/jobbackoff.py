"""How long a Job waits after failures before it makes the next pod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp, seconds_until

FIRST_BACK_OFF_S = 10.0
LONGEST_BACK_OFF_S = 600.0


def wait_after(failures: int, last: datetime | None, now: datetime, scale: float) -> float:
    """Seconds until the next pod may be made: 10 s after the first failure in a row, then twice as long each."""
    if failures == 0 or last is None:
        return 0.0
    delay = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(failures - 1, 10)) * scale
    return seconds_until(last + timedelta(seconds=delay), now)


@dataclass(frozen=True, slots=True)
class BackOffRecord:
    """Failures in a row since the last success, and when the last one was."""

    failures: int = 0
    last: datetime | None = None

    def wait(self, now: datetime, scale: float) -> float:
        """Seconds until the next pod may be made."""
        return wait_after(self.failures, self.last, now, scale)

    def after(self, succeeded: Sequence[Object], failed: Sequence[Object]) -> BackOffRecord:
        """The record once these pods have ended: a success forgives what failed before it."""
        if not succeeded and not failed:
            return self
        ends = [finished_at(p) for p in failed]
        if not succeeded:
            return BackOffRecord(self.failures + len(ends), max(ends))
        forgiven = max(finished_at(p) for p in succeeded)
        later = [end for end in ends if end > forgiven]
        return BackOffRecord(len(later), max(later, default=None))


def finished_at(pod: Object) -> datetime:
    """When the pod ended.

    By its containers if all say so, else by when it stopped being ready, else by its deletion, else by
    its creation: as kube-controller-manager looks for it.
    """
    status = pod.get("status", {})
    ends = [(c.get("state", {}).get("terminated") or {}).get("finishedAt") for c in pods.container_statuses(pod)]
    if ends and all(ends):
        return max(parse_stamp(end) for end in ends if end)
    ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    if ready is not None and ready["status"] == "False" and ready.get("lastTransitionTime"):
        return parse_stamp(ready["lastTransitionTime"])
    metadata = pod["metadata"]
    if deleted := metadata.get("deletionTimestamp"):
        return parse_stamp(deleted) - timedelta(seconds=int(metadata.get("deletionGracePeriodSeconds") or 0))
    return parse_stamp(metadata["creationTimestamp"])
