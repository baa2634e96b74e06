"""Images: names that map to commands, as there is no container runtime here."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence


class UnknownImageError(LookupError):
    """No configured pattern matches the image."""


def image_command(image: str, images: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The start of the command line that stands for an image; the first pattern that matches wins.

    A pattern without a tag matches every tag and digest.

    Raises:
        UnknownImageError: Nothing matches; the message lists what would.
    """
    bare = _without_tag(image)
    for pattern, command in images.items():
        if fnmatch.fnmatchcase(image, pattern) or fnmatch.fnmatchcase(bare, pattern):
            return command
    known = ", ".join(images) or "none"
    msg = (
        f"image {image!r} maps to no command on this embedded cluster, which runs processes instead of"
        f" images; known patterns: {known}"
    )
    raise UnknownImageError(msg)


def _without_tag(image: str) -> str:
    name = image.split("@", 1)[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.split(":", 1)[0]


def argv_of(container: Mapping[str, object], prefix: Sequence[str]) -> list[str]:
    """The command line: `command` replaces what the image says, `args` follows, as in Kubernetes."""
    command = container.get("command")
    args = container.get("args")
    start = [str(part) for part in command] if isinstance(command, list) and command else list(prefix)
    rest = [str(part) for part in args] if isinstance(args, list) else []
    return start + rest
