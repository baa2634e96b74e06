"""Small readers and printers: paths, tables, pages, quantities, names, protobuf."""

import pytest

from trimtab.local.apiserver.bodies import decode_object, decode_yaml
from trimtab.local.apiserver.jsontexts import read_json
from trimtab.local.apiserver.targets import Target, target_of
from trimtab.local.jsonpaths import UnreadablePath, values_at
from trimtab.local.kinds.columns import human_duration
from trimtab.local.kinds.printers import columns_of
from trimtab.local.names import label_problems, qualified_name_problems, subdomain_problems
from trimtab.local.preparing import generated_name
from trimtab.local.quantities import quantity

NOW = "2026-01-01T01:00:00Z"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/namespaces", Target("", "v1", "namespaces")),
        ("/api/v1/namespaces/n", Target("", "v1", "namespaces", "", "n")),
        ("/api/v1/namespaces/n/status", Target("", "v1", "namespaces", "", "n", "status")),
        ("/api/v1/namespaces/n/finalize", Target("", "v1", "namespaces", "", "n", "finalize")),
        ("/api/v1/namespaces/n/pods", Target("", "v1", "pods", "n")),
        ("/api/v1/namespaces/n/pods/p/log", Target("", "v1", "pods", "n", "p", "log")),
        ("/apis/apps/v1/deployments", Target("apps", "v1", "deployments")),
        ("/apis/apps/v1/namespaces/n/deployments/d/scale", Target("apps", "v1", "deployments", "n", "d", "scale")),
        ("/api/v1/nodes/a%2Fb", Target("", "v1", "nodes", "", "a/b")),
        ("/api/v1", None),
        ("/elsewhere", None),
    ],
)
def test_paths(path, target):
    """A path says group, version, namespace, kind, name and subresource."""
    assert target_of(path) == target


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.size", [3]),
        (".spec.list[0]", ["a"]),
        (".spec.list[-1]", ["b"]),
        (".spec.list[5]", []),
        (".spec.list[*]", ["a", "b"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type!='Ready')].status", ["False"]),
        (r".metadata.annotations.example\.com/x", ["y"]),
        (".none.at.all", []),
        (".spec.list[0:1]", ["a"]),
        (".spec.list[1:]", ["b"]),
        (".spec.list[::2]", ["a"]),
        (".spec.list[0,1]", ["a", "b"]),
        (".spec['size']", [3]),
        ("..type", ["Ready", "Other"]),
        (".status.conditions[?(@.status)].type", ["Ready", "Other"]),
        (".status.conditions[?(@.nothing)].type", []),
        (".spec.numbers[?(@.n>=2)].n", [2, 3]),
        (".status.conditions[*].type", ["Ready", "Other"]),
    ],
)
def test_json_paths(path, found):
    """Printer columns find what their path says, and nothing where it leads nowhere."""
    document = {
        "metadata": {"annotations": {"example.com/x": "y"}},
        "spec": {"size": 3, "list": ["a", "b"], "numbers": [{"n": 1}, {"n": 2}, {"n": 3}, {"n": "x"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
    }
    assert values_at(document, path) == found


@pytest.mark.parametrize("path", ["spec", ".a[", ".a[?(1)]", ".a[]", ".a[b]", ""])
def test_unreadable_json_paths(path):
    """A path outside of the part that columns use is refused, not guessed at."""
    with pytest.raises(UnreadablePath):
        values_at({}, path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3600, "60m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 60, "5h1m"),
        (30 * 3600, "30h"),
        (3 * 86400, "3d"),
        (3 * 86400 + 7200, "3d2h"),
        (400 * 86400, "400d"),
        (800 * 86400, "2y70d"),
    ],
)
def test_ages(seconds, text):
    """Ages read as kubectl users know them."""
    assert human_duration(seconds) == text


def cells(kind: str, obj: dict[str, object]) -> dict[str, object]:
    return {column.name: column.cell(obj, NOW) for column in columns_of(kind)}


@pytest.mark.parametrize(
    ("status", "metadata", "shown"),
    [
        ({"phase": "Pending"}, {}, "Pending"),
        (
            {"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            {},
            "CrashLoopBackOff",
        ),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, {}, "ExitCode:3"),
        (
            {
                "phase": "Succeeded",
                "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
            },
            {},
            "Completed",
        ),
        ({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}, {}, "Init:0/1"),
        ({"phase": "Failed", "reason": "Evicted"}, {}, "Evicted"),
        ({"phase": "Running"}, {"deletionTimestamp": NOW}, "Terminating"),
    ],
)
def test_what_a_pod_shows(status, metadata, shown):
    """The most telling word wins over the phase."""
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]}
    assert cells("pods", {"metadata": metadata, "spec": spec, "status": status})["Status"] == shown


def test_restarts_tell_when_the_last_was():
    """A count alone does not say whether the trouble is over."""
    last = {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}
    pod = {"metadata": {}, "spec": {}, "status": {"containerStatuses": [{"restartCount": 2, "lastState": last}]}}
    assert cells("pods", pod)["Restarts"] == "2 (5m ago)"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("1Gi", "1073741824"),
        ("1.5", "1.5"),
        ("2e3", "2000"),
        ("1E", "1e18"),
        ("-1k", "-1000"),
        ("10u", "0.00001"),
    ],
)
def test_quantities(text, number):
    """Suffixes count in thousands or in 1024s; the number is exact."""
    from decimal import Decimal  # noqa: PLC0415

    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "lots", "1Q", "1 Gi"])
def test_what_is_no_quantity(text):
    """The refusal shows how one is written."""
    with pytest.raises(ValueError, match="write it like"):
        quantity(text)


def test_names():
    """Names, labels and qualified names are told apart."""
    assert not subdomain_problems("a.b-c")
    assert label_problems("a.b")
    assert not qualified_name_problems("example.com/Name_1")
    assert qualified_name_problems("a/b/c")
    assert qualified_name_problems("/x") == ["prefix part must be non-empty"]


def test_generated_names_differ_and_stay_labels():
    """Even identifiers that count up make names that have nothing in common."""
    names = {generated_name("x" * 80, f"00000000-0000-0000-0000-{i:012d}") for i in range(2_000)}
    assert len(names) == 2_000
    assert all(not label_problems(name) for name in names)


def test_fields_that_occur_twice_are_found():
    """A duplicate is reported with its path; the last value counts."""
    body = b'{"a":1,"a":2,"b":[{"c":1,"c":1}]}'
    assert read_json(body).twice == ['duplicate field "a"', 'duplicate field "b[0].c"']


def test_yaml_timestamps_stay_text():
    """An unquoted time in an applied document is what it was, a string."""
    assert decode_yaml(b"when: 2026-01-01T00:00:00Z").value == {"when": "2026-01-01T00:00:00Z"}


def varint_field(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


def text_field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def a_protobuf(kind: bytes, raw: bytes) -> bytes:
    return b"k8s\x00" + text_field(1, text_field(1, b"v1") + text_field(2, kind)) + text_field(2, raw)


def test_protobuf_bodies():
    """What kubectl create sends reads like the JSON of it."""
    pair = text_field(1, b"k") + text_field(2, b"v")
    raw = text_field(1, text_field(1, b"c")) + text_field(2, pair) + varint_field(4, 1)
    found = decode_object(a_protobuf(b"ConfigMap", raw), "application/vnd.kubernetes.protobuf", "ConfigMap").value
    assert found == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"k": "v"},
        "immutable": True,
    }
