"""What pods may be, and what of them may be changed."""

import pytest

pytestmark = pytest.mark.integration

POD = {
    "metadata": {"name": "p"},
    "spec": {
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
PORT = "must be between 1 and 65535, inclusive"
C = "spec.containers[0]"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"spec.containers": []}, ["spec.containers: Required value"]),
        ({"spec.containers.0.name": "A"}, [f'{C}.name: Invalid value: "A": {LABEL}']),
        ({"spec.containers.0.name": ""}, [f"{C}.name: Required value"]),
        ({"spec.containers.0.image": ""}, [f"{C}.image: Required value"]),
        ({"spec.containers.1": {"name": "c", "image": "i"}}, ['spec.containers[1].name: Duplicate value: "c"']),
        (
            {"spec.containers.0.imagePullPolicy": "Maybe"},
            [
                f'{C}.imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"',
            ],
        ),
        (
            {"spec.containers.0.ports": [{"containerPort": 0}, {"containerPort": 70000}]},
            [
                f"{C}.ports[0].containerPort: Required value",
                f"{C}.ports[1].containerPort: Invalid value: 70000: {PORT}",
            ],
        ),
        (
            {"spec.containers.0.ports": [{"containerPort": 1, "protocol": "HTTP"}]},
            [f'{C}.ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"'],
        ),
        (
            {"spec.containers.0.ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
            [f'{C}.ports[1].name: Duplicate value: "a"'],
        ),
        (
            {"spec.containers.0.env": [{"name": ""}, {"name": "a=b"}]},
            [
                f"{C}.env[0].name: Required value",
                (
                    f'{C}.env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of '
                    "printable ASCII characters other than '='"
                ),
            ],
        ),
        (
            {
                "spec.containers.0.env": [
                    {"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
                ]
            },
            [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
        ),
        (
            {"spec.containers.0.env": [{"name": "a", "valueFrom": {}}]},
            [
                (
                    f'{C}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
                    "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
                )
            ],
        ),
        (
            {"spec.containers.0.volumeMounts": [{"name": "w", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]},
            [
                f'{C}.volumeMounts[0].name: Not found: "w"',
                f'{C}.volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
            ],
        ),
        (
            {"spec.containers.0.resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            [f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
        ),
        (
            {"spec.containers.0.resources": {"limits": {"memory": "-1"}}},
            [
                f'{C}.resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
                f'{C}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
        (
            {"spec.containers.0.resources": {"requests": {"nvidia.com/gpu": "1"}}},
            [f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"],
        ),
        (
            {"spec.containers.0.livenessProbe": {"periodSeconds": -1}},
            [
                f"{C}.livenessProbe: Required value: must specify a handler type",
                f"{C}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            {"spec.containers.0.livenessProbe": {"httpGet": {"path": "/", "port": 80}, "successThreshold": 2}},
            [f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        ({"spec.volumes.1": {"name": "v", "emptyDir": {}}}, ['spec.volumes[1].name: Duplicate value: "v"']),
        (
            {"spec.volumes.1": {"name": "w", "emptyDir": {}, "hostPath": {"path": "/"}}},
            ["spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            {"spec.restartPolicy": "Maybe"},
            ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'],
        ),
        (
            {"spec.dnsPolicy": "Maybe"},
            [
                (
                    'spec.dnsPolicy: Unsupported value: "Maybe": supported values: "ClusterFirstWithHostNet", '
                    '"ClusterFirst", "Default", "None"'
                )
            ],
        ),
        (
            {"spec.activeDeadlineSeconds": 0},
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            {"spec.tolerations": [{"operator": "Exists", "value": "x"}]},
            [
                (
                    "spec.tolerations[0].operator: Invalid value: "
                    '{"Key":"","Operator":"Exists","Value":"x","Effect":"","TolerationSeconds":null}: '
                    "value must be empty when `operator` is 'Exists'"
                ),
            ],
        ),
        (
            {"spec.tolerations": [{"key": "a", "effect": "Maybe"}]},
            [
                (
                    'spec.tolerations[0].effect: Unsupported value: "Maybe": supported values: "NoSchedule", '
                    '"PreferNoSchedule", "NoExecute"'
                )
            ],
        ),
        (
            {"spec.initContainers": [{"name": "c", "image": "i"}]},
            ['spec.initContainers[0].name: Duplicate value: "c"'],
        ),
        (
            {"spec.hostname": "a.b"},
            [f'spec.hostname: Invalid value: "a.b": {LABEL}'],
        ),
    ],
)
async def test_pods_that_there_cannot_be(judge, changes, wrong):
    """Everything wrong is said, with the path of the field."""
    assert await judge.new("pods", POD, changes) == wrong


ALLOWED = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.containers.0.image": "j"},
        {"spec.activeDeadlineSeconds": 5},
        {"spec.tolerations.2": {"key": "a", "operator": "Exists"}},
        {"metadata.labels": {"a": "b"}},
    ],
)
async def test_what_of_a_pod_may_be_changed(judge, changes):
    """The image, a deadline, and tolerations that are added."""
    assert await judge.update("pods", POD, changes) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.nodeName": "n"},
        {"spec.restartPolicy": "Never"},
        {"spec.containers.0.command": ["x"]},
        {"spec.terminationGracePeriodSeconds": 5},
        {"spec.containers.0.resources": {"limits": {"cpu": "1"}}},
    ],
)
async def test_what_of_a_pod_may_not_be_changed(judge, changes):
    """The refusal lists what may be changed, and shows the difference."""
    first, *_ = await judge.update("pods", POD, changes)
    assert first.partition("\n")[0] == ALLOWED


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ({"image": "i"}, [], "spec.containers: Forbidden: pod updates may not add or remove containers"),
        (
            {"image": "i"},
            [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}],
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
    ],
)
async def test_containers_stay(judge, before, after, wrong):
    """A pod keeps the containers that it has."""
    assert wrong in await judge.update("pods", POD, {"spec.containers": after})


async def test_deadlines_only_get_shorter(judge):
    """A deadline is not taken back."""
    pod = {**POD, "spec": {**POD["spec"], "activeDeadlineSeconds": 5}}
    text = "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"
    assert text in await judge.update("pods", pod, {"spec.activeDeadlineSeconds": 6})


async def test_defaults(send):
    """What is not said is as always."""
    spec = {"containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 1}]}]}
    made = (await send.make("pods", {"metadata": {"name": "p"}, "spec": spec}))["spec"]
    container = made["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
    assert (container["terminationMessagePath"], container["terminationMessagePolicy"]) == (
        "/dev/termination-log",
        "File",
    )
    expected = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    assert expected.items() <= made.items()
    latest = await send.make("pods", {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    assert latest["spec"]["containers"][0]["imagePullPolicy"] == "Always"
