"""What counts as drift, and that nothing is written that is already so."""

from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.api.names import labels
from trimtab.effects.announce import Announcer
from trimtab.effects.execute import Executor, Identity, drifted
from trimtab.effects.kubernetes import ApiError
from trimtab.planning.plan import Apply, Delete


@pytest.mark.parametrize(
    ("wanted", "observed", "verdict"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, False, id="others may add"),
        pytest.param({"a": 1}, {"a": 2}, True, id="changed"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, True, id="missing"),
        pytest.param({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 3}]}, False, id="defaulted list item"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, True, id="shorter list"),
        pytest.param({"a": []}, {}, False, id="empty is nothing"),
        pytest.param({"a": {}}, {"a": None}, False, id="null is nothing"),
    ],
)
def test_drifted(wanted: Any, observed: Any, verdict: bool) -> None:
    """Only what we say counts."""
    assert drifted(wanted, observed) is verdict


class Recorder:
    """A cluster that remembers what was applied."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.there: dict[str, Any] = {}
        self.looked = 0
        self.refuses = False

    async def apply(self, manifest: Any, **_: Any) -> Any:
        name = manifest["metadata"]["name"]
        self.applied.append(name)
        version = str(len(self.applied))
        self.there[name] = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}
        return self.there[name]

    async def get(self, kind: Any, name: str, namespace: str | None = None) -> Any:
        self.looked += 1
        if self.refuses:
            raise ApiError(403, "forbidden")
        return self.there.get(name)


def service(name: str, port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"port": port}]},
    }


async def written(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what an earlier operator left in the cluster of a manifest."""
    cluster = Recorder()
    await Executor(cluster, None, {}.get, at_once, lambda: 0.0).execute({}, [Apply(manifest)])  # type: ignore[arg-type]
    return dict(cluster.there[manifest["metadata"]["name"]])


def account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}


ONE: Identity = ("Service", "default", "one")


def at_once(kind: str, version: int) -> bool:
    """Whether a watch that is never late has shown a write."""
    return True


