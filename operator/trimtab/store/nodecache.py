"""Artifacts that the pods of a node keep for each other: fetched once, checked at every use, used in place.

Under the folder lie, for each digest, the artifact itself, `<digest>.use` and `<digest>.making`. Who uses an artifact
holds a shared lock on the first of these files until its process ends; who fetches one holds the second alone. The
kernel drops the locks of a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from trimtab.errors import Stalled
from trimtab.store.artifacts import open_artifact, parse_manifest
from trimtab.store.base import MANIFEST
from trimtab.store.digests import bytes_digest, file_sha256

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class NodeCache:
    """A folder of artifacts, each visible only when it is whole."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def fetch(self, uri: str, digest: str) -> Path | None:
        """Return the folder of an artifact, which stays there while this process lives; None where there is no room.

        Blocks while another pod fetches the same artifact, and then uses that one.

        Raises:
            Stalled: ArtifactCorrupt, what is at the URI is not what the digest says.
            NotYet: StoreUnreachable.
        """
        if not _DIGEST.fullmatch(digest):
            return None  # no artifact has it; whoever opens one says so
        name = digest.replace(":", "-")
        target = self._folder / name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _lock_for_life(self._folder / f"{name}.use")
            with _locked(self._folder / f"{name}.making"):
                if not _is_whole(target, digest):
                    _remove(target)
                    self._make(uri, digest, target)
                os.utime(target)
            self._evict(keep=target)
        except OSError:  # no space, or not ours to write: the pod has a folder of its own
            return None
        return target

    def _make(self, uri: str, digest: str, target: Path) -> None:
        partial = target.with_suffix(".partial")  # nobody else makes it, so what is there was left by a pod that died
        _remove(partial)
        partial.mkdir()
        try:
            open_artifact(uri, digest, partial)
            for path in partial.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)  # mapped by others: a write would reach into their memory
                    _sync(path)
            partial.rename(target)
            _sync(self._folder)
        except BaseException:
            _remove(partial)
            raise

    def _evict(self, keep: Path) -> None:
        """Remove artifacts that no process uses, longest unused first, until all fit."""
        found = [path for path in self._folder.glob("sha256-*") if path.is_dir() and path.suffix != ".partial"]
        sizes = {path: _size(path) for path in found}
        total = sum(sizes.values())
        for path in sorted(found, key=lambda path: path.stat().st_mtime):
            if total <= self._max_bytes:
                return
            if path != keep and _remove_unused(path):
                total -= sizes[path]


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        content = (folder / MANIFEST).read_bytes()
        if bytes_digest(content) != digest:
            return False
        files = parse_manifest(content, str(folder)).files
        return all(
            (folder / name).stat().st_size == size and file_sha256(folder / name) == sha256
            for name, (size, sha256) in files.items()
        )
    except (OSError, Stalled):
        return False


def _lock_for_life(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # closed, and with it unlocked, by the process's end
    fcntl.flock(descriptor, fcntl.LOCK_SH)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_unused(folder: Path) -> bool:
    descriptor = os.open(folder.parent / f"{folder.name}.use", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        _remove(folder)
        return True
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
