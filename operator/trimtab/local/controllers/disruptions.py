"""Counts how many pods of a PodDisruptionBudget may be disrupted; the eviction API obeys it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.owners import controller_of
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.selectors import matches_label_selector
from trimtab.local.statuses import ApiError
from trimtab.local.times import parse_stamp, seconds_until, stamp

RESOURCE = "poddisruptionbudgets.policy"
FORGOTTEN_AFTER = timedelta(minutes=2)  # an eviction that never led to a deletion


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many pods there should be, and how many of them at least healthy."""

    expected: int
    healthy: int


def budget_status(budget: Object, covered: Sequence[Object], wanted: Wanted, now: datetime) -> Object:
    """The status of a budget over the pods that it covers."""
    old = budget.get("status") or {}
    disrupted = {
        name: at
        for name, at in (old.get("disruptedPods") or {}).items()
        if now - parse_stamp(at) <= FORGOTTEN_AFTER
        and any(p["metadata"]["name"] == name and not pods.is_terminating(p) for p in covered)
    }
    healthy = sum(
        pods.is_ready(p) and not pods.is_terminating(p) and p["metadata"]["name"] not in disrupted for p in covered
    )
    allowed = max(0, healthy - wanted.healthy) if wanted.expected > 0 else 0
    generation = budget["metadata"]["generation"]
    reason = "SufficientPods" if allowed else "InsufficientPods"
    return {
        "observedGeneration": generation,
        **({"disruptedPods": disrupted} if disrupted else {}),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": wanted.healthy,
        "expectedPods": wanted.expected,
        "conditions": _conditions(old, generation, reason, "", now),
    }


def failed_status(budget: Object, message: str, now: datetime) -> Object:
    """The status of a budget that could not be counted: then nothing may be disrupted."""
    old = budget.get("status") or {}
    conditions = _conditions(old, old.get("observedGeneration", 0), "SyncFailed", message, now)
    return {**old, "disruptionsAllowed": 0, "conditions": conditions}


def _conditions(old: Object, generation: int, reason: str, message: str, now: datetime) -> list[Object]:
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if reason == "SufficientPods" else "False",
        **({"observedGeneration": generation} if generation else {}),
        "reason": reason,
        "message": message,
    }
    return pods.with_condition(old.get("conditions") or [], condition, stamp(now))


def _amount(value: int | str, of: int) -> int:
    return value if isinstance(value, int) else math.ceil(int(value.rstrip("%")) * of / 100)


def wanted_pods(budget: Object, covered: Sequence[Object], scale_of: Callable[[Object], tuple[str, int]]) -> Wanted:
    """What the budget asks for.

    An absolute minimum is about the pods that are there; anything else about what their controllers ask
    for. `scale_of` gives the uid and the size of what an owner reference stands for in the end.
    """
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        expected = _scale(covered, scale_of)
        return Wanted(expected, max(0, expected - _amount(spec["maxUnavailable"], expected)))
    minimum = spec.get("minAvailable")
    if minimum is None:
        return Wanted(0, 0)
    if isinstance(minimum, int):
        return Wanted(len(covered), minimum)
    expected = _scale(covered, scale_of)
    return Wanted(expected, _amount(minimum, expected))


def _scale(covered: Sequence[Object], scale_of: Callable[[Object], tuple[str, int]]) -> int:
    owners = {owner["uid"]: owner for p in covered if (owner := controller_of(p)) is not None}
    return sum(dict(scale_of(owner) for owner in owners.values()).values())


class Disruptions(Controller):
    """The disruption controller."""

    name = "disruption-controller"

    def subscribe(self) -> None:
        """Wake a budget for itself and for the pods it covers."""
        self.feed.subscribe(RESOURCE, lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe("pods", self._pod_changed)

    def _pod_changed(self, change: Change) -> None:
        labels = [p["metadata"].get("labels") or {} for p in (change.object, change.old) if p is not None]
        for budget in self.registry.list(RESOURCE, change.object["metadata"]["namespace"])[0]:
            if any(_selects(budget, have) for have in labels):
                self.queue.add(Key(*key_of(budget)))

    def reconcile(self, key: Key) -> float | None:
        """Write the status."""
        budget = self.find(RESOURCE, key)
        if budget is None:
            return None
        covered = [
            p
            for p in self.registry.list("pods", key.namespace)[0]
            if _selects(budget, p["metadata"].get("labels") or {})
        ]
        if not covered:
            self.events.record(budget, "Normal", "NoPods", "No matching pods found")
        now = self.clock()
        try:
            wanted = wanted_pods(budget, covered, partial(self._scale_of, key.namespace))
        except NoScaleError as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.events.record(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            self.write_status(RESOURCE, budget, failed_status(budget, str(error), now))
            raise
        status = budget_status(budget, covered, wanted, now)
        self._say_not_deleted(budget, status, covered)
        self.write_status(RESOURCE, budget, status)
        ends = [parse_stamp(at) + FORGOTTEN_AFTER for at in status.get("disruptedPods", {}).values()]
        return seconds_until(min(ends) + timedelta(seconds=1), now) if ends else None

    def _say_not_deleted(self, budget: Object, status: Object, covered: Sequence[Object]) -> None:
        forgotten = set((budget.get("status") or {}).get("disruptedPods") or {}) - set(status.get("disruptedPods", {}))
        for pod in covered:
            if pod["metadata"]["name"] in forgotten and not pods.is_terminating(pod):
                name = f"{budget['metadata']['namespace']}/{budget['metadata']['name']}"
                text = f"Pod was expected by PDB {name} to be deleted but it wasn't"
                self.events.record(pod, "Warning", "NotDeleted", text)

    def _scale_of(self, namespace: str, owner: Object) -> tuple[str, int]:
        """The uid and size of an owner; a ReplicaSet of a Deployment stands for the Deployment."""
        group = owner["apiVersion"].rpartition("/")[0]
        resource = next(
            (r for r in self.registry.catalog.resources() if (r.group, r.kind) == (group, owner["kind"])), None
        )
        found = self.find(resource.key, Key(namespace, owner["name"])) if resource else None
        if resource is None or found is None or found["metadata"]["uid"] != owner["uid"]:
            msg = f"found no controller ref for pods of {owner['kind']} {owner['name']}"
            raise NoScaleError(msg)
        above = controller_of(found)
        if resource.key == "replicasets.apps" and above is not None and above["kind"] == "Deployment":
            return self._scale_of(namespace, above)
        try:
            scale = self.registry.scale(resource.key, owner["name"], namespace)
        except ApiError:
            msg = f"{resource.plural}.{group} does not implement the scale subresource"
            raise NoScaleError(msg) from None
        return owner["uid"], int(scale["spec"].get("replicas", 0))


class NoScaleError(Exception):
    """What owns a pod does not say how many pods it wants."""


def _selects(budget: Object, labels: Object) -> bool:
    selector = budget["spec"].get("selector")
    return selector is not None and matches_label_selector(selector, labels)
