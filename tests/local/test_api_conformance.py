"""Replays what a real Kubernetes API server was recorded to answer, step by step.

Against the embedded API server; with KUBECONFIG or KUBEBUILDER_ASSETS against a real one, which has to answer all as
recorded: that shows that the recordings are read rightly.
"""

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from clusters.access import Access, access
from clusters.undertest import is_given

from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry

pytestmark = pytest.mark.integration

RECORDED = "1.36"
RECORDINGS = Path(__file__).parent / "conformance" / "api"
SCENARIOS = sorted(path.stem for path in RECORDINGS.glob("*.json") if path.stem != "widgets-crd")
CEL_IS_INSTALLED = importlib.util.find_spec("cel_expr_python") is not None

# Steps that are answered differently on purpose, and why: none.
DIFFERENCES: dict[tuple[str, int], str] = {}
# Steps that depend on rules being evaluated, which takes the CEL library.
NEEDS_CEL: set[tuple[str, int]] = {
    *(("crd-admission", step) for step in (4, 7, 9)),
    *(("custom-resource-validation", step) for step in (8, 14)),
    *(("immutability", step) for step in (1, 2, 3)),
}

# What a text that quotes a whole object says of its versions, times and writers.
QUOTED = re.compile(r"""((?:resourceVersion|creationTimestamp|time|manager)\\*":\\*")[^"\\]*""")
MASK = re.compile(r"<(uid|resourceVersion|timestamp|continue|generated|age)>")
# Discovery documents: where their entries are, and what an entry is called by.
DISCOVERY = {
    "APIResourceList": ("resources", "name"),
    "APIGroupList": ("groups", "name"),
    "APIGroupDiscoveryList": ("items", "metadata"),
}
IGNORED = ("managedFields", "storageVersionHash")


