"""From client-side to server-side apply without conflicts, where nobody else changed anything."""

import json

import pytest

from trimtab.local import managed
from trimtab.local.lastapplied import ANNOTATION
from trimtab.local.schema import builtin
from trimtab.local.statuses import ApiError

NODE = builtin.node_of("ConfigMap")
BEFORE = managed.Manager("kubectl-client-side-apply", "Update", "v1")


def config(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def live(now_is, last_applied):
    """A ConfigMap that was applied on the client, and then perhaps changed by its manager."""
    obj = {**config(**now_is), "metadata": {"name": "c", "annotations": {ANNOTATION: last_applied}}}
    managed.record_update(None, obj, NODE, BEFORE, "t0")
    return obj


def applied(obj, manager, **data):
    by = managed.Manager(manager, "Apply", "v1")
    return managed.apply(obj, config(**data), NODE, by, force=False, now="t1").object


def test_what_kubectl_applied_before_is_its_own():
    """The new value wins, and the annotation follows."""
    found = applied(live({"a": "1"}, json.dumps(config(a="1"))), "kubectl", a="2")
    assert found["data"] == {"a": "2"}
    assert json.loads(found["metadata"]["annotations"][ANNOTATION]) == config(a="2")
    assert found["metadata"]["annotations"][ANNOTATION].endswith("\n")


@pytest.mark.parametrize(
    ("last", "manager"),
    [
        pytest.param(json.dumps(config(a="0")), "kubectl", id="changed since"),
        pytest.param(json.dumps(config(b="1")), "kubectl", id="not applied"),
        pytest.param(json.dumps(config(a="1")), "other", id="another name opts out"),
        pytest.param("{", "kubectl", id="broken"),
        pytest.param(json.dumps({**config(a="1"), "apiVersion": "v2"}), "kubectl", id="another version"),
    ],
)
def test_the_rest_conflicts(last, manager):
    """What the annotation does not say, or says differently, belongs to whom its entry names."""
    with pytest.raises(ApiError, match=r'conflict with "kubectl-client-side-apply" using v1 at t0: \.data\.a'):
        applied(live({"a": "1"}, last), manager, a="2")
