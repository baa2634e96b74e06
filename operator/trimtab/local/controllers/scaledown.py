"""Which pods of a ReplicaSet go first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from trimtab.local import pods
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def scale_down_order(mine: Iterable[Object], related: Iterable[Object], now: datetime) -> list[Object]:
    """The pods, the first to be deleted first.

    Unbound before bound, Pending before Running, not ready before ready, lower deletion cost, more
    siblings on the same node (`related` are the active pods of the whole Deployment), ready for
    less time, more restarts, newer. Times compare by powers of two, so that equals stay equal.
    """
    crowd = Counter(pods.node_name(p) for p in related)

    def rank(pod: Object) -> tuple[object, ...]:
        node = pods.node_name(pod)
        created = parse_stamp(pod["metadata"]["creationTimestamp"])
        since = pods.ready_since(pod)
        return (
            node is not None,
            _PHASES.get(pods.phase(pod), 1),
            pods.is_ready(pod),
            deletion_cost(pod),
            -(crowd[node] if node else 0),
            _age_bucket(since, now) if since else 0,
            -pods.restarts(pod),
            _age_bucket(created, now),
            pod["metadata"]["uid"],
        )

    return sorted(mine, key=rank)


def deletion_cost(pod: Object) -> int:
    """The annotated cost; what is no 32-bit integer counts as 0, as in Kubernetes."""
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _age_bucket(since: datetime, now: datetime) -> int:
    seconds = (now - since).total_seconds()
    return int(math.log2(seconds)) + 1 if seconds >= 1 else 0
