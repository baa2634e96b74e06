"""One background cluster per folder: a lock that lives as long as the cluster, and a note of what it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trimtab.errors import Stalled

STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster that runs in the background."""

    pid: int
    url: str
    kubeconfig: str
    started: str


def default_folder() -> Path:
    """Where state goes when nothing else is said: XDG_STATE_HOME, else ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "trimtab" / "local"


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel drops it when the process ends, however that happens.

    Raises:
        Stalled: A cluster runs there already.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        if not _locked(lock.fileno()):
            raise already_runs(folder)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def already_runs(folder: Path) -> Stalled:
    """What a second `up` on the same folder is told."""
    found = running(folder)
    who = f" (pid {found.pid}, {found.url})" if found else ""
    message = (
        f"an embedded cluster runs in {folder} already{who}; use it with `export KUBECONFIG="
        f"{found.kubeconfig if found else folder / 'kubeconfig'}`, end it with `trimtab local down`,"
        " or give another --data-dir"
    )
    return Stalled("AlreadyRunning", message)


def write_note(folder: Path, note: Running) -> None:
    """Say what runs; readers see the whole note or none."""
    fresh = folder / "cluster.json.new"
    fresh.write_text(json.dumps(asdict(note)))
    fresh.replace(folder / "cluster.json")


def remove_note(folder: Path) -> None:
    """Nothing runs any more."""
    (folder / "cluster.json").unlink(missing_ok=True)


def running(folder: Path) -> Running | None:
    """What runs in the folder; a note that outlived its cluster does not count."""
    if not (folder / "lock").exists():
        return None
    with (folder / "lock").open() as lock:
        if _locked(lock.fileno()):
            return None
    try:
        return Running(**json.loads((folder / "cluster.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def stop(found: Running) -> None:
    """Ask a cluster to end and wait for it.

    Raises:
        Stalled: It did not end in time and was killed; its warden cleans up after it.
    """
    try:
        handle = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended, _, _ = select.select([handle], [], [], STOP_TIMEOUT_S)
        if not ended:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            message = f"the cluster (pid {found.pid}) did not end within {STOP_TIMEOUT_S:.0f} s and was killed"
            raise Stalled("KilledAtStop", message)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
