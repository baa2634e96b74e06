"""Built-in kinds: defaults that clients read, and what is refused with which words."""

from typing import Any

import pytest

from trimtab.local.objects import Object
from trimtab.local.patching import MERGE
from trimtab.local.registry import ApiError, Registry

CONTAINER = {"name": "main", "image": "app:1"}
POD = {"containers": [CONTAINER]}


def named(**fields: Any) -> Object:
    return {"metadata": {"name": "x"}, **fields}


def a_template(**spec: Any) -> Object:
    return {"metadata": {"labels": {"app": "x"}}, "spec": {**POD, **spec}}


def a_deployment(**spec: Any) -> Object:
    return named(spec={"selector": {"matchLabels": {"app": "x"}}, "template": a_template(), **spec})


def a_job(**spec: Any) -> Object:
    return named(spec={"template": {"spec": {**POD, "restartPolicy": "Never"}}, **spec})


def refusal(registry: Registry, resource: str, obj: Object) -> str:
    with pytest.raises(ApiError) as refused:
        registry.create(resource, obj, "default" if resource != "nodes" else None)
    assert refused.value.status == 422
    return refused.value.message


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("app:1", "IfNotPresent"),
        ("host:5000/app", "Always"),
        ("host:5000/app:1", "IfNotPresent"),
        ("app@sha256:0", "IfNotPresent"),
    ],
)
def test_images_without_a_fixed_tag_are_always_pulled(registry: Registry, image: str, policy: str):
    """A registry's port is no tag."""
    pod = registry.create("pods", named(spec={"containers": [{**CONTAINER, "image": image}]}), "default")
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}}, "Guaranteed"),
    ],
)
def test_quality_follows_requests_and_limits(registry: Registry, resources: Object, quality: str):
    """A limit is a request too; equal quantities are equal however they are written."""
    pod = registry.create("pods", named(spec={"containers": [{**CONTAINER, "resources": resources}]}), "default")
    assert pod["status"]["qosClass"] == quality


def test_only_pods_request_their_limits(registry: Registry):
    """In a template a request stays unset: what somebody applied is what is kept."""
    container = {**CONTAINER, "resources": {"limits": {"cpu": "1"}}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = registry.create("deployments.apps", named(spec=spec), "default")
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
    pod = registry.create("pods", named(spec={"containers": [container]}), "default")
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}


def test_pods_get_the_priority_of_their_class(registry: Registry):
    """A class is looked up once, at creation; one that is not there is refused."""
    registry.create("priorityclasses.scheduling.k8s.io", {"metadata": {"name": "high"}, "value": 7})
    pod = registry.create("pods", named(spec={**POD, "priorityClassName": "high"}), "default")
    assert pod["spec"]["priority"] == 7
    with pytest.raises(ApiError, match="no PriorityClass with name low was found"):
        registry.create("pods", {"metadata": {"name": "y"}, "spec": {**POD, "priorityClassName": "low"}}, "default")


