"""What a priority class means for a pod, and pods that wait at a gate."""

import itertools
from datetime import UTC, datetime

import pytest

from trimtab.local.kinds.priorities import RESOURCE, system_class
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

COMPUTED = "priority admission controller computed {} from the given PriorityClass name"


@pytest.fixture
def registry():
    numbers = itertools.count()
    made = Registry(lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: f"00000000-0000-4000-8000-{next(numbers):012}")
    made.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}})
    return made


def pod(registry, **spec):
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    return registry.create("pods", {"apiVersion": "v1", "kind": "Pod", **body}, "d")


def add(registry, name, value, **more):
    body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
    return registry.create(RESOURCE, {**body, **more})


def test_a_class_gives_a_pod_its_priority(registry):
    """And says whether it preempts."""
    add(registry, "high", 100, preemptionPolicy="Never")
    spec = pod(registry, priorityClassName="high")["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (100, "Never")


def test_a_pod_without_a_class_has_the_default_one(registry):
    """Where there is none, it counts as 0."""
    assert "priorityClassName" not in pod(registry)["spec"]
    registry.delete("pods", "p", "d")
    add(registry, "usual", 7, globalDefault=True)
    spec = pod(registry)["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("usual", 7)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        (
            {"priority": 3},
            "the integer value of priority (3) must not be provided in pod spec; " + COMPUTED.format(0),
        ),
        (
            {"preemptionPolicy": "Never"},
            "the string value of PreemptionPolicy (Never) must not be provided in pod spec; "
            + COMPUTED.format("PreemptLowerPriority"),
        ),
    ],
)
def test_priorities_that_are_refused(registry, spec, message):
    """In the words of the admission controller."""
    with pytest.raises(ApiError) as refused:
        pod(registry, **spec)
    assert (refused.value.status, refused.value.message) == (403, f'pods "p" is forbidden: {message}')


def test_there_is_one_default_class(registry):
    """A second one is refused."""
    add(registry, "usual", 7, globalDefault=True)
    with pytest.raises(ApiError, match=r"PriorityClass usual is already marked as default. Only one default can exist"):
        add(registry, "other", 8, globalDefault=True)


def test_the_systems_classes_are_valid(registry):
    """They pass the checks that others of such a name do not."""
    assert registry.create(RESOURCE, system_class("system-node-critical"))["value"] == 2_000_001_000


def test_a_gated_pod_says_so(registry):
    """From its creation."""
    [condition] = pod(registry, schedulingGates=[{"name": "x.io/wait"}])["status"]["conditions"]
    assert (condition["reason"], condition["status"]) == ("SchedulingGated", "False")
