"""Watches over HTTP: where they begin, what they show, how they end."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.local.apiserver import watches
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry

pytestmark = pytest.mark.integration

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
INVALID = 'ListOptions.meta.k8s.io "" is invalid: '
MATCH = "resourceVersionMatch"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def http(api_server: ApiServer):
    """A session that shows the token."""
    async with aiohttp.ClientSession(api_server.url, headers={"Authorization": "Bearer secret"}) as session:
        yield session


def create(registry: Registry, name: str, **labels: str) -> str:
    """Returns the version of the new object."""
    made = registry.create("configmaps", {"metadata": {"name": name, "labels": labels}}, "default")
    return str(made["metadata"]["resourceVersion"])


def label(registry: Registry, name: str, **labels: str | None) -> None:
    registry.patch("configmaps", name, "default", {"metadata": {"labels": labels}}, MERGE, manager="test")


async def watched(http: aiohttp.ClientSession, path: str = CONFIG_MAPS, accept: str = "", **query: str) -> list[Any]:
    """All events of a watch that lasts a second."""
    query = {"timeoutSeconds": "1", **({} if "/watch/" in path else {"watch": "true"}), **query}
    headers = {"Accept": accept} if accept else {}
    async with http.get(path, params=query, headers=headers) as response:
        assert response.status == 200
        return [json.loads(line) for line in (await response.text()).splitlines()]


def brief(events: list[Any]) -> list[str]:
    """Events as TYPE name, or TYPE alone for bookmarks."""
    return [f"{e['type']} {e['object']['metadata'].get('name', '')}".strip() for e in events]


async def test_where_a_watch_begins(http: aiohttp.ClientSession, registry: Registry):
    """Without a version and from 0 with what is there, from a version with what came after it."""
    first = create(registry, "a")
    create(registry, "b")
    expected = [
        ({}, ["ADDED a", "ADDED b"]),
        ({"resourceVersion": "0"}, ["ADDED a", "ADDED b"]),
        ({"resourceVersion": first}, ["ADDED b"]),
        ({"resourceVersion": str(registry.version)}, []),
        ({"resourceVersion": "99999999"}, []),
        ({"sendInitialEvents": "false", MATCH: "NotOlderThan"}, []),
        ({"sendInitialEvents": "false", MATCH: "NotOlderThan", "resourceVersion": "0"}, []),
        ({"sendInitialEvents": "false", MATCH: "NotOlderThan", "resourceVersion": first}, ["ADDED b"]),
        ({"sendInitialEvents": "true", MATCH: "NotOlderThan", "resourceVersion": first}, ["ADDED a", "ADDED b"]),
        ({"sendInitialEvents": "true", MATCH: "NotOlderThan"}, ["ADDED a", "ADDED b"]),
        (
            {"sendInitialEvents": "true", MATCH: "NotOlderThan", "allowWatchBookmarks": "true"},
            ["ADDED a", "ADDED b", "BOOKMARK"],
        ),
        ({"fieldSelector": "metadata.name=b"}, ["ADDED b"]),
        ({"limit": "1"}, ["ADDED a", "ADDED b"]),
    ]
    found = await asyncio.gather(*(watched(http, **query) for query, _ in expected))
    for (query, events), seen in zip(expected, found, strict=True):
        assert brief(seen) == events, query
    [bookmark] = [event["object"] for event in found[10] if event["type"] == "BOOKMARK"]
    assert bookmark == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": str(registry.version), "annotations": {"k8s.io/initial-events-end": "true"}},
    }


async def test_a_version_to_come_is_waited_for(http: aiohttp.ClientSession, registry: Registry):
    """A watch from the future shows nothing that happens before it."""
    later = str(registry.version + 1)
    task = asyncio.create_task(watched(http, resourceVersion=later))
    await asyncio.sleep(0.2)
    create(registry, "early")
    create(registry, "late")
    assert brief(await task) == ["ADDED late"]


async def test_what_enters_and_leaves_a_selection(http: aiohttp.ClientSession, registry: Registry):
    """Leaving reads as DELETED with the last state that was selected, entering as ADDED; the rest is not shown."""
    start = str(registry.version)
    create(registry, "a", tier="x")
    label(registry, "a", tier="y")
    label(registry, "a", more="1")
    label(registry, "a", tier="x")
    registry.delete("configmaps", "a", "default")
    create(registry, "b", tier="y")
    registry.delete("configmaps", "b", "default")
    events = await watched(http, labelSelector="tier=x", resourceVersion=start)
    assert brief(events) == ["ADDED a", "DELETED a", "ADDED a", "DELETED a"]
    left = events[1]["object"]["metadata"]
    assert left["labels"] == {"tier": "x"}
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_deletions_show_what_was_stored(http: aiohttp.ClientSession, registry: Registry):
    """The request that takes off the last finalizer is not stored, so its object is not shown."""
    start = str(registry.version)
    registry.create("configmaps", {"metadata": {"name": "a", "finalizers": ["example.com/x"]}}, "default")
    registry.delete("configmaps", "a", "default")
    patch = {"metadata": {"finalizers": None}}
    registry.patch("configmaps", "a", "default", patch, MERGE, manager="test")
    events = await watched(http, resourceVersion=start)
    assert brief(events) == ["ADDED a", "MODIFIED a", "DELETED a"]
    assert events[2]["object"]["metadata"]["finalizers"] == ["example.com/x"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        (
            {"sendInitialEvents": "true"},
            422,
            f"{INVALID}{MATCH}: Forbidden: sendInitialEvents requires setting {MATCH} to NotOlderThan",
        ),
        (
            {MATCH: "NotOlderThan", "resourceVersion": "1"},
            422,
            f"{INVALID}{MATCH}: Forbidden: {MATCH} is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            {MATCH: "Exact", "sendInitialEvents": "true", "resourceVersion": "1"},
            422,
            (
                f"{INVALID}[{MATCH}: Forbidden: sendInitialEvents requires setting {MATCH} to NotOlderThan, "
                f'{MATCH}: Unsupported value: "Exact": supported values: "NotOlderThan"]'
            ),
        ),
        (
            {MATCH: "NotOlderThan", "sendInitialEvents": "true", "continue": "x"},
            422,
            f"{INVALID}{MATCH}: Forbidden: {MATCH} is forbidden when continue is provided",
        ),
        ({"timeoutSeconds": "soon"}, 400, 'strconv.ParseInt: parsing "soon": invalid syntax'),
        ({"labelSelector": "a in b"}, 400, "unable to parse requirement: found 'b' expected: '('"),
    ],
)
async def test_refused_watches(http: aiohttp.ClientSession, query: dict[str, str], status: int, message: str):
    """Options that do not go together, and what cannot be read."""
    async with http.get(CONFIG_MAPS, params={"watch": "true", **query}) as response:
        assert (response.status, (await response.json())["message"]) == (status, message)


async def test_initial_events_of_the_future(http: aiohttp.ClientSession):
    """Nobody can show a state that has not been."""
    query = {"watch": "true", "sendInitialEvents": "true", MATCH: "NotOlderThan", "resourceVersion": "99999999"}
    async with http.get(CONFIG_MAPS, params=query) as response:
        assert (response.status, (await response.json())["reason"]) == (504, "Timeout")


async def test_formats_of_watches(http: aiohttp.ClientSession):
    """A stream has no YAML; the refusal says what it has."""
    async with http.get(CONFIG_MAPS, params={"watch": "true"}, headers={"Accept": "application/yaml"}) as response:
        assert response.status == 406
        assert "application/json;stream=watch" in await response.text()


async def test_rows_of_watches_are_checked_before_they_are_sent(http: aiohttp.ClientSession):
    """What a row cannot include is refused, not found out about in the stream."""
    headers = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    async with http.get(CONFIG_MAPS, params={"watch": "true", "includeObject": "All"}, headers=headers) as response:
        assert response.status == 400


async def test_the_old_way_of_asking(http: aiohttp.ClientSession, registry: Registry):
    """/watch/ before the kind is a watch, of one object where it is named."""
    create(registry, "a")
    create(registry, "b")
    paths = ["namespaces/default/configmaps", "configmaps", "namespaces/default/configmaps/b"]
    found = await asyncio.gather(*(watched(http, f"/api/v1/watch/{path}") for path in paths))
    assert [brief(events) for events in found] == [["ADDED a", "ADDED b"], ["ADDED a", "ADDED b"], ["ADDED b"]]
    async with http.get(f"/api/v1/watch/{paths[2]}", params={"fieldSelector": "metadata.name=a"}) as response:
        refused = await response.json()
        assert (response.status, refused["message"]) == (
            400,
            "fieldSelector metadata.name doesn't match requested name",
        )


async def test_forms_of_watches(http: aiohttp.ClientSession, registry: Registry):
    """Metadata alone, and tables; bookmarks have the same form."""
    create(registry, "a")
    query = {"sendInitialEvents": "true", MATCH: "NotOlderThan", "allowWatchBookmarks": "true"}
    meta = "g=meta.k8s.io;v=v1"
    partial, table = await asyncio.gather(
        watched(http, accept=f"application/json;as=PartialObjectMetadata;{meta}", **query),
        watched(http, accept=f"application/json;as=Table;{meta}", **query),
    )
    assert [(e["type"], e["object"]["kind"]) for e in partial] == [
        ("ADDED", "PartialObjectMetadata"),
        ("BOOKMARK", "PartialObjectMetadata"),
    ]
    assert [(e["type"], e["object"]["kind"]) for e in table] == [("ADDED", "Table"), ("BOOKMARK", "Table")]
    assert [bool(e["object"]["columnDefinitions"]) for e in table] == [True, False]


async def test_bookmarks_come_when_nothing_happens(
    http: aiohttp.ClientSession, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    """They carry the newest version, also where it came from another kind."""
    monkeypatch.setattr(watches, "_BOOKMARK_S", 0.4)
    task = asyncio.create_task(watched(http, resourceVersion=str(registry.version), allowWatchBookmarks="true"))
    await asyncio.sleep(0.1)
    registry.create("secrets", {"metadata": {"name": "s"}}, "default")
    events = await task
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert events[0]["object"]["metadata"] == {"resourceVersion": str(registry.version)}


async def test_a_watch_learns_the_newest_version_before_it_ends(http: aiohttp.ClientSession, registry: Registry):
    """Whoever begins anew from there misses nothing and is told nothing twice."""
    version = str(registry.version)
    events = await watched(http, resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds="3")
    assert [(e["type"], e["object"]["metadata"]) for e in events] == [("BOOKMARK", {"resourceVersion": version})]


async def test_bookmarks_read_like_empty_objects(http: aiohttp.ClientSession):
    """Fields that a kind always writes are there, with nothing in them."""
    query = {"sendInitialEvents": "true", MATCH: "NotOlderThan", "allowWatchBookmarks": "true"}
    paths = ("/api/v1/pods", "/apis/apps/v1/deployments", "/apis/events.k8s.io/v1/events")
    found = await asyncio.gather(*(watched(http, path, **query) for path in paths))
    pod, deployment, event = (events[-1]["object"] for events in found)
    assert (pod["spec"], pod["status"]) == ({"containers": None}, {})
    assert deployment["spec"]["template"] == {"metadata": {}, "spec": {"containers": None}}
    assert (event["apiVersion"], event["regarding"]) == ("events.k8s.io/v1", {})


NAMES = ("a", "b", "c")
WRITES = st.lists(
    st.tuples(st.sampled_from(("put", "label", "drop")), st.sampled_from(NAMES), st.booleans()), max_size=25
)


def write(registry: Registry, action: str, name: str, chosen: bool) -> None:
    """One write that goes through; the label says whether the selection has the object."""
    labels = {"chosen": "yes"} if chosen else {"other": "yes"}
    if registry.find("configmaps", "default", name) is None:
        create(registry, name, **labels)
    elif action == "drop":
        registry.delete("configmaps", name, "default")
    else:
        wanted = {"chosen": "yes" if chosen else None, "other": None if chosen else "yes"}
        label(registry, name, **wanted, touched=str(registry.version))


def state(registry: Registry, selector: str | None) -> dict[str, Any]:
    return {obj["metadata"]["name"]: obj for obj in registry.list("configmaps", "default", selector)[0]}


@settings(deadline=None, max_examples=60)
@given(WRITES, st.sampled_from((None, "chosen", "!chosen")))
async def test_every_watcher_sees_the_same_history(writes: list[tuple[str, str, bool]], selector: str | None):
    """The state at a version and the events since then make the state of now, whatever the version."""
    numbers = itertools.count(1)
    registry = Registry(lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: f"{next(numbers):036d}")
    registry.create("namespaces", {"metadata": {"name": "default"}})
    states = [(registry.version, state(registry, selector))]
    live = registry.watch("configmaps", "default", selector, None, str(registry.version))
    for action in writes:
        write(registry, *action)
        states.append((registry.version, state(registry, selector)))
    for version, then in states:
        paged = registry.page("configmaps", "default", selector or "", at=version)[0].items
        assert {obj["metadata"]["name"]: obj for obj in paged} == then
        later = registry.watch("configmaps", "default", selector, None, str(version))
        for watch in (later, live) if version == states[0][0] else (later,):
            assert await folded(then, watch) == states[-1][1]


async def folded(known: dict[str, Any], watch: Any) -> dict[str, Any]:
    """A state with the events of a watch applied to it, each of which has to fit."""
    known = dict(known)
    async for event in queued(watch):
        name = event.object["metadata"]["name"]
        assert (event.type == "ADDED") is (name not in known), event
        if event.type == "DELETED":
            del known[name]
        else:
            known[name] = event.object
    return known


async def queued(watch: Any) -> AsyncIterator[Any]:
    while (event := watch.ready()) is not None:
        yield event
