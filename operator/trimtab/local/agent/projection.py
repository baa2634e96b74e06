"""Files that appear in a volume all at once, and change all at once, as kubelet's do.

The files lie in a folder of their own; `..data` points to it, and what a container sees are links
through `..data`. A change makes a new folder and moves that one link.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

_CURRENT = "..data"
File = tuple[bytes, int]
"""Content and permission bits."""


def project(directory: Path, files: Mapping[str, File], name: str) -> bool:
    """Make the directory show exactly these files, by relative path; returns whether anything changed.

    `name` is for the folder that holds them, and was never used in this directory.
    """
    current = directory / _CURRENT
    if current.is_symlink() and _present(current) == dict(files):
        return False
    old = current.resolve() if current.is_symlink() else None
    fresh = directory / f"..{name}"
    fresh.mkdir(parents=True)
    for path, (content, mode) in files.items():
        file = fresh / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
    link = directory / f"{_CURRENT}_tmp"
    link.symlink_to(fresh.name)
    link.replace(current)
    _show(directory, {path.split("/", 1)[0] for path in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _present(current: Path) -> dict[str, File]:
    return {
        str(file.relative_to(current)): (file.read_bytes(), file.stat().st_mode & 0o7777)
        for file in current.rglob("*")
        if file.is_file()
    }


def _show(directory: Path, wanted: set[str]) -> None:
    """One link per file or folder at the top."""
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.is_symlink() and entry.name not in wanted:
            entry.unlink()
    for top in wanted:
        with contextlib.suppress(FileExistsError):
            (directory / top).symlink_to(f"{_CURRENT}/{top}")
