"""Names, identity, versions and what else every object has."""

import pytest

pytestmark = pytest.mark.integration

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
NOT_STANDARD = "name is neither a standard finalizer name nor is it fully qualified"
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}


@pytest.mark.parametrize(
    ("metadata", "causes"),
    [
        pytest.param({}, [("metadata.name", "Required value: name or generateName is required")], id="none"),
        pytest.param({"name": "A"}, [("metadata.name", f'Invalid value: "A": {SUBDOMAIN}')], id="upper case"),
        pytest.param(
            {"name": "a" * 254},
            [("metadata.name", f'Invalid value: "{"a" * 254}": must be no more than 253 characters')],
            id="long",
        ),
        pytest.param(
            {"name": "a", "labels": {"-": "x", "b": "y z"}},
            [
                ("metadata.labels", f'Invalid value: "-": {NAME_PART}'),
                ("metadata.labels", f'Invalid value: "y z": {VALUE}'),
            ],
            id="labels",
        ),
        pytest.param(
            {"name": "a", "labels": {"/a": ""}},
            [("metadata.labels", 'Invalid value: "/a": prefix part must be non-empty')],
            id="an empty prefix",
        ),
        pytest.param(
            {"name": "a", "annotations": {"a b": ""}},
            [("metadata.annotations", f'Invalid value: "a b": {NAME_PART}')],
            id="annotations",
        ),
        pytest.param(
            {"name": "a", "annotations": {"a": "x" * 256 * 1024}},
            [("metadata.annotations", "Too long: may not be more than 262144 bytes")],
            id="long annotations",
        ),
        pytest.param(
            {"name": "a", "finalizers": ["a b"]},
            [
                ("metadata.finalizers", f'Invalid value: "a b": {NAME_PART}'),
                ("metadata.finalizers[0]", f'Invalid value: "a b": {NOT_STANDARD}'),
            ],
            id="finalizers",
        ),
        pytest.param(
            {"name": "a", "finalizers": ["mine"]},
            [
                ("metadata.finalizers[0]", f'Invalid value: "mine": {NOT_STANDARD}'),
            ],
            id="a finalizer without a domain",
        ),
        pytest.param(
            {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "", "name": "", "uid": ""}]},
            [
                (f"metadata.ownerReferences.{f}", 'Invalid value: "": must not be empty')
                for f in ("kind", "name", "uid")
            ],
            id="an empty owner",
        ),
        pytest.param(
            {"name": "a", "ownerReferences": [{**OWNER, "apiVersion": ""}]},
            [("metadata.ownerReferences.apiVersion", 'Invalid value: "": version must not be empty')],
            id="an owner without a version",
        ),
    ],
)
async def test_invalid_metadata(send, metadata, causes):
    """Everything that is wrong is said at once, field by field."""
    answer = await send("POST", "configmaps", {"metadata": metadata})
    assert (answer.status, answer.body["reason"], answer.causes) == (422, "Invalid", causes)


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("/api/v1/namespaces", "a.b", f'Namespace "a.b" is invalid: metadata.name: Invalid value: "a.b": {LABEL}'),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "a/b",
            (
                'ClusterRole.rbac.authorization.k8s.io "a/b" is invalid: metadata.name: Invalid value: "a/b": may not '
                "contain '/'"
            ),
        ),
    ],
)
async def test_names_of_kinds(send, path, name, message):
    """Some kinds have narrower or wider names than others."""
    answer = await send("POST", path, {"metadata": {"name": name}})
    assert (answer.status, answer.message) == (422, message)


async def test_generated_names(send):
    """Five letters follow, and the base is cut so that the name stays a label; both are seen."""
    short = await send.make("configmaps", {"metadata": {"generateName": "a-"}})
    assert short["metadata"]["generateName"] == "a-"
    assert len(short["metadata"]["name"]) == 7
    long = await send.make("configmaps", {"metadata": {"generateName": "b" * 80}})
    assert long["metadata"]["name"][:58] == "b" * 58
    assert len(long["metadata"]["name"]) == 63
    answer = await send("POST", "configmaps", {"metadata": {"generateName": "AB-"}})
    assert answer.causes[0] == ("metadata.generateName", f'Invalid value: "AB-": {SUBDOMAIN}')


