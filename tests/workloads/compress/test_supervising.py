"""A process that dies is started again; what it was doing is told by what it left behind."""

import os
import signal
import subprocess
import sys

import pytest

from trimtab.workloads.compress.supervising import MOST_STARTS, memory_limit, taken

pytestmark = pytest.mark.integration
CHILD = """
import os, signal, sys
from pathlib import Path
from trimtab.workloads.compress.supervising import supervise, taken

left = Path(sys.argv[1])

def run():
    starts = len(left.read_text()) if left.exists() else 0
    left.write_text("x" * (starts + 1))
    {run}

sys.exit(supervise(run, {limit}, lambda death: 70 + death.for_memory))
"""


def supervised(tmp_path, run, limit="None"):
    code = CHILD.format(run=run.replace("\n", "\n    "), limit=limit)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, str(tmp_path / "starts")]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("run", "limit", "code", "starts"),
    [
        ("return 75", "None", 75, 1),
        ("if starts == 0: os.abort()\nreturn 0", "None", 0, 2),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "None", 70, MOST_STARTS),
        ("if starts < 2:\n    kept = b'x' * 300_000_000\n    signal.pause()\nreturn 0", "250_000_000", 0, 3),
        ("raise ValueError('a fault')", "None", 1, 1),
    ],
)
def test_what_becomes_of_a_process(tmp_path, run, limit, code, starts):
    """Its code is passed on; a crash and too much memory start it again, too often ends it; a fault is no crash."""
    with supervised(tmp_path, run, limit) as process:
        process.communicate(timeout=60)
    assert process.returncode == code
    assert len((tmp_path / "starts").read_text()) == starts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_end_goes_on_to_the_process(tmp_path, number):
    """It ends as it likes, with its own code, and is not started again."""
    run = f"signal.signal({int(number)}, lambda *_: os._exit(143))\nprint('ready', flush=True)\nsignal.pause()"
    with supervised(tmp_path, run) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(30) == 143
    assert len((tmp_path / "starts").read_text()) == 1


def test_nothing_is_left_running(tmp_path):
    """Where the one that watches is killed, what it watched ends."""
    with supervised(tmp_path, "print(os.getpid(), flush=True)\nsignal.pause()") as process:
        child = int(process.stdout.readline())
        handle = os.pidfd_open(child)
        process.kill()
        assert process.stdout.read() == "", "the pipe closes when the last of both is gone"
    os.close(handle)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "max\n"}, None),
        ({"memory.max": "2147483648\n"}, 2147483648),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"memory/memory.limit_in_bytes": "1073741824\n"}, 1073741824),
        ({}, None),
    ],
)
def test_the_memory_that_there_is(tmp_path, files, limit):
    """Of both kinds of cgroups; without a limit there is none to keep."""
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory_limit(tmp_path) == limit


def test_the_memory_that_a_process_takes():
    """Its own, without what it shares with others; a process that is gone takes none."""
    before = taken(os.getpid())
    kept = b"x" * 50_000_000
    assert 45_000_000 < taken(os.getpid()) - before < 80_000_000 + len(kept)
    assert taken(2**22 + 1) == 0
