"""Where a serving pod gets its artifacts from."""

from pathlib import Path

from structlog.testing import capture_logs

from trimtab.cli.serve import _Fetching
from trimtab.store import write_manifest
from trimtab.workloads.serve.model import ModelSettings


def test_a_node_cache_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """The pod serves from a folder of its own, and the log says which one is in the way."""
    artifact, shared = tmp_path / "artifact", tmp_path / "file" / "node"
    artifact.mkdir()
    (artifact / "model.onnx").write_bytes(b"weights")
    (tmp_path / "file").write_text("")
    model = ModelSettings("digits", "digits-1", artifact.as_uri(), write_manifest(artifact).digest)
    with capture_logs() as logs:
        found = _Fetching(tmp_path / "own", shared, 1_000)(model)
    assert found.is_relative_to(tmp_path / "own")
    assert (found / "model.onnx").read_bytes() == b"weights"
    assert [(entry["event"], entry["folder"]) for entry in logs] == [("artifact_cache.unusable", str(shared))]
