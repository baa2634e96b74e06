"""The arithmetic of a Deployment's rollout: how many replicas each ReplicaSet gets next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.local.objects import Object

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rollout may use: pods above `replicas`, and pods missing from it."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """The most pods at any time."""
        return self.replicas + self.surge

    @property
    def fewest(self) -> int:
        """The fewest available pods at any time."""
        return self.replicas - self.unavailable


def limits_of(deployment: Object) -> Limits:
    """Surge rounds up, unavailable down; when both come out as 0, one pod may be unavailable."""
    spec = deployment["spec"]
    replicas = int(spec.get("replicas", 1))
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Limits(replicas, 0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = _amount(rolling.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = _amount(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(replicas, surge, min(unavailable, replicas))


def _amount(value: int | str, of: int, *, round_up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * of / 100
    return math.ceil(share) if round_up else math.floor(share)


def replicas_of(replica_set: Object) -> int:
    """How many pods the ReplicaSet asks for."""
    return int(replica_set["spec"].get("replicas", 0))


def available_of(replica_set: Object) -> int:
    """How many pods the ReplicaSet reports as available."""
    return int(replica_set.get("status", {}).get("availableReplicas", 0))


def revision_of(obj: Object) -> int:
    """The revision annotation; 0 where there is none."""
    return int((obj["metadata"].get("annotations") or {}).get(REVISION, 0))


def newest_first(sets: Sequence[Object]) -> list[Object]:
    """ReplicaSets by revision, the last one first."""
    return sorted(sets, key=lambda s: (revision_of(s), s["metadata"]["creationTimestamp"]), reverse=True)


def oldest_first(sets: Sequence[Object]) -> list[Object]:
    """ReplicaSets by the time they were made."""
    return sorted(sets, key=lambda s: (s["metadata"]["creationTimestamp"], revision_of(s)))


def is_scaling(deployment: Object, sets: Sequence[Object]) -> bool:
    """Whether the Deployment's replicas changed since its ReplicaSets were sized."""
    wanted = str(deployment["spec"].get("replicas", 1))
    noted = [(s["metadata"].get("annotations") or {}).get(DESIRED) for s in sets if replicas_of(s) > 0]
    return any(note is not None and note != wanted for note in noted)


def first_size(limits: Limits, olds: Sequence[Object], *, recreate: bool) -> int:
    """The size that a new ReplicaSet is created with."""
    if recreate:
        return limits.replicas
    room = limits.most - sum(replicas_of(s) for s in olds)
    return max(0, min(room, limits.replicas))


def rolling_step(new: Object, olds: Sequence[Object], limits: Limits) -> list[tuple[str, int]]:
    """What changes now, as names and sizes in order: first the new one grows into the surge, else old ones shrink.

    Holds at any time: at most `limits.most` pods, at least `limits.fewest` available ones.
    """
    grown = _new_size(new, olds, limits)
    if grown != replicas_of(new):
        return [(new["metadata"]["name"], grown)]
    return _old_sizes(new, olds, limits)


def _new_size(new: Object, olds: Sequence[Object], limits: Limits) -> int:
    size = replicas_of(new)
    if size >= limits.replicas:
        return limits.replicas
    room = limits.most - size - sum(replicas_of(s) for s in olds)
    return size + max(0, min(room, limits.replicas - size))


def _old_sizes(new: Object, olds: Sequence[Object], limits: Limits) -> list[tuple[str, int]]:
    everything = replicas_of(new) + sum(replicas_of(s) for s in olds)
    new_unavailable = replicas_of(new) - available_of(new)
    budget = everything - limits.fewest - new_unavailable
    if budget <= 0:
        return []
    sizes = {s["metadata"]["name"]: replicas_of(s) for s in olds}
    steps: list[tuple[str, int]] = []
    for old in oldest_first(olds):  # pods that do not work give way first: that costs nothing
        name = old["metadata"]["name"]
        if broken := min(budget, max(0, sizes[name] - available_of(old))):
            sizes[name] -= broken
            budget -= broken
            steps.append((name, sizes[name]))
    spare = sum(available_of(s) for s in (new, *olds)) - limits.fewest
    for old in oldest_first(olds):
        name = old["metadata"]["name"]
        if spare > 0 and (step := min(spare, sizes[name])):
            sizes[name] -= step
            spare -= step
            steps.append((name, sizes[name]))
    return steps


def scaled_sizes(
    deployment: Object, new: Object | None, olds: Sequence[Object], limits: Limits
) -> list[tuple[str, int]]:
    """Names and sizes after the Deployment's replicas changed, outside and in the middle of a rollout.

    In the middle of a rolling update every ReplicaSet grows or shrinks by its share, so that the
    rollout is as far along as before.
    """
    sets = [s for s in ([new] if new else []) + list(olds) if s is not None]
    active = [s for s in sets if replicas_of(s) > 0]
    if len(active) <= 1:
        only = next(iter(active), new) or next(reversed(oldest_first(olds)), None)
        return [(only["metadata"]["name"], limits.replicas)] if only is not None else []
    if new is not None and _is_saturated(new, limits):
        return [(s["metadata"]["name"], 0) for s in olds if replicas_of(s) > 0]
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return []
    return list(_proportional(deployment, active, limits).items())


def _is_saturated(new: Object, limits: Limits) -> bool:
    noted = int((new["metadata"].get("annotations") or {}).get(DESIRED, -1))
    return replicas_of(new) == limits.replicas == noted == available_of(new)


def _proportional(deployment: Object, active: Sequence[Object], limits: Limits) -> dict[str, int]:
    allowed = limits.most if limits.replicas > 0 else 0
    to_add = allowed - sum(replicas_of(s) for s in active)
    ordered = sorted(newest_first(active) if to_add > 0 else oldest_first(active), key=replicas_of, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for replica_set in ordered:
        share = _share(deployment, replica_set, limits) if to_add else 0
        left = to_add - added
        share = min(share, left) if to_add > 0 else max(share, left)
        sizes[replica_set["metadata"]["name"]] = replicas_of(replica_set) + share
        added += share
    largest = ordered[0]["metadata"]["name"]
    sizes[largest] = max(0, sizes[largest] + to_add - added)  # what rounding left over
    return sizes


def _share(deployment: Object, replica_set: Object, limits: Limits) -> int:
    if limits.replicas == 0:
        return -replicas_of(replica_set)
    noted = int((replica_set["metadata"].get("annotations") or {}).get(MAX, 0))
    before = noted or int(deployment.get("status", {}).get("replicas", 0)) or 1
    return math.floor(replicas_of(replica_set) * limits.most / before + 0.5) - replicas_of(replica_set)
