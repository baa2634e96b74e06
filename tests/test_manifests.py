"""The manifests render, grant no more than they say, and run nothing that Pod Security would refuse."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from trimtab.api.base import CapacityType
from trimtab.api.gateway import GatewayStats
from trimtab.api.names import Key
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import amount
from trimtab.api.runs import RunSpec
from trimtab.api.status import ArtifactStatus, RevisionStatus
from trimtab.cli.demo.assets import documents, kustomized
from trimtab.cli.operator import operator
from trimtab.effects import kinds
from trimtab.effects.lease import LEASE
from trimtab.local.access.podchecks import violations
from trimtab.planning.manifests import serving
from trimtab.planning.manifests.gateway import gateway
from trimtab.planning.manifests.job import compression_job
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import Owner
from trimtab.version import __version__
from trimtab.workloads.gateway.configuration import Backends, Listener, configuration
from trimtab.workloads.gateway.statistics import prometheus

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


def made_by_the_operator() -> list[dict[str, Any]]:
    """Everything that the operator applies for a model, with several workers, secrets and devices."""
    model = Key("models", "digits")
    spec = OptimizedModelSpec.model_validate(
        {
            "source": {"uri": "s3://models/digits", "secretRef": {"name": "s3"}},
            "compression": {"preset": "Balanced", "workers": 2},
            "guardrail": {"dataset": {"uri": "s3://data/digits.npz"}, "maxDrop": "1pp"},
            "serving": {"loading": "Lazy", "cache": {"entries": 10}},
        }
    )
    run = RunSpec(
        namespace=model.namespace,
        model=model.name,
        key="0123abcd",
        source=spec.source,
        compression=spec.compression,
        guardrail=spec.guardrail,
        output="s3://artifacts",
    )
    artifact = ArtifactStatus(uri="s3://a/b", digest="sha256:0", bytes=1, source_bytes=1)
    revision = RevisionStatus(name="digits-1", run_name="r", artifact=artifact, generation=1, since="now")
    return [
        *gateway("models", [Owner("m", "1")], SETTINGS),
        compression_job(run, "1", SETTINGS),
        serving.model_service(model, "1"),
        serving.revision_service(model, "1", "digits-1"),
        *(serving.deployment(model, "1", spec, revision, kind, 2, (), SETTINGS) for kind in CapacityType),
    ]


def in_yaml(folder: Path) -> list[dict[str, Any]]:
    return [body for file in sorted(folder.rglob("*.yaml")) for body in documents(file) if body["kind"] not in PARTS]


PARTS = ("Kustomization", "Component")
OF_OTHERS = (
    "trimtab.dev/",
    "monitoring.coreos.com/",
    "argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "source.toolkit.",
)


@pytest.mark.parametrize(
    "body",
    [*(body for body in in_yaml(MANIFESTS) if not body["apiVersion"].startswith(OF_OTHERS)), *made_by_the_operator()],
    ids=lambda body: f"{body['kind']}-{body['metadata']['name']}",
)
def test_every_object_is_what_the_api_publishes(body: dict[str, Any]) -> None:
    """Ours and those that the operator makes: each field is one of Kubernetes' and has its type."""
    kubernetes_validate.validate(body, "1.37", strict=True)


def makers() -> list[dict[str, Any]]:
    """Everything that makes pods: in our files, those for kind and the samples included, and by the operator."""
    found = [body for body in [*in_yaml(MANIFESTS), *made_by_the_operator()] if "template" in body.get("spec", {})]
    assert {body["metadata"]["name"] for body in found} >= {"trimtab-operator", "trimtab-gateway", "minio", "upload"}
    assert len(found) == 3 + 2 + len(CapacityType)
    return found


@pytest.mark.parametrize("maker", makers(), ids=lambda body: f"{body['kind']}-{body['metadata']['name']}")
def test_every_pod_passes_pod_security_restricted(maker: dict[str, Any]) -> None:
    """The operator's, the gateway's, the replicas', the Jobs', and those that `make kind` adds."""
    spec = maker["spec"]["template"]["spec"]
    assert violations(spec, "restricted") == []
    assert violations({**spec, "hostNetwork": True}, "restricted") != []
    for container in spec["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"], container["name"]


@pytest.mark.parametrize("maker", makers(), ids=lambda body: f"{body['kind']}-{body['metadata']['name']}")
def test_every_container_says_what_it_needs(maker: dict[str, Any]) -> None:
    """Or a scheduler would put all of them onto one node, and a ResourceQuota refuse them."""
    for container in maker["spec"]["template"]["spec"]["containers"]:
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), container["name"]


def test_a_gateway_is_killed_for_no_memory_that_its_connections_may_take() -> None:
    """Two HAProxys full of connections, as after a reload, and what a gateway reserves for all else."""
    (made,) = [body for body in gateway("models", [Owner("m", "1")], SETTINGS) if body["kind"] == "Deployment"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    found = configuration(Listener("127.0.0.1", 8080, "models"), [], {}, [], {}, Backends())
    files, buffer = (int(found.split(word)[1].split()[0]) for word in ("fd-hard-limit", "tune.bufsize"))
    connections = files // 2  # a request has one from the client and one to the replica
    full = connections * 2 * buffer
    limit, reserved = (amount(container["resources"][kind]["memory"]) for kind in ("limits", "requests"))
    assert limit >= 2 * full + reserved
    assert "cpu" not in container["resources"]["limits"]


def test_only_operator_and_gateway_may_ask_the_api_server() -> None:
    """What computes on files from anywhere has no token."""
    tokens = {
        body["metadata"]["name"]
        for body in makers()
        if body["spec"]["template"]["spec"].get("automountServiceAccountToken", True)
    }
    assert tokens == {"trimtab-operator", "trimtab-gateway"}


@pytest.mark.parametrize(
    "policy", documents(MANIFESTS / "models" / "networkpolicies.yaml"), ids=lambda b: b["metadata"]["name"]
)
def test_policies_select_the_pods_that_they_mean(policy: dict[str, Any]) -> None:
    """By the labels that the operator gives, to the ports that they listen on."""
    component = policy["metadata"]["name"].removeprefix("trimtab-")
    pods = [body["spec"]["template"] for body in made_by_the_operator() if body["kind"] in ("Deployment", "Job")]
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    meant = [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in meant} == {component}
    listened = {
        port["containerPort"] for pod in meant for one in pod["spec"]["containers"] for port in one.get("ports", ())
    }
    opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", ())}
    assert opened <= listened
    if component != "gateway":
        blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule.get("to", ()) if "ipBlock" in to]
        assert any("169.254.0.0/16" in block["except"] for block in blocks), "a node's credentials stay out of reach"


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    """Each name in a panel is one that the gateway writes."""
    (board,) = (body for body in in_yaml(MANIFESTS / "components") if body["kind"] == "ConfigMap")
    panels = json.loads(board["data"]["trimtab.json"])["panels"]
    asked = {name for panel in panels for to in panel["targets"] for name in re.findall(r"trimtab_\w+", to["expr"])}
    stats = GatewayStats.model_validate(
        {"time": 0, "proxyUp": True, "models": {"m": {"revisions": {"r": {}}, "wakeSeconds": 1}}}
    )
    text = prometheus(stats, None)
    written = set(re.findall(r"# HELP (\w+)", text))
    assert len(asked) >= 6
    assert {name.removesuffix("_bucket") for name in asked} <= written


@pytest.mark.needs("kubectl")
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
