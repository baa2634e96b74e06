"""kubectl against the API server alone, and what the registry holds after it; tests/kubectl runs it on any cluster."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trimtab.local.access.keys import Keys
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.patching import MERGE
from trimtab.local.registry import Registry

pytestmark = pytest.mark.integration

WIDGETS = json.loads((Path(__file__).parent / "conformance" / "api" / "widgets-crd.json").read_text())
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "web:1", ports: [{containerPort: 80}]}
"""


@pytest.fixture
async def api_server(registry: Registry) -> AsyncIterator[ApiServer]:
    """The registry over TLS: clients show no credentials without it."""
    server = ApiServer(registry, host="127.0.0.1", port=0, keys=Keys.new(datetime.now(UTC)))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def kubeconfig(api_server: ApiServer, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(api_server.kubeconfig())
    return path


class Kubectl:
    """Runs kubectl against the server of a test."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home)}

    async def __call__(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *arguments,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        assert (process.returncode != 0) is fails, (out + err).decode()
        return (err if fails else out).decode()


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(kubeconfig, tmp_path)


@pytest.mark.needs("kubectl")
async def test_kubectl_applies_with_its_own_validation(kubectl: Kubectl):
    """Client-side apply, server-side apply and a diff see the same object; a typo is refused."""
    assert await kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web created\n"
    assert await kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web unchanged\n"
    assert await kubectl("diff", "-f", "-", stdin=DEPLOYMENT) == ""
    assert "configured" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("web:1", "web:2"))
    forced = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    assert "serverside-applied" in await kubectl(*forced, stdin=DEPLOYMENT)
    refusal = await kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas", "replica"), fails=True)
    assert 'unknown field "spec.replica"' in refusal
    assert "deleted" in await kubectl("delete", "-f", "-", stdin=DEPLOYMENT)


@pytest.mark.needs("kubectl")
async def test_kubectl_reads(kubectl: Kubectl, registry: Registry):
    """Tables, explanations, waiting and describing work on built-in and custom kinds."""
    registry.create(CRDS, WIDGETS)
    registry.create("widgets.conformance.test", {"metadata": {"name": "w"}, "spec": {"size": 3}}, "default")
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    table = (await kubectl("get", "wi", "-o", "wide")).split()
    assert table[:9] == ["NAME", "SIZE", "READY", "MODE", "AGE", "w", "3", "Fast", "0s"]
    assert (await kubectl("get", "deploy", "-o", "wide")).split()[8:13] == ["web", "0/2", "0", "0", "0s"]
    assert "-required-" in await kubectl("explain", "widget.spec")
    assert "containerPort" in await kubectl("explain", "pods.spec.containers.ports")
    assert "size must not exceed" not in await kubectl("describe", "widget", "w")
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    registry.patch("widgets.conformance.test", "w", "default", patch, MERGE, subresource="status", manager="m")
    assert "condition met" in await kubectl("wait", "--for=condition=Ready", "widget/w", "--timeout=60s")
    assert "widgets" in await kubectl("api-resources", "--api-group=conformance.test")


@pytest.mark.needs("kubectl")
async def test_kubectl_creates_from_flags(kubectl: Kubectl, registry: Registry):
    """The imperative commands, which speak protobuf, make what their flags say."""
    await kubectl("create", "configmap", "c", "--from-literal=k=v")
    await kubectl("create", "secret", "generic", "s", "--from-literal=k=v")
    await kubectl("create", "namespace", "n")
    await kubectl("create", "deployment", "d", "--image=web:1", "--replicas=3")
    assert registry.get("configmaps", "c", "default")["data"] == {"k": "v"}
    assert registry.get("secrets", "s", "default")["data"] == {"k": "dg=="}
    assert registry.get("namespaces", "n")["status"]["phase"] == "Active"
    assert registry.get("deployments.apps", "d", "default")["spec"]["replicas"] == 3
    assert await kubectl("auth", "can-i", "create", "pods") == "yes\n"


@pytest.mark.needs("kubectl")
async def test_kubectl_follows_logs(kubectl: Kubectl, registry: Registry):
    """What the node agent says goes to whoever follows, with the options that were asked for."""
    asked: dict[str, Any] = {}

    async def lines(namespace: str, pod: str, container: str | None, **options: Any) -> Any:
        asked.update(options, where=(namespace, pod, container))
        yield b"first\n"
        await asyncio.sleep(0.05)
        yield b"second\n"

    registry.pod_logs = lines
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
    registry.create("pods", {"metadata": {"name": "p"}, "spec": spec}, "default")
    assert await kubectl("logs", "p", "-f", "--tail=5") == "first\nsecond\n"
    assert asked["where"] == ("default", "p", "c")
    assert (asked["follow"], asked["tail_lines"], asked["previous"]) == (True, 5, False)
