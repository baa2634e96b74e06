"""An artifact that somebody damaged never serves; what served before serves on, and a rerun heals."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nodes", "this-machine"), pytest.mark.timeout(300)]


def ready(status: dict[str, Any]) -> bool:
    found = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
    return found.get("Ready") == "True"


def stalled(status: dict[str, Any]) -> Any:
    return next((entry for entry in status.get("conditions") or () if entry["type"] == "Stalled"), None)


async def test_a_damaged_artifact(world: Any, customer: Path, exported: str) -> None:
    """The condition names the file; the pods that loaded it before go on."""
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}},
    }
    await world.cluster.apply(world.model(**spec))
    served = (await world.until("Ready", ready))["status"]["activeRevision"]
    model = Path(urlsplit(served["artifact"]["uri"]).path) / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.chmod(0o644)
    model.write_bytes(bytes(content))

    await world.cluster.apply(world.model(**spec, serving={"batching": {"maxSize": 4}}))
    status = (await world.until("ArtifactCorrupt", lambda s: s["observedGeneration"] == 2 and stalled(s)))["status"]
    assert stalled(status)["reason"] == "ArtifactCorrupt"
    assert "model.onnx" in stalled(status)["message"]
    assert f"{served['name']} keeps serving" in stalled(status)["message"]
    available = next(entry for entry in status["conditions"] if entry["type"] == "Available")
    assert available["status"] == "True"
    assert status["activeRevision"]["name"] == served["name"]

    again = {**spec, "serving": {"batching": {"maxSize": 4}}, "rerun": {"reason": "the artifact was damaged"}}
    await world.cluster.apply(world.model(**again))
    healed = await world.until("the healed revision", lambda s: s["observedGeneration"] == 3 and ready(s))
    assert healed["status"]["activeRevision"]["name"] != served["name"]
