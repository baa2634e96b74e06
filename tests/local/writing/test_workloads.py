"""What Deployments, ReplicaSets and Jobs may be, and what of them may be changed."""

import pytest

pytestmark = pytest.mark.integration

POD = {"containers": [{"name": "c", "image": "i"}]}
LABELS = {"a": "b"}
SPEC = {"selector": {"matchLabels": LABELS}, "template": {"metadata": {"labels": LABELS}, "spec": POD}}
SET = {"metadata": {"name": "a"}, "spec": SPEC}
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
REPLICA_SETS = "/apis/apps/v1/namespaces/default/replicasets"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
JOB = {"metadata": {"name": "a"}, "spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}}
NEGATIVE = "must be greater than or equal to 0"
MISMATCH = "`selector` does not match template `labels`"


@pytest.mark.parametrize("path", [DEPLOYMENTS, REPLICA_SETS])
@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"spec.replicas": -1}, [f"spec.replicas: Invalid value: -1: {NEGATIVE}"]),
        (
            {"spec.template.metadata.labels": {"a": "c"}},
            [f'spec.template.metadata.labels: Invalid value: {{"a":"c"}}: {MISMATCH}'],
        ),
        (
            {"spec.template.spec.containers.0.image": ""},
            ["spec.template.spec.containers[0].image: Required value"],
        ),
        (
            {"spec.template.spec.restartPolicy": "Never"},
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
        ),
    ],
)
async def test_replicated_pods(judge, path, changes, wrong):
    """A template that is no pod, a selector that selects something else, numbers that there are not."""
    assert await judge.new(path, SET, changes) == wrong


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (
            {"spec.strategy": {"type": "Recreate", "rollingUpdate": {}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            {"spec.strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            {"spec.strategy": {"rollingUpdate": {"maxUnavailable": "120%"}}},
            ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "120%": must not be greater than 100%'],
        ),
        (
            {"spec.minReadySeconds": 600},
            ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
    ],
)
async def test_deployments(judge, changes, wrong):
    """How a Deployment rolls out."""
    assert await judge.new(DEPLOYMENTS, SET, changes) == wrong


@pytest.mark.parametrize("path", [DEPLOYMENTS, REPLICA_SETS])
async def test_selectors_stay(judge, path):
    """A selector is chosen once."""
    other = {"matchLabels": {"x": "y"}}
    found = await judge.update(path, SET, {"spec.selector": other, "spec.template.metadata.labels": {"x": "y"}})
    assert found == [
        'spec.selector: Invalid value: {"matchLabels":{"x":"y"}}: field is immutable',
    ]


async def test_defaults_of_a_deployment(send):
    """One replica, that rolls by quarters."""
    spec = (await send.make(DEPLOYMENTS, SET))["spec"]
    assert {k: v for k, v in spec.items() if k not in ("selector", "template")} == {
        "replicas": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (
            {"spec.parallelism": -1, "spec.backoffLimit": -1},
            [
                f"spec.parallelism: Invalid value: -1: {NEGATIVE}",
                f"spec.backoffLimit: Invalid value: -1: {NEGATIVE}",
            ],
        ),
        (
            {"spec.template.spec.restartPolicy": "Always"},
            ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
        ),
        (
            {"spec.completionMode": "Indexed"},
            [],
        ),
        (
            {"spec.completionMode": "Maybe"},
            ['spec.completionMode: Unsupported value: "Maybe": supported values: "NonIndexed", "Indexed"'],
        ),
        (
            {"spec.backoffLimitPerIndex": 1},
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            {"spec.podFailurePolicy": {"rules": [{"action": "Ignore"}]}},
            [
                (
                    "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions "
                    "is required"
                )
            ],
        ),
        (
            {
                "spec.podFailurePolicy": {
                    "rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [0]}}]
                }
            },
            [
                (
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In "
                    "operator"
                )
            ],
        ),
    ],
)
async def test_jobs(judge, changes, wrong):
    """Numbers, modes and policies of Jobs."""
    found = await judge.new(JOBS, JOB, changes)
    assert found[: len(wrong)] == wrong
    assert bool(found) == bool(wrong)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"spec.parallelism": 3}, None),
        ({"spec.backoffLimit": 3}, None),
        ({"spec.suspend": True}, None),
        ({"spec.ttlSecondsAfterFinished": 3}, None),
        ({"spec.completions": 3}, "spec.completions: Invalid value: 3: field is immutable"),
        ({"spec.completionMode": "Indexed"}, 'spec.completionMode: Invalid value: "Indexed": field is immutable'),
        ({"spec.template.spec.containers.0.image": "j"}, "spec.template: Invalid value: "),
    ],
)
async def test_what_of_a_job_may_be_changed(judge, changes, wrong):
    """How many at once and for how long, but not what."""
    found = await judge.update(JOBS, JOB, changes)
    if wrong is None:
        assert found == []
    else:
        assert any(text.startswith(wrong) for text in found)


async def test_templates_of_suspended_jobs(judge):
    """Where the pods of a Job run may be said until it starts."""
    job = {**JOB, "spec": {**JOB["spec"], "suspend": True}}
    assert await judge.update(JOBS, job, {"spec.template.spec.nodeSelector": {"a": "b"}}) == []


async def test_defaults_of_a_job(send):
    """One pod that succeeds, and labels that only this Job's pods have."""
    made = await send.make(JOBS, JOB)
    spec, uid = made["spec"], made["metadata"]["uid"]
    assert {k: v for k, v in spec.items() if k not in ("selector", "template")} == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    }
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "a",
        "controller-uid": uid,
        "job-name": "a",
    }


@pytest.mark.parametrize(
    ("status", "wrong"),
    [
        ({"replicas": -1}, f"status.replicas: Invalid value: -1: {NEGATIVE}"),
        (
            {"replicas": 1, "readyReplicas": 2},
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        ),
    ],
)
async def test_statuses(send, status, wrong):
    """A controller cannot report what does not add up."""
    await send.make(REPLICA_SETS, SET)
    answer = await send("PATCH", f"{REPLICA_SETS}/a/status", {"status": status}, "merge")
    assert answer.status == 422
    assert wrong in [f"{field}: {message}" for field, message in answer.causes]
