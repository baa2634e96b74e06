"""`kubectl trimtab ...` on a real API server: through kubectl, the plugin's program and back."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.needs("kubectl")]

SAMPLE = Path(__file__).parents[2] / "manifests" / "gitops" / "repository" / "base" / "digits.yaml"
PROGRAM = Path(sys.executable).with_name("kubectl-trimtab")


@pytest.fixture
def kubectl(kubeconfig: Path, namespace: str) -> Any:
    """Return what runs kubectl with the plugin on its PATH, and nothing on standard input."""
    assert PROGRAM.exists(), "installed with the package: see [project.scripts]"
    path = os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "KUBECONFIG": str(kubeconfig), "NO_COLOR": "1"}

    async def run(*words: str, code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *words,
            *(("-n", namespace) if "interrupt" not in words else ()),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == code, said.decode()
        return said.decode()

    return run


def in_canary(parts: Any) -> dict[str, Any]:
    rollout = {"revision": "digits-b", "steps": 2, "stepsPassed": 0, "progressedAt": "2026-01-01T00:00:00Z"}
    ready = {**parts.condition("Ready", "False", "RollingOut", "digits-b: 1 of 2"), "observedGeneration": 1}
    return {
        "observedGeneration": 1,
        "conditions": [ready],
        "activeRevision": parts.revision("digits-a"),
        "candidateRevision": parts.revision("digits-b"),
        "rollout": rollout,
    }


async def test_what_people_decide_goes_through_kubectl_and_stays(
    kubectl: Any, cluster: Cluster, namespace: str, parts: Any
) -> None:
    """Each command by its plugin's name; and no tool that applies the manifest again takes a decision back."""
    await kubectl("apply", "--server-side", "--field-manager=argocd-controller", "-f", str(SAMPLE))
    await cluster.merge(kinds.MODELS, "digits", namespace, {"status": in_canary(parts)}, "status")
    told = json.loads(await kubectl("trimtab", "status", "digits", "-o", "json"))
    assert told["status"]["candidateRevision"]["name"] == "digits-b"
    assert "Ready RollingOut: digits-b: 1 of 2" in await kubectl("trimtab", "explain", "digits")
    assert "canary steps 1 to 2 of 2 skipped" in await kubectl("trimtab", "promote", "digits")
    assert await annotations(cluster, namespace) == {"trimtab.dev/promote": "digits-b@1"}
    said = await kubectl("trimtab", "rollback", "digits", "--reason", "wrong digits")
    assert "back from revision digits-b to digits-a" in said
    decided = {"trimtab.dev/rollback": "digits-b", "trimtab.dev/rollback-reason": "wrong digits"}
    assert await annotations(cluster, namespace) == decided
    assert "rollback-reason: wrong digits" in await kubectl("describe", "optimizedmodel", "digits")

    before = await model(cluster, namespace)
    owners = {entry["manager"] for entry in before["metadata"]["managedFields"] if "trimtab.dev/rollback" in str(entry)}
    assert owners == {"trimtab-cli"}, "Flux takes away what any manager set whose name begins with kubectl"
    await kubectl("apply", "--server-side", "--field-manager=argocd-controller", "-f", str(SAMPLE))
    assert "rollback" not in await kubectl(
        "diff", "--server-side", "--field-manager=argocd-controller", "-f", str(SAMPLE)
    )
    after = await model(cluster, namespace)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    await kubectl("apply", "-f", str(SAMPLE))
    kept = await annotations(cluster, namespace)
    assert decided.items() <= kept.items()
    said = await kubectl("trimtab", "report", "digits", code=1)
    assert "SourceNotFound" in said
    assert "run this where that volume is mounted" in said


async def test_a_node_gets_its_notice(kubectl: Any, cluster: Cluster, namespace: str) -> None:
    """The taint that the operator takes for one, beside the node's others."""
    name = f"{namespace}-node"
    await cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    try:
        assert "kubectl taint node" in await kubectl("trimtab", "interrupt", name, "--yes")
        node = await cluster.get(kinds.NODES, name)
        assert node is not None
        assert {"key": "trimtab.dev/interrupted", "effect": "NoSchedule"}.items() <= next(
            taint for taint in node["spec"]["taints"] if taint["key"] == "trimtab.dev/interrupted"
        ).items()
    finally:
        await cluster.delete(kinds.NODES, name)


async def model(cluster: Cluster, namespace: str) -> dict[str, Any]:
    found = await cluster.get(kinds.MODELS, "digits", namespace)
    assert found is not None
    return found


async def annotations(cluster: Cluster, namespace: str) -> dict[str, str]:
    return dict((await model(cluster, namespace))["metadata"].get("annotations") or {})


def test_the_sample_has_no_decisions_in_it() -> None:
    """What a person decides of a moment does not belong in Git."""
    (body,) = yaml.safe_load_all(SAMPLE.read_text())
    assert "annotations" not in body["metadata"]
