"""The processes of the scale benchmark: the played cluster, the operator, and what it is measured beside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

HERE = Path(__file__).parent


def processor_seconds(pid: int) -> float:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


class Cluster:
    """The process of host.py."""

    def __init__(self, folder: Path, namespaces: int) -> None:
        self.folder = folder
        command = [sys.executable, str(HERE / "host.py"), str(folder), f"--namespaces={namespaces}"]
        with (folder / "host.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self._answer()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"host.py ended with code {self.process.wait()}; see {self.folder / 'host.log'}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def processor_seconds(self) -> float:
        return processor_seconds(self.process.pid)

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@contextmanager
def cluster(folder: Path, namespaces: int) -> Iterator[Cluster]:
    made = Cluster(folder, namespaces)
    try:
        yield made
    finally:
        made.stop()


class Watched:
    """A process whose memory and processor time are looked at."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
        self.pid = self.process.pid

    def processor_seconds(self) -> float:
        return processor_seconds(self.pid)

    def megabytes(self) -> tuple[float, float]:
        """Return the resident memory now and its peak."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        now, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return now, peak

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Operator(Watched):
    """`trimtab operator`."""

    def __init__(self, folder: Path) -> None:
        self.metrics_url = f"http://127.0.0.1:{(port := free_port())}/metrics/operator"
        environment = {
            "KUBECONFIG": str(folder / "kubeconfig"),
            "TRIMTAB_ARTIFACTS_URI": "s3://models/artifacts",
            "TRIMTAB_HEALTH_HOST": "127.0.0.1",
            "TRIMTAB_HEALTH_PORT": str(free_port()),
            "TRIMTAB_METRICS_PORT": str(port),
            "TRIMTAB_LOG_LEVEL": os.environ.get("SCALE_LOG_LEVEL", "warning"),
        }
        super().__init__([sys.executable, "-m", "trimtab", "operator"], folder / "operator.log", environment)

    def until_up(self) -> None:
        while True:
            try:
                self.reconciles()
            except OSError:
                time.sleep(0.05)
            else:
                return

    def reconciles(self) -> list[tuple[float, int]]:
        """Return (upper bound in seconds, reconciles so far that took no longer)."""
        with urlopen(self.metrics_url, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        found = (line for line in lines if line.startswith("trimtab_operator_reconcile_seconds_bucket"))
        return [(float(line.split('le="')[1].split('"')[0]), int(float(line.rsplit(" ", 1)[1]))) for line in found]
