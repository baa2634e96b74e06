"""What is kept of objects, and what of a change matters."""

import json
import sys
from typing import Any

import pytest

from trimtab.api.names import MODEL_LABEL, Key
from trimtab.effects import keeping
from trimtab.effects.tables import Packed, Table, Unpacked, identity, pack


def pod(name: str, model: str | None = "digits", **status: Any) -> dict[str, Any]:
    labels = {MODEL_LABEL: model} if model else {}
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": labels, "managedFields": [{}] * 20},
        "spec": {"nodeName": "node-1", "containers": [{"name": "serve", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"phase": "Running", **status},
    }


@pytest.mark.parametrize("packed", [False, True])
def test_objects_are_found_by_their_key(packed: bool) -> None:
    """Several may share one; one that belongs to another key now, or to none, is no longer found by the old one."""
    table: Table[Key] = Table(Key.owner_of, keeping.whole, packed=packed)
    for item in (pod("a"), pod("b"), pod("c", "cats"), pod("d", None)):
        table.put(item)
    names = {str(key): {item["metadata"]["name"] for item in table[key]} for key in table}
    assert names == {"shop/digits": {"a", "b"}, "shop/cats": {"c"}}
    table.put(pod("b", "cats"))
    table.put(pod("c", None))
    assert {item["metadata"]["name"] for item in table[Key("shop", "cats")]} == {"b"}
    assert table.drop(("shop", "b"))
    assert not table.drop(("shop", "b"))
    assert Key("shop", "cats") not in table
    assert len(table) == 1


def test_what_nobody_reads_is_no_change() -> None:
    """A kubelet's heartbeat or somebody's annotation wakes nobody; a phase does."""
    table: Table[Key] = Table(Key.owner_of, keeping.pod)
    assert table.put(pod("a"))
    beat = pod("a", hostIP="10.0.0.1")
    beat["metadata"] |= {"resourceVersion": "8", "annotations": {"seen": "now"}}
    assert not table.put(beat)
    assert table.put(pod("a", phase="Failed"))


def test_a_node_that_only_reports_is_no_change() -> None:
    """Kubelets write the times of their conditions every few minutes, for each of hundreds of nodes."""

    def node(at: str, ready: str = "True") -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": at}]
        return {"metadata": {"name": "n"}, "spec": {}, "status": {"conditions": conditions}}

    table: Table[str] = Table(lambda item: str(item["metadata"]["name"]), keeping.node)
    assert table.put(node("10:00"))
    assert not table.put(node("10:05"))
    assert table.put(node("10:05", "False"))


def test_equal_words_are_kept_once() -> None:
    """Of thousands of objects, only what tells them apart costs memory."""
    table: Table[str] = Table(lambda item: str(item["metadata"]["name"]), keeping.pod)
    for name in ("a", "b"):
        table.put(json.loads(json.dumps(pod(name))))
    (one,), (other,) = table["a"], table["b"]
    assert one["status"]["phase"] is other["status"]["phase"]


def test_a_packed_index_reads_as_its_objects() -> None:
    """And takes a fraction of their memory."""
    body = pod("a")
    index = Unpacked({"a": [Packed("u", pack(body))]})
    assert list(index.get("a", ())) == [body]
    assert index.get("b") is None
    assert sys.getsizeof(pack(body)) < 400
    assert identity(body) == ("shop", "a")
