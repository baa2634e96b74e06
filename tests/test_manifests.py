"""The manifests render, grant no more than they say, and run nothing that Pod Security would refuse."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.cli.demo.assets import kustomized
from trimtab.cli.operator import operator
from trimtab.effects import kinds
from trimtab.effects.lease import LEASE
from trimtab.planning.manifests.gateway import gateway
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import Owner
from trimtab.version import __version__

MANIFESTS = Path(__file__).parents[1] / "manifests"
SETTINGS = Settings(compress_image="c", serve_image="s", gateway_image="g")


def only(kind: str) -> Any:
    (found,) = [body for body in kustomized(MANIFESTS) if body["kind"] == kind]
    return found


def grants(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for r in rules
        for group in r["apiGroups"]
        for resource in r["resources"]
        for verb in r["verbs"]
    }


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
@pytest.mark.parametrize("folder", [".", "overlays/embedded"])
def test_kustomize_renders_what_we_read(folder: str) -> None:
    """kubectl and the demo see the same objects."""
    done = subprocess.run(["kubectl", "kustomize", str(MANIFESTS / folder)], capture_output=True, text=True, check=True)
    rendered = [body for body in yaml.safe_load_all(done.stdout) if body]
    names = sorted((body["kind"], body["metadata"]["name"]) for body in rendered)
    assert names == sorted((body["kind"], body["metadata"]["name"]) for body in kustomized(MANIFESTS / folder))


def test_nothing_is_granted_wholesale() -> None:
    """No wildcard, no Secrets, no writing of specs, no impersonation or escalation."""
    held = grants(only("ClusterRole")["rules"])
    assert not [grant for grant in held if "*" in grant]
    assert not [grant for grant in held if grant[1] == "secrets" or grant[2] in {"bind", "escalate", "impersonate"}]
    assert {verb for _, resource, verb in held if resource in {"optimizedmodels", "capacitypools"}} == {
        "get",
        "list",
        "watch",
    }


def test_the_operator_holds_what_it_grants() -> None:
    """An API server lets nobody grant rights that they do not hold: the gateway's Role is a part of ours."""
    made = gateway("models", [Owner("m", "1")], SETTINGS)
    (role,) = [body for body in made if body["kind"] == "Role"]
    assert grants(role["rules"]) <= grants(only("ClusterRole")["rules"])


def test_what_the_operator_writes_is_what_it_may() -> None:
    """Server-side apply needs create and patch; nothing else may be written, and no right is left over."""
    applied = [kinds.JOBS, kinds.DEPLOYMENTS, kinds.SERVICES]
    applied += [kinds.kind_of(body) for body in gateway("models", [Owner("m", "1")], SETTINGS)]
    needed = {(group(kind), kind.plural, verb) for kind in applied for verb in ("create", "patch")}
    removed = (kinds.JOBS, kinds.DEPLOYMENTS, kinds.SERVICES, kinds.PODS)
    needed |= {(group(kind), kind.plural, "delete") for kind in removed}
    needed |= {("", "pods", "patch"), ("", "events", "create"), ("trimtab.dev", "optimizedmodels/finalizers", "update")}
    needed |= {("", "nodes", "patch")}
    needed |= {("trimtab.dev", f"{kind.plural}/status", "patch") for kind in (kinds.MODELS, kinds.POOLS)}
    writes = {grant for grant in grants(only("ClusterRole")["rules"]) if grant[2] not in {"get", "list", "watch"}}
    assert writes == needed


def group(kind: kinds.Kind) -> str:
    return kind.api_version.rpartition("/")[0]


def test_every_rule_says_why() -> None:
    """Least privilege is reviewed by reading: each rule has a comment above it."""
    lines = (MANIFESTS / "base" / "rbac.yaml").read_text().splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("- apiGroups")]
    for number in rules:
        above = number - 1
        while lines[above].startswith("  ") or lines[above].startswith("- apiGroups"):
            above -= 1
        assert lines[above].startswith("#") or lines[above] == "rules:", f"line {number + 1}"


def test_the_operators_environment_is_known_to_it() -> None:
    """Each TRIMTAB_ variable of the Deployment is an option of `trimtab operator`."""
    (container,) = only("Deployment")["spec"]["template"]["spec"]["containers"]
    known = {f"TRIMTAB_{option.name.upper()}" for option in operator.params if option.name}
    given = {entry["name"] for entry in container["env"] if entry["name"].startswith("TRIMTAB_")}
    assert given <= known
    assert container["image"] == f"trimtab/operator:{__version__}"
    images = {e["value"] for e in container["env"] if e["name"].endswith("_IMAGE")}
    assert images == {f"trimtab/{name}:{__version__}" for name in ("compress", "serve", "gateway")}


def test_the_operator_passes_pod_security_restricted() -> None:
    """Namespace trimtab-system enforces it, so the Deployment must."""
    pod = only("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_one_operator_works_and_one_waits() -> None:
    """A new one is there before an old one goes, and the Lease that decides is one that both may hold."""
    spec = only("Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    env = {entry["name"]: entry for entry in spec["template"]["spec"]["containers"][0]["env"]}
    assert env["TRIMTAB_LEASE_NAMESPACE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    role = only("Role")
    assert role["metadata"]["namespace"] == only("Deployment")["metadata"]["namespace"]
    assert grants(role["rules"]) == {("coordination.k8s.io", "leases", verb) for verb in ("create", "get", "patch")}
    assert [rule.get("resourceNames") for rule in role["rules"] if "patch" in rule["verbs"]] == [[LEASE]]
