"""Which cluster the tests run against, what it offers, and what a test that needs more says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clusters.assets import Assets
from clusters.controlplane import ControlPlane

from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

# What a test may need beyond an API server, and what a cluster without it lacks.
LACKING = {
    "controllers": "nothing reconciles built-in kinds on it (no kube-controller-manager)",
    "scheduler": "nothing binds pods to nodes on it (no kube-scheduler)",
    "nodes": "it has no Ready node to run pods on",
    "this-machine": "its pods do not see this machine's files and programs; those of the embedded cluster do",
    "no-controllers": "controllers act on it, and the test plays their part",
    "no-nodes": "real nodes run pods on it, and the test plays their part",
}
_CONTROLLERS_ACT_WITHIN_S = 10.0


@dataclass(frozen=True)
class ClusterUnderTest:
    """A running cluster.

    Attributes:
        name: as a person knows it: the variable that chose it, or "the embedded cluster".
        kubeconfig: an administrator's.
        offers: keys of LACKING.
        assets: where the control plane's programs are, if it was made from an envtest-style folder.
    """

    name: str
    kubeconfig: Path
    offers: frozenset[str] = field(default_factory=frozenset)
    assets: Assets | None = None

    def lacks(self, needs: Iterable[str]) -> str | None:
        """Why a test with these needs cannot run here, or None."""
        missing = [LACKING[need] for need in needs if need not in self.offers]
        return f"{self.name}: {'; '.join(missing)}" if missing else None


def offered(*, controllers: bool, scheduler: bool, ready_nodes: int, embedded: bool) -> frozenset[str]:
    """What follows from what is there."""
    return frozenset(
        need
        for need, there in {
            "controllers": controllers,
            "scheduler": scheduler,
            "nodes": controllers and scheduler and ready_nodes > 0,
            "this-machine": embedded,
            "no-controllers": not controllers,
            "no-nodes": ready_nodes == 0,
        }.items()
        if there
    )


def is_given(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a cluster; else an embedded one is started."""
    return any(environment.get(name) for name in ("KUBECONFIG", "KUBEBUILDER_ASSETS"))


@contextlib.contextmanager
def cluster_for(environment: Mapping[str, str], folder: Path) -> Iterator[ClusterUnderTest]:
    """The cluster that the environment chooses: KUBECONFIG, KUBEBUILDER_ASSETS, else an embedded one."""
    if given := environment.get("KUBECONFIG"):
        yield given_cluster(given)
    elif given := environment.get("KUBEBUILDER_ASSETS"):
        assets = Assets.find(Path(given).expanduser())
        with ControlPlane(assets, folder / "control-plane") as plane:
            yield ClusterUnderTest(f"KUBEBUILDER_ASSETS={given}", plane.kubeconfig, offered_by(assets), assets)
    else:
        with _embedded(folder) as kubeconfig:
            everything = offered(controllers=True, scheduler=True, ready_nodes=1, embedded=True)
            yield ClusterUnderTest("the embedded cluster", kubeconfig, everything)


def offered_by(assets: Assets) -> frozenset[str]:
    """What a control plane of these programs offers."""
    return offered(
        controllers=assets.controller_manager is not None,
        scheduler=assets.scheduler is not None,
        ready_nodes=0,
        embedded=False,
    )


def given_cluster(kubeconfig: str) -> ClusterUnderTest:
    """The cluster of a kubeconfig, looked at. Raises ValueError for what is no file."""
    path = Path(kubeconfig).expanduser()
    if not path.is_file():
        msg = f"KUBECONFIG={kubeconfig}: no such file; name one file, not a list"
        raise ValueError(msg)
    with ThreadPoolExecutor(1) as elsewhere:  # a loop may run in this thread
        offers = elsewhere.submit(lambda: asyncio.run(_survey(path))).result()
    return ClusterUnderTest(f"KUBECONFIG={kubeconfig}", path, offers)


async def _survey(kubeconfig: Path) -> frozenset[str]:
    async with await Cluster.connect(str(kubeconfig)) as cluster:
        nodes = await cluster.list(kinds.NODES)
        controllers = await _controllers_act(cluster)
        return offered(
            controllers=controllers,
            scheduler=controllers,  # who runs one runs both
            ready_nodes=sum(map(is_ready, nodes)),
            embedded=await cluster.get(kinds.CRDS, "nodegroups.local.trimtab.dev") is not None,
        )


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether a node takes pods."""
    conditions = {entry["type"]: entry["status"] for entry in node.get("status", {}).get("conditions") or ()}
    return conditions.get("Ready") == "True" and not node.get("spec", {}).get("unschedulable")


async def _controllers_act(cluster: Cluster) -> bool:
    """Whether somebody takes note of a Deployment."""
    name = f"trimtab-test-{secrets.token_hex(4)}"
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        await cluster.apply(_empty_deployment(name))
        end = time.monotonic() + _CONTROLLERS_ACT_WITHIN_S
        while time.monotonic() < end:
            found = await cluster.get(kinds.DEPLOYMENTS, "probe", name)
            if found and found.get("status", {}).get("observedGeneration"):
                return True
            await asyncio.sleep(0.1)
        return False
    finally:
        await cluster.delete(kinds.DEPLOYMENTS, "probe", name)
        await cluster.delete(kinds.NAMESPACES, name)


def _empty_deployment(namespace: str) -> dict[str, Any]:
    labels = {"app": "probe"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "probe", "image": "probe:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[Path]:
    """An embedded cluster as a process of its own, as a user starts it."""
    target = folder / "kubeconfig"
    command = [sys.executable, "-m", "trimtab", "local", "up", "--foreground"]
    command += ["--data-dir", str(folder / "data"), "--kubeconfig", str(target)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with (folder / "cluster.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "PYTHONPATH": path})
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert b"ready" in said, (folder / "cluster.log").read_text()
        yield target
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(30) == 0, (folder / "cluster.log").read_text()
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
            process.wait()
