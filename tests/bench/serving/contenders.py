"""The servers that are compared: how each is started, asked and understood."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models import Array, Model, plain_json, protocol_binary, protocol_json, read_plain, read_protocol

SERVER_CORE, CLIENT_CORE = 0, 1
LARGEST_BATCH = 64
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = {
    "kserve": ("kserve==0.21.0", "onnxruntime==1.31.1"),
    "mlserver": ("mlserver==1.7.1", "onnxruntime==1.31.1"),
    "litserve": ("litserve==0.2.19", "onnxruntime==1.31.1"),
    "bentoml": ("bentoml==1.4.39", "onnxruntime==1.31.1"),
}
Form = Callable[[Array], tuple[bytes, bytes]]
"""From a row to header lines and a body."""
_READY_WITHIN_S = 90.0
_FIRST = -20  # of all that is not real-time
_QUIET = {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1"}


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let this thread compute where servers do: cores of a virtual machine are not equally fast at all times."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Setup:
    """What a server is started with."""

    model: Model
    port: int
    folder: Path
    """Of its own, for its configuration."""
    cache: Path


@dataclass(frozen=True)
class Contender:
    """A server in one configuration."""

    name: str
    environment: str | None
    command: Callable[[Setup, Sequence[str]], Sequence[str | Path]]
    extra: Sequence[str] = ()
    variables: Callable[[Setup], Mapping[str, str]] = lambda _: {}
    ready: str = "/v2/health/ready"
    path: str = "/v2/models/model/infer"
    read: Callable[[bytes], Any] = read_protocol
    forms: Mapping[str, Form] = field(default_factory=lambda: {"JSON": protocol_json, "binary": protocol_binary})
    answers: bool = True
    """Whether what it says means anything."""


def serving(models: Sequence[str | Path]) -> Callable[[Setup, Sequence[str]], Sequence[str | Path]]:
    """Return what starts our runtime with these models."""
    return lambda setup, extra: (
        *(sys.executable, "-m", "trimtab", "serve", "--host", "127.0.0.1", "--port", str(setup.port)),
        *models,
        *extra,
    )


def of_one(setup: Setup, extra: Sequence[str]) -> Sequence[str | Path]:
    """Return what starts our runtime with the model of the setup."""
    named = ("--model-name", "model", "--revision", "1", "--artifact-digest", setup.model.digest)
    return serving((*named, "--artifact-uri", setup.model.folder.as_uri()))(setup, extra)


def _kserve(setup: Setup, extra: Sequence[str]) -> Sequence[str | Path]:
    return (python(setup.cache, "kserve"), PEERS / "serve_kserve.py", setup.model.file, str(setup.port), *extra)


def _mlserver(setup: Setup, extra: Sequence[str]) -> Sequence[str | Path]:
    with ports(2) as (grpc, metrics):
        server = {"host": "127.0.0.1", "http_port": setup.port, "grpc_port": grpc, "metrics_port": metrics}
    (setup.folder / "settings.json").write_text(json.dumps({**server, "parallel_workers": 0, "debug": False}))
    model: dict[str, Any] = {"name": "model", "implementation": "serve_mlserver.Served"}
    model["parameters"] = {"uri": str(setup.model.file)}
    if extra:
        model |= {"max_batch_size": LARGEST_BATCH, "max_batch_time": 0.001}
    (setup.folder / "model-settings.json").write_text(json.dumps(model))
    return (python(setup.cache, "mlserver").with_name("mlserver"), "start", setup.folder)


def _litserve(setup: Setup, extra: Sequence[str]) -> Sequence[str | Path]:
    return (python(setup.cache, "litserve"), PEERS / "serve_litserve.py", setup.model.file, str(setup.port), *extra)


def _bentoml(setup: Setup, extra: Sequence[str]) -> Sequence[str | Path]:
    options = ("--working-dir", PEERS, "--host", "127.0.0.1", "--port", str(setup.port))
    return (python(setup.cache, "bentoml").with_name("bentoml"), "serve", f"serve_bentoml:{extra[0]}", *options)


_PLAIN: dict[str, Any] = {"path": "/predict", "read": read_plain, "forms": {"JSON": plain_json}}
_BENTO: dict[str, Any] = {
    **_PLAIN,
    "ready": "/readyz",
    "variables": lambda setup: {"MODEL": str(setup.model.file), "LARGEST": str(LARGEST_BATCH)},
}
OURS = Contender("trimtab", None, of_one, ("--max-batch", str(LARGEST_BATCH)))
CACHING = Contender("trimtab, cache", None, of_one, ("--max-batch", str(LARGEST_BATCH), "--cache-entries", "1000"))
COMPILED = Contender(
    "trimtab, OpenVINO",
    None,
    lambda setup, extra: of_one(replace(setup, model=setup.model.compiled()), extra),
    ("--max-batch", str(LARGEST_BATCH)),
)
NOTHING = Contender(
    "uvloop, no server",
    None,
    lambda setup, _: (sys.executable, PEERS / "serve_nothing.py", str(setup.port)),
    answers=False,
)
KSERVE = Contender("kserve", "kserve", _kserve)
_ML: dict[str, Any] = {"variables": lambda _: {"PYTHONPATH": str(PEERS)}, "forms": {"JSON": protocol_json}}
OTHERS = (
    KSERVE,
    Contender("MLServer", "mlserver", _mlserver, **_ML),
    Contender("MLServer, batching", "mlserver", _mlserver, ("on",), **_ML),
    Contender("LitServe", "litserve", _litserve, ("1",), ready="/health", **_PLAIN),
    Contender("LitServe, batching", "litserve", _litserve, (str(LARGEST_BATCH),), ready="/health", **_PLAIN),
    Contender("BentoML", "bentoml", _bentoml, ("Single",), **_BENTO),
    Contender("BentoML, batching", "bentoml", _bentoml, ("Together",), **_BENTO),
)
EVERYONE = (OURS, *OTHERS)


# --- environments ---


def python(cache: Path, name: str) -> Path:
    """Return the interpreter of a peer's environment."""
    return cache / "environments" / name / "bin" / "python"


