"""Artifacts: a folder of files under a manifest that lists them, and whose sha256 is the artifact's digest."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.store.base import MANIFEST, Store, safe_name
from trimtab.store.digests import bytes_digest, file_sha256
from trimtab.store.opening import open_store

ARTIFACT_SCHEMA = "trimtab.dev/artifact/v1"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artifact consists of."""

    digest: str
    """sha256 of the manifest's bytes: the artifact's identity."""
    files: dict[str, tuple[int, str]]
    """Size in bytes and sha256 (hexadecimal) by relative name."""
    facts: dict[str, Any]
    """Whatever else its writer put there."""

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.files.values())


def write_manifest(folder: Path, **facts: Any) -> Manifest:
    """List a folder's files in its manifest.json; equal files and facts give equal bytes.

    A folder below that has a manifest of its own is no part of this one: its files may differ between equal artifacts.
    """
    apart = {path.parent for path in folder.glob(f"*/**/{MANIFEST}")}
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST and not apart & {*path.parents}
    )
    files = [
        {"name": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "sha256": file_sha256(path)}
        for path in paths
    ]
    content = json.dumps({"schema": ARTIFACT_SCHEMA, **facts, "files": files}, indent=1, sort_keys=True).encode()
    (folder / MANIFEST).write_bytes(content)
    return parse_manifest(content, str(folder))


def parse_manifest(content: bytes, uri: str) -> Manifest:
    """Read a manifest.

    Raises:
        Stalled: ArtifactCorrupt, it is not one.
    """
    try:
        data = json.loads(content)
        schema = data.pop("schema")
        files = {str(file["name"]): (int(file["size"]), str(file["sha256"])) for file in data.pop("files")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _corrupt(uri, f"{MANIFEST} is no manifest ({type(error).__name__}: {error})") from None
    if schema != ARTIFACT_SCHEMA:
        raise _corrupt(uri, f"{MANIFEST} has schema {schema}, this version reads {ARTIFACT_SCHEMA}")
    for name in files:
        safe_name(name, uri)
    return Manifest(bytes_digest(content), files, data)


def complete_artifact(uri: str, into: Path, field: str = "uri") -> Manifest | None:
    """Copy an artifact whose every byte is as its manifest says, else return None: it is not there, or unusable."""
    try:
        return open_artifact(uri, None, into, field)
    except Stalled as error:
        if error.reason in {Reason.ARTIFACT_CORRUPT, Reason.SOURCE_NOT_FOUND}:
            return None
        raise


def publish_artifact(folder: Path, uri: str, field: str = "uri") -> Manifest:
    """Make a folder with its manifest appear at a URI, all at once, and return the manifest that is there.

    An artifact that is there and complete stays as it is; what an interrupted publication left is replaced.
    """
    store = open_store(uri, field)
    store.clean()
    with tempfile.TemporaryDirectory() as copy:
        there = complete_artifact(uri, Path(copy), field)
    if there is not None:
        return there
    store.publish(folder)
    return parse_manifest((folder / MANIFEST).read_bytes(), uri)


def open_artifact(uri: str, digest: str | None, into: Path, field: str = "artifact") -> Manifest:
    """Copy an artifact into a folder, checking every byte; `digest` None takes what the manifest says.

    Raises:
        Stalled: ArtifactCorrupt, naming the file, what was expected and what was found; SourceNotFound.
        NotYet: StoreUnreachable.
    """
    store = open_store(uri, field)
    content = store.read(MANIFEST)
    if content is None:
        store.files()  # says so when nothing at all is there
        raise _corrupt(uri, f"{MANIFEST} does not exist: its publication never finished")
    found = bytes_digest(content)
    if digest is not None and found != digest:
        raise _corrupt(uri, f"{MANIFEST}: expected {digest}, found {found}")
    manifest = parse_manifest(content, uri)
    (into / MANIFEST).parent.mkdir(parents=True, exist_ok=True)
    (into / MANIFEST).write_bytes(content)
    for name, (size, sha256) in manifest.files.items():
        _fetch_checked(store, name, into / safe_name(name, uri), size, sha256)
    return manifest


def _fetch_checked(store: Store, name: str, target: Path, size: int, sha256: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.fetch(name, target)
    except Stalled as error:
        if error.reason != Reason.SOURCE_NOT_FOUND:
            raise
        raise _corrupt(store.uri, f"{name}: expected {size} bytes, found no file") from None
    found_size, found = target.stat().st_size, file_sha256(target)
    if (found_size, found) != (size, sha256):
        target.unlink()
        raise _corrupt(
            store.uri, f"{name}: expected sha256 {sha256} ({size} bytes), found {found} ({found_size} bytes)"
        )


def _corrupt(uri: str, what: str) -> Stalled:
    return Stalled(
        Reason.ARTIFACT_CORRUPT, f"{uri}: {what}; delete this folder and set spec.rerun.reason to make it again"
    )
