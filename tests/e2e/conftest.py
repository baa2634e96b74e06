"""The whole product on the cluster under test; the operator is a process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import yaml
from kubernetes.aio import client, config
from trained import TRAIN  # noqa: F401 - for benchmarks that start what is here

from trimtab.api.names import short_hash
from trimtab.cli.demo.assets import kustomized
from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

RIGHTS = Path(__file__).parents[2] / "manifests" / "overlays" / "embedded"
STRICT = {"pod-security.kubernetes.io/enforce": "restricted"}  # our pods pass the strictest standard
ACCOUNT = ("trimtab-operator", "trimtab-system")
EXPORT = """
import sys
from pathlib import Path
import numpy as np
from safetensors.torch import load_file
from trimtab.cli.demo.customer import digits_model
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import export_network
folder = Path(sys.argv[1])
network = digits_model.build()
network.load_state_dict(load_file(folder / "model" / "model.safetensors"))
scans = np.load(folder / "digits.npz")["x_test"]
(folder / "exported").mkdir()
export_network(network, Samples({"x": scans}), folder / "exported" / "model.onnx")
"""


@pytest.fixture(scope="session")
def customer(trained: Path) -> Path:
    """A folder that every pod may read, with model/ and digits.npz."""
    return trained


@pytest.fixture(scope="session")
def exported(customer: Path) -> str:
    """The URI of the same model in ONNX: for tests of what comes after the run, which need not export it each."""
    subprocess.run([sys.executable, "-c", EXPORT, str(customer)], check=True)
    return (customer / "exported").as_uri()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Operator:
    """The operator as a process that tests may kill."""

    kubeconfig: Path
    artifacts: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> Path:
        """Where replicas that prefetch keep artifacts: all nodes are this machine."""
        return self.artifacts.with_name("nodes")

    def start(self) -> None:
        settings = {
            "KUBECONFIG": str(self.kubeconfig),
            "TRIMTAB_ARTIFACTS_URI": self.artifacts.as_uri(),
            "TRIMTAB_ALLOW_CODE_NAMESPACES": "*",
            "TRIMTAB_URL_TEMPLATE": "http://{clusterIP}",
            "TRIMTAB_ON_DEMAND_HOLD": "5s",
            "TRIMTAB_NODE_HOLD": "3s",
            "TRIMTAB_NODE_CACHE_VOLUME": json.dumps(
                {"hostPath": {"path": str(self.nodes), "type": "DirectoryOrCreate"}}
            ),
            "TRIMTAB_HEALTH_HOST": "127.0.0.1",
            "TRIMTAB_HEALTH_PORT": str(free_port()),
            **self.environment,
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "trimtab", "operator"]
            self.process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


@pytest.fixture(scope="module")
def operators_kubeconfig(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who the operator is in production: its service account, with what the manifests grant and no more.

    Once a module, as one may have a cluster of its own.
    """
    target = tmp_path_factory.mktemp("operator") / "kubeconfig"
    target.write_text(asyncio.run(_operators_kubeconfig(kubeconfig)))
    return target


async def _operators_kubeconfig(kubeconfig: Path) -> str:
    async with await Cluster.connect(str(kubeconfig)) as administrator:
        for body in kustomized(RIGHTS):
            if body["apiVersion"].startswith("rbac.") or body["kind"] in ("Namespace", "ServiceAccount"):
                await administrator.apply(body)
    async with await config.new_client_from_config(str(kubeconfig)) as api:
        request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
        made = await client.CoreV1Api(api).create_namespaced_service_account_token(*ACCOUNT, request)
    given = yaml.safe_load(kubeconfig.read_text())
    (context,) = [entry for entry in given["contexts"] if entry["name"] == given["current-context"]]
    context["context"]["user"] = ACCOUNT[0]
    users = [{"name": ACCOUNT[0], "user": {"token": made.status.token}}]
    return yaml.safe_dump({**given, "contexts": [context], "users": users})


