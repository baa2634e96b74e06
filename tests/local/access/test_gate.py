"""Who gets in, in whose name, and what is said to those who do not."""

import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from trimtab.local.access.tokens import AUDIENCES, Bound, InvalidTokenError
from trimtab.local.statuses import ApiError

PODS = "/api/v1/namespaces/default/pods"
ADMIN = [("Authorization", "Bearer secret")]


def refused(cluster, *args, **kwargs):
    with pytest.raises(ApiError) as caught:
        cluster.enter(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize(
    ("headers", "path", "outcome"),
    [
        ([], "/version", "system:anonymous"),
        ([], "/healthz", "system:anonymous"),
        ([("Authorization", "Basic eDp5")], "/livez", "system:anonymous"),
        (ADMIN, PODS, "kubernetes-admin"),
        ([("Authorization", "bearer   secret")], PODS, "system:anonymous"),
        ([("Authorization", "bearer secret")], PODS, "kubernetes-admin"),
        ([("Authorization", "Bearer wrong")], "/healthz", 401),
        ([], "/apis", 403),
        ([], PODS, 403),
    ],
)
def test_credentials(cluster, headers, path, outcome):
    """A token decides; without one everybody sees health and version; a wrong one is worse than none."""
    if isinstance(outcome, str) and not (outcome == "system:anonymous" and path == PODS):
        assert cluster.enter(path, headers) == outcome
    else:
        assert refused(cluster, path, headers).status == (outcome if isinstance(outcome, int) else 403)


@pytest.mark.parametrize(
    ("method", "path", "message", "details"),
    [
        (
            "GET",
            "/apis/apps/v1/namespaces/y/deployments",
            (
                'deployments.apps is forbidden: User "system:anonymous" cannot list resource "deployments" '
                'in API group "apps" in the namespace "y"'
            ),
            {"group": "apps", "kind": "deployments"},
        ),
        (
            "DELETE",
            "/api/v1/nodes/n",
            (
                'nodes "n" is forbidden: User "system:anonymous" cannot delete resource "nodes" '
                'in API group "" at the cluster scope'
            ),
            {"name": "n", "kind": "nodes"},
        ),
        (
            "GET",
            f"{PODS}/p/log",
            (
                'pods "p" is forbidden: User "system:anonymous" cannot get resource "pods/log" '
                'in API group "" in the namespace "default"'
            ),
            {"name": "p", "kind": "pods"},
        ),
        ("POST", "/nosuch", 'forbidden: User "system:anonymous" cannot post path "/nosuch"', {}),
    ],
)
def test_refusals_read_as_in_kubernetes(cluster, method, path, message, details):
    """Who, what, where: the words that people search for."""
    error = refused(cluster, path, method=method)
    assert (error.status, error.reason, error.message, error.details) == (403, "Forbidden", message, details)


def test_bindings_take_effect_at_once(cluster):
    """Rights come with a binding and go with it, in its namespace and in no other."""
    token = cluster.tokens.issue(cluster.account(), 600)
    headers = [("Authorization", f"Bearer {token}")]
    assert refused(cluster, PODS, headers).status == 403
    cluster.role("reader", "/pods/list")
    cluster.bind("b", "reader", "ServiceAccount:robot")
    assert cluster.enter(PODS, headers) == "system:serviceaccount:default:robot"
    assert refused(cluster, "/api/v1/namespaces/other/pods", headers).status == 403
    assert refused(cluster, "/api/v1/pods", headers).status == 403
    cluster.registry.delete("rolebindings.rbac.authorization.k8s.io", "b", "default")
    assert refused(cluster, PODS, headers).status == 403


@pytest.mark.parametrize(
    "subject", ["User:bob", "Group:devs", "Group:system:authenticated"], ids=["by name", "by group", "everybody"]
)
def test_certificates_name_users_and_groups(cluster, subject):
    """The common name is the user, each organization a group, and whoever is known is authenticated."""
    cluster.role("reader", "/pods/list", namespace=None)
    cluster.bind("b", "reader", subject, kind="ClusterRole", namespace=None)
    peer = {"subject": ((("organizationName", "devs"),), (("commonName", "bob"),))}
    assert cluster.enter("/api/v1/pods", peer=peer) == "bob"


def test_a_binding_to_no_role_is_part_of_the_refusal(cluster):
    """A typo in a binding is found by reading the error."""
    cluster.bind("b", "raeder", "Group:system:unauthenticated")
    assert refused(cluster, PODS).message.endswith(
        'in the namespace "default": RBAC: role.rbac.authorization.k8s.io "raeder" not found'
    )


@pytest.mark.parametrize(
    ("headers", "name", "groups"),
    [
        ([("Impersonate-User", "bob")], "bob", ("system:authenticated",)),
        (
            [("Impersonate-User", "bob"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b")],
            "bob",
            ("a", "b", "system:authenticated"),
        ),
        (
            [("Impersonate-User", "system:serviceaccount:n:robot")],
            "system:serviceaccount:n:robot",
            ("system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"),
        ),
        ([("Impersonate-User", "system:anonymous")], "system:anonymous", ("system:unauthenticated",)),
        ([("Impersonate-User", "x"), ("Impersonate-Group", "system:masters")], "x", None),
    ],
)
def test_the_administrator_may_be_anybody(cluster, headers, name, groups):
    """--as and --as-group, with the groups that come by themselves."""
    user = cluster.gate._impersonated(cluster.gate.authenticated(CIMultiDict(ADMIN), None), CIMultiDict(headers))
    assert (user.name, user.groups) == (name, groups or ("system:masters", "system:authenticated"))


def test_impersonation_is_a_right(cluster):
    """Others need it for each user, group and field; without a user it makes no sense."""
    account = cluster.account()
    headers = [("Authorization", f"Bearer {cluster.tokens.issue(account, 600)}"), ("Impersonate-User", "bob")]
    assert refused(cluster, PODS, headers).message == (
        'users "bob" is forbidden: User "system:serviceaccount:default:robot" cannot impersonate resource "users" '
        'in API group "" at the cluster scope'
    )
    assert refused(cluster, PODS, [*ADMIN, ("Impersonate-Group", "devs")]).status == 400


def test_a_token_says_whose_it_is(cluster, clock):
    """Name, uid, groups, and the pod that it was made for."""
    account = cluster.account()
    pod = cluster.registry.create(
        "pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}}, "default"
    )
    token = cluster.tokens.issue(account, 600, bound=Bound("Pod", "p", pod["metadata"]["uid"]))
    user, audiences = cluster.tokens.user(token)
    assert (user.name, user.uid, audiences) == (
        "system:serviceaccount:default:robot",
        account["metadata"]["uid"],
        AUDIENCES,
    )
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    cluster.registry.delete("pods", "p", "default", grace_seconds=0)
    with pytest.raises(InvalidTokenError, match="service account token has been invalidated"):
        cluster.tokens.user(token)


def test_tokens_end(cluster, clock):
    """With their time, with their account, and for others than those they were made for."""
    account = cluster.account()
    token, vault = cluster.tokens.issue(account, 600), cluster.tokens.issue(account, 600, ["vault"])
    assert cluster.tokens.user(vault, ["vault", "x"])[1] == ("vault",)
    with pytest.raises(InvalidTokenError, match=r'token audiences \["vault"\] is invalid for the target audiences'):
        cluster.tokens.user(vault)
    clock.advance(601)
    with pytest.raises(InvalidTokenError, match="has expired"):
        cluster.tokens.user(token)
    fresh = cluster.tokens.issue(account, 600)
    cluster.registry.delete("serviceaccounts", "robot", "default")
    with pytest.raises(InvalidTokenError, match='serviceaccounts "robot" not found'):
        cluster.tokens.user(fresh)
    cluster.account()
    with pytest.raises(InvalidTokenError, match="does not match claim"):
        cluster.tokens.user(fresh)
    with pytest.raises(InvalidTokenError, match="invalid bearer token"):
        cluster.tokens.user(f"{fresh[:-4]}AAAA")


def test_entering_a_pod_is_no_reading(cluster):
    """The WebSocket of exec begins with GET, and needs the right to create all the same."""
    headers = [("Authorization", f"Bearer {cluster.tokens.issue(cluster.account(), 600)}")]
    rules = [{"apiGroups": [""], "resources": ["pods/exec", "pods/log"], "verbs": ["get"]}]
    cluster.registry.create("roles.rbac.authorization.k8s.io", {"metadata": {"name": "r"}, "rules": rules}, "default")
    cluster.bind("b", "r", "ServiceAccount:robot")
    assert cluster.enter(f"{PODS}/p/log", headers).endswith("robot")
    assert 'cannot create resource "pods/exec"' in refused(cluster, f"{PODS}/p/exec", headers).message


_PARTS = st.one_of(
    st.binary(max_size=12).map(lambda b: base64.urlsafe_b64encode(b).decode().rstrip("=")),
    st.sampled_from([{"alg": "none"}, {"alg": "ES256"}, {"alg": "HS256", "kid": 3}, [], 7, None, {"alg": []}]).map(
        lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    ),
    st.text(max_size=8).map(lambda text: text.replace(" ", "")),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_PARTS, max_size=5).map(".".join))
def test_whatever_a_token_looks_like(cluster, token):
    """Nonsense is refused, and never more than that."""
    with pytest.raises(InvalidTokenError):
        cluster.tokens.user(token)
    headers = [("Authorization", f"Bearer {token.encode(errors='replace').decode('utf-8', 'surrogateescape')}\udcff")]
    with pytest.raises(ApiError) as caught:
        cluster.enter(PODS, headers)
    assert caught.value.status in (401, 403)
