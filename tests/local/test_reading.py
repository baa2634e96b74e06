"""Lists and gets over HTTP: versions, pages, selectors, forms, and what is refused."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import yaml
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.local.apiserver.negotiation import JSON, PROTOBUF, YAML, Form, format_of, is_pretty, negotiated
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

pytestmark = pytest.mark.integration

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@pytest.fixture
async def http(api_server: ApiServer):
    """A session that shows the token."""
    async with aiohttp.ClientSession(api_server.url, headers={"Authorization": "Bearer secret"}) as session:
        yield session


@pytest.fixture
def widgets(registry: Registry) -> None:
    """A custom kind that takes anything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version],
        },
    }
    registry.create("customresourcedefinitions.apiextensions.k8s.io", definition)


def create(registry: Registry, name: str, namespace: str = "default", **labels: str) -> dict[str, Any]:
    return registry.create("configmaps", {"metadata": {"name": name, "labels": labels}}, namespace)


async def answer(http: aiohttp.ClientSession, path: str, accept: str = "", **query: str) -> tuple[int, Any]:
    headers = {"Accept": accept} if accept else {}
    async with http.get(path, params=query, headers=headers) as response:
        return response.status, await response.json()


def names(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_a_list_in_pieces_is_of_one_moment(http: aiohttp.ClientSession, registry: Registry):
    """What changes between two pieces shows in neither; the count of what is left is of that moment, too."""
    for name in "abcde":
        create(registry, name)
    _, first = await answer(http, CONFIG_MAPS, limit="2")
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    registry.delete("configmaps", "c", "default")
    create(registry, "bb")
    registry.patch("configmaps", "d", "default", {"data": {"x": "y"}}, "application/merge-patch+json", manager="test")
    seen = []
    token = first["metadata"]["continue"]
    while token:
        _, page = await answer(http, CONFIG_MAPS, **{"limit": "2", "continue": token})
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        seen += page["items"]
        token = page["metadata"].get("continue")
    assert [item["metadata"]["name"] for item in seen] == ["c", "d", "e"]
    assert "data" not in seen[1]


async def test_a_list_in_pieces_may_be_too_old_to_go_on(http: aiohttp.ClientSession, registry: Registry):
    """The refusal carries a token that goes on with the list of today."""
    for name in "abc":
        create(registry, name)
    _, first = await answer(http, CONFIG_MAPS, limit="1")
    create(registry, "d")
    registry._store._forgotten = registry.version
    status, refused = await answer(http, CONFIG_MAPS, **{"limit": "1", "continue": first["metadata"]["continue"]})
    assert (status, refused["reason"]) == (410, "Expired")
    assert refused["message"].startswith("The provided continue parameter is too old to display a consistent list")
    _, rest = await answer(http, CONFIG_MAPS, **{"continue": refused["metadata"]["continue"]})
    assert names(rest) == ["b", "c", "d"]


async def test_pages_with_selectors_count_nothing(http: aiohttp.ClientSession, registry: Registry):
    """Nobody knows how many of the rest would be selected; that something is left may be all there is to say."""
    for name, tier in (("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")):
        create(registry, name, tier=tier)
    _, first = await answer(http, CONFIG_MAPS, limit="2", labelSelector="tier=x")
    assert names(first) == ["a", "c"]
    assert set(first["metadata"]) == {"resourceVersion", "continue"}
    _, rest = await answer(
        http, CONFIG_MAPS, **{"limit": "2", "labelSelector": "tier=x", "continue": first["metadata"]["continue"]}
    )
    assert (rest["items"], set(rest["metadata"])) == ([], {"resourceVersion"})


async def test_pages_across_namespaces(http: aiohttp.ClientSession, registry: Registry):
    """Objects come ordered as NAMESPACE/NAME reads, and the token says where to go on."""
    for namespace in ("default-2", "other"):
        registry.create("namespaces", {"metadata": {"name": namespace}})
    for namespace in ("default", "default-2", "other"):
        create(registry, "m", namespace)
    seen, token = [], ""
    while True:
        query = {"limit": "1", **({"continue": token} if token else {})}
        _, page = await answer(http, "/api/v1/configmaps", **query)
        seen += [item["metadata"]["namespace"] for item in page["items"]]
        if not (token := page["metadata"].get("continue", "")):
            break
    assert seen == ["default-2", "default", "other"]


async def test_lists_of_a_version(http: aiohttp.ClientSession, registry: Registry):
    """Exact is the state of then, NotOlderThan that of now; a limit makes a bare version exact; 0 knows no limit."""
    then = create(registry, "a")["metadata"]["resourceVersion"]
    create(registry, "b")
    for query, expected, exact in [
        ({"resourceVersion": then, "resourceVersionMatch": "Exact"}, ["a"], True),
        ({"resourceVersion": then, "limit": "5"}, ["a"], True),
        ({"resourceVersion": then, "resourceVersionMatch": "NotOlderThan"}, ["a", "b"], False),
        ({"resourceVersion": then}, ["a", "b"], False),
        ({"resourceVersion": "0", "limit": "1"}, ["a", "b"], False),
        ({"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan"}, ["a", "b"], False),
        ({"limit": "-1"}, ["a", "b"], False),
    ]:
        status, listed = await answer(http, CONFIG_MAPS, **query)
        assert (status, names(listed)) == (200, expected), query
        assert (listed["metadata"]["resourceVersion"] == then) is exact
    registry._store._forgotten = registry.version
    status, refused = await answer(http, CONFIG_MAPS, resourceVersion=then, resourceVersionMatch="Exact")
    assert (status, refused["message"]) == (410, "The resourceVersion for the provided list is too old.")


MATCH = "resourceVersionMatch"
UNLESS = "is forbidden unless resourceVersion is provided"
INVALID = 'ListOptions.meta.k8s.io "" is invalid: '


def token(**fields: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


NO_TIMEOUT = "invalid timeout specified in the request URL - time: "
NO_TOKEN = "invalid continue token: continue key is not valid: "


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        (
            {MATCH: "Exact"},
            422,
            f"{INVALID}{MATCH}: Forbidden: {MATCH} is forbidden unless resourceVersion is provided",
        ),
        (
            {MATCH: "Exact", "resourceVersion": "0"},
            422,
            f'{INVALID}{MATCH}: Forbidden: {MATCH} "exact" is forbidden for resourceVersion "0"',
        ),
        (
            {MATCH: "Nearly", "resourceVersion": "1"},
            422,
            f'{INVALID}{MATCH}: Unsupported value: "Nearly": supported values: "Exact", "NotOlderThan", ""',
        ),
        (
            {MATCH: "Exact", "resourceVersion": "1", "continue": "x"},
            422,
            f"{INVALID}{MATCH}: Forbidden: {MATCH} is forbidden when continue is provided",
        ),
        (
            {"sendInitialEvents": "false"},
            422,
            f"{INVALID}sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ),
        ({"limit": "many"}, 400, 'strconv.ParseInt: parsing "many": invalid syntax'),
        ({"limit": ""}, 400, 'strconv.ParseInt: parsing "": invalid syntax'),
        ({"limit": "9" * 19 + "9"}, 400, f'strconv.ParseInt: parsing "{"9" * 20}": value out of range'),
        (
            {"resourceVersion": "-1"},
            400,
            (
                'invalid resource version: resourceVersion: Invalid value: "-1": strconv.ParseUint: parsing "-1": '
                "invalid syntax"
            ),
        ),
        (
            {"continue": token(v="meta.k8s.io/v1", rv=1, start="a"), "resourceVersion": "1"},
            400,
            "specifying resource version is not allowed when using continue",
        ),
        ({"continue": "a"}, 400, f"{NO_TOKEN}illegal base64 data at input byte 1"),
        ({"continue": "a!b"}, 400, f"{NO_TOKEN}illegal base64 data at input byte 1"),
        ({"continue": "e30"}, 400, f'{NO_TOKEN}server does not recognize this encoded version ""'),
        (
            {"continue": token(v="v2", rv=1, start="a")},
            400,
            f'{NO_TOKEN}server does not recognize this encoded version "v2"',
        ),
        (
            {"continue": token(v="meta.k8s.io/v1", start="a")},
            400,
            f"{NO_TOKEN}incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ),
        (
            {"continue": token(v="meta.k8s.io/v1", rv=1)},
            400,
            f"{NO_TOKEN}encoded start key empty (version meta.k8s.io/v1)",
        ),
        ({"continue": token(v="meta.k8s.io/v1", rv=1, start="../x")}, 400, f"{NO_TOKEN}../x"),
        ({"timeout": "abc"}, 400, f'{NO_TIMEOUT}invalid duration "abc"'),
        ({"timeout": "10"}, 400, f'{NO_TIMEOUT}missing unit in duration "10"'),
        ({"timeout": "10x"}, 400, f'{NO_TIMEOUT}unknown unit "x" in duration "10x"'),
        ({"labelSelector": "a=b=c"}, 400, "found '=', expected: ',' or 'end of string'"),
        ({"fieldSelector": "x"}, 400, "invalid selector: 'x'; can't understand 'x'"),
    ],
)
async def test_refused_lists(http: aiohttp.ClientSession, query: dict[str, str], status: int, message: str):
    """What cannot be read or does not go together is refused in Kubernetes' words."""
    found, refused = await answer(http, CONFIG_MAPS, **query)
    assert (found, refused["message"]) == (status, message)


async def test_a_version_still_to_come(http: aiohttp.ClientSession, registry: Registry):
    """Lists and gets of the future are asked to come again."""
    create(registry, "a")
    for path in (CONFIG_MAPS, f"{CONFIG_MAPS}/a"):
        async with http.get(path, params={"resourceVersion": "999999"}) as response:
            refused = await response.json()
            assert (response.status, refused["reason"], response.headers["Retry-After"]) == (504, "Timeout", "1")
            assert refused["message"] == f"Timeout: Too large resource version: 999999, current: {registry.version}"
    status, refused = await answer(http, f"{CONFIG_MAPS}/a", resourceVersion="abc")
    assert (status, "reason" in refused) == (400, False)


async def test_tables_and_metadata(http: aiohttp.ClientSession, registry: Registry):
    """A client gets tables or metadata alone where it asks for them, of one object and of many."""
    create(registry, "a", tier="x")
    create(registry, "b")
    _, table = await answer(http, CONFIG_MAPS, f"{TABLE},application/json", limit="1")
    assert (table["kind"], table["apiVersion"], len(table["rows"])) == ("Table", "meta.k8s.io/v1", 1)
    assert set(table["metadata"]) == {"resourceVersion", "continue", "remainingItemCount"}
    for include, kind in [("None", None), ("Object", "ConfigMap"), ("Metadata", "PartialObjectMetadata")]:
        _, table = await answer(http, f"{CONFIG_MAPS}/a", TABLE, includeObject=include)
        shown = table["rows"][0]["object"]
        assert (shown and shown["kind"]) == kind
    _, old = await answer(http, CONFIG_MAPS, TABLE.replace("v=v1", "v=v1beta1"))
    assert (old["apiVersion"], old["rows"][0]["object"]["apiVersion"]) == ("meta.k8s.io/v1beta1",) * 2
    _, one = await answer(http, f"{CONFIG_MAPS}/a", METADATA)
    assert (one["kind"], one["metadata"]["labels"], "data" in one) == ("PartialObjectMetadata", {"tier": "x"}, False)
    _, many = await answer(http, CONFIG_MAPS, METADATA_LIST)
    assert (many["kind"], names(many)) == ("PartialObjectMetadataList", ["a", "b"])
    assert many["items"][0]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(
    ("path", "accept", "status", "message"),
    [
        (
            CONFIG_MAPS,
            "image/png",
            406,
            (
                "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
                "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
                "application/vnd.kubernetes.protobuf;stream=watch"
            ),
        ),
        (
            WIDGETS,
            "image/png",
            406,
            (
                "only the following media types are accepted: application/json, application/yaml, "
                "application/vnd.kubernetes.protobuf"
            ),
        ),
        (
            CONFIG_MAPS,
            "application/json;as=Chair;v=v1;g=meta.k8s.io",
            406,
            (
                "only the following media types are accepted: application/json, application/yaml, "
                "application/vnd.kubernetes.protobuf"
            ),
        ),
        (
            CONFIG_MAPS,
            METADATA,
            406,
            "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
        ),
        (
            WIDGETS,
            METADATA,
            406,
            "you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)",
        ),
        (
            f"{CONFIG_MAPS}/a",
            METADATA_LIST,
            406,
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
        ),
        (
            f"{CONFIG_MAPS}?includeObject=All",
            TABLE,
            400,
            (
                'Unable to convert to Table as requested: includeObject: Invalid value: "All": '
                "must be 'Metadata', 'Object', 'None', or empty"
            ),
        ),
    ],
)
async def test_refused_forms(
    http: aiohttp.ClientSession, registry: Registry, widgets: None, path: str, accept: str, status: int, message: str
):
    """What cannot be sent is refused with what can."""
    create(registry, "a")
    found, refused = await answer(http, path, accept)
    assert (found, refused["message"]) == (status, message)


@pytest.mark.parametrize(
    ("accept", "custom", "expected", "media"),
    [
        ("", False, Form(), JSON),
        ("*/*", False, Form(), JSON),
        ("application/*", True, Form(), JSON),
        ("application/vnd.kubernetes.protobuf,application/json", False, Form(), JSON),
        ("application/vnd.kubernetes.protobuf", False, Form(), PROTOBUF),
        ("application/yaml", False, Form(), YAML),
        ("application/yaml;q=0.5,application/json;q=0.4", False, Form(), JSON),
        ("text/html, */*;q=0.1", False, Form(), JSON),
        ("application/json;as=Chair;v=v1;g=meta.k8s.io,application/json", False, Form(), JSON),
        (f"{TABLE},application/json", False, Form("Table"), JSON),
        ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/yaml", False, Form(), PROTOBUF),
        (METADATA.replace("json", "vnd.kubernetes.protobuf"), True, Form("PartialObjectMetadata"), PROTOBUF),
        (METADATA.replace("v=v1", "v=v1beta1"), True, Form("PartialObjectMetadata", "v1beta1"), JSON),
    ],
)
def test_forms_of_accept_headers(accept: str, custom: bool, expected: Form, media: str):
    """The first clause that can be served chooses the form, and JSON is the format where the client takes it."""
    assert negotiated(accept, custom=custom, listed=False) == expected
    assert format_of(accept) == media


def test_custom_kinds_are_not_sent_as_protobuf():
    """Nobody knows the numbers of their fields."""
    with pytest.raises(ApiError) as refused:
        negotiated("application/vnd.kubernetes.protobuf", custom=True, listed=False)
    assert refused.value.status == 406


def test_people_get_indented_answers():
    """A browser or curl is read by a person, unless the request says otherwise."""
    assert is_pretty("", None, "curl/8.1")
    assert not is_pretty("", "false", "curl/8.1")
    assert is_pretty(JSON, "1", "kubectl")
    assert not is_pretty(JSON, None, "kubectl")


async def test_scales_have_their_own_columns(http: aiohttp.ClientSession, registry: Registry):
    """`kubectl get --subresource=scale` prints what is wanted and what there is."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    registry.create("deployments.apps", {"metadata": {"name": "d"}, "spec": spec}, "default")
    _, table = await answer(http, "/apis/apps/v1/namespaces/default/deployments/d/scale", TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["d", 3, 0]


async def test_events_are_selected_by_the_names_of_their_group(http: aiohttp.ClientSession, registry: Registry):
    """What events.k8s.io calls regarding is involvedObject in the core group."""
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}
    registry.create("events", event, "default")
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    assert names((await answer(http, path, fieldSelector="regarding.name=p"))[1]) == ["e"]
    status, refused = await answer(http, path, fieldSelector="involvedObject.name=p")
    assert (status, refused["message"]) == (400, "field label not supported: involvedObject.name")
    async with http.delete(path, params={"fieldSelector": "regarding.name=p"}) as response:
        assert (response.status, registry.find("events", "default", "e")) == (200, None)


ANYTHING = st.one_of(
    st.sampled_from(("", "0", "1", "true", "Exact", "NotOlderThan", "a=b", "metadata.name=a", "-1")),
    st.text(max_size=8),
)
OPTIONS = (
    *("resourceVersion", MATCH, "limit", "continue", "labelSelector", "fieldSelector", "sendInitialEvents"),
    *("includeObject", "pretty", "timeoutSeconds", "allowWatchBookmarks", "timeout"),
)
ACCEPTED = st.one_of(
    st.sampled_from(("", TABLE, METADATA, METADATA_LIST, "application/yaml", "application/vnd.kubernetes.protobuf")),
    st.text(alphabet="abjson/*;=,q01. -", max_size=30),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(OPTIONS), ANYTHING, max_size=4), ACCEPTED)
async def test_any_list_is_answered_or_refused(registry: Registry, query: dict[str, str], accept: str):
    """No options and no header break the server."""
    if registry.find("configmaps", "default", "a") is None:
        create(registry, "a", a="b")
    server = ApiServer(registry, host="127.0.0.1", port=0, token="secret")
    request = make_mocked_request(
        "GET", f"{CONFIG_MAPS}?{urlencode(query)}", {"Authorization": "Bearer secret", "Accept": accept}
    )
    response = await server._handle(request)
    assert response.status in (200, 400, 404, 406, 410, 422, 504)


async def test_yaml_and_indented_answers(http: aiohttp.ClientSession, registry: Registry):
    """Whoever asks for YAML gets it, errors too; people get JSON they can read."""
    create(registry, "a")
    for name, status in (("a", 200), ("b", 404)):
        async with http.get(f"{CONFIG_MAPS}/{name}", headers={"Accept": "application/yaml"}) as response:
            assert (response.status, response.content_type) == (status, "application/yaml")
            assert yaml.safe_load(await response.text())["apiVersion"] == "v1"
    data = {"number": "1", "empty": "", "lines": "a\nb\n", "colon": "a: b"}
    registry.create("configmaps", {"metadata": {"name": "c"}, "data": data}, "default")
    async with http.get(f"{CONFIG_MAPS}/c", headers={"Accept": "application/yaml"}) as response:
        text = await response.text()
    lines = [
        "data:",
        "  colon: 'a: b'",
        '  empty: ""',
        "  lines: |",
        "    a",
        "    b",
        '  number: "1"',
        "kind: ConfigMap",
    ]
    assert "\n".join(lines) in text
    assert 'creationTimestamp: "2026-01-01T00:00:00Z"' in text
    async with http.get(f"{CONFIG_MAPS}/a", params={"pretty": "true"}) as response:
        assert (await response.text()).startswith('{\n  "')
    async with http.get(f"{CONFIG_MAPS}/a", headers={"Accept": "application/yaml, application/json"}) as response:
        assert response.content_type == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "page"),
    [
        ("HEAD", CONFIG_MAPS, 405, False),
        ("HEAD", WIDGETS, 200, False),
        ("OPTIONS", CONFIG_MAPS, 405, False),
        ("POST", "/api/v1/configmaps", 405, False),
        ("POST", "/apis/example.com/v1/widgets", 404, True),
        ("GET", "/api/v1/configmaps/a", 404, False),
        ("GET", "/api/v1/namespaces/default/nodes", 404, False),
        ("GET", "/apis/example.com/v1/widgets/a", 404, True),
        ("GET", f"{CONFIG_MAPS}/", 200, False),
        ("GET", f"{CONFIG_MAPS}?timeout=1m30.5s", 200, False),
        ("GET", "/api/v1/namespaces//configmaps", 404, True),
        ("GET", f"{CONFIG_MAPS}/a/b/c", 404, False),
        ("GET", f"{WIDGETS}/a/nosuch", 404, False),
        ("DELETE", "/apis/example.com/v1/nosuch", 404, True),
    ],
)
async def test_paths_and_methods(
    http: aiohttp.ClientSession, widgets: None, method: str, path: str, status: int, page: bool
):
    """Built-in kinds refuse with a Status, custom ones as if nothing were there."""
    async with http.request(method, path) as response:
        assert response.status == status
        if method != "HEAD":
            text = await response.text()
            assert (text == "404 page not found\n") is page


async def test_methods_of_custom_kinds(http: aiohttp.ClientSession, registry: Registry, widgets: None):
    """The refusal names the verb and the kind."""
    registry.create("widgets.example.com", {"metadata": {"name": "a"}}, "default")
    async with http.get(f"{WIDGETS}/b/nosuch") as response:
        assert (await response.json())["message"] == 'widgets.example.com "b" not found'
