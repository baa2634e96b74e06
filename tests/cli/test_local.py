"""`trimtab local` as a user types it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def folder():
    """A short-named folder for the cluster's state."""
    with tempfile.TemporaryDirectory(prefix="tt") as path:
        yield Path(path)
        trimtab(Path(path), "down")


def trimtab(folder, *arguments):
    command = [sys.executable, "-m", "trimtab", "local", *arguments, "--data-dir", str(folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)


def test_a_cluster_goes_up_and_down(folder):
    """`up` returns when it is ready and says how to use it; a second one is refused; `down` ends it."""
    up = trimtab(folder, "up")
    assert (up.returncode, up.stdout) == (0, f"export KUBECONFIG={folder}/kubeconfig\n"), up.stderr
    again = trimtab(folder, "up", "--output", "json")
    assert again.returncode == 1
    assert f"runs in {folder} already" in again.stderr
    assert "trimtab local down" in again.stderr
    facts = json.loads(trimtab(folder, "status", "--output", "json").stdout)
    assert [n["name"] for n in facts["nodes"]] == ["local-0"]
    assert "local-0" in trimtab(folder, "status").stdout
    pid = facts["pid"]
    down = trimtab(folder, "down")
    assert f"(pid {pid}) has ended" in down.stdout
    assert "NotRunning" in trimtab(folder, "status").stderr


def test_a_bar_is_shown_while_it_starts(folder):
    """On a terminal: what it does, and how far it is; standard output stays what scripts read."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "trimtab", "local", "up", "--data-dir", str(folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=env) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # as reading a terminal ends whose last process is gone
            while part := os.read(ours, 4096):
                shown += part
        assert process.stdout.read() == f"export KUBECONFIG={folder}/kubeconfig\n"
    os.close(ours)
    text = shown.decode()
    assert text.index("starting a process") < text.index("starting API server") < text.index("100%")


def test_questions_without_a_cluster(folder):
    """Every command says what is missing and what to do."""
    status = trimtab(folder, "status")
    assert status.returncode == 1
    assert "start one with `trimtab local up`" in status.stderr
    assert "no embedded cluster runs" in trimtab(folder, "down").stdout


def test_only_nodes_of_groups_can_be_interrupted(folder):
    """The message names the nodes that can."""
    trimtab(folder, "up")
    refused = trimtab(folder, "interrupt", "local-0")
    assert "node 'local-0' belongs to no node group; nodes that can be interrupted: none" in refused.stderr
    missing = trimtab(folder, "interrupt", "nope")
    assert "node 'nope' does not exist" in missing.stderr


def test_a_failed_start_shows_its_log(folder):
    """What the background process said before it ended is in the message."""
    blocked = trimtab(folder, "up", "--kubeconfig", "/proc/nope/kubeconfig")
    assert blocked.returncode == 1
    assert f"the cluster did not start; the end of {folder}/cluster.log says:" in blocked.stderr
    assert "/proc/nope" in blocked.stderr


def test_the_foreground_says_one_line_when_it_is_ready(folder):
    """Scripts wait for that line; SIGTERM ends it cleanly."""
    target = folder / "config" / "kube"
    command = [sys.executable, "-m", "trimtab", "local", "up", "--foreground", "--data-dir", str(folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [*command, "--kubeconfig", str(target)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as process:
        assert process.stdout.readline() == f"ready: export KUBECONFIG={target}\n"
        assert target.exists()
        assert target.stat().st_mode & 0o777 == 0o600
        process.terminate()
        assert process.wait(20) == 0
        assert process.stdout.read() == ""


def kept(folder):
    """Whether there is a state file with a namespace of that name in it."""
    found = folder / "state.log"
    return found.exists() and b'"name":"kube-system"' in found.read_bytes()


def test_objects_are_kept_where_a_folder_is_given(folder, monkeypatch):
    """--data-dir keeps them, --in-memory does not, and neither does a cluster in its default folder."""
    trimtab(folder, "up", "--in-memory")
    assert not kept(folder)
    trimtab(folder, "down")
    trimtab(folder, "up")
    assert kept(folder)
    trimtab(folder, "down")
    assert kept(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "s"))
    command = [sys.executable, "-m", "trimtab", "local"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    up = subprocess.run([*command, "up"], capture_output=True, text=True, timeout=60, env=env, check=False)
    assert up.stdout == f"export KUBECONFIG={folder}/s/trimtab/local/kubeconfig\n", up.stderr
    assert not kept(folder / "s/trimtab/local")
    subprocess.run([*command, "down"], capture_output=True, timeout=60, env=env, check=True)


def test_a_damaged_state_is_named_with_the_remedy(folder):
    """The cluster does not start, and the file stays as it is."""
    trimtab(folder, "up")
    trimtab(folder, "down")
    state = folder / "state.log"
    data = bytearray(state.read_bytes())
    data[1_000] ^= 1
    state.write_bytes(data)
    up = trimtab(folder, "up")
    assert up.returncode == 1
    assert f"StateDamaged: the state file {state} cannot be used: at byte" in up.stderr
    assert f"mv {state} {state}.damaged" in up.stderr
    assert state.read_bytes() == data
