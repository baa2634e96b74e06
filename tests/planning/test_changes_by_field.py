"""What a change of each field of the spec would cause: a field that is new gets its line, or a test fails."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from trimtab.api.names import Key, run_name
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.status import OptimizedModelStatus
from trimtab.planning.changes import Effect, change
from trimtab.planning.manifests.serving import revision_hash
from trimtab.planning.manifests.template import spec_for, template_of
from trimtab.planning.runs import run_key
from trimtab.planning.settings import Settings

RUN, ROLLOUT, PLACE, REFUSED = Effect.NEW_RUN, Effect.ROLLOUT, Effect.IN_PLACE, Effect.REFUSED
STEPS = {"compression.preset": None, "compression.steps": [{"quantize": {"scheme": "INT8"}}]}
FOR_GPU = {"compression.preset": None, "compression.steps": [{"quantize": {"scheme": "FP16"}}]}
ON_GPU = {**FOR_GPU, "compression.target.device": "GPU", "serving.image": "gpu:1"}
SLEEPY = {"serving.minReplicas": 0, "serving.scaling.idleAfter": "1m"}
RESOURCES = {"requests": {"cpu": "2"}}
# field: (another value, what it causes, what has to be so on both sides)
FIELDS: dict[str, tuple[Any, Effect, dict[str, Any]]] = {
    "suspend": (True, PLACE, {}),
    "source.uri": ("s3://models/other", RUN, {}),
    "source.format": ("Onnx", RUN, {}),
    "source.digest": ("sha256:" + 64 * "0", RUN, {}),
    "source.entrypoint": ("model:other", RUN, {"source.format": "Python", "source.entrypoint": "model:build"}),
    "source.secretRef": ({"name": "keys"}, ROLLOUT, {}),
    "compression.preset": ("Fast", RUN, {}),
    "compression.steps": ([{"prune": {"sparsity": "50%"}}], RUN, STEPS),
    "compression.search": (
        {"objective": "Size"},
        RUN,
        {"compression.preset": None, "compression.search": {"objective": "Latency"}},
    ),
    "compression.target.device": ("GPU", RUN, FOR_GPU),
    "compression.target.threads": (2, RUN, {}),
    "compression.workers": (2, RUN, {}),
    "compression.job.pool": ("big", PLACE, {}),
    "compression.job.image": ("mine:1", RUN, {}),
    "compression.job.deadline": ("3h", PLACE, {}),
    "compression.job.retries": (9, PLACE, {}),
    "compression.job.resources": (RESOURCES, PLACE, {}),
    "compression.output": ({"uri": "s3://mine"}, RUN, {}),
    "guardrail.mode": ("Report", RUN, {}),
    "guardrail.dataset.uri": ("s3://data/other.npz", RUN, {}),
    "guardrail.dataset.split": ("validation", RUN, {}),
    "guardrail.dataset.samples": (9, RUN, {}),
    "guardrail.metric": ("F1", RUN, {}),
    "guardrail.topK": (3, RUN, {"guardrail.metric": "TopKAccuracy"}),
    "guardrail.maxDrop": ("2pp", RUN, {}),
    "guardrail.minSamples": (9, RUN, {}),
    "guardrail.confidence": ("99%", RUN, {}),
    "guardrail.maxLatency": ("5ms", RUN, {}),
    "guardrail.onFail": ("ServeOriginal", PLACE, {}),
    "guardrail.onInconclusive": ("Fail", PLACE, {}),
    "serving.engine": ("OpenVino", RUN, {}),
    "serving.image": ("mine:2", ROLLOUT, {}),
    "serving.resources": (RESOURCES, ROLLOUT, {}),
    "serving.accelerator": ({"resource": "nvidia.com/gpu"}, ROLLOUT, ON_GPU),
    "serving.minReplicas": (2, PLACE, {}),
    "serving.maxReplicas": (9, PLACE, {}),
    "serving.loadBalancing.policy": ("LeastConnections", PLACE, {}),
    "serving.loadBalancing.retries": (0, PLACE, {}),
    "serving.loadBalancing.sessionAffinity": ({"header": "user"}, PLACE, {}),
    "serving.batching.maxSize": (4, ROLLOUT, {}),
    "serving.batching.maxWait": ("3ms", ROLLOUT, {}),
    "serving.cache": ({"entries": 9}, ROLLOUT, {}),
    "serving.loading": ("Lazy", ROLLOUT, {}),
    "serving.grpc": (True, ROLLOUT, {}),
    "serving.prefetch": (True, ROLLOUT, {}),
    "serving.scaling.metric": ("QueueDepth", PLACE, {"serving.scaling.target": 4}),
    "serving.scaling.target": (4, PLACE, {}),
    "serving.scaling.scaleDownDelay": ("1m", PLACE, {}),
    "serving.scaling.idleAfter": ("2m", PLACE, SLEEPY),
    "serving.rollout.maxSurge": (3, PLACE, {}),
    "serving.rollout.maxUnavailable": (1, PLACE, {}),
    "serving.rollout.drainTimeout": ("9s", ROLLOUT, {}),
    "serving.rollout.progressDeadline": ("9m", PLACE, {}),
    "serving.rollout.canary": ({"steps": [{"weight": "10%"}]}, PLACE, {}),
    "capacity.pools": (["gold"], ROLLOUT, {}),
    "capacity.onDemandBase": (2, PLACE, {}),
    "capacity.spotPercent": (50, PLACE, {}),
    "capacity.mode": ("Guarded", PLACE, {}),
    "capacity.fallback": ("Wait", PLACE, {}),
    "reoptimize": ({"schedule": "0 0 * * *"}, REFUSED, {}),
    "rerun": ({"reason": "again"}, RUN, {}),
    "revisionHistoryLimit": (1, PLACE, {}),
}
BASE = {
    "source": {"uri": "s3://models/digits"},
    "compression": {"preset": "Balanced"},
    "guardrail": {"dataset": {"uri": "s3://data/digits.npz"}},
    "serving": {"maxReplicas": 4},
}
OUTPUT = "s3://platform/artifacts"
SETTINGS = Settings("compress:1", "serve:1", "gateway:1", node_cache_volume="/cache")


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Each field by its path; parts that may be left out altogether are one field."""
    for name, field in model.model_fields.items():
        here = f"{path}{field.alias or name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{here}.")
        else:
            yield here


