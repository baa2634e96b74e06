"""The client, on the cluster under test."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.effects import kinds
from trimtab.effects.kubernetes import ApiError, ApiUnavailable, Cluster, mirror

pytestmark = pytest.mark.integration

CONFIG_MAPS = kinds.Kind("v1", "ConfigMap", "configmaps")
LABEL = "trimtab.dev/test=client"


@pytest.fixture(autouse=True)
def known_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigMaps are the plainest objects there are, but the operator has no business with them."""
    monkeypatch.setitem(kinds._BY_TYPE, ("v1", "ConfigMap"), CONFIG_MAPS)


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"trimtab.dev/test": "client"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def test_the_life_of_an_object(client: Cluster, namespace: str) -> None:
    """Created, read, listed by label, merged, deleted; deleting what is gone is as good."""
    assert await client.get(CONFIG_MAPS, "c", namespace) is None
    created = await client.create(config_map(namespace, "c", a="1", b="2"))
    assert created["metadata"]["uid"]
    merged = await client.merge(CONFIG_MAPS, "c", namespace, {"data": {"a": "3", "b": None}})
    assert merged["data"] == {"a": "3"}
    (listed,) = await client.list(CONFIG_MAPS, namespace, LABEL)
    assert (listed["apiVersion"], listed["kind"], listed["data"]) == ("v1", "ConfigMap", {"a": "3"})
    assert await client.list(CONFIG_MAPS, namespace, "trimtab.dev/test=other") == []
    await client.delete(CONFIG_MAPS, "c", namespace)
    await client.delete(CONFIG_MAPS, "c", namespace)
    assert await client.get(CONFIG_MAPS, "c", namespace) is None


async def test_applying_takes_over_and_lets_go(client: Cluster, namespace: str) -> None:
    """What we apply is ours whoever set it; what we no longer apply goes; what others added stays."""
    await client.apply(config_map(namespace, "c", ours="1", theirs="1"), manager="somebody")
    await client.apply(config_map(namespace, "c", ours="2", more="1"), manager="us")
    both = await client.get(CONFIG_MAPS, "c", namespace)
    assert both is not None
    assert both["data"] == {"ours": "2", "theirs": "1", "more": "1"}
    last = await client.apply(config_map(namespace, "c", ours="2"), manager="us")
    assert last["data"] == {"ours": "2", "theirs": "1"}
    again = await client.apply(config_map(namespace, "c", ours="2"), manager="us")
    assert again["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"], "nothing new, nothing written"


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        pytest.param({}, 409, 'configmaps "c" already exists', id="taken"),
        pytest.param({"name": "Upper"}, 422, "metadata.name: Invalid value", id="invalid"),
        pytest.param({"namespace": "trimtab-none"}, 404, 'namespaces "trimtab-none" not found', id="no namespace"),
    ],
)
async def test_refusals_say_what_the_server_said(
    client: Cluster, namespace: str, change: dict[str, str], status: int, said: str
) -> None:
    """With HTTP's status and the whole Status object."""
    await client.create(config_map(namespace, "c"))
    body = config_map(namespace, "c")
    body["metadata"] |= change
    with pytest.raises(ApiError, match=said) as refused:
        await client.create(body)
    assert (refused.value.status, refused.value.details["kind"]) == (status, "Status")
    assert refused.value.message.startswith("POST /api/v1/namespaces/")


async def test_long_lists_come_whole(client: Cluster, namespace: str) -> None:
    """More than a page of 500."""
    several = asyncio.Semaphore(20)

    async def create(number: int) -> None:
        async with several:
            await client.create(config_map(namespace, f"c{number}"))

    await asyncio.gather(*(create(number) for number in range(520)))
    listed = await client.list(CONFIG_MAPS, namespace, LABEL)
    assert {item["metadata"]["name"] for item in listed} == {f"c{number}" for number in range(520)}


async def test_a_watch_tells_what_is_there_and_then_every_change(client: Cluster, namespace: str) -> None:
    """First the objects, then SYNCED, then changes in their order; leaving the selection reads as a deletion."""
    await client.create(config_map(namespace, "a", n="1"))
    told = []
    stream = client.watch(CONFIG_MAPS, namespace, LABEL)
    async with asyncio.timeout(30):
        async for kind, item in stream:
            told.append((kind, item.get("metadata", {}).get("name"), item.get("data")))
            if kind == "SYNCED":
                await client.create(config_map(namespace, "b"))
                await client.merge(CONFIG_MAPS, "a", namespace, {"data": {"n": "2"}})
                await client.merge(CONFIG_MAPS, "a", namespace, {"metadata": {"labels": {"trimtab.dev/test": "left"}}})
                await client.delete(CONFIG_MAPS, "b", namespace)
            if kind == "DELETED" and item["metadata"]["name"] == "b":
                break
    await stream.aclose()  # type: ignore[attr-defined]
    assert told == [
        ("ADDED", "a", {"n": "1"}),
        ("SYNCED", None, None),
        ("ADDED", "b", None),
        ("MODIFIED", "a", {"n": "2"}),
        ("DELETED", "a", {"n": "2"}),
        ("DELETED", "b", None),
    ]


async def test_a_mirror_is_whole_before_it_is_heard_of(client: Cluster, namespace: str) -> None:
    """Nobody decides on half of the world; afterwards it follows."""
    for name in ("a", "b"):
        await client.create(config_map(namespace, name))
    into: dict[tuple[str, str], Any] = {}
    sizes: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(
        mirror(client, CONFIG_MAPS, into, lambda: sizes.put_nowait(len(into)), namespace=namespace, labels=LABEL)
    )
    async with asyncio.timeout(30):
        assert await sizes.get() == 2
        await client.create(config_map(namespace, "c"))
        assert await sizes.get() == 3
        await client.delete(CONFIG_MAPS, "a", namespace)
        assert await sizes.get() == 2
    assert set(into) == {(namespace, "b"), (namespace, "c")}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_log_that_is_not_there_yet_is_empty(client: Cluster, namespace: str) -> None:
    """Of a pod that no node has, and of no pod."""
    spec = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "busybox:1.36"}]}
    metadata = {"name": "p", "namespace": namespace}
    await client.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    assert await client.pod_log(namespace, "p", 10) == ""
    assert await client.pod_log(namespace, "none", 10) == ""


async def test_a_server_that_is_away_is_named(kubeconfig: Path, tmp_path: Path) -> None:
    """Request and reason are in the message; trying again later may help."""
    config = yaml.safe_load(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    async with await Cluster.connect(str(tmp_path / "kubeconfig")) as cluster:
        with pytest.raises(ApiUnavailable, match=r"GET /api/v1/nodes: .*127\.0\.0\.1"):
            await cluster.list(kinds.NODES)
