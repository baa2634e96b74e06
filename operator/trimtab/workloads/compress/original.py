"""The original as an artifact of its own, beside one that missed its guardrail: what `onFail: ServeOriginal` serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.api.serving import Engine
from trimtab.api.status import ArtifactStatus
from trimtab.store import complete_artifact, join, write_manifest

FOLDER = "original"  # with a manifest of its own: the artifact is the same with and without it


def write_original(
    baseline: Path, artifact: Path, config: Mapping[str, Any], facts: Mapping[str, str], uri: str
) -> ArtifactStatus:
    """Write the file that the guardrail judged against into an artifact's folder, and return what it will be at `uri`.

    `config` is what the artifact's own config.json says besides the engine: nothing that a step does changes it.
    """
    folder = artifact / FOLDER
    folder.mkdir()
    (folder / "model.onnx").write_bytes(baseline.read_bytes())
    (folder / "config.json").write_text(json.dumps({"engine": Engine.ONNX_RUNTIME.value, **config}, indent=1))
    manifest = write_manifest(folder, **facts)
    return _status(join(uri, FOLDER), manifest.digest, baseline.stat().st_size)


def find_original(uri: str, copy: Path, field: str) -> ArtifactStatus | None:
    """Return the original beside the artifact at `uri`; None where none was published, or it is damaged."""
    place = join(uri, FOLDER)
    manifest = complete_artifact(place, copy, field)
    return _status(place, manifest.digest, (copy / "model.onnx").stat().st_size) if manifest else None


def _status(uri: str, digest: str, size: int) -> ArtifactStatus:
    return ArtifactStatus(uri=uri, digest=digest, bytes=size, source_bytes=size)
