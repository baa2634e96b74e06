"""Counts how many pods of a PodDisruptionBudget may be disrupted; the eviction API obeys it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.owners import controller_of
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.selectors import matches_label_selector
from trimtab.local.times import parse_stamp, stamp

_FORGOTTEN_AFTER = timedelta(minutes=2)  # an eviction that never led to a deletion


def budget_status(budget: Object, covered: Sequence[Object], expected: int, now: datetime) -> Object:
    """The status of a budget over the pods that it covers; `expected` is how many there should be."""
    spec, old = budget["spec"], budget.get("status") or {}
    disrupted = {
        name: at
        for name, at in (old.get("disruptedPods") or {}).items()
        if now - parse_stamp(at) < _FORGOTTEN_AFTER
        and any(p["metadata"]["name"] == name and not pods.is_terminating(p) for p in covered)
    }
    healthy = sum(
        pods.is_ready(p) and not pods.is_terminating(p) and p["metadata"]["name"] not in disrupted for p in covered
    )
    desired = _desired(spec, expected)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "observedGeneration": budget["metadata"]["generation"],
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
    }
    return {
        "observedGeneration": budget["metadata"]["generation"],
        **({"disruptedPods": disrupted} if disrupted else {}),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": pods.with_condition(old.get("conditions") or [], condition, stamp(now)),
    }


def _desired(spec: Object, expected: int) -> int:
    if spec.get("maxUnavailable") is not None:
        return max(0, expected - _amount(spec["maxUnavailable"], expected))
    return _amount(spec.get("minAvailable", 1), expected)


def _amount(value: int | str, of: int) -> int:
    return value if isinstance(value, int) else math.ceil(int(value.rstrip("%")) * of / 100)


def expected_pods(budget: Object, covered: Sequence[Object], scale_of: Callable[[Object], int | None]) -> int:
    """How many pods there should be: what the owners ask for, or what is there with an absolute minimum."""
    spec = budget["spec"]
    if spec.get("maxUnavailable") is None and isinstance(spec.get("minAvailable", 1), int):
        return len(covered)
    owners = {o["uid"]: o for p in covered if (o := controller_of(p)) is not None}
    sizes = [scale_of(owner) for owner in owners.values()]
    alone = sum(controller_of(p) is None for p in covered)
    return alone + sum(size for size in sizes if size is not None)


class Disruptions(Controller):
    """The disruption controller."""

    name = "disruption-controller"

    def subscribe(self) -> None:
        """Wake a budget for itself and for the pods it covers."""
        self.feed.subscribe("poddisruptionbudgets.policy", lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe("pods", self._pod_changed)

    def _pod_changed(self, change: Change) -> None:
        labels = change.object["metadata"].get("labels") or {}
        for budget in self.registry.list("poddisruptionbudgets.policy", change.object["metadata"]["namespace"])[0]:
            if matches_label_selector(budget["spec"].get("selector"), labels):
                self.queue.add(Key(*key_of(budget)))

    def reconcile(self, key: Key) -> float | None:
        """Write the status."""
        budget = self.find("poddisruptionbudgets.policy", key)
        if budget is None:
            return None
        covered = [
            p
            for p in self.registry.list("pods", key.namespace)[0]
            if not pods.is_finished(p)
            and matches_label_selector(budget["spec"].get("selector"), p["metadata"].get("labels") or {})
        ]

        def scale_of(owner: Object) -> int | None:
            resource = {"ReplicaSet": "replicasets.apps", "Job": "jobs.batch"}.get(owner["kind"])
            found = self.find(resource, Key(key.namespace, owner["name"])) if resource else None
            if found is None:
                return None
            return int(found["spec"].get("replicas", found["spec"].get("parallelism", 1)))

        expected = expected_pods(budget, covered, scale_of)
        status = budget_status(budget, covered, expected, self.clock())
        self.write_status("poddisruptionbudgets.policy", budget, status)
        return _FORGOTTEN_AFTER.total_seconds() if status.get("disruptedPods") else None
