"""One operator and thousands of models: what their life, their rest and a restart cost.

    python tests/bench/operator/scale.py --models 5000 --folder /tmp/scale --results /tmp/scale.jsonl

The operator is the real process, asked through the embedded API server, which is a process of its own; kubelets, the
Job and Deployment controllers and what gateways report are played (played.py). Parts: `life` creates the models and
waits until all are Ready; `rest`, `restart` and `peers` go on from the folder that it leaves. Results are added to the
file, so that a run may have pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

HERE = Path(__file__).parent
_OPERATOR = "OpenAPI-Generator"
_WATCHER = "kopf"
_QUIET_SECONDS = 5.0
# Models that were changed on purpose may be awake.
_QUIET_LOOKS_PER_SECOND = 4
_NEVER_QUIET_SECONDS = float(os.environ.get("SCALE_NEVER_QUIET", "240"))


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


def quantile(before: list[tuple[float, int]], after: list[tuple[float, int]], share: float) -> float | None:
    """Return the bound under which `share` of the reconciles between two readings stayed."""
    counts = [(bound, count - before[place][1] if before else count) for place, (bound, count) in enumerate(after)]
    if not counts or not counts[-1][1]:
        return None
    return next(bound for bound, count in counts if count >= share * counts[-1][1])


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return dict(+(Counter(after) - Counter(before)))


def writes(requests: dict[str, int], client: str = _OPERATOR) -> dict[str, int]:
    """Return a client's writes by verb and resource, without those of its Lease."""
    found = ((key.split(" ", 1), count) for key, count in requests.items())
    return {
        what: count
        for (who, what), count in found
        if who == client and what.split()[0] in {"POST", "PATCH", "PUT", "DELETE"}
    }


def of_the_operator(requests: dict[str, int]) -> dict[str, int]:
    return {key: count for key, count in requests.items() if key.split()[0] in {_OPERATOR, _WATCHER}}


def until_quiet(cluster: Cluster, operator: Operator, began: float, models: int) -> float:
    """Wait until the operator is at rest: no request but watches, and little work; return since when, in seconds."""
    operator.until_up()
    while (
        not (found := operator.reconciles()) or found[-1][1] < models
    ) and time.time() - began < _NEVER_QUIET_SECONDS:
        time.sleep(0.2)
    quiet_since, before = time.time(), operator.reconciles()[-1][1]
    known = of_the_operator(cluster.ask("requests")["by_kind"])
    while time.time() - quiet_since < _QUIET_SECONDS and time.time() - began < _NEVER_QUIET_SECONDS:
        time.sleep(0.5)
        now = operator.reconciles()[-1][1]
        requests = of_the_operator(cluster.ask("requests")["by_kind"])
        if requests != known or now - before > 0.5 * _QUIET_LOOKS_PER_SECOND:
            quiet_since = time.time()
        before, known = now, requests
    return quiet_since - began


def life(cluster: Cluster, folder: Path, models: int, rate: float, within: float) -> dict[str, Any]:
    """Create the models that are missing while the operator runs; wait until all are Ready, or `within` seconds passed.

    Counts and times of a piece are its own: what an earlier piece made Ready is left out of them.
    """
    operator = Operator(folder)
    try:
        start = cluster.ask("state")
        first = start["objects"].get("optimizedmodels.trimtab.dev", 0)
        operator.until_up()
        time.sleep(3)  # its watches open
        empty = operator.megabytes()[0]
        began, used, served = time.time(), operator.processor_seconds(), cluster.processor_seconds()
        before = operator.reconciles()
        requests = cluster.ask("requests")
        cluster.ask("create", first=first, last=models, rate=rate)
        while (state := cluster.ask("state"))["ready"] < models and time.time() - began < within:
            time.sleep(0.5)
        done = state["at"] - began
        after, asked = operator.reconciles(), cluster.ask("requests")
        made = difference(asked["by_kind"], requests["by_kind"])
        total = max(1, state["ready"] - start["ready"])
        written = writes(made)
        now, peak = operator.megabytes()
        seconds = Counter(asked["by_second"])
        return {
            "ready": state["ready"],
            "create to last Ready, s": done,
            "API server, processor seconds": cluster.processor_seconds() - served,
            "processor seconds": operator.processor_seconds() - used,
            "reconcile p50, ms": 1000 * (quantile(before, after, 0.5) or 0),
            "reconcile p99, ms": 1000 * (quantile(before, after, 0.99) or 0),
            "reconciles per model": (after[-1][1] - (before[-1][1] if before else 0)) / total if after else None,
            "writes per model": sum(written.values()) / total,
            "writes": {what: round(count / total, 3) for what, count in sorted(written.items())},
            "reads": {k: v for k, v in sorted(of_the_operator(made).items()) if k.split(" ", 1)[1] not in written},
            "peak requests/s": max(n for k, n in seconds.items() if k.startswith(_OPERATOR)),
            "memory empty, MB": empty,
            "memory, MB": now,
            "memory peak, MB": peak,
            "objects": state["objects"],
        }
    finally:
        operator.stop()


