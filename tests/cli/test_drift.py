"""Applied again, a manifest changes nothing: no tool finds drift, and trimtab diff says so of a real API server."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.needs("kubectl")]

SAMPLE = Path(__file__).parents[2] / "manifests" / "gitops" / "repository" / "base" / "digits.yaml"


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = await process.communicate()
    return int(process.returncode or 0), out.decode()


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["as kubectl does", "as Argo CD and Flux do"])
async def test_applying_twice_changes_nothing(
    cluster: Cluster, kubeconfig: Path, namespace: str, tmp_path: Path, how: tuple[str, ...]
) -> None:
    """Neither generation nor version moves; defaults are no differences; a change is seen by both diffs."""
    kubectl = ("kubectl", "--kubeconfig", str(kubeconfig), "-n", namespace)
    trimtab = (sys.executable, "-m", "trimtab", "diff", "--kubeconfig", str(kubeconfig), "-n", namespace)
    assert (await run(*trimtab, "-f", str(SAMPLE)))[0] == 1, "the model is new"
    code, told = await run(*kubectl, "apply", *how, "-f", str(SAMPLE))
    assert code == 0, told
    before = await cluster.get(kinds.MODELS, "digits", namespace)
    assert (await run(*kubectl, "apply", *how, "-f", str(SAMPLE)))[0] == 0
    after = await cluster.get(kinds.MODELS, "digits", namespace)
    assert before is not None
    assert after is not None
    assert before["metadata"]["generation"] == after["metadata"]["generation"] == 1
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    assert before["spec"]["serving"]["minReplicas"] == 1, "a default that nobody wrote"
    for diff in ((*kubectl, "diff", *how), trimtab):
        assert (await run(*diff, "-f", str(SAMPLE)))[0] == 0, diff[0]
    changed = yaml.safe_load(SAMPLE.read_text())
    changed["spec"]["serving"]["maxReplicas"] = 3
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    for diff in ((*kubectl, "diff", *how), trimtab):
        assert (await run(*diff, "-f", str(tmp_path / "changed.yaml")))[0] == 1, diff[0]
