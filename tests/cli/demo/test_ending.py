"""However the demo is ended, nothing of it is left: no process, no folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def mentioning(folder: Path) -> set[int]:
    """Return the processes whose command line names the folder."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            if os.fsencode(folder) in command:
                found.add(int(entry.name))
    return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo whose temporary files, and so whose processes' arguments, are below `tmp_path`."""
    arguments = ["-m", "trimtab", "demo", "--report", str(tmp_path / "report")]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    yield process
    process.kill()
    process.communicate()
    for pid in mentioning(tmp_path):
        os.kill(pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    pytest.fail(f"{text!r} was never said:\n{''.join(seen)}")


@pytest.mark.parametrize("phase", ["A customer trains", "Running, 0 %"])
def test_interrupt_leaves_nothing(demo: subprocess.Popen[str], tmp_path: Path, phase: str) -> None:
    """Ctrl-C ends training, cluster, operator and Job, removes the folder and says so."""
    read_until(demo, phase)
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert rest.splitlines()[-1] == "ended; nothing is left running"
    assert mentioning(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []


def test_kill_takes_the_processes_along(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    """Even when the demo cannot tidy up, the kernel ends what it started."""
    read_until(demo, "A customer trains")
    deadline = time.monotonic() + 120
    while len(mentioning(tmp_path)) < 3 and time.monotonic() < deadline:  # itself, training, cluster
        time.sleep(0.05)
    demo.kill()
    while mentioning(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mentioning(tmp_path) == set()
