"""What an agent makes of containers that another agent ran: it finds them dead, as a kubelet does after a reboot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trimtab.local.agent.podstatus import ContainerRecord, Ended
from trimtab.local.objects import Object

_LOST_CODE, _LOST_REASON = 255, "Unknown"  # what container runtimes report of what died with the machine


def resume(pod: Object, inits: Sequence[ContainerRecord], mains: Sequence[ContainerRecord], now: datetime) -> bool:
    """Let new records go on from the pod's status; returns whether the pod runs (again).

    What was running has ended with code 255. A pod whose policy is Never does not run twice; init containers run
    again, and so do the others, unless they completed under OnFailure.
    """
    status: Object = pod.get("status") or {}
    known = {s["name"]: s for key in _STATUSES for s in status.get(key) or ()}
    ends = {name: end for name, entry in known.items() if (end := _end(entry, now)) is not None}
    if not ends:
        return True
    policy = pod["spec"].get("restartPolicy") or "Always"
    if policy == "Never":
        for record in (*inits, *mains):
            record.waiting, record.ended = None, ends.get(record.name)
            record.restarts = known.get(record.name, {}).get("restartCount", 0)
        return False
    for record in (*inits, *mains):
        if (end := ends.get(record.name)) is None:
            continue
        record.restarts = known[record.name].get("restartCount", 0)
        if policy == "OnFailure" and end.exit_code == 0 and record in mains:
            record.waiting, record.ended = None, end
        else:
            record.restarts += 1
            record.last = end
    return True


_STATUSES = ("initContainerStatuses", "containerStatuses")


def _end(entry: Object, now: datetime) -> Ended | None:
    """How the newest run of a container ended; None where it has not run."""
    state = entry.get("state") or {}
    if running := state.get("running"):
        identity = entry.get("containerID") or ""
        return Ended(_LOST_CODE, _LOST_REASON, _moment(running.get("startedAt"), now), now, "", identity)
    ended = state.get("terminated") or (entry.get("lastState") or {}).get("terminated")
    if not ended:
        return None
    return Ended(
        ended.get("exitCode", _LOST_CODE),
        ended.get("reason") or "Error",
        _moment(ended.get("startedAt"), now),
        _moment(ended.get("finishedAt"), now),
        ended.get("message") or "",
        ended.get("containerID") or "",
    )


def _moment(text: str | None, otherwise: datetime) -> datetime:
    return datetime.fromisoformat(text) if text else otherwise
