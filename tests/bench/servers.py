"""The servers of a run, each a process of its own; all wait at 127.x addresses for their turn."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from client import Target, target_of

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))
from clusters.assets import Assets
from clusters.controlplane import ControlPlane, etcd_flags

Running = tuple[str, Target, list[int]]
"""A name, where it is, and the processes whose memory is its."""


@contextmanager
def embedded(name: str, folder: Path, *flags: str) -> Iterator[Running]:
    """`trimtab local up` in a folder."""
    command = [sys.executable, "-m", "trimtab", "local", "up", "--foreground", "--data-dir", str(folder), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        while b"ready:" not in (line := process.stdout.readline()):
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended with code {process.wait()}")
        yield name, target_of(folder / "kubeconfig"), [process.pid]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextmanager
def etcd(folder: Path) -> Iterator[Running]:
    """etcd with its own fsync on every put."""
    with socket.create_server(("127.0.0.1", 0)) as clients, socket.create_server(("127.0.0.1", 0)) as peers:
        port, peer_port = clients.getsockname()[1], peers.getsockname()[1]
    flags = etcd_flags(folder, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}")
    process = subprocess.Popen(["etcd", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield "etcd", Target("127.0.0.1", port), [process.pid]
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            continue
        return
    raise RuntimeError(f"etcd ended with code {process.returncode}")


def others(stack: ExitStack, folder: Path) -> tuple[list[Running], list[str]]:
    """The peers that this machine has, and a word on each that it has not."""
    found: list[Running] = []
    absent: list[str] = []
    if shutil.which("etcd"):
        found.append(stack.enter_context(etcd(folder / "etcd")))
    else:
        absent.append("no etcd on PATH (Debian: apt-get install etcd-server)")
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        (folder / "plane").mkdir()
        plane = stack.enter_context(ControlPlane(Assets.find(Path(given)), folder / "plane", controllers=False))
        found.append(("kube-apiserver", target_of(plane.kubeconfig), []))
    elif given := os.environ.get("KUBECONFIG"):
        found.append(("KUBECONFIG", target_of(Path(given)), []))
    else:
        absent.append("no real kube-apiserver (name one with KUBEBUILDER_ASSETS or KUBECONFIG)")
    return found, absent


def megabytes(pids: list[int]) -> float | None:
    """The proportional share of memory of some processes; None where it is not known."""
    if not pids:
        return None
    lines = (line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
