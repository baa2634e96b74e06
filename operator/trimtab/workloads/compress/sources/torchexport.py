"""Sources that torch.export wrote: one .pt2 file, read as data."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from trimtab.workloads.compress.network import invalid_source
from trimtab.workloads.compress.sources.archive import ArchiveError, read_archive
from trimtab.workloads.compress.sources.rebuilding import rebuild


def load_archive(path: Path, uri: str) -> nn.Module:
    """Return the network of an archive.

    Raises:
        Stalled: SourceInvalid, naming what is damaged, not supported, or would run code.
    """
    try:
        return rebuild(read_archive(path)).eval()
    except ArchiveError as error:
        raise invalid_source(f"{uri}: {path.name} {error}") from None
