"""What a StatefulSet does next: pods in the order of their numbers, one at a time unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.local import pods
from trimtab.local.controllers.setrevisions import HASH
from trimtab.local.objects import Object


@dataclass(frozen=True, slots=True)
class StatefulPlan:
    """Ordinals to make, each with the name of its revision, and pods to delete, in order."""

    create: tuple[tuple[int, str], ...] = ()
    delete: tuple[Object, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class Revisions:
    """Names of the revision that the set has, and of the one that it goes to."""

    current: str
    update: str


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """The number of a pod of the set."""
    prefix = f"{stateful_set['metadata']['name']}-"
    name = str(pod["metadata"]["name"])
    rest = name.removeprefix(prefix)
    return int(rest) if name.startswith(prefix) and rest.isdigit() else None


def wanted_ordinals(stateful_set: Object) -> range:
    """The numbers that there should be."""
    spec = stateful_set["spec"]
    start = int((spec.get("ordinals") or {}).get("start") or 0)
    return range(start, start + int(spec.get("replicas", 1)))


def revision_of(pod: Object) -> str:
    """The name of the revision that the pod was made from."""
    return str((pod["metadata"].get("labels") or {}).get(HASH, ""))


def partition_of(stateful_set: Object) -> int:
    """The lowest number that an update reaches."""
    rolling = (stateful_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)


def plan_stateful(stateful_set: Object, mine: Sequence[Object], revisions: Revisions, now: datetime) -> StatefulPlan:
    """What to make and delete now.

    Ordered sets go on only once every pod before is ready for long enough; parallel ones do not wait to
    scale, but do to update. Pods that failed are made anew. An update goes from the highest number down.
    """
    spec = stateful_set["spec"]
    ordered = spec.get("podManagementPolicy", "OrderedReady") != "Parallel"
    present = {n: p for p in mine if (n := ordinal_of(stateful_set, p)) is not None}
    min_ready = int(spec.get("minReadySeconds") or 0)
    create: list[tuple[int, str]] = []
    failed: list[Object] = []
    waits: list[float] = []
    for number in wanted_ordinals(stateful_set):
        pod = present.get(number)
        if pod is None:
            create.append((number, _revision_for(stateful_set, number, revisions)))
        elif pods.is_finished(pod) and not pods.is_terminating(pod):
            failed.append(pod)
        elif not pods.is_terminating(pod) and pods.available_in(pod, min_ready, now) == 0:
            continue
        elif left_to_wait := pods.available_in(pod, min_ready, now):
            waits.append(left_to_wait)
        if ordered:
            return StatefulPlan(tuple(create), tuple(failed), min(waits, default=None))
    surplus = _surplus(stateful_set, present)
    if create or failed or waits:
        return StatefulPlan(tuple(create), (*failed, *(() if ordered else surplus)), min(waits, default=None))
    if surplus and ordered:
        return StatefulPlan(delete=() if pods.is_terminating(surplus[0]) else surplus[:1])
    if any(not pods.is_terminating(p) for p in surplus):
        return StatefulPlan(delete=surplus)
    return StatefulPlan(delete=_outdated(stateful_set, present, revisions))


def _surplus(stateful_set: Object, present: Mapping[int, Object]) -> tuple[Object, ...]:
    """Pods that are not asked for, the highest first; in order the next one waits until the last has gone."""
    wanted = wanted_ordinals(stateful_set)
    return tuple(present[n] for n in sorted(present, reverse=True) if n not in wanted)


def _revision_for(stateful_set: Object, number: int, revisions: Revisions) -> str:
    """New pods below the partition keep the present revision while an update is under way."""
    if number < partition_of(stateful_set) and revisions.current:
        return revisions.current
    return revisions.update


def _outdated(stateful_set: Object, present: Mapping[int, Object], revisions: Revisions) -> tuple[Object, ...]:
    """The next pod to update: the highest one, once all above it are updated and ready."""
    if (stateful_set["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return ()
    for number in reversed(wanted_ordinals(stateful_set)):
        pod = present.get(number)
        if pod is None or number < partition_of(stateful_set):
            return ()
        if revision_of(pod) != revisions.update:
            return () if pods.is_terminating(pod) else (pod,)
        if not pods.is_ready(pod) or pods.is_terminating(pod):
            return ()
    return ()


def stateful_status(stateful_set: Object, mine: Sequence[Object], revisions: Revisions, now: datetime) -> Object:
    """The counts of the status; once every pod is updated, the update's revision is the set's."""
    min_ready = int(stateful_set["spec"].get("minReadySeconds") or 0)
    made = [p for p in mine if not pods.is_terminating(p)]
    updated = sum(revision_of(p) == revisions.update for p in made)
    current = sum(revision_of(p) == revisions.current for p in made)
    ready = sum(pods.is_ready(p) and pods.phase(p) == "Running" for p in mine)
    wanted = len(wanted_ordinals(stateful_set))
    counts = {"readyReplicas": ready, "currentReplicas": current, "updatedReplicas": updated}
    name = revisions.current
    if updated == len(mine) == ready == wanted:
        name, counts["currentReplicas"] = revisions.update, updated
    return {
        "observedGeneration": stateful_set["metadata"]["generation"],
        "replicas": len(mine),
        **{field: count for field, count in counts.items() if count},
        "currentRevision": name,
        "updateRevision": revisions.update,
        "collisionCount": int((stateful_set.get("status") or {}).get("collisionCount") or 0),
        "availableReplicas": sum(pods.available_in(p, min_ready, now) == 0 for p in made),
    }
