"""What every kind of store does, and the names that are safe to write to a disk."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

MANIFEST = "manifest.json"


class StoredFile(NamedTuple):
    """A file below a URI; `name` is relative, with forward slashes. A URI that is one file has its base name."""

    name: str
    size: int


class Store(Protocol):
    """Files below one URI, which is a folder or a single file.

    Every operation raises Stalled (missing, no access) or NotYet (StoreUnreachable); messages begin with the field.
    """

    @property
    def uri(self) -> str: ...

    def files(self) -> list[StoredFile]:
        """Return all files, sorted by name, hidden ones left out. Never empty: nothing there is an error."""

    def fetch(self, file: str, to: Path) -> None:
        """Write one file to `to`, whose folder exists."""

    def read(self, file: str) -> bytes | None:
        """Return a small file of a folder, or None where there is none."""

    def publish(self, folder: Path) -> None:
        """Make `folder` appear at the URI, all at once; replaces what is there."""

    def remove(self) -> None:
        """Delete everything below the URI; nothing there is fine."""

    def clean(self) -> None:
        """Remove what publications left that were killed."""


def fetch_all(store: Store, into: Path) -> list[StoredFile]:
    """Copy everything below a store's URI into a folder and return what was copied."""
    found = store.files()
    for file in found:
        target = into / safe_name(file.name, store.uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(file.name, target)
    return found


def safe_name(name: str, uri: str) -> PurePosixPath:
    """Return a relative name that stays inside the folder it is written to.

    Raises:
        Stalled: It is absolute, climbs with `..`, or is no name at all.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise Stalled(
            Reason.SOURCE_INVALID, f"{uri}: refused the file name {name!r}, which leaves the folder; rename it"
        )
    return path
