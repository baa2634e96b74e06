"""Whatever is wrong ends in a condition that names field, value and remedy."""

from pathlib import Path
from typing import Any

import pytest

from trimtab.effects.kubernetes import ApiError

pytestmark = pytest.mark.e2e
runs_pods = pytest.mark.needs("nodes", "this-machine")


@pytest.fixture
def operator(modules_operator: Any) -> Any:
    return modules_operator


def stalled(status: dict[str, Any]) -> Any:
    return next((entry for entry in status.get("conditions") or () if entry["type"] == "Stalled"), None)


def parts(customer: Path, **changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "source": {"uri": (customer / "model").as_uri(), "entrypoint": "digits_model:build"},
        "compression": {"preset": "Fast", "job": {"retries": 0}},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "maxDrop": "2pp"},
    }
    return {**spec, **changes}


@pytest.mark.parametrize(
    ("name", "changes", "reason", "said"),
    [
        pytest.param(
            "nosource",
            {"source": {"uri": "file:///nowhere/x"}},
            "SourceNotFound",
            ["spec.source.uri", "/nowhere/x"],
            marks=runs_pods,
        ),
        pytest.param(
            "nodata",
            {"guardrail": {"dataset": {"uri": "file:///nowhere/x.npz"}}},
            "DatasetNotFound",
            ["spec.guardrail.dataset.uri", "/nowhere/x.npz"],
            marks=runs_pods,
        ),
        ("drift", {"reoptimize": {"schedule": "0 0 * * *"}}, "NotSupported", ["spec.reoptimize"]),
        ("pools", {"capacity": {"pools": ["gold"]}}, "NoPool", ["spec.capacity.pools", "gold"]),
    ],
)
async def test_bad_input_is_named(
    world: Any, customer: Path, name: str, changes: Any, reason: str, said: list[str]
) -> None:
    """The condition is Stalled: trying again cannot help."""
    await world.cluster.apply(world.model(name, **parts(customer, **changes)))
    body = await world.until(f"{reason}", stalled, name=name, timeout=60)
    found = stalled(body["status"])
    assert found["reason"] == reason
    for text in said:
        assert text in found["message"]
    ready = next(entry for entry in body["status"]["conditions"] if entry["type"] == "Ready")
    assert (ready["status"], ready["observedGeneration"]) == ("False", 1)


@runs_pods
async def test_what_is_no_model(world: Any, customer: Path, tmp_path: Path) -> None:
    """A file with the right name and the wrong content."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    (tmp_path / "model.onnx").write_bytes(b"not a model at all")
    source = {"uri": (tmp_path / "model.onnx").as_uri()}
    await world.cluster.apply(world.model("garbage", **parts(customer, source=source)))
    found = stalled((await world.until("SourceInvalid", stalled, name="garbage", timeout=60))["status"])
    assert found["reason"] == "SourceInvalid"
    assert "model.onnx" in found["message"]


@runs_pods
async def test_an_unreachable_s3(world: Any, customer: Path) -> None:
    """Nobody listens there: after its retries the run fails, and says where it looked."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s3", "namespace": world.namespace},
        "stringData": {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
            "AWS_DEFAULT_REGION": "eu-central-1",
        },
    }
    await world.cluster.apply(secret)
    source = {"uri": "s3://models/digits", "secretRef": {"name": "s3"}}
    await world.cluster.apply(world.model("far", **parts(customer, source=source)))
    body = await world.until("StoreUnreachable", stalled, name="far", timeout=120)
    found = stalled(body["status"])
    assert found["reason"] == "StoreUnreachable"
    assert "127.0.0.1:9" in found["message"]
    assert "very-secret" not in str(body)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"serving": {"maxReplicas": "four"}}, "spec.serving.maxReplicas"),
        ({"compression": {"preset": "Tiny"}}, "spec.compression.preset"),
        ({"guardrail": {"dataset": {"uri": "no-scheme"}}}, "spec.guardrail.dataset.uri"),
    ],
)
async def test_a_wrong_type_is_refused_at_the_door(world: Any, customer: Path, change: Any, said: str) -> None:
    """The API server's own validation, from our schema."""
    with pytest.raises(ApiError, match=said):
        await world.cluster.apply(world.model("bad", **parts(customer, **change)))
