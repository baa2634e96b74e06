"""scale, binding and eviction: other kinds of objects that stand for a part of one."""

import pytest

pytestmark = pytest.mark.integration

SETS = "/apis/apps/v1/namespaces/default/replicasets"
CONTAINERS = [{"name": "c", "image": "i"}]
SET = {
    "metadata": {"name": "r"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": CONTAINERS}},
    },
}
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


async def a_pod(send, name="p", **spec):
    pod = {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"containers": CONTAINERS, **spec}}
    return await send.make("pods", pod)


async def test_scale(send):
    """The Scale shows and sets one number, under the version of the object behind it."""
    made = await send.make(SETS, SET)
    read = (await send("GET", f"{SETS}/r/scale")).body
    assert (read["kind"], read["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (read["spec"], read["status"]) == ({"replicas": 2}, {"replicas": 0, "selector": "a=b"})
    assert read["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    put = (await send("PUT", f"{SETS}/r/scale", {**read, "spec": {"replicas": 3}})).body
    assert (put["kind"], put["spec"]) == ("Scale", {"replicas": 3})
    stale = await send("PUT", f"{SETS}/r/scale", {**read, "spec": {"replicas": 4}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    patched = (await send("PATCH", f"{SETS}/r/scale", {"spec": {"replicas": 5}}, "merge")).body
    assert (patched["kind"], patched["spec"]) == ("Scale", {"replicas": 5})
    whole = (await send("GET", f"{SETS}/r")).body
    assert (whole["spec"]["replicas"], whole["metadata"]["generation"]) == (5, 3)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (
            {"metadata": {"name": "r"}, "spec": {"replicas": -1}},
            422,
            'Scale.autoscaling "r" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        ),
        (
            {"metadata": {"name": "other"}, "spec": {"replicas": 1}},
            400,
            "the name of the object (other) does not match the name on the URL (r)",
        ),
    ],
)
async def test_scales_that_there_are_not(send, body, status, message):
    """A number of replicas is not negative, and the Scale is that of the object."""
    await send.make(SETS, SET)
    answer = await send("PUT", f"{SETS}/r/scale", body)
    assert (answer.status, answer.message) == (status, message)


async def test_bindings(send):
    """A pod is assigned once; the condition says that it was."""
    await a_pod(send)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    first = await send("POST", "pods/p/binding", binding)
    assert (first.status, first.body["status"]) == (201, "Success")
    pod = (await send("GET", "pods/p")).body
    assert pod["spec"]["nodeName"] == "n"
    assert ("PodScheduled", "True") in [(c["type"], c["status"]) for c in pod["status"]["conditions"]]
    second = await send("POST", "pods/p/binding", binding)
    text = 'pod p is already assigned to node "n"'
    assert (second.status, second.message) == (409, f'Operation cannot be fulfilled on pods/binding "p": {text}')


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"metadata": {"name": "other"}, "target": {"name": "n"}}, 400),
        ({"metadata": {"name": "p"}, "target": {"name": ""}}, 422),
    ],
)
async def test_bindings_that_are_refused(send, body, status):
    """A binding names its pod and a node."""
    await a_pod(send)
    assert (await send("POST", "pods/p/binding", body)).status == status


def eviction(name="p", **options):
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name},
        **({"deleteOptions": options} if options else {}),
    }


async def test_evictions_without_a_budget(send):
    """The pod goes like one that is deleted, and says why while it goes."""
    await a_pod(send, nodeName="n")
    answer = await send("POST", "pods/p/eviction", eviction())
    assert (answer.status, answer.body["status"]) == (201, "Success")
    pod = (await send("GET", "pods/p")).body
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    condition = next(c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert (condition["status"], condition["reason"]) == ("True", "EvictionByEvictionAPI")
    assert condition["message"] == "Eviction API: evicting"


async def budget(send, name="b", **status):
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    await send.make(BUDGETS, {"metadata": {"name": name}, "spec": spec})
    if status:
        await send("PATCH", f"{BUDGETS}/{name}/status", {"status": status}, "merge")


async def running(send):
    await a_pod(send, nodeName="n")
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await send("PATCH", "pods/p/status", {"status": status}, "merge")


COUNTED = {"observedGeneration": 1, "expectedPods": 1}


@pytest.mark.parametrize(
    ("status", "cause", "seconds"),
    [
        ({}, "The disruption budget b is still being processed by the server.", 10),
        (
            {**COUNTED, "currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0},
            "The disruption budget b needs 1 healthy pods and has 1 currently",
            None,
        ),
    ],
)
async def test_budgets_that_allow_nothing(send, status, cause, seconds):
    """The refusal says which budget, and when to come back if that helps."""
    await running(send)
    await budget(send, **status)
    answer = await send("POST", "pods/p/eviction", eviction())
    assert (answer.status, answer.body["reason"]) == (429, "TooManyRequests")
    assert answer.message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert answer.body["details"]["causes"] == [{"reason": "DisruptionBudget", "message": cause}]
    assert answer.body["details"].get("retryAfterSeconds") == seconds


async def test_budgets_that_allow_one(send):
    """What is evicted is counted, until the controller has seen it go."""
    await running(send)
    await budget(send, **COUNTED, currentHealthy=2, desiredHealthy=1, disruptionsAllowed=1)
    assert (await send("POST", "pods/p/eviction", eviction())).status == 201
    status = (await send("GET", f"{BUDGETS}/b")).body["status"]
    assert (status["disruptionsAllowed"], list(status["disruptedPods"])) == (0, ["p"])


async def test_two_budgets(send):
    """Nobody chooses between them."""
    await running(send)
    await budget(send)
    await budget(send, "c")
    answer = await send("POST", "pods/p/eviction", eviction())
    text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    assert (answer.status, answer.message) == (400, text)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (eviction("other"), 400),
        (eviction(preconditions={"uid": "other"}), 409),
        (eviction(propagationPolicy="Background"), 201),
    ],
)
async def test_options_of_an_eviction(send, body, status):
    """An eviction is a deletion, with its options."""
    await a_pod(send)
    assert (await send("POST", "pods/p/eviction", body)).status == status


async def test_evictions_of_what_is_not_there(send):
    """There is nothing to evict."""
    answer = await send("POST", "pods/p/eviction", eviction())
    assert (answer.status, answer.message) == (404, 'pods "p" not found')