def make_environment(cache: Path, name: str) -> None:
    """Install a peer, unless it is there in these very versions."""
    wanted = ENVIRONMENTS[name]
    folder = cache / "environments" / name
    done = folder / f"made-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:12]}"
    if done.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [python(cache, name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    subprocess.run(pip, check=True)
    done.touch()


# --- running ---


@dataclass(frozen=True)
class Server:
    """A running contender."""

    contender: Contender
    address: tuple[str, int]
    pid: int
    ready_s: float
    """From its start to the first "ready"."""

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run; outside of this it is stopped, since some compute even when nobody asks."""
        os.killpg(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def prefer(self) -> None:
        """Let it have its core whenever it wants to: what else runs there is not what is measured. Needs root."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(task.name), _FIRST)

    def processes(self) -> list[int]:
        """Its process and all below it."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, task.read_text().split())
        return found

    def cpu_s(self) -> float:
        """What its processes have computed so far, by the scheduler's own count."""
        tasks = (task for pid in self.processes() for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory_mb(self) -> tuple[float, float]:
        """Resident and proportional memory of its processes."""
        lines = [
            line.split()
            for pid in self.processes()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        ]
        return tuple(sum(int(line[1]) for line in lines if line[0] == kind) / 1024 for kind in ("Rss:", "Pss:"))  # type: ignore[return-value]


@contextmanager
def running(contender: Contender, model: Model, cache: Path, folder: Path, *more: str) -> Iterator[Server]:
    """Start a server on its core and end it, with everything below it."""
    folder.mkdir(parents=True, exist_ok=True)
    with ports(1) as (port,):
        pass
    setup = Setup(model, port, folder, cache)
    command = [str(part) for part in contender.command(setup, (*contender.extra, *more))]
    environment = {**os.environ, **_QUIET, **contender.variables(setup)}
    log = folder / "log"
    began = time.perf_counter()
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            stdout=said,
            stderr=said,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        _wait_until_ready(contender, port, process, log)
        yield Server(contender, ("127.0.0.1", port), process.pid, time.perf_counter() - began)
    finally:
        _end(process)


def _wait_until_ready(contender: Contender, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    request = f"GET {contender.ready} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    end = time.perf_counter() + _READY_WITHIN_S
    while time.perf_counter() < end and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(request)
                if connection.recv(64)[9:12] == b"200":
                    return
        except OSError:
            pass
        time.sleep(0.005)
    raise RuntimeError(f"{contender.name} is not ready: {log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the session that the server was started in: some leave processes behind."""
    for number in (signal.SIGTERM, signal.SIGCONT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if number is signal.SIGCONT:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
    process.wait()


@contextmanager
def ports(count: int) -> Iterator[list[int]]:
    """Yield ports that nobody else has yet."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