@pytest.mark.parametrize(
    ("resource", "obj", "message"),
    [
        ("pods", named(spec={"containers": []}), "spec.containers: Required value"),
        (
            "pods",
            named(spec={"containers": [CONTAINER, CONTAINER]}),
            'spec.containers[1].name: Duplicate value: "main"',
        ),
        (
            "pods",
            named(spec={"containers": [{**CONTAINER, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            "pods",
            named(spec={"containers": [{**CONTAINER, "ports": [{"containerPort": 70000}]}]}),
            "containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "deployments.apps",
            a_deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
            "may not be 0 when `maxSurge` is 0",
        ),
        (
            "deployments.apps",
            a_deployment(template=a_template(restartPolicy="Never")),
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        ("deployments.apps", a_deployment(replicas=-1), "spec.replicas: Invalid value: -1"),
        ("jobs.batch", a_job(completionMode="Indexed", parallelism=1), "when completion mode is Indexed"),
        ("jobs.batch", a_job(backoffLimit=-1), "spec.backoffLimit: Invalid value: -1"),
        (
            "services",
            named(spec={"ports": [{"port": 80}, {"port": 81}]}),
            "spec.ports[0].name: Required value",
        ),
        ("services", named(spec={"type": "Odd", "ports": [{"port": 80}]}), 'spec.type: Unsupported value: "Odd"'),
        ("configmaps", named(data={"a/b": "1"}), "a valid config key must consist of"),
        (
            "poddisruptionbudgets.policy",
            named(spec={"minAvailable": 1, "maxUnavailable": 1}),
            "minAvailable and maxUnavailable cannot be both set",
        ),
        ("nodes", named(spec={"taints": [{"key": "a", "effect": "Never"}]}), 'Unsupported value: "Never"'),
        (
            "leases.coordination.k8s.io",
            named(spec={"leaseDurationSeconds": 0}),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        ("endpointslices.discovery.k8s.io", named(addressType="IPX"), 'addressType: Unsupported value: "IPX"'),
        (
            "events",
            named(involvedObject={"namespace": "other"}),
            'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
        ),
    ],
)
def test_what_is_refused(registry: Registry, resource: str, obj: Object, message: str):
    """The refusal names the field, the value and what it should be."""
    assert message in refusal(registry, resource, obj)


def test_jobs_select_their_own_pods(registry: Registry):
    """The selector and the labels carry the job's uid; the template cannot change afterwards."""
    job = registry.create("jobs.batch", a_job(), "default")
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
    assert job["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "x"
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (1, 1, 6)
    patch = {"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}
    with pytest.raises(ApiError, match=r"spec\.template: Invalid value: .*: field is immutable"):
        registry.patch("jobs.batch", "x", "default", patch, MERGE, manager="m")
    registry.patch("jobs.batch", "x", "default", {"spec": {"parallelism": 0, "suspend": True}}, MERGE, manager="m")


def test_budgets_and_bindings_and_namespaces_keep_what_is_for_life(registry: Registry):
    """A role reference and the cluster's own namespaces stay."""
    reference = {"kind": "Role", "name": "r"}
    registry.create("rolebindings.rbac.authorization.k8s.io", named(roleRef=reference), "default")
    with pytest.raises(ApiError, match="cannot change roleRef"):
        registry.patch(
            "rolebindings.rbac.authorization.k8s.io", "x", "default", {"roleRef": {"name": "s"}}, MERGE, manager="m"
        )
    with pytest.raises(ApiError, match="this namespace may not be deleted") as refused:
        registry.delete("namespaces", "default")
    assert refused.value.status == 403


def test_pods_keep_their_spec_but_for_images(registry: Registry):
    """A running pod may get another image, and nothing else."""
    registry.create("pods", named(spec=POD), "default")
    image = {"spec": {"containers": [{**CONTAINER, "image": "app:2"}]}}
    changed = registry.patch("pods", "x", "default", image, MERGE, manager="m")
    assert changed["spec"]["containers"][0]["image"] == "app:2"
    with pytest.raises(ApiError, match="pod updates may not change fields other than"):
        registry.patch("pods", "x", "default", {"spec": {"hostname": "other"}}, MERGE, manager="m")


def test_binding_happens_once(registry: Registry):
    """The second scheduler is told where the pod is."""
    registry.create("pods", named(spec=POD), "default")
    bound = registry.bind("x", "default", "node-1")
    assert bound["spec"]["nodeName"] == "node-1"
    assert [c["type"] for c in bound["status"]["conditions"]] == ["PodScheduled"]
    with pytest.raises(ApiError, match='pod x is already assigned to node "node-1"'):
        registry.bind("x", "default", "node-2")


def test_headless_and_external_services_need_no_address(registry: Registry):
    """Only Services with an address of their own take one from the range."""
    headless = registry.create("services", named(spec={"clusterIP": "None"}), "default")
    assert headless["spec"]["clusterIPs"] == ["None"]
    external = {"metadata": {"name": "y"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    assert "clusterIP" not in registry.create("services", external, "default")["spec"]