@pytest.fixture
def operators(operators_kubeconfig: Path, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Return what starts one operator among others; none of them outlives the test."""
    started: list[Operator] = []

    def start(name: str, **environment: str) -> Operator:
        made = Operator(operators_kubeconfig, tmp_path, tmp_path / f"{name}.log", environment=environment)
        started.append(made)
        made.start()
        return made

    yield start
    for one in started:
        if one.process is not None and one.process.poll() is None:
            one.kill()
        assert "Traceback" not in one.log.read_text(), one.log.read_text()[-4000:]


@pytest.fixture
def operator(operators_kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    yield from running(operators_kubeconfig, tmp_path)


@pytest.fixture(scope="module")
def modules_operator(operators_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """For modules whose tests do nothing to the operator."""
    yield from running(operators_kubeconfig, tmp_path_factory.mktemp("o"))


def running(kubeconfig: Path, folder: Path) -> Iterator[Operator]:
    """Run an operator that keeps artifacts in the folder; in the end it has told of nothing that must not be."""
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    process = Operator(kubeconfig, artifacts, folder / "operator.log")
    process.start()
    yield process
    process.stop()
    text = process.log.read_text()
    assert "Traceback" not in text, text[-4000:]
    assert not re.search(rf'{ACCOUNT[0]}\\*" cannot ', text), text[-4000:]


@dataclass
class World:
    """What a test says about the cluster."""

    cluster: Cluster
    namespace: str
    log: Path

    def model(self, name: str = "digits", **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "OptimizedModel",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }

    async def get(self, name: str = "digits") -> dict[str, Any]:
        body = await self.cluster.get(kinds.MODELS, name, self.namespace)
        assert body is not None
        return body

    async def until(
        self, what: str, holds: Callable[[dict[str, Any]], Any], name: str = "digits", timeout: float = 120
    ) -> dict[str, Any]:
        """Wait for a model's status; a test that waits in vain shows the last one and the operator's log."""
        end = time.monotonic() + timeout
        body: dict[str, Any] = {}
        while time.monotonic() < end:
            body = await self.get(name)
            if body.get("status") and holds(body["status"]):
                return body
            await asyncio.sleep(0.2)
        lines = self.log.read_text().splitlines()[-15:]
        pytest.fail(
            f"{what} did not come within {timeout} s:\n{yaml.safe_dump(body.get('status'))}\n" + "\n".join(lines)
        )


@pytest.fixture
async def world(cluster: Cluster, operator: Operator, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fresh namespace that goes with the test."""
    namespace = f"test-{short_hash(request.node.nodeid)}"
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": STRICT}})
    made = World(cluster, namespace, operator.log)
    yield made
    for body in await cluster.list(kinds.MODELS, namespace):
        await cluster.delete(kinds.MODELS, body["metadata"]["name"], namespace, propagation="Foreground")
    await cluster.delete(kinds.NAMESPACES, namespace)


@dataclass
class Load:
    """Clients that call a model one request after the other."""

    url: str
    body: dict[str, Any]
    answers: Counter[str] = field(default_factory=Counter)

    async def client(self, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                async with session.post(self.url, json=self.body) as response:
                    answer = await response.json()
                    good = response.status == 200 and answer["outputs"][0]["shape"] == [1, 10]
                    self.answers["ok" if good else f"{response.status} {answer}"] += 1
            except (aiohttp.ClientError, OSError) as error:
                self.answers[repr(error)] += 1
            await asyncio.sleep(0.01)

    def check(self) -> None:
        assert self.answers["ok"] > 50, self.answers
        assert set(self.answers) == {"ok"}, self.answers


@pytest.fixture
def loading(customer: Path) -> Callable[..., AbstractAsyncContextManager[Load]]:
    """Return what sends load to a URL inside a block."""

    def load(url: str, clients: int = 4) -> AbstractAsyncContextManager[Load]:
        return _loading(url, customer, clients)

    return load


@asynccontextmanager
async def _loading(url: str, customer: Path, clients: int) -> AsyncIterator[Load]:
    load = Load(f"{url}/v2/models/digits/infer", await _question(url, customer))
    async with aiohttp.ClientSession() as session:
        tasks = [asyncio.create_task(load.client(session)) for _ in range(clients)]
        try:
            yield load
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
def question(customer: Path) -> Callable[[str], Awaitable[dict[str, Any]]]:
    """Return what makes a request's body for the model behind a URL."""
    return lambda url: _question(url, customer)


async def _question(url: str, customer: Path) -> dict[str, Any]:
    with np.load(customer / "digits.npz") as data:
        image = data["x_test"][0]
    name = await input_name(url)
    tensor = {"name": name, "shape": [1, *image.shape], "datatype": "FP32", "data": image.ravel().tolist()}
    return {"inputs": [tensor]}


async def input_name(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v2/models/digits") as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["inputs"][0]["name"])
