"""The operator knows nothing about the embedded cluster: it meets it as it meets any Kubernetes."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trimtab.api.capacity import CapacityPool
from trimtab.local.nodegroups.definition import definition
from trimtab.local.registry import Registry
from trimtab.planning.manifests.nodegroup import node_group

PACKAGE = Path(__file__).parents[1] / "operator" / "trimtab"
KNOWING = ("local", "cli")  # the cluster itself, and the command that starts it
PROVIDER = {"effects/kinds.py", "planning/manifests/nodegroup.py"}  # the node provider `embedded`: one kind, by its CRD


def mentions(text: str) -> set[str]:
    """The files of the operator, gateway and workloads in which a text stands."""
    files = (path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in KNOWING)
    return {path.relative_to(PACKAGE).as_posix() for path in files if text in path.read_text()}


def test_nobody_imports_it() -> None:
    """Not even late, by a name in a string."""
    assert mentions("trimtab.local") == set()


def test_its_kinds_are_the_node_providers_alone() -> None:
    """Groups of nodes are ordered as a cloud's are; everything else is plain Kubernetes."""
    assert mentions("local.trimtab.dev") == PROVIDER


@pytest.mark.parametrize(
    "part", ["handlers.operator", "workloads.gateway.service", "workloads.serve.api", "effects.kubernetes"]
)
def test_it_is_not_loaded_with_them(part: str) -> None:
    """What runs in production carries nothing of it."""
    code = f"import sys, trimtab.{part}; print([name for name in sys.modules if name.startswith('trimtab.local')])"
    path = str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_provider_says_what_the_kind_takes() -> None:
    """Every field of the group that the operator orders is one of the kind's: nothing is pruned, nothing refused."""
    spec: dict[str, Any] = {
        "capacityType": "Spot",
        "provider": {"embedded": {}},
        "zones": ["a"],
        "limits": {"maxNodes": 2},
    }
    pool = CapacityPool.model_validate(
        {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "spot"}, "spec": spec}
    )
    assert pool.spec.provider.embedded is not None
    wanted = node_group(pool, pool.spec.provider.embedded, 2, ["spot-1"], ["a"])
    registry = Registry(lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: "00000000-0000-0000-0000-000000000001")
    registry.create("customresourcedefinitions.apiextensions.k8s.io", definition())
    kept = registry.create("nodegroups.local.trimtab.dev", wanted)
    assert {name: kept["spec"][name] for name in wanted["spec"]} == wanted["spec"]
    assert kept["spec"]["template"] == wanted["spec"]["template"]
