"""What must hold all the time, judged from every change of every object."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from trimtab.api.names import MODEL_LABEL, RUN_LABEL

Object = dict[str, Any]
# A watch that has fallen silent is given up after 90 s; then it is known what went meanwhile.
_DEAF_SECONDS = 110.0


@dataclass
class Invariants:
    """Sees changes in the order in which they were made."""

    violations: list[str] = field(default_factory=list)
    proven: set[str] = field(default_factory=set)
    """Names of the revisions that a guardrail passed."""
    jobs: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """How many Jobs were made, by the uid of the model and the key of the run."""
    alive: dict[str, Object] = field(default_factory=dict)
    """Whatever exists, by uid."""
    gone: dict[str, float] = field(default_factory=dict)
    """When models were deleted, by uid."""
    late: int = 0
    """How many children were made for models that were gone."""

    def see(self, change: str, item: Object, at: float = 0.0) -> None:
        """`change` is ADDED, MODIFIED or DELETED; `item` the object as it is now, or was last; `at` in seconds."""
        uid = item["metadata"]["uid"]
        new = change != "DELETED" and uid not in self.alive
        if change == "DELETED":
            self.alive.pop(uid, None)
        else:
            self.alive[uid] = item
        match item["kind"]:
            case "OptimizedModel" if change == "DELETED":
                self.gone[uid] = at
            case "OptimizedModel":
                self._model(item)
            case "Job" if new:
                self._job(item)
        if new:
            self._born(item, at)

    def orphans(self) -> list[str]:
        """What exists although every model that owned it is gone."""
        return sorted(
            _called(item)
            for item in self.alive.values()
            if (owners := _owners(item)) and not any(uid in self.alive for uid in owners)
        )

    def _born(self, item: Object, at: float) -> None:
        """Count a child of a model that is gone; whoever makes one so late will do so for ever."""
        owners = _owners(item)
        went = [self.gone[uid] for uid in owners if uid in self.gone]
        if not went or any(uid in self.alive for uid in owners):
            return
        self.late += 1
        if at - max(went) > _DEAF_SECONDS:
            self._violated(f"{_called(item)} was made for a model that had been gone for {at - max(went):.0f} s")

    def _job(self, job: Object) -> None:
        run = job["metadata"].get("labels", {}).get(RUN_LABEL)
        for owner in _owners(job):
            self.jobs[owner, run] += 1
            others = [
                other
                for other in self.alive.values()
                if other is not job
                and other["kind"] == "Job"
                and owner in _owners(other)
                and other["metadata"].get("labels", {}).get(RUN_LABEL) == run
            ]
            if others:
                self.violations.append(f"two Jobs for key {run}: {[_called(one) for one in (*others, job)]}")

    def _model(self, model: Object) -> None:
        status = model.get("status") or {}
        for revision in (status.get("activeRevision"), status.get("candidateRevision"), *status.get("revisions", ())):
            if revision and (revision.get("guardrail") or {}).get("verdict") == "Passed":
                self.proven.add(revision["name"])
        for share in (status.get("traffic") or {}).get("revisions") or ():
            if share["weight"] and share["revision"] not in self.proven:
                self._violated(f"{_called(model)} sends traffic to {share['revision']}, which nothing proved")
        said = {entry["type"] for entry in status.get("conditions") or () if entry["status"] == "True"}
        if {"Stalled", "Reconciling"} <= said:
            self._violated(f"{_called(model)} is Stalled and Reconciling")

    def _violated(self, text: str) -> None:
        if text not in self.violations:  # it is told again with every change while it lasts
            self.violations.append(text)


def _owners(item: Object) -> list[str]:
    return [
        reference["uid"]
        for reference in item["metadata"].get("ownerReferences") or ()
        if reference["kind"] == "OptimizedModel"
    ]


def _called(item: Object) -> str:
    meta = item["metadata"]
    of = meta.get("labels", {}).get(MODEL_LABEL)
    return f"{item['kind']}/{meta['name']}{f' of {of}' if of else ''}"
