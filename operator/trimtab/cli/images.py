"""What our images stand for where there is no container runtime."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence


def local_images() -> Mapping[str, Sequence[str]]:
    """Image patterns of the embedded cluster; an empty command means: from the PATH, by `command`."""
    ours = [sys.executable, "-m", "trimtab"]
    return {
        "trimtab": ours,
        "trimtab/*": ours,
        "*/trimtab": ours,
        "*/trimtab/*": ours,
        "python*": [sys.executable],
        "busybox*": [],
        "alpine*": [],
        "debian*": [],
    }
