"""Kills what a cluster leaves behind when it dies without a word.

The cluster starts this file as a process of its own and holds the other end of its stdin. Standard
input ends when the cluster is gone, for whatever reason; then everything that carries the cluster's
marker in its environment is killed until nothing is left. The kernel's parent-death signal covers the
first process of each container only.

    python -S warden.py TRIMTAB_LOCAL_CONTAINER=<cluster>/
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

_ROUNDS = 50  # a process may fork while it is looked for


def main() -> None:
    """Wait for the end of the cluster, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wanted = os.fsencode(sys.argv[1])
    while os.read(0, 4096):
        pass
    for _ in range(_ROUNDS):
        if not _kill(wanted):
            return


def _kill(wanted: bytes) -> int:
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(v.startswith(wanted) for v in (entry / "environ").read_bytes().split(b"\0")):
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    return killed


if __name__ == "__main__":
    main()
