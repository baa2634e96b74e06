"""Reviews, tokens and the granting of rights, over HTTP."""

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from trimtab.local.access.users import ADMIN_NAME

pytestmark = pytest.mark.integration

AUTHENTICATION = "/apis/authentication.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROBOT = "system:serviceaccount:default:robot"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


class Http:
    """Sends JSON, as the administrator or in somebody's name."""

    def __init__(self, session):
        self.session = session

    async def post(self, path, body, status=201, *, user=None, **headers):
        if user is not None:
            headers["Impersonate-User"] = user
        async with self.session.post(path, json=body, headers=headers) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer


@pytest.fixture
async def http(api_server, registry):
    registry.create("serviceaccounts", {"metadata": {"name": "robot"}}, "default")
    async with aiohttp.ClientSession(api_server.url, headers={"Authorization": "Bearer secret"}) as session:
        yield Http(session)


async def grant(http, user, *rules, cluster=False):
    """A role with rules, bound to a user."""
    where = RBAC if cluster else f"{RBAC}/namespaces/default"
    kind, prefix = ("ClusterRole", "cluster") if cluster else ("Role", "")
    name = f"for-{user.rpartition(':')[2]}"
    await http.post(f"{where}/{prefix}roles", {"metadata": {"name": name}, "rules": list(rules)})
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
    role = {"kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
    await http.post(f"{where}/{prefix}rolebindings", binding)


def rule(*resources, verbs=("get",), group=""):
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


async def test_access_reviews(http):
    """The answer says by which binding something is allowed, and nothing where nothing allows it."""
    await grant(http, "bob", rule("pods", verbs=["list"]))
    asked = {"resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}}
    mine = await http.post(f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": asked})
    assert mine["status"] == {"allowed": True}
    his = await http.post(f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": asked}, user="bob")
    reason = 'RBAC: allowed by RoleBinding "for-bob/default" of Role "for-bob" to User "bob"'
    assert his["status"] == {"allowed": True, "reason": reason}
    review = {"spec": {**asked, "user": "bob"}}
    assert (await http.post(f"{AUTHORIZATION}/subjectaccessreviews", review))["status"] == his["status"]
    local = f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"
    assert (await http.post(local, review))["status"] == his["status"]
    nobody = {"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}, "groups": ["devs"]}}
    assert (await http.post(f"{AUTHORIZATION}/subjectaccessreviews", nobody))["status"] == {"allowed": False}


@pytest.mark.parametrize(
    ("path", "spec", "message"),
    [
        (
            "selfsubjectaccessreviews",
            {},
            (
                "spec.resourceAttributes: Invalid value: null: "
                "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            ),
        ),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": {}, "nonResourceAttributes": {"path": "/", "verb": "get"}},
            (
                'spec.nonResourceAttributes: Invalid value: {"Path":"/","Verb":"get"}: '
                "cannot be specified in combination with resourceAttributes"
            ),
        ),
        (
            "subjectaccessreviews",
            {"resourceAttributes": {"verb": "get"}},
            'spec.user: Invalid value: "": at least one of user or group must be specified',
        ),
        (
            "namespaces/default/localsubjectaccessreviews",
            {"resourceAttributes": {"namespace": "other"}, "user": "bob"},
            'spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace',
        ),
    ],
)
async def test_reviews_without_a_question(http, path, spec, message):
    """What cannot be answered is refused with the field."""
    answer = await http.post(f"{AUTHORIZATION}/{path}", {"spec": spec}, 422)
    assert answer["message"].endswith(f'.authorization.k8s.io "" is invalid: {message}')


async def test_who_am_i_and_what_may_i(http):
    """A user knows itself and its rules."""
    me = await http.post(f"{AUTHENTICATION}/selfsubjectreviews", {})
    assert me["status"]["userInfo"] == {"username": ADMIN_NAME, "groups": ["system:masters", "system:authenticated"]}
    await grant(http, ROBOT, {**rule("pods"), "resourceNames": ["p"]})
    review = {"spec": {"namespace": "default"}}
    status = (await http.post(f"{AUTHORIZATION}/selfsubjectrulesreviews", review, user=ROBOT))["status"]
    assert {**rule("pods"), "resourceNames": ["p"]} in status["resourceRules"]
    assert {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]} in (
        status["nonResourceRules"]
    )
    assert status["incomplete"] is False
    answer = await http.post(f"{AUTHORIZATION}/selfsubjectrulesreviews", {"spec": {}}, 400)
    assert answer["message"] == "no namespace on request"


async def test_tokens_of_accounts(http, api_server):
    """A token request answers with a token that works, and TokenReview knows whose it is."""
    made = await http.post(f"{ACCOUNTS}/robot/token", {"spec": {"audiences": [], "expirationSeconds": 600}})
    assert made["spec"] == {
        "audiences": ["https://kubernetes.default.svc.cluster.local"],
        "expirationSeconds": 600,
        "boundObjectRef": None,
    }
    assert made["status"]["expirationTimestamp"] == "2026-01-01T00:10:00Z"
    token = made["status"]["token"]
    review = await http.post(f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": token}})
    assert review["status"]["authenticated"] is True
    assert review["status"]["user"]["username"] == ROBOT
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(api_server.url, headers=headers) as session:
        me = await Http(session).post(f"{AUTHENTICATION}/selfsubjectreviews", {})
        assert me["status"]["userInfo"]["groups"] == [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated",
        ]
    review = await http.post(f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": "nonsense"}})
    assert review["status"] == {"user": {}, "error": "invalid bearer token"}
    answer = await http.post(f"{AUTHENTICATION}/tokenreviews", {"spec": {}}, 400)
    assert answer["message"] == "token is required for TokenReview in authentication"


@pytest.mark.parametrize(
    ("account", "spec", "status", "message"),
    [
        ("nobody", {}, 404, 'serviceaccounts "nobody" not found'),
        (
            "robot",
            {"expirationSeconds": 10},
            422,
            (
                'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 10: '
                "may not specify a duration less than 10 minutes"
            ),
        ),
        (
            "robot",
            {"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}},
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        ("robot", {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}, 404, 'pods "p" not found'),
    ],
)
async def test_tokens_that_are_not_made(http, account, spec, status, message):
    """The refusals name the account, the duration or the object."""
    request = {"spec": {"audiences": ["a"], **spec}}
    assert (await http.post(f"{ACCOUNTS}/{account}/token", request, status))["message"] == message


async def test_nobody_grants_what_they_do_not_hold(http):
    """Rights to write roles and bindings are no way to more rights, unless one may escalate or bind."""
    manage = rule("roles", "rolebindings", verbs=["create", "patch"], group="rbac.authorization.k8s.io")
    await grant(http, "bob", manage, rule("pods"))
    roles, bindings = f"{RBAC}/namespaces/default/roles", f"{RBAC}/namespaces/default/rolebindings"
    await http.post(roles, {"metadata": {"name": "held"}, "rules": [rule("pods")]}, user="bob")
    answer = await http.post(
        roles,
        {"metadata": {"name": "more"}, "rules": [rule("pods", "secrets", verbs=["get", "list"])]},
        403,
        user="bob",
    )
    assert answer["message"] == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "bob" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )
    binding = {"metadata": {"name": "b"}, "subjects": []}
    reference = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "cluster-admin"}
    answer = await http.post(bindings, {**binding, "roleRef": reference}, 403, user="bob")
    assert answer["message"].endswith(
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'
    )
    answer = await http.post(bindings, {**binding, "roleRef": {**reference, "name": "no"}}, 404, user="bob")
    assert answer["message"] == 'clusterroles.rbac.authorization.k8s.io "no" not found'
    await http.post(bindings, {**binding, "roleRef": {**reference, "kind": "Role", "name": "held"}}, user="bob")
    await grant(http, "eve", rule("clusterroles", verbs=["bind"], group="rbac.authorization.k8s.io"), manage)
    await http.post(bindings, {"metadata": {"name": "e"}, "subjects": [], "roleRef": reference}, user="eve")


async def test_an_apply_that_creates_needs_the_right_to_create(http, api_server):
    """The right to patch is not the right to make."""
    await grant(http, "bob", rule("configmaps", verbs=["patch"]))
    path = "/api/v1/namespaces/default/configmaps/c?fieldManager=t"
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}'
    headers = {"Content-Type": "application/apply-patch+yaml", "Impersonate-User": "bob"}
    async with http.session.patch(path, data=body, headers=headers) as response:
        assert (response.status, (await response.json())["message"]) == (403, 'configmaps "c" is forbidden: ')
    await http.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})
    async with http.session.patch(path, data=body, headers=headers) as response:
        assert response.status == 200


async def test_others_can_check_tokens(http, api_server):
    """OpenID Connect discovery leads to the key that signs them."""
    made = await http.post(f"{ACCOUNTS}/robot/token", {"spec": {"audiences": ["vault"]}})
    async with http.session.get("/.well-known/openid-configuration") as response:
        found = await response.json()
    assert found["jwks_uri"] == f"{api_server.url}/openid/v1/jwks"
    async with http.session.get(found["jwks_uri"]) as response:
        keys = await response.json(content_type="application/jwk-set+json")
    token = jwt.decode(made["status"]["token"], KeySet.import_key_set(keys), algorithms=["ES256"])
    assert (token.claims["iss"], token.claims["aud"]) == (found["issuer"], ["vault"])
    assert "d" not in keys["keys"][0]


async def test_tokens_bound_to_a_pod(http, registry):
    """Only to a pod of that account, and only to the very pod that is meant."""
    for name, account in (("mine", "robot"), ("other", "default")):
        spec = {"serviceAccountName": account, "containers": [{"name": "a", "image": "i"}]}
        registry.create("pods", {"metadata": {"name": name}, "spec": spec}, "default")

    async def asked(status, name, **reference):
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name, **reference}
        body = {"spec": {"audiences": [], "boundObjectRef": bound}}
        return await http.post(f"{ACCOUNTS}/robot/token", body, status)

    made = await asked(201, "mine")
    review = await http.post(f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": made["status"]["token"]}})
    assert review["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["mine"]
    assert (await asked(400, "other"))["message"] == (
        'cannot bind token for serviceaccount "robot" to pod running with serviceaccount "default"'
    )
    assert (await asked(409, "mine", uid="x"))["message"].startswith(
        'Operation cannot be fulfilled on Pod "mine": the UID in the bound object reference (x) does not match'
    )
