"""Snapshots of a world that changes while it is read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.api.capacity import Price
from trimtab.api.names import Key, labels
from trimtab.api.status import OptimizedModelStatus, RunPhase, RunStatus
from trimtab.effects.gather import Gatherer, _is_of
from trimtab.effects.world import World
from trimtab.planning.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key("default", "digits")
SETTINGS = Settings("trimtab/compress:1", "trimtab/serve:1", "trimtab/gateway:1")


def job(run: str) -> dict[str, Any]:
    labels = {"trimtab.dev/run": run}
    return {"metadata": {"name": f"digits-run-{run}", "namespace": "default", "labels": labels}, "status": {}}


def pod(run: str) -> dict[str, Any]:
    meta = {"name": f"pod-{run}", "namespace": "default", "labels": {"trimtab.dev/run": run}}
    return {"metadata": {**meta, "creationTimestamp": "2026-03-01T11:59:00Z"}, "status": {"phase": "Running"}}


def node(name: str, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"trimtab.dev/pool": "spot"}},
        "spec": {"taints": [], "unschedulable": False, **more},
    }


def gatherer(cluster: Any = None, **known: Any) -> Gatherer:
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    signals: Any = None
    return Gatherer(World(**{**fields, **known}), cluster, signals, SETTINGS, lambda: NOW)


async def test_a_job_may_go_while_a_log_is_read() -> None:
    """A watch changes the index between two requests: the snapshot is of the moment it began."""
    jobs = {"1": job("1"), "2": job("2")}

    class Cluster:
        async def pod_log(self, *_: Any) -> str:
            jobs.clear()
            return ""

    made = gatherer(Cluster(), jobs={KEY: jobs.values()}, pods={KEY: [pod("1"), pod("2")]})
    views = await made._runs(KEY, OptimizedModelStatus())
    assert [view.key for view in views] == ["1", "2"]


async def test_what_a_pod_said_is_asked_for_where_its_watch_is_behind() -> None:
    """A Job that is seen to be complete before its pod is no run whose result was lost: that would be repeated."""
    asked = []
    said = {"state": {"terminated": {"exitCode": 0, "message": '{"recipe": ["Quantize"]}'}}}

    class Cluster:
        async def list(self, _kind: Any, namespace: str, labels: str) -> Any:
            asked.append((namespace, labels))
            return [{**pod("1"), "status": {"phase": "Succeeded", "containerStatuses": [said]}}]

    done = {**job("1"), "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    behind = {**pod("1"), "status": {"phase": "Pending"}}
    made = gatherer(Cluster(), jobs={KEY: [done]}, pods={KEY: [behind]})
    (view,) = await made._runs(KEY, OptimizedModelStatus())
    assert view.result is not None
    assert view.result.recipe == ["Quantize"]
    assert asked == [(KEY.namespace, "trimtab.dev/run=1")]
    known = OptimizedModelStatus(last_run=RunStatus(name="digits-run-1", key="1", phase=RunPhase.SUCCEEDED))
    await made._runs(KEY, known)
    assert len(asked) == 1, "what came of it is known, whatever became of its pod"


async def test_progress_is_read_from_worker_0() -> None:
    """The others carry out fewer steps, and their log says so."""
    asked = []

    class Cluster:
        async def pod_log(self, _namespace: str, name: str, _lines: int) -> str:
            asked.append(name)
            return ""

    pods = [pod("1"), pod("1")]
    for index, body in enumerate(reversed(pods)):
        body["metadata"]["name"] = f"worker-{index}"
        body["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = str(index)
    await gatherer(Cluster(), jobs={KEY: [job("1")]}, pods={KEY: pods})._runs(KEY, OptimizedModelStatus())
    assert asked == ["worker-0"]


@pytest.mark.parametrize(
    ("pools", "cordoned", "doomed"),
    [
        pytest.param({}, True, True, id="pool deleted and cordoned"),
        pytest.param({}, False, False, id="pool deleted, not cordoned yet"),
        pytest.param({"spot": []}, True, False, id="cordoned by a person"),
    ],
)
def test_nodes_of_a_deleted_pool_are_doomed(pools: Any, cordoned: bool, doomed: bool) -> None:
    """Their replicas are replaced as those of any node that goes away."""
    made = gatherer(pools=pools, nodes={"n": [node("n", unschedulable=cordoned)]})
    assert bool(made.doomed(NOW, made.pools()[0])) is doomed


def pool(name: str, **spec: Any) -> dict[str, Any]:
    made = {"capacityType": "Spot", "provider": {"embedded": {}}, **spec}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}}
    return {**body, "spec": made}


def test_pools_are_read_when_they_change() -> None:
    """In between every model gets the same ones, and with them what was worked out of them."""
    known = {"a": [pool("a")], "b": [pool("b", zones="wrong")]}
    made = gatherer(pools=known)
    first = made.pools()
    assert ([each.name for each in first[0]], list(first[1])) == (["a"], ["b"])
    assert made.pools() is first
    known["b"] = [pool("b", weight=1)]
    assert [each.name for each in made.pools()[0]] == ["b", "a"]
    made.market["a"] = Price(per_node_hour="0.5")
    assert [each.spec.price for each in made.pools()[0]] == [None, Price(per_node_hour="0.5")]
    known["a"][0]["metadata"] = {"name": "a", "deletionTimestamp": "2026-03-01T12:00:00Z"}
    assert [each.name for each in made.pools()[0]] == ["b"]


@pytest.mark.parametrize(
    ("own", "counts"),
    [
        pytest.param(None, "0.06", id="none"),
        pytest.param({"perNodeHour": "0.2"}, "0.06", id="dollars"),
        pytest.param({"perNodeHour": "0.1", "currency": "EUR"}, "0.1", id="euros"),
    ],
)
def test_a_market_counts_in_its_own_currency(own: Any, counts: str) -> None:
    """A price in another one is what costs are added up by."""
    made = gatherer(pools={"a": [pool("a", **({"price": own} if own else {}))]})
    made.market["a"] = Price(per_node_hour="0.06")
    ((found,), _) = made.pools()
    assert found.spec.price is not None
    assert found.spec.price.per_node_hour == counts


@pytest.mark.parametrize(
    ("labels", "own"),
    [
        (labels("gateway", "digits", model="digits"), True),
        (labels("serve", "digi-0a1b2c3d", model="digi", revision="digi-0a1b2c3d"), False),
        ({"app": "shop"}, False),
        (None, False),
    ],
)
def test_whose_service_it_is(labels: dict[str, str] | None, own: bool) -> None:
    """A model's own has its label; a stranger's and that of another model's revision are left alone."""
    service = {"metadata": {"name": "digits", "namespace": "default", "labels": labels}}
    assert _is_of(service, KEY) is own
