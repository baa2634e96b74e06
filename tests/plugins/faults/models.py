"""The models of a chaotic cluster: what users want of them, and whether it has come."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samplepools import pool

Object = dict[str, Any]
GUESTS = 3
RUIN = {"steps": [{"prune": {"sparsity": "90%"}}, {"quantize": {"scheme": "INT8"}}]}


@dataclass
class Wishes:
    """The specs that users have applied so far, by name; None for what they deleted."""

    customer: Path
    onnx: Path
    s3: str | None
    specs: dict[str, Object | None] = field(default_factory=dict)
    _changes: int = 0

    def begin(self) -> None:
        """Wish for the models that are there from the start."""
        self.specs["digits"] = self._spec((self.customer / "model").as_uri(), replicas=2)
        if self.s3 is not None:
            spec = self._spec("s3://models/digits", replicas=1)
            spec["source"]["secretRef"] = {"name": "s3"}
            spec["compression"]["output"] = {"uri": "s3://artifacts"}
            self.specs["bucket"] = spec

    def change(self, deed: str, draw: float) -> str | None:
        """Do what users do; return the name of the model, or None where there is nothing to do it to."""
        self._changes += 1
        names = [f"guest-{number}" for number in range(GUESTS)]
        here = [name for name in names if self.specs.get(name) is not None]
        fit = [name for name in names if name not in here] if deed == "adds a guest" else here
        chosen = fit[int(draw * len(fit))] if fit else ""
        match deed:
            case "rolls out":
                self._update("digits", serving={"batching": {"maxSize": 1 + self._changes}})
                return "digits"
            case "ruins":
                self._update("digits", compression=RUIN)
                return "digits"
            case "reruns":
                self._update("digits", rerun={"reason": f"change {self._changes}"})
                return "digits"
            case "reruns in S3":
                self._update("bucket", rerun={"reason": f"change {self._changes}"})
                return "bucket"
            case "adds a guest" if chosen:
                self.specs[chosen] = self._guest()
                return chosen
            case "changes a guest" if chosen:
                self._update(chosen, serving={"batching": {"maxSize": 1 + self._changes}})
                return chosen
            case "deletes a guest" if chosen:
                self.specs[chosen] = None
                return chosen
            case "replaces a guest" if chosen:  # whoever carries it out deletes it first
                self.specs[chosen] = self._guest()
                return chosen
        return None

    def manifest(self, name: str, namespace: str) -> Object | None:
        spec = self.specs[name]
        meta = {"name": name, "namespace": namespace}
        head = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "OptimizedModel", "metadata": meta}
        return None if spec is None else {**head, "spec": spec}

    def unfulfilled(self, name: str, body: Object | None) -> str | None:
        """Why a model is not as it is wished for, or None."""
        spec = self.specs[name]
        if spec is None or body is None:
            return None if spec is None and body is None else "it is there" if spec is None else "it is not there"
        status = body.get("status") or {}
        if status.get("observedGeneration") != body["metadata"]["generation"]:
            return "its generation was not seen"
        if body["spec"]["compression"].get("steps") != spec["compression"].get("steps"):
            return "its spec is not what was applied"
        said = {entry["type"]: entry for entry in status.get("conditions") or ()}
        wanted = "Stalled" if "steps" in spec["compression"] else "Ready"
        found = said.get(wanted, {"status": "absent", "reason": ""})
        if found["status"] != "True" or (wanted == "Stalled" and found["reason"] != "GuardrailFailed"):
            return f"{wanted} is {found['status']} {found['reason']}: {found.get('message')}"
        if said.get("Available", {}).get("status") != "True":
            return f"not Available: {said.get('Available')}"
        replicas = status.get("replicas") or {}
        if replicas.get("ready", 0) < spec["serving"]["minReplicas"]:
            return f"replicas: {replicas}"
        return None

    def _guest(self) -> Object:
        return self._spec((self.onnx / "model.onnx").as_uri(), replicas=1)

    def _spec(self, source: str, replicas: int) -> Object:
        spec: Object = {
            "source": {"uri": source},
            "compression": {
                "preset": "None",
                "job": {"retries": 20, "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
            },
            "guardrail": {"dataset": {"uri": (self.customer / "digits.npz").as_uri()}, "maxDrop": "2pp"},
            "serving": {
                "minReplicas": replicas,
                "maxReplicas": replicas,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "batching": {"maxSize": 16},
            },
            "capacity": {"pools": ["steady", "spot"], "onDemandBase": 1, "spotPercent": 100},
        }
        if not source.endswith(".onnx"):
            spec["source"]["entrypoint"] = "digits_model:build"
        return spec

    def _update(self, name: str, **changes: Object) -> None:
        spec = self.specs[name]
        assert spec is not None
        job = spec["compression"]["job"]
        new = {**spec, "compression": {**spec["compression"]}}
        if changes.get("compression") is not None:
            new["compression"] = {"job": job, **changes["compression"]}
        elif "steps" in spec["compression"]:  # somebody ruined it, and the next change puts it right
            new["compression"] = {"job": job, "preset": "None"}
        if "serving" in changes:
            new["serving"] = {**spec["serving"], **changes["serving"]}
        if "rerun" in changes:
            new["rerun"] = changes["rerun"]
        self.specs[name] = new


def pools() -> list[Object]:
    """An on-demand and a spot pool of small nodes."""
    return [pool("steady", "OnDemand"), pool("spot", "Spot")]


def shuffled(names: list[str], draw: float) -> list[str]:
    """The names in an order that `draw` chooses."""
    order = sorted(names)
    random.Random(draw).shuffle(order)
    return order
