"""Digests: of bytes, of a file, of a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path


def bytes_digest(content: bytes) -> str:
    """Return `sha256:<hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Return `sha256:<hex>` over the sorted relative names and the contents of a folder's files.

    Each file adds its name, a zero byte and its own sha256, so that no two folders give the same stream.
    """
    total = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(files):
        total.update(name.encode() + b"\0" + bytes.fromhex(file_sha256(files[name])))
    return f"sha256:{total.hexdigest()}"