def spec(changes: dict[str, Any]) -> OptimizedModelSpec:
    body: dict[str, Any] = {name: dict(part) for name, part in BASE.items()}
    for path, value in changes.items():
        *parents, last = path.split(".")
        part = body
        for name in parents:
            part[name] = dict(part.get(name) or {})
            part = part[name]
        if value is None:
            del part[last]
        else:
            part[last] = value
    return OptimizedModelSpec.model_validate(body)


def test_an_engine_that_steps_do_not_depend_on_makes_other_pods() -> None:
    """A preset is a recipe for the engine that it names; steps are what they are, and the pods' arguments change."""
    before, after = spec(STEPS), spec({**STEPS, "serving.engine": "OnnxRuntime"})
    found = change(Key("models", "digits"), before, after, serving(before))
    assert found.effect is Effect.ROLLOUT


def test_no_field_is_forgotten() -> None:
    """Nor does the table name one that there is not."""
    assert set(fields(OptimizedModelSpec)) == set(FIELDS)


def serving(live: OptimizedModelSpec) -> OptimizedModelStatus:
    key = run_key(live, OUTPUT)
    name = run_name("digits", key)
    artifact = {"uri": f"{OUTPUT}/digits/{key}", "digest": "sha256:0", "bytes": 1, "sourceBytes": 4}
    active = {"name": "digits-a", "runName": name, "artifact": artifact, "generation": 1, "since": "now"}
    run = {"name": name, "key": key, "phase": "Succeeded", "progressPercent": 100}
    template = template_of(live, SETTINGS)
    return OptimizedModelStatus.model_validate({"lastRun": run, "activeRevision": {**active, "template": template}})


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_a_change_of_one_field(field: str) -> None:
    """The field is named, with what it causes; and what makes other pods is what a revision remembers of them."""
    value, effect, both = FIELDS[field]
    before, after = spec(both), spec({**both, field: value})
    status = serving(before)
    found = change(Key("models", "digits"), before, after, status)
    assert found.effect is effect, found.why
    path = f"spec.{field}"
    assert all(one.field.startswith(path) or path.startswith(one.field) for one in found.fields)
    assert found.fields
    active = status.active_revision
    assert active is not None
    again = spec_for(after, active)
    if effect is not RUN:
        assert again is not None
        assert revision_hash(active.artifact, again, SETTINGS) == revision_hash(active.artifact, before, SETTINGS)
