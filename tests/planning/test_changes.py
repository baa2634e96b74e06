"""What a changed spec would cause."""

from typing import Any

import pytest

from trimtab.api.names import Key, run_name
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.status import OptimizedModelStatus, RunPhase, RunStatus
from trimtab.planning.changes import Effect, FieldChange, change
from trimtab.planning.runs import run_key

KEY = Key("models", "digits")
OUTPUT = "s3://platform/artifacts"


def spec(**changes: Any) -> OptimizedModelSpec:
    return OptimizedModelSpec.model_validate(
        {
            "source": {"uri": "s3://models/digits"},
            "compression": {"preset": "Balanced"},
            "guardrail": {"dataset": {"uri": "s3://data/digits.npz"}, "maxDrop": "1pp"},
            **changes,
        }
    )


def revision(name: str, run: str) -> dict[str, Any]:
    artifact = {"uri": f"{OUTPUT}/digits/abc-{run}", "digest": f"sha256:{run}", "bytes": 1, "sourceBytes": 4}
    return {"name": name, "runName": run_name("digits", run), "artifact": artifact, "generation": 1, "since": "now"}


def serving(live: OptimizedModelSpec, *before: OptimizedModelSpec) -> OptimizedModelStatus:
    """The status of a model that serves what `live` asks for, and remembers what was before."""
    key = run_key(live, OUTPUT)
    return OptimizedModelStatus.model_validate(
        {
            "lastRun": {"name": run_name("digits", key), "key": key, "phase": "Succeeded", "progressPercent": 100},
            "activeRevision": revision("digits-now", key),
            "revisions": [revision(f"digits-{n}", run_key(one, OUTPUT)) for n, one in enumerate(before)],
        }
    )


def serves(**changes: Any) -> dict[str, Any]:
    return {"serving": changes}


@pytest.mark.parametrize(
    ("changes", "effect", "field"),
    [
        pytest.param({}, Effect.NOTHING, None, id="the same"),
        pytest.param(serves(minReplicas=1), Effect.NOTHING, None, id="a default written out"),
        pytest.param({"compression": {"preset": "Fast"}}, Effect.NEW_RUN, "spec.compression.preset", id="recipe"),
        pytest.param({"rerun": {"reason": "again"}}, Effect.NEW_RUN, "spec.rerun", id="rerun"),
        pytest.param({"source": {"uri": "s3://models/d2"}}, Effect.NEW_RUN, "spec.source.uri", id="source"),
        pytest.param(
            {"compression": {"preset": "Balanced", "output": {"uri": "s3://mine"}}},
            Effect.NEW_RUN,
            "spec.compression.output",
            id="output",
        ),
        pytest.param(
            {"compression": {"preset": "Balanced", "job": {"retries": 1}}},
            Effect.IN_PLACE,
            "spec.compression.job.retries",
            id="job",
        ),
        pytest.param(serves(batching={"maxSize": 4}), Effect.ROLLOUT, "spec.serving.batching.maxSize", id="batching"),
        pytest.param(serves(image="my/serve:1"), Effect.ROLLOUT, "spec.serving.image", id="image"),
        pytest.param(serves(maxReplicas=9), Effect.IN_PLACE, "spec.serving.maxReplicas", id="scaling"),
        pytest.param({"capacity": {"spotPercent": 50}}, Effect.IN_PLACE, "spec.capacity.spotPercent", id="capacity"),
        pytest.param({"capacity": {"pools": ["gold"]}}, Effect.ROLLOUT, "spec.capacity.pools", id="pools"),
        pytest.param({"suspend": True}, Effect.IN_PLACE, "spec.suspend", id="suspend"),
        pytest.param({"reoptimize": {"schedule": "0 0 * * *"}}, Effect.REFUSED, "spec.reoptimize", id="refused"),
    ],
)
def test_what_a_change_causes(changes: dict[str, Any], effect: Effect, field: str | None) -> None:
    """The heaviest of its consequences, and the field that it is about."""
    found = change(KEY, spec(), spec(**changes), serving(spec()))
    assert (found.effect, [one.field for one in found.fields]) == (effect, [field] if field else [])
    assert found.why


def test_going_back_needs_no_run() -> None:
    """What an earlier run made is remembered, wherever the operator keeps artifacts."""
    old, live = spec(compression={"preset": "Fast"}), spec()
    found = change(KEY, live, old, serving(live, old))
    assert (found.effect, found.why) == (Effect.ROLLOUT, "the artifact of digits-0 is there already; no Job")


def test_a_failed_run_is_tried_with_what_it_lacked() -> None:
    """More time is no other artifact, but a run that ended for want of it goes on."""
    last = RunStatus(name="digits-run-x", key="x", phase=RunPhase.FAILED)
    longer = spec(compression={"preset": "Balanced", "job": {"deadline": "9h"}})
    failed = OptimizedModelStatus(last_run=last)
    found = change(KEY, spec(), longer, failed)
    assert (found.effect, found.why) == (Effect.NEW_RUN, "run digits-run-x failed, and is given something else")
    assert change(KEY, spec(), spec(**serves(maxReplicas=9)), failed).effect is Effect.IN_PLACE


def test_a_new_model_runs() -> None:
    """And a suspended one waits."""
    empty = OptimizedModelStatus()
    assert change(KEY, None, spec(), empty).effect is Effect.NEW_RUN
    assert change(KEY, None, spec(suspend=True), empty).why == "the model is new (waits: spec.suspend)"


def test_before_anything_serves_only_the_run_counts() -> None:
    """There are no pods that could be replaced."""
    found = change(KEY, spec(), spec(**serves(image="my/serve:1")), OptimizedModelStatus())
    assert (found.effect, found.fields) == (Effect.IN_PLACE, (FieldChange("spec.serving.image", None, "my/serve:1"),))


@pytest.mark.parametrize(
    ("changes", "effect", "said"),
    [
        pytest.param({}, Effect.NOTHING, "digits-0 stays rolled back, digits-now serves", id="the same"),
        pytest.param(serves(maxReplicas=3), Effect.IN_PLACE, "digits-0 stays rolled back", id="the same revision"),
        pytest.param(serves(image="mine:2"), Effect.ROLLOUT, "it ends the rollback to digits-now", id="another one"),
        pytest.param({"rerun": {"reason": "again"}}, Effect.NEW_RUN, "it ends the rollback to digits-now", id="a run"),
    ],
)
def test_what_a_person_rolled_back_is_told(changes: dict[str, Any], effect: Effect, said: str) -> None:
    """Compared is with what the spec asks for, not with what serves instead; and whether that goes on."""
    live = spec()
    status = serving(live, live)
    back = {"revision": "digits-0", "to": "digits-now", "asked": "digits-0", "since": "now"}
    status = OptimizedModelStatus.model_validate({**status.wire(), "rollback": back})
    found = change(KEY, live, spec(**changes), status)
    assert found.effect is effect
    assert said in found.why
