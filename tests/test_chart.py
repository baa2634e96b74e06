"""The Helm chart makes what kubectl apply -k makes; Helm's own code renders it here."""

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "trimtab"
KEPT = {"helm.sh/resource-policy": "keep"}


def rendered(values: dict[str, Any], namespace: str = "trimtab-system") -> list[dict[str, Any]]:
    """What `helm template` prints."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name="trimtab", namespace=namespace)
    return [body for text in files.values() for body in yaml.safe_load_all(text) if body]


def kustomized(folder: str) -> list[dict[str, Any]]:
    """What `kubectl kustomize` prints."""
    done = subprocess.run(["kubectl", "kustomize", str(ROOT / folder)], capture_output=True, text=True, check=True)
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = {(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]): body for body in objects}
    assert len(found) == len(objects), "no object twice"
    return found


def operator(objects: list[dict[str, Any]]) -> Any:
    (found,) = [body for body in objects if body["kind"] == "Deployment"]
    return found["spec"]


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize(
    ("folder", "values"),
    [
        pytest.param("manifests", {"namespace": True}, id="all of it"),
        pytest.param("manifests/overlays/monitoring", {"namespace": True, "monitoring": True}, id="with monitoring"),
    ],
)
def test_helm_and_kustomize_make_the_same_objects(folder: str, values: dict[str, Any]) -> None:
    """Field by field; only the definitions are marked to outlive the release."""
    ours = by_name(rendered(values))
    for (kind, _, _), body in ours.items():
        if kind == "CustomResourceDefinition":
            assert body["metadata"].pop("annotations") == KEPT
    assert ours == by_name(kustomized(folder))


@pytest.mark.needs("kubectl")
def test_namespaces_with_models_get_their_policies() -> None:
    """The same as by kubectl apply --namespace ... -k manifests/models, in each of them."""
    before = by_name(rendered({}))
    added = {key: body for key, body in by_name(rendered({"modelNamespaces": ["a", "b"]})).items() if key not in before}
    wanted = kustomized("manifests/models")
    for name in "ab":
        for body in wanted:
            body["metadata"]["namespace"] = name
            assert added.pop((body["kind"], name, body["metadata"]["name"])) == body
    assert added == {}


def test_values_arrive() -> None:
    """Each in its place, in a namespace of another name."""
    values = {
        "crds": False,
        "networkPolicies": False,
        "images": {"operator": "registry/o:1", "serve": "registry/s:1"},
        "operator": {
            "replicas": 3,
            "limits": {"memory": "1Gi"},
            "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn"},
            "extraEnv": [{"name": "AWS_REGION", "value": "eu-west-1"}],
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "system-cluster-critical",
        },
        "settings": {"artifactsUri": "s3://artifacts", "nodeHold": "1m"},
    }
    objects = rendered(values, "platform")
    kinds = {body["kind"] for body in objects}
    assert not kinds & {"CustomResourceDefinition", "Namespace", "NetworkPolicy", "PodMonitor"}
    namespaces = {body["metadata"]["namespace"] for body in objects if "namespace" in body["metadata"]}
    assert namespaces == {"platform"}
    assert {subject["namespace"] for body in objects for subject in body.get("subjects", ())} == {"platform"}
    (account,) = [body for body in objects if body["kind"] == "ServiceAccount"]
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn"}
    spec = operator(objects)
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (spec["replicas"], container["image"], env["TRIMTAB_SERVE_IMAGE"]) == (3, "registry/o:1", "registry/s:1")
    assert (env["TRIMTAB_ARTIFACTS_URI"], env["TRIMTAB_NODE_HOLD"]) == ("s3://artifacts", "1m")
    assert env["AWS_REGION"] == "eu-west-1"
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"pool": "system"}, "system-cluster-critical")
    assert (pod["tolerations"], pod["imagePullSecrets"]) == ([{"operator": "Exists"}], [{"name": "registry"}])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"artifactUri": "s3://x"}}, "artifactUri"),
        ({"operator": {"replicas": "two"}}, "replicas"),
    ],
)
def test_a_slip_in_the_values_is_named(values: dict[str, Any], said: str) -> None:
    """Instead of installing what nobody wanted."""
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmError, match=said):
        chart.render(values, name="trimtab", namespace="n")


def test_helm_finds_no_fault() -> None:
    """`helm lint`."""
    found = helm_python.lint(CHART)
    assert found["errors"] == []
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


def test_the_chart_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """What is committed is what charts/generate.py writes."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "charts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(check=True) == 0, capsys.readouterr().err