class Replay:
    """One scenario in its own namespace: requests in order, answers kept for the steps that refer to them."""

    def __init__(self, server: Access, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.answers: list[Any] = []

    async def step(self, step: dict[str, Any]) -> tuple[int, Any]:
        """Send one request; returns status and answer (for a watch: its events)."""
        request = step["request"]
        stranger = step.get("note") == "a wrong bearer token"
        session = self.server.stranger if stranger else self.server.admin
        headers = {"Authorization": "Bearer wrong"} if stranger else {}
        body = request.get("body")
        if body is not None:
            headers["Content-Type"] = request.get("contentType", "application/json")
            body = self.filled(body if isinstance(body, str) else json.dumps(body)).encode()
        if "accept" in request:
            headers["Accept"] = request["accept"]
        url = self.server.url + self.filled(request["path"])
        async with session.request(request["method"], url, data=body, headers=headers) as response:
            text = await response.text()
            answer = self.read(text, watch="events" in step["response"])
        self.answers.append(answer)
        return response.status, answer

    def read(self, text: str, *, watch: bool) -> Any:
        if watch:
            return {"events": [json.loads(line) for line in text.splitlines()]}
        try:
            return json.loads(text)
        except ValueError:
            return text

    def filled(self, text: str) -> str:
        text = text.replace("{{namespace}}", self.namespace)
        return re.sub(r"\{\{(\d+):([^}]+)\}\}", lambda m: self.value(int(m[1]), m[2]), text)

    def value(self, step: int, path: str) -> str:
        found = self.answers[step]
        for part in path.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        return str(found)


def differences(expected: Any, actual: Any, path: str, *, exact: bool) -> list[str]:
    """Where an answer is not as recorded; without `exact` it may have more fields."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return _object_differences(expected, actual, path, exact=exact)
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [f"{path}: {len(expected)} items recorded, {len(actual)} answered"]
        if path.endswith(".causes"):
            expected, actual = (sorted(causes, key=json.dumps) for causes in (expected, actual))
        pairs = zip(expected, actual, strict=True)
        return [d for i, (e, a) in enumerate(pairs) for d in differences(e, a, f"{path}[{i}]", exact=exact)]
    if isinstance(expected, str) and isinstance(actual, str | int):
        if isinstance(actual, str) and "managedFields" in expected:
            expected, actual = (QUOTED.sub(r"\1", text) for text in (expected, actual))
        pattern = "".join(
            ".*" if MASK.fullmatch(part) else re.escape(part)
            for part in re.split(r"(<(?:uid|resourceVersion|timestamp|continue|generated|age)>)", expected)
        )
        return [] if re.fullmatch(pattern, str(actual), re.DOTALL) else [f"{path}: {expected!r} != {actual!r}"]
    return [] if expected == actual and type(expected) is type(actual) else [f"{path}: {expected!r} != {actual!r}"]


def _object_differences(expected: Any, actual: Any, path: str, *, exact: bool) -> list[str]:
    found = []
    for name, value in expected.items():
        if name in IGNORED or (
            name in ("clusterIP", "clusterIPs") and value not in ("None", ["None"]) and actual.get(name)
        ):
            continue  # which address it is depends on the range
        if name == "description" and "columnDefinitions" in path:
            continue  # our own words
        if name == "message" and len((expected.get("details") or {}).get("causes") or []) > 1:
            # Causes come in any order, and so does the text that lists them.
            shown = str(actual.get(name)).partition("[")[0]
            found += differences(value.partition("[")[0], shown, f"{path}.{name}", exact=exact)
        elif name not in actual:
            found.append(f"{path}.{name}: missing")
        else:
            found += differences(value, actual[name], f"{path}.{name}", exact=exact)
    if exact:
        found += [f"{path}.{name}: unexpected" for name in actual if name not in expected and name not in IGNORED]
    return found


def judged(step: dict[str, Any], status: int, answer: Any, *, foreign: bool) -> list[str]:
    """Everything in which an answer is not as recorded, as closely as the recordings' README asks.

    A server that is not ours may serve `foreign` kinds as well.
    """
    response = step["response"]
    found = status_differences(step, status)
    if "events" in response:
        return found + differences(response["events"], answer["events"], "events", exact=True)
    expected = response.get("body")
    path = step["request"]["path"]
    if isinstance(expected, dict) and expected.get("kind") in (
        "APIResourceList",
        "APIGroupList",
        "APIGroupDiscoveryList",
    ):
        return found + discovery_differences(expected, answer, foreign=foreign)
    if path in ("/version", "/api"):
        stable = {k: expected[k] for k in ("major", "minor", "versions") if k in expected}
        return found + differences(stable, answer, "body", exact=False)
    exact = isinstance(expected, dict) and (
        expected.get("kind") == "Status" or "conformance.test" in expected.get("apiVersion", "")
    )
    return found + differences(expected, answer, "body", exact=exact)


def status_differences(step: dict[str, Any], status: int) -> list[str]:
    recorded = step["response"]["status"]
    return [] if status == recorded else [f"status: {recorded} != {status}"]


def discovery_differences(expected: Any, answer: Any, *, foreign: bool) -> list[str]:
    """What is served has to read as recorded; not everything has to be served."""
    keys = {
        "APIResourceList": ("resources", "name"),
        "APIGroupList": ("groups", "name"),
        "APIGroupDiscoveryList": ("items", "metadata"),
    }
    items, name = keys[expected["kind"]]
    recorded = {json.dumps(item[name]): item for item in expected[items]}
    found = [] if answer[items] else [f"{items}: nothing is served"]
    for item in answer[items]:
        key = json.dumps(item[name])
        if key not in recorded and foreign and is_foreign(item[name]):
            continue
        if key not in recorded:
            found.append(f"{key}: not on a real server")
        elif expected["kind"] == "APIGroupDiscoveryList":
            found += _group_differences(recorded[key], item)
        else:
            versions = "versions" in item
            found += [] if versions else differences(recorded[key], item, key, exact=True)
    return found


def is_foreign(name: Any) -> bool:
    """Whether a group belongs to somebody's definitions."""
    group = name.get("name", "") if isinstance(name, dict) else name
    return "." in group and not group.endswith((".k8s.io", "conformance.test"))


def _group_differences(expected: Any, item: Any) -> list[str]:
    found = []
    for version in item["versions"]:
        recorded = next(v for v in expected["versions"] if v["version"] == version["version"])
        kinds = {r["resource"]: r for r in recorded["resources"]}
        for resource in version["resources"]:
            below = {s["subresource"]: s for s in kinds[resource["resource"]].get("subresources", [])}
            for subresource in resource.get("subresources", []):
                found += differences(below[subresource["subresource"]], subresource, "subresource", exact=True)
            bare = [
                {k: v for k, v in entry.items() if k != "subresources"}
                for entry in (kinds[resource["resource"]], resource)
            ]
            found += differences(*bare, "resource", exact=True)
    return found


WIDGETS = json.loads((RECORDINGS / "widgets-crd.json").read_text())


@dataclasses.dataclass(frozen=True)
class Target:
    """Where recordings are replayed.

    Attributes:
        given: not the embedded server: it needs its time, and has to be left as it was.
        exact: of the recordings' version, so that bodies have to be equal, and not only status codes.
    """

    server: Access
    namespace: str
    given: bool = False
    exact: bool = True


def acted_on(scenario: str) -> bool:
    """Whether controllers, where there are any, would change what the scenario sees: they were recorded without."""
    steps = json.loads((RECORDINGS / f"{scenario}.json").read_text())["steps"]
    own = ("/apis/conformance.test/", "/apis/apiextensions.k8s.io/")
    return "Foreground" in json.dumps(steps) or not all(step["request"]["path"].startswith(own) for step in steps)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str | None]:
    """A kubeconfig, and the URL of the embedded server unless another is given."""
    if is_given():
        acts = acted_on(request.node.callspec.params["scenario"])
        return request.getfixturevalue("bare_api_server" if acts else "kubeconfig"), None
    registry: Registry = request.getfixturevalue("registry")
    api_server: ApiServer = request.getfixturevalue("api_server")
    registry.create("customresourcedefinitions.apiextensions.k8s.io", WIDGETS)
    registry.create("namespaces", {"metadata": {"name": "replayed"}})
    (tmp_path / "kubeconfig").write_text(api_server.kubeconfig())
    return tmp_path / "kubeconfig", api_server.url


