"""Loads from a real Prometheus: what it scraped lately, and nothing where it fell silent."""

import asyncio
import http.server
import random
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
import yaml

from trimtab.api.names import Key
from trimtab.effects.prometheus import PrometheusSignals, queries
from trimtab.planning.loads import Load

pytestmark = pytest.mark.integration
KEY = Key("models", "digits")
WINDOW_S = 3.0
METRICS = """\
trimtab_gateway_up 1
trimtab_gateway_in_flight{{model="digits"}} 3
trimtab_gateway_queued{{model="digits"}} 2
trimtab_gateway_request_duration_seconds{{model="digits"}} 0.25
trimtab_gateway_requests_total{{model="digits"}} {requests}
container_cpu_usage_seconds_total{{container="serve",pod="digits-1"}} {cpu}
container_cpu_usage_seconds_total{{container="other",pod="digits-1"}} 7
"""


@pytest.fixture(scope="session")
def prometheus_binary(request: pytest.FixtureRequest) -> Path:
    """Prometheus from PATH, else from Debian's package, unpacked into pytest's cache and not installed."""
    if found := shutil.which("prometheus"):
        return Path(found)
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("prometheus")
    binary = folder / "usr" / "bin" / "prometheus"
    if not binary.exists():
        if shutil.which("apt-get") is None:
            pytest.skip("there is no prometheus on PATH, and no apt-get to fetch it with")
        fetch = ["apt-get", "download", "-qq", "prometheus"]
        if subprocess.run(fetch, cwd=folder, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
            fetched = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
            if fetched.returncode:
                pytest.skip(f"prometheus cannot be fetched: {fetched.stderr.strip()[-200:]}")
        (package,) = folder.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        package.unlink()
    return binary


class Target:
    """What Prometheus scrapes: the numbers of one gateway, and of a kubelet; they grow with time."""

    def __init__(self) -> None:
        self.up = True
        began = time.time()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805 - http.server's name; `self` is the target
                seconds = time.time() - began
                body = METRICS.format(requests=40 * seconds, cpu=0.5 * seconds).encode()
                handler.send_response(200 if self.up else 503)
                handler.end_headers()
                handler.wfile.write(body if self.up else b"")

            def log_message(handler, *_: object) -> None:  # noqa: N805
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


@pytest.fixture
def prometheus(prometheus_binary: Path, target: Target, tmp_path: Path) -> Iterator[str]:
    """A server that scrapes the target every second."""
    scrape = {
        "job_name": "gateway",
        "static_configs": [{"targets": [target.address], "labels": {"namespace": "models"}}],
    }
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}:9090"
    arguments = [
        prometheus_binary,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address={address}",
    ]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(arguments, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 120
            while not _ready(f"http://{address}/-/ready"):
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"http://{address}"
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


async def loads(signals: PrometheusSignals, key: Key = KEY) -> AsyncIterator[Load | None]:
    while True:
        yield await signals.load(key, 1)
        await asyncio.sleep(0.2)


async def test_what_was_scraped_lately_counts(prometheus: str, target: Target) -> None:
    """Every metric; too few gateways are none, and a target that falls silent leaves no load behind."""
    signals = PrometheusSignals(prometheus, WINDOW_S, time.time)
    async with asyncio.timeout(120):
        async for load in loads(signals):  # a scrape that comes late on a busy machine spoils the rates of some seconds
            rates = load and (load.rate, load.cpu)
            if rates == (pytest.approx(40, rel=0.3), {"digits-1": pytest.approx(0.5, rel=0.5)}):
                break
        assert load is not None
        assert (load.in_flight, load.queued, load.latency_ms) == (3.0, 2.0, 250.0)
        assert await signals.load(KEY, 2) is None
        async for other in loads(signals, Key("models", "unknown")):
            if other is not None:
                break
        assert other is not None
        assert (other.in_flight, other.rate) == (None, None)
        target.up = False
        async for load in loads(signals):
            if load is None:
                break
    await signals.close()


async def test_a_prometheus_that_does_not_answer_is_no_load_of_zero() -> None:
    """One line when it falls silent, however often it is asked."""
    now = [0.0]
    signals = PrometheusSignals("http://127.0.0.1:9", WINDOW_S, lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        for now[0] in (0.0, 10.0, 20.0):
            assert await signals.load(KEY, 1) is None
    await signals.close()
    assert [line["event"] for line in lines] == ["prometheus.fell_silent"]


async def test_a_token_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """By its path, not by what is in it."""
    signals = PrometheusSignals("http://127.0.0.1:9", WINDOW_S, time.time, tmp_path / "token")
    with structlog.testing.capture_logs() as lines:
        assert await signals.load(KEY, 1) is None
    await signals.close()
    assert lines[0]["error"] == f"[Errno 2] No such file or directory: '{tmp_path / 'token'}'"


def test_only_fresh_samples_are_asked_for() -> None:
    """Prometheus looks back five minutes by itself: each gauge has a window of its own."""
    asked = queries(40.0)
    assert asked["in_flight"] == "sum by (namespace, model) (last_over_time(trimtab_gateway_in_flight[40s]))"
    assert all("[40s]" in text for text in asked.values())