async def test_unchanged_objects_are_left_alone() -> None:
    """What a watch shows as it should be is not written; what it does not show is."""
    cluster = Recorder()
    seen = {("Service", "default", "same"): {**await written(service("same")), "status": {}}}
    announcer = Announcer(cluster, lambda: datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    executor = Executor(cluster, announcer, seen.get, at_once, lambda: 0.0)  # type: ignore[arg-type]
    plan = [Apply(service("same")), Apply(service("new")), Apply(account("gateway"))]
    assert await executor.execute({}, plan) == ["Service/new applied", "ServiceAccount/gateway applied"]
    assert cluster.applied == ["new", "gateway"]
    await executor.execute({}, plan)
    assert cluster.applied == ["new", "gateway", "new"], "nobody watches accounts: ours is remembered"


async def test_what_is_another_models_is_not_deleted() -> None:
    """A model may be called as another one's revision: when that goes, its own Service stays."""
    seen, deleted = {}, []
    for name, model in (("digits-1a2b3c4d", "digits-1a2b3c4d"), ("digits-5e6f7a8b", "digits")):
        body = service(name)
        body["metadata"]["labels"] = labels("gateway", name, model=model)
        seen["Service", "default", name] = body

    class Deleter(Recorder):
        async def delete(self, kind: Any, name: str, namespace: str) -> None:
            deleted.append(name)

    executor = Executor(Deleter(), None, seen.get, at_once, lambda: 0.0)  # type: ignore[arg-type]
    names = ("digits-1a2b3c4d", "digits-5e6f7a8b", "digits-9c0d1e2f")
    about = {"metadata": {"name": "digits", "namespace": "default"}}
    changes = await executor.execute(about, [Delete("v1", "Service", "default", name) for name in names])
    assert deleted == ["digits-5e6f7a8b", "digits-9c0d1e2f"]
    assert changes == [f"Service/{name} deleted" for name in deleted]


async def test_what_did_not_change_is_compared_once() -> None:
    """Every look says all of it again; another wish, another object, or none, is looked at."""
    cluster, asked = Recorder(), []
    seen = {ONE: await written(service("one"))}

    def observed(identity: Identity) -> Any:
        asked.append(identity)
        return seen.get(identity)

    executor = Executor(cluster, None, observed, at_once, lambda: 0.0, seen.get)  # type: ignore[arg-type]

    async def looked(port: int = 80) -> tuple[int, int]:
        """Return how often the object was asked for, and written."""
        before = len(cluster.applied)
        asked.clear()
        await executor.execute({}, [Apply(service("one", port))])
        return len(asked), len(cluster.applied) - before

    assert await looked() == (1, 0)
    assert await looked() == (0, 0)
    seen[ONE] = {**seen[ONE], "status": {}}
    assert await looked() == (1, 0)
    assert await looked() == (0, 0)
    assert await looked(port=81) == (1, 1)
    assert await looked() == (1, 0), "the watch does not show the other port yet"
    seen[ONE] = cluster.there["one"]
    assert await looked(port=81) == (1, 0)
    assert await looked() == (1, 1)
    seen.clear()
    assert await looked() == (1, 1)


async def test_unwatched_objects_are_looked_at_after_a_while() -> None:
    """Somebody may have deleted them meanwhile; what is as it should be is read, not written."""
    cluster = Recorder()
    now = [0.0]
    announcer = Announcer(cluster, lambda: datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    executor = Executor(cluster, announcer, {}.get, at_once, lambda: now[0])  # type: ignore[arg-type]
    for now[0] in (0.0, 299.0, 301.0):
        await executor.execute({}, [Apply(account("gateway"))])
    assert (cluster.applied, cluster.looked) == (["gateway"], 2)
    cluster.there.clear()
    for now[0] in (599.0, 602.0):
        await executor.execute({}, [Apply(account("gateway"))])
    assert (cluster.applied, cluster.looked) == (["gateway", "gateway"], 3)


async def test_a_restart_writes_nothing_that_is_there() -> None:
    """Neither what is watched nor what is not; without the right to look, it is written as before."""
    cluster = Recorder()
    cluster.there["gateway"] = await written(account("gateway"))
    announcer = Announcer(cluster, lambda: datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    seen = {("Service", "default", "one"): {**await written(service("one")), "status": {}}}
    plan = [Apply(service("one")), Apply(account("gateway"))]
    assert await Executor(cluster, announcer, seen.get, at_once, lambda: 0.0).execute({}, plan) == []  # type: ignore[arg-type]
    assert cluster.applied == []
    cluster.refuses = True
    await Executor(cluster, announcer, seen.get, at_once, lambda: 0.0).execute({}, plan)  # type: ignore[arg-type]
    assert cluster.applied == ["gateway"]


class Normalizing(Recorder):
    """A cluster that writes quantities its own way, as Kubernetes does."""

    async def apply(self, manifest: Any, **more: Any) -> Any:
        answer = await super().apply(manifest, **more)
        return {**answer, "spec": {"cpu": "1", "items": [{"a": "1Gi", "b": 0}], "more": True}}


async def test_what_the_server_writes_its_own_way_is_no_drift() -> None:
    """1000m of CPU comes back as 1: that must not be written again at every look."""
    cluster, seen = Normalizing(), {}
    announcer = Announcer(cluster, lambda: datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    executor = Executor(cluster, announcer, seen.get, at_once, lambda: 0.0)  # type: ignore[arg-type]
    wanted = {**service("one"), "spec": {"cpu": "1000m", "items": [{"a": "1024Mi"}]}}
    await executor.execute({}, [Apply(wanted)])
    body = {**cluster.there["one"], "spec": {"cpu": "1", "items": [{"a": "1Gi", "b": 0}], "more": True}}
    seen["Service", "default", "one"] = {**body, "metadata": {**body["metadata"], "resourceVersion": "7"}}
    await executor.execute({}, [Apply(wanted)])
    assert cluster.applied == ["one"]
    seen["Service", "default", "one"]["spec"]["cpu"] = "2"  # somebody's edit
    await executor.execute({}, [Apply(wanted)])
    assert cluster.applied == ["one", "one"]


async def test_what_a_watch_has_not_shown_yet_is_not_written_twice() -> None:
    """Looks come faster than watches; one that shows the kind without our object, or nothing for long, is believed."""
    cluster, seen, shown, now = Recorder(), {}, [0], [0.0]
    announcer = Announcer(cluster, lambda: datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    executor = Executor(cluster, announcer, seen.get, lambda _, version: shown[0] >= version, lambda: now[0])  # type: ignore[arg-type]
    one, other = [Apply(service("one"))], [Apply(service("one", port=81))]
    assert await executor.execute({}, one) == ["Service/one applied"]
    assert await executor.execute({}, one) == []
    seen["Service", "default", "one"] = cluster.there["one"]
    assert await executor.execute({}, other) == ["Service/one configured"], "another wish does not wait"
    assert await executor.execute({}, other) == [], "what is known is from before"
    shown[0] = 2
    seen.clear()
    assert await executor.execute({}, other) == ["Service/one applied"], "somebody deleted it"
    now[0] = 31.0
    assert await executor.execute({}, other) == ["Service/one applied"], "the watch is silent"
    assert cluster.applied == ["one"] * 4


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_is_no_longer_asked_for_goes(restarted: bool) -> None:
    """A selector, a toleration: nothing is missing of what is wanted, and still the object is another one."""
    cluster, seen = Recorder(), {}
    before = {**service("one"), "spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "x"}, {"key": "y"}]}}
    executor = Executor(cluster, None, seen.get, at_once, lambda: 0.0)  # type: ignore[arg-type]
    await executor.execute({}, [Apply(before)])
    for left in ({"nodeSelector": {"a": "b"}, "tolerations": [{"key": "x"}]}, {}):
        seen["Service", "default", "one"] = cluster.there["one"]
        if restarted:
            executor = Executor(cluster, None, seen.get, at_once, lambda: 0.0)  # type: ignore[arg-type]
        assert await executor.execute({}, [Apply({**before, "spec": left})]) == ["Service/one configured"]
        seen["Service", "default", "one"] = cluster.there["one"]
        assert await executor.execute({}, [Apply({**before, "spec": left})]) == []