async def test_what_the_creator_may_not_say(send):
    """Identity and times are the server's."""
    sent = {"name": "a", "uid": "mine", "generation": 7, "creationTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/x"}
    made = (await send.make("configmaps", {"metadata": sent}))["metadata"]
    assert made["uid"] != "mine"
    assert made["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert {"generation", "selfLink"}.isdisjoint(made)
    answer = await send("POST", "configmaps", {"metadata": {"name": "b", "resourceVersion": "1"}})
    assert (answer.status, answer.message) == (400, "resourceVersion should not be set on objects to be created")


async def test_objects_exist_once(send):
    """A second one of the same name is refused."""
    await send.make("configmaps", {"metadata": {"name": "a"}})
    answer = await send("POST", "configmaps", {"metadata": {"name": "a"}})
    assert (answer.status, answer.body["reason"]) == (409, "AlreadyExists")
    assert answer.message == 'configmaps "a" already exists'
    assert answer.body["details"] == {"name": "a", "kind": "configmaps"}


@pytest.mark.parametrize(
    ("path", "metadata", "status", "message"),
    [
        ("a", {"name": "b"}, 400, "the name of the object (b) does not match the name on the URL (a)"),
        (
            "a",
            {"name": "a", "namespace": "b"},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "a",
            {"name": "a", "resourceVersion": "1"},
            409,
            (
                'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply '
                "your changes to the latest version and try again"
            ),
        ),
        (
            "a",
            {"name": "a", "uid": "other"},
            409,
            (
                'Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, Key: '
                "/registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in "
                "precondition: other, UID in object meta: {uid}"
            ),
        ),
        ("b", {"name": "b"}, 404, 'configmaps "b" not found'),
    ],
)
async def test_replacements_of_something_else(send, path, metadata, status, message):
    """What is replaced has to be what the client saw."""
    uid = (await send.make("configmaps", {"metadata": {"name": "a"}}))["metadata"]["uid"]
    answer = await send("PUT", f"configmaps/{path}", {"metadata": metadata})
    assert (answer.status, answer.message) == (status, message.replace("{uid}", uid))


async def test_a_replacement_that_changes_nothing(send):
    """The version stays, and no watcher hears of it."""
    made = await send.make("configmaps", {"metadata": {"name": "a"}, "data": {"a": "1"}})
    same = await send("PUT", "configmaps/a", {"metadata": {"name": "a"}, "data": {"a": "1"}})
    assert same.body == made
    other = await send("PUT", "configmaps/a", {"metadata": {"name": "a"}, "data": {"a": "2"}})
    assert int(other.body["metadata"]["resourceVersion"]) == int(made["metadata"]["resourceVersion"]) + 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases/a", {"spec": {}}, 201),
        ("/api/v1/namespaces/default/endpoints/a", {}, 201),
        ("/api/v1/namespaces/default/events/a", {"involvedObject": {"namespace": "default"}}, 201),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/a", {"rules": []}, 201),
        ("/api/v1/namespaces/default/configmaps/a", {}, 404),
        ("/api/v1/namespaces/default/secrets/a", {}, 404),
        ("/api/v1/namespaces/a", {}, 404),
        ("/apis/apps/v1/namespaces/default/deployments/a", {}, 404),
    ],
)
async def test_replacements_of_what_is_not_there(send, path, body, status):
    """Some kinds are made by their first replacement."""
    answer = await send("PUT", path, {"metadata": {"name": "a"}, **body})
    assert answer.status == status, answer.body


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("deletionTimestamp", "2026-01-01T00:00:00Z", '"2026-01-01T00:00:00Z"'),
        ("deletionGracePeriodSeconds", 3, "3"),
    ],
)
async def test_what_no_update_changes(send, field, value, shown):
    """Deletion is not asked for by an update."""
    await send.make("configmaps", {"metadata": {"name": "a"}})
    answer = await send("PATCH", "configmaps/a", {"metadata": {field: value}}, "merge")
    assert (answer.status, answer.causes[0]) == (
        422,
        (f"metadata.{field}", f"Invalid value: {shown}: field is immutable"),
    )


async def test_the_generation_counts_changes_of_the_spec(send):
    """Neither labels nor the status count; kinds without a spec of their own have none."""
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
    path = "/apis/apps/v1/namespaces/default/replicasets"
    await send.make(path, {"metadata": {"name": "a"}, "spec": spec})
    generations = []
    for suffix, patch in [
        ("", {"metadata": {"labels": {"a": "b"}}}),
        ("", {"spec": {"replicas": 3}}),
        ("/status", {"status": {"replicas": 1}}),
        ("", {"spec": {"replicas": 3}}),
    ]:
        answer = await send("PATCH", f"{path}/a{suffix}", patch, "merge")
        generations.append(answer.body["metadata"]["generation"])
    assert generations == [1, 2, 2, 2]