def rest(cluster: Cluster, folder: Path, seconds: float, models: int) -> dict[str, Any]:
    """Start the operator over Ready models and look at it when it is quiet."""
    before = cluster.ask("requests")["by_kind"]
    began = time.time()
    operator = Operator(folder)
    try:
        quiet = until_quiet(cluster, operator, began, models)
        started_with = operator.processor_seconds()
        asked = cluster.ask("requests")
        started = difference(asked["by_kind"], before)
        peak = max(
            (n for k, n in asked["by_second"].items() if k.startswith(_OPERATOR) and int(k.split()[1]) >= began),
            default=0,
        )
        began, looks = time.time(), operator.reconciles()
        used = operator.processor_seconds()
        time.sleep(seconds)
        spent, passed = operator.processor_seconds() - used, time.time() - began
        made = difference(cluster.ask("requests")["by_kind"], asked["by_kind"])
        now, most = operator.megabytes()
        after = operator.reconciles()
        change = cluster.ask("rerun", number=0, reason=f"at rest {began}")["seconds"]
        return {
            "restart to quiet, s": quiet,
            "restart, processor seconds": started_with,
            "restart writes": writes(started),
            "restart reads": {k: v for k, v in sorted(started.items()) if k.split()[1] in {"GET", "LIST"}},
            "restart peak requests/s": peak,
            "rest CPU, %": 100 * spent / passed,
            "rest writes": writes(made),
            "rest requests/s": sum(of_the_operator(made).values()) / passed,
            "rest requests": of_the_operator(made),
            "rest reconciles/s": (after[-1][1] - looks[-1][1]) / passed if after else None,
            "memory, MB": now,
            "memory peak, MB": most,
            "change at rest acted on, s": change,
        }
    finally:
        operator.stop()


def restart(cluster: Cluster, folder: Path, models: int) -> dict[str, Any]:
    """Restart the operator, and change one model as soon as it looks at all the others."""
    before = writes(cluster.ask("requests")["by_kind"])
    began = time.time()
    operator = Operator(folder)
    try:
        operator.until_up()
        while not (found := operator.reconciles()) or found[-1][1] < 50:
            time.sleep(0.02)
        at = time.time() - began
        change = cluster.ask("rerun", number=1, reason=f"restart {began}")["seconds"]
        quiet = until_quiet(cluster, operator, began, models)
        after = writes(cluster.ask("requests")["by_kind"])
        return {
            "first looks, s": at,
            "change while all resync acted on, s": change,
            "restart to quiet, s": quiet,
            "writes": difference(after, before),
        }
    finally:
        operator.stop()


def peers(folder: Path, seconds: float) -> dict[str, Any]:
    """Look at what watches alone cost, on the same objects."""
    found: dict[str, Any] = {}
    for name in ("kopf", "watch"):
        command = [sys.executable, str(HERE / "peer.py"), name, str(folder / f"{name}.seen")]
        peer = Watched(command, folder / "peers.log", {"KUBECONFIG": str(folder / "kubeconfig")})
        try:
            began = time.time()
            seen = folder / f"{name}.seen"
            seen.unlink(missing_ok=True)
            count, quiet = -1, time.time()
            while time.time() - quiet < _QUIET_SECONDS:
                time.sleep(0.2)
                text = seen.read_text() if seen.exists() else "0"
                if text != count and text:
                    count, quiet = text, time.time()
                elif text == "0":
                    quiet = time.time()
            used, since = peer.processor_seconds(), time.time()
            time.sleep(seconds)
            spent = (peer.processor_seconds() - used) / (time.time() - since)
            now, peak = peer.megabytes()
            found[name] = {
                "objects": int(count),
                "start, s": quiet - began,
                "start, processor seconds": used,
                "rest CPU, %": 100 * spent,
                "memory, MB": now,
                "memory peak, MB": peak,
            }
        finally:
            peer.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--namespaces", type=int, default=50)
    parser.add_argument("--rate", type=float, default=1000.0, help="models created per second, at most")
    parser.add_argument("--within", type=float, default=1200.0, help="seconds after which a piece of a life ends")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds of rest that are measured")
    parser.add_argument("--folder", type=Path, required=True, help="the cluster's state, kept between pieces")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=["life", "rest", "restart", "peers"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with cluster(options.folder, options.namespaces) as made:
        for part in options.parts:
            if part == "life":
                found = life(made, options.folder, options.models, options.rate, options.within)
            elif part == "rest":
                found = rest(made, options.folder, options.rest, options.models)
            elif part == "restart":
                found = restart(made, options.folder, options.models)
            else:
                found = peers(options.folder, options.rest)
            line = json.dumps({"part": part, "models": options.models, **found})
            print(line, flush=True)
            with options.results.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
