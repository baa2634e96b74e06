"""Paths inside a pod and where they really are, as processes share the host's file system."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath


class PathMap:
    """Rewrites every mount path in a text to the directory behind it.

    A mount path is replaced where it stands as a whole path or as the beginning of one: `/models`
    in `/models/a`, `file:///models` and `--dir=/models`, but not in `/models-old` or `/x/models`.
    """

    def __init__(self, mounts: Iterable[tuple[str, Path]]) -> None:
        # The longest first: a mount inside another one wins.
        self._mounts = sorted(
            ((inside.rstrip("/") or "/", outside) for inside, outside in mounts),
            key=lambda mount: len(mount[0]),
            reverse=True,
        )
        alternatives = "|".join(re.escape(inside) for inside, _ in self._mounts)
        self._pattern = re.compile(rf"(?:(?<![\w.\-/])|(?<=://))({alternatives})(?![\w.\-])") if alternatives else None
        self._outside = {inside: str(outside) for inside, outside in self._mounts}

    @property
    def mounts(self) -> Sequence[tuple[str, Path]]:
        """Mount paths and the directories behind them, the longest path first."""
        return self._mounts

    def rewritten(self, text: str) -> str:
        """The text with real paths."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._outside[match.group(1)], text)


def archive_names(argv: Sequence[str], mounts: Sequence[tuple[str, Path]]) -> list[str]:
    """The command line, where a tar that creates an archive gives members their names inside the pod.

    Takes GNU tar; only mounts that the command line names are renamed.
    """
    if len(argv) < 2 or PurePosixPath(argv[0]).name != "tar" or "c" not in argv[1]:
        return list(argv)
    named = [(inside, str(outside)) for inside, outside in mounts if any(str(outside) in part for part in argv[2:])]
    renames = [f"--transform=flags=rSH;s,^{re.escape(there[1:])},{inside[1:]}," for inside, there in named]
    return [*argv, *renames]
