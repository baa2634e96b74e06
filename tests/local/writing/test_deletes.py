"""Deletions: what goes at once, what waits, and what may still be changed meanwhile."""

import pytest

pytestmark = pytest.mark.integration

CHANGED = "The object might have been"


async def a_map(send, **metadata):
    return await send.make("configmaps", {"metadata": {"name": "a", **metadata}})


async def test_what_goes_at_once(send):
    """The answer is a Status that says what went; a second deletion finds nothing."""
    uid = (await a_map(send))["metadata"]["uid"]
    answer = await send("DELETE", "configmaps/a")
    assert (answer.status, answer.body) == (
        200,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": uid},
        },
    )
    again = await send("DELETE", "configmaps/a")
    assert (again.status, again.message) == (404, 'configmaps "a" not found')


async def test_what_has_finalizers_waits(send):
    """It is marked and stays as it is, until the last finalizer is taken off."""
    await a_map(send, finalizers=["a/a"])
    first = await send("DELETE", "configmaps/a")
    marks = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}
    assert (first.status, first.body["kind"]) == (200, "ConfigMap")
    assert marks.items() <= first.body["metadata"].items()
    second = await send("DELETE", "configmaps/a")
    assert second.body == first.body
    more = await send("PATCH", "configmaps/a", {"metadata": {"finalizers": ["a/a", "b/b"]}}, "merge")
    text = "no new finalizers can be added if the object is being deleted, found new finalizers"
    assert more.causes[0] == ("metadata.finalizers", f'Forbidden: {text} []string{{"b/b"}}')
    other = await send("PATCH", "configmaps/a", {"data": {"a": "1"}}, "merge")
    assert (other.status, other.body["data"]) == (200, {"a": "1"})
    last = await send("PATCH", "configmaps/a", {"metadata": {"finalizers": None}}, "merge")
    assert (last.status, (await send("GET", "configmaps/a")).status) == (200, 404)


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None), (None, None)],
)
async def test_dependents(send, policy, finalizers):
    """What is to happen to dependents first is a finalizer, which the garbage collector works off."""
    await a_map(send)
    answer = await send("DELETE", "configmaps/a", {"propagationPolicy": policy} if policy else None)
    assert answer.body["metadata"].get("finalizers") == finalizers


@pytest.mark.parametrize(
    ("preconditions", "message"),
    [
        (
            {"uid": "other"},
            (
                "the UID in the precondition (other) does not match the UID in record ({uid}). The object might have "
                "been deleted and then recreated"
            ),
        ),
        (
            {"resourceVersion": "1"},
            (
                "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({version}). "
                "The object might have been modified"
            ),
        ),
    ],
)
async def test_preconditions(send, preconditions, message):
    """Nothing goes that is not what the client saw."""
    metadata = (await a_map(send))["metadata"]
    answer = await send("DELETE", "configmaps/a", {"preconditions": preconditions})
    text = message.format(uid=metadata["uid"], version=metadata["resourceVersion"])
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert answer.message == f'Operation cannot be fulfilled on ConfigMap "a": {text}'
    same = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    assert (await send("DELETE", "configmaps/a", {"preconditions": same})).status == 200


@pytest.mark.parametrize(
    ("options", "query", "message"),
    [
        (
            {"propagationPolicy": "Sideways"},
            "",
            (
                'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": supported '
                'values: "Foreground", "Background", "Orphan", "nil"'
            ),
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            "",
            (
                'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents '
                "and deletionPropagation cannot be both set"
            ),
        ),
        (
            None,
            "?dryRun=Some",
            'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
        ),
    ],
)
async def test_options_that_there_are_not(send, options, query, message):
    """They are refused, and nothing goes."""
    await a_map(send)
    answer = await send("DELETE", f"configmaps/a{query}", options)
    assert (answer.status, answer.message) == (422, message)
    assert (await send("GET", "configmaps/a")).status == 200


POD = {"spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 40}}


@pytest.mark.parametrize(
    ("node", "options", "seconds"),
    [
        ("n", None, 40),
        ("n", {"gracePeriodSeconds": 7}, 7),
        ("n", {"gracePeriodSeconds": -1}, 1),
        ("n", {"gracePeriodSeconds": 0}, None),
        ("", None, None),
    ],
)
async def test_pods_get_time(send, node, options, seconds):
    """A pod on a node has its grace period; the answer is the pod, also where it is gone."""
    await send.make("pods", {"metadata": {"name": "p"}, **POD, "spec": {**POD["spec"], "nodeName": node}})
    answer = await send("DELETE", "pods/p", options)
    assert (answer.status, answer.body["kind"]) == (200, "Pod")
    metadata = answer.body["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == (seconds or 0)
    assert metadata["deletionTimestamp"] == f"2026-01-01T00:00:{seconds or 0:02}Z"
    assert (await send("GET", "pods/p")).status == (404 if seconds is None else 200)


async def test_a_shorter_time_holds(send):
    """A deletion may be made faster, not slower."""
    await send.make("pods", {"metadata": {"name": "p"}, **POD, "spec": {**POD["spec"], "nodeName": "n"}})
    seconds = []
    for grace in (30, 60, 10):
        answer = await send("DELETE", f"pods/p?gracePeriodSeconds={grace}")
        seconds.append(answer.body["metadata"]["deletionGracePeriodSeconds"])
    assert seconds == [30, 30, 10]


async def test_collections(send):
    """All that are selected go; the answer is a list of them."""
    for name, label in [("a", "x"), ("b", "x"), ("c", "y")]:
        await send.make("configmaps", {"metadata": {"name": name, "labels": {"l": label}}})
    dry = await send("DELETE", "configmaps?labelSelector=l%3Dx&dryRun=All")
    assert [o["metadata"]["name"] for o in dry.body["items"]] == ["a", "b"]
    assert len((await send("GET", "configmaps")).body["items"]) == 3
    done = await send("DELETE", "configmaps?labelSelector=l%3Dx")
    assert (done.status, done.body["kind"]) == (200, "ConfigMapList")
    left = (await send("GET", "configmaps")).body["items"]
    assert [o["metadata"]["name"] for o in left] == ["c"]


async def test_jobs_leave_their_pods(send):
    """A Job in batch/v1 orphans by default, and says so."""
    path = "/apis/batch/v1/namespaces/default/jobs"
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
    await send.make(path, {"metadata": {"name": "a"}, "spec": spec})
    answer = await send("DELETE", f"{path}/a")
    assert "orphan" in answer.body["metadata"]["finalizers"]
    assert answer.warnings == [
        (
            '299 - "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to '
            'remove them or set propagationPolicy=Orphan to suppress this warning"'
        )
    ]