@pytest.fixture
async def target(place: tuple[Path, str | None]) -> AsyncIterator[Target]:
    """A server with the recordings' definition."""
    kubeconfig, url = place
    async with access(kubeconfig) as server:
        if url is None:
            async with prepared(server) as made:
                yield made
        else:
            yield Target(dataclasses.replace(server, url=url), "replayed")


@contextlib.asynccontextmanager
async def prepared(server: Access) -> AsyncIterator[Target]:
    """A real server with the recordings' definition and a fresh namespace, for as long as the block lasts."""
    definitions = f"{server.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    collection = f"{server.url}/apis/conformance.test/v1/widgets"
    namespace = f"replayed-{secrets.token_hex(4)}"
    async with server.admin.get(f"{server.url}/version") as answer:
        version = await answer.json()
    await sent(server, "POST", f"{server.url}/api/v1/namespaces", {"metadata": {"name": namespace}})
    await sent(server, "POST", definitions, WIDGETS)
    try:
        while (await sent(server, "GET", collection))[0] != 200:  # noqa: ASYNC110 - served some time after it was made
            await asyncio.sleep(0.1)
        yield Target(server, namespace, given=True, exact=f"{version['major']}.{version['minor']}" == RECORDED)
    finally:
        await sent(server, "DELETE", f"{definitions}/{WIDGETS['metadata']['name']}")
        await sent(server, "DELETE", f"{server.url}/api/v1/namespaces/{namespace}")
        while (await sent(server, "GET", f"{definitions}/{WIDGETS['metadata']['name']}"))[0] != 404:
            _, left = await sent(server, "GET", collection)
            for item in left.get("items") or ():  # a finalizer that a recording left would keep it for ever
                path = (
                    f"{server.url}/apis/conformance.test/v1/namespaces/{namespace}/widgets/{item['metadata']['name']}"
                )
                await sent(server, "PATCH", path, {"metadata": {"finalizers": None}})
            await asyncio.sleep(0.1)


async def sent(server: Access, method: str, url: str, body: Any = None) -> tuple[int, Any]:
    """A request beside the recorded ones; patches merge."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    async with server.admin.request(
        method, url, data=json.dumps(body) if body else None, headers={"Content-Type": kind}
    ) as answer:
        assert answer.status < 500, await answer.text()
        return answer.status, await answer.json(content_type=None)


async def replayed(target: Target, scenario: str) -> dict[int, list[str]]:
    """The differences of every step of a scenario."""
    found = {}
    made = []
    steps = json.loads((RECORDINGS / f"{scenario}.json").read_text())["steps"]
    replay = Replay(target.server, target.namespace)
    for index, step in enumerate(steps):
        if target.given:
            await asyncio.sleep(step.get("waitSeconds", 0))
        status, answer = await replay.step(step)
        recorded = json.loads(json.dumps(step).replace("{{namespace}}", target.namespace))
        found[index] = (
            judged(recorded, status, answer, foreign=target.given)
            if target.exact
            else status_differences(recorded, status)
        )
        if status == 201 and "namespaces/" not in (path := recorded["request"]["path"].partition("?")[0]):
            made.append(f"{target.server.url}{path}/{answer['metadata']['name']}")
    if target.given:
        for url in made:
            await sent(target.server, "DELETE", url)
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_scenario(target: Target, scenario: str, record_property: Any) -> None:
    """Every step is answered as recorded, but for the listed ones, which the embedded server answers otherwise."""
    found = await replayed(target, scenario)
    expected = set() if target.given else {i for name, i in DIFFERENCES if name == scenario}
    if not target.given and not CEL_IS_INSTALLED:
        expected |= {i for name, i in NEEDS_CEL if name == scenario}
    matching = sum(1 for problems in found.values() if not problems)
    record_property("matching", f"{matching} of {len(found)} steps")
    surprises = {i: problems for i, problems in found.items() if problems and i not in expected}
    assert not surprises, json.dumps(surprises, indent=1)
    outdated = {i for i in expected if not found[i]}
    assert not outdated, f"steps {outdated} match now: take them off the list"
