"""What pods are to the API server: their service account, and no more than it may."""

import asyncio
import base64
import json
import os
import ssl
import sys

import aiohttp
import pytest

from trimtab.local.access.tokens import InvalidTokenError
from trimtab.local.statuses import ApiError

pytestmark = pytest.mark.integration

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
RBAC = "rbac.authorization.k8s.io"
LIST_PODS = """
import asyncio, json, os
from kubernetes.aio import client, config

async def main():
    await config.load_kube_config(os.environ["KUBECONFIG"])
    async with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        who = await client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
        try:
            seen = [pod.metadata.name for pod in (await core.list_namespaced_pod("default")).items]
        except client.ApiException as error:
            seen = json.loads(error.body)["message"]
    print(json.dumps({"user": who.status.user_info.username, "seen": seen}))

asyncio.run(main())
"""


async def kubectl(embedded, *args, fails=False):
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *args,
        env={**os.environ, "KUBECONFIG": str(embedded.cluster.kubeconfig_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode != 0) is fails, (out + err).decode()
    return (err if fails else out).decode()


async def account(embedded, name="robot", **fields):
    return embedded.create("serviceaccounts", {"metadata": {"name": name}, **fields})


def allow_listing(embedded, name):
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    embedded.create(f"roles.{RBAC}", {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    embedded.create(f"rolebindings.{RBAC}", binding)


async def test_a_pod_may_what_its_account_may(embedded):
    """The official client in a pod is the pod's account; what is not granted is refused to it."""
    await account(embedded)
    allow_listing(embedded, "robot")
    program = {"command": [sys.executable, "-c", LIST_PODS]}
    embedded.run_pod("allowed", "", container=program, spec={"serviceAccountName": "robot"})
    embedded.run_pod("refused", "", container=program)
    for name in ("allowed", "refused"):
        await embedded.pod(name, "Succeeded")
    assert json.loads(await embedded.log("allowed")) == {
        "user": "system:serviceaccount:default:robot",
        "seen": ["allowed", "refused"],
    }
    refused = json.loads(await embedded.log("refused"))
    assert refused["user"] == "system:serviceaccount:default:default"
    assert refused["seen"].startswith('pods is forbidden: User "system:serviceaccount:default:default" cannot list')


async def test_the_mount_has_what_clients_look_for(embedded):
    """Token, authority and namespace, in the usual place; the token ends with the pod."""
    embedded.run_pod("p", f"cat {MOUNT}/namespace; echo; cat {MOUNT}/token; echo; head -1 {MOUNT}/ca.crt")
    pod = await embedded.pod("p", "Succeeded")
    namespace, token, authority = (await embedded.log("p")).splitlines()
    assert (namespace, authority) == ("default", "-----BEGIN CERTIFICATE-----")
    tokens = embedded.cluster.api.gate.tokens
    assert tokens.user(token)[0].extra["authentication.kubernetes.io/pod-uid"] == (pod["metadata"]["uid"],)
    [volume] = pod["spec"]["volumes"]
    assert pod["spec"]["serviceAccountName"] == "default"
    assert pod["spec"]["containers"][0]["volumeMounts"] == [
        {"name": volume["name"], "readOnly": True, "mountPath": MOUNT}
    ]


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(None, None, True), (False, None, False), (None, False, False), (True, False, True)],
)
async def test_who_decides_about_the_mount(embedded, of_pod, of_account, mounted):
    """The pod's word counts before the account's; without a mount there are no credentials at all."""
    await account(embedded, **({} if of_account is None else {"automountServiceAccountToken": of_account}))
    spec = {"serviceAccountName": "robot"}
    if of_pod is not None:
        spec["automountServiceAccountToken"] = of_pod
    embedded.run_pod("p", f'test -e {MOUNT}/token && echo mounted; echo "${{KUBECONFIG:+config}}"', spec=spec)
    await embedded.pod("p", "Succeeded")
    assert (await embedded.log("p")).split() == (["mounted", "config"] if mounted else [])


async def test_a_token_for_somebody_else(embedded):
    """A projected token has the audience that was asked for, and is worth nothing here."""
    source = {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}}
    volume = {"name": "t", "projected": {"sources": [source]}}
    mount = {"name": "t", "mountPath": "/tokens"}
    embedded.run_pod("p", "cat /tokens/vault", container={"volumeMounts": [mount]}, spec={"volumes": [volume]})
    await embedded.pod("p", "Succeeded")
    user, held = embedded.cluster.api.gate.tokens.user((await embedded.log("p")).strip(), ("vault",))
    assert (user.name, held) == ("system:serviceaccount:default:default", ("vault",))


async def test_an_account_that_is_not_there(embedded):
    """A pod is refused for the account that it names."""
    with pytest.raises(ApiError) as caught:
        embedded.run_pod("p", "true", spec={"serviceAccountName": "nobody"})
    assert caught.value.message == (
        'pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
    )


async def test_every_namespace_gets_an_account_and_the_authority(embedded):
    """Both are there soon after a namespace, and come back when somebody takes or changes them."""
    embedded.create("namespaces", {"metadata": {"name": "team"}}, None)
    await embedded.until(lambda: embedded.get("serviceaccounts", "default", "team"))
    published = await embedded.until(lambda: embedded.get("configmaps", "kube-root-ca.crt", "team"))
    assert published["data"]["ca.crt"] == embedded.cluster.api.trust.decode()
    embedded.registry.delete("serviceaccounts", "default", "team")
    await embedded.until(lambda: embedded.get("serviceaccounts", "default", "team"))
    embedded.registry.update("configmaps", {**published, "data": {"ca.crt": "forged"}})
    await embedded.until(lambda: embedded.get("configmaps", "kube-root-ca.crt", "team")["data"] == published["data"])
    embedded.registry.delete("namespaces", "team")
    await embedded.until(lambda: embedded.get("namespaces", "team", None) is None)


async def test_roles_gather_the_rules_of_others(embedded):
    """view, edit and admin hold what is labelled for them, also what comes later."""
    roles = f"clusterroles.{RBAC}"

    def resources(name):
        rules = embedded.get(roles, name, None).get("rules") or []
        return {resource for rule in rules for resource in rule["resources"]}

    await embedded.until(lambda: {"pods", "secrets", "rolebindings"} <= resources("admin"))
    assert "secrets" not in resources("view")
    rules = [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    embedded.create(roles, {"metadata": {"name": "widgets", "labels": labels}, "rules": rules}, None)
    await embedded.until(lambda: all("widgets" in resources(name) for name in ("view", "edit", "admin")))
    embedded.registry.delete(roles, "widgets")
    await embedded.until(lambda: not any("widgets" in resources(name) for name in ("view", "edit", "admin")))


async def test_secrets_with_tokens(embedded):
    """A Secret of that type gets a token without an end, which ends with the Secret; without an account it goes."""
    await account(embedded)

    def secret(name, owner):
        annotations = {"kubernetes.io/service-account.name": owner}
        metadata = {"name": name, "annotations": annotations}
        embedded.create("secrets", {"metadata": metadata, "type": "kubernetes.io/service-account-token"})

    secret("robot", "robot")
    made = await embedded.until(lambda: (embedded.get("secrets", "robot") or {}).get("data"))
    token = base64.b64decode(made["token"]).decode()
    tokens = embedded.cluster.api.gate.tokens
    assert tokens.user(token)[0].name == "system:serviceaccount:default:robot"
    assert base64.b64decode(made["ca.crt"]) == embedded.cluster.api.trust
    embedded.registry.delete("secrets", "robot", "default")
    with pytest.raises(InvalidTokenError, match="has been invalidated"):
        tokens.user(token)
    secret("second", "robot")
    await embedded.until(lambda: (embedded.get("secrets", "second") or {}).get("data"))
    embedded.registry.delete("serviceaccounts", "robot", "default")
    await embedded.until(lambda: embedded.get("secrets", "second") is None)


async def test_the_api_server_is_a_service(embedded):
    """Service `kubernetes` leads to it, and its certificate holds for that address."""
    address = embedded.get("services", "kubernetes")["spec"]["clusterIP"]
    trust = ssl.create_default_context(cadata=embedded.cluster.api.trust.decode())

    async def version():
        async with aiohttp.ClientSession() as session, session.get(f"https://{address}/version", ssl=trust) as answer:
            return (await answer.json())["major"]

    async with asyncio.timeout(60):
        while True:
            try:
                assert await version() == "1"
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)  # the forwarder is about to listen


async def test_replicas_that_are_refused_are_tried_with_patience(embedded):
    """A namespace that admits no such pod says so in events, again and again but not in a loop."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    embedded.create("namespaces", {"metadata": {"name": "strict", "labels": labels}}, None)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    embedded.create("deployments.apps", {"metadata": {"name": "d"}, "spec": spec}, "strict")

    def refusals():
        events = embedded.registry.list("events", "strict")[0]
        return [e["message"] for e in events if e["reason"] == "FailedCreate"]

    [first, *_] = await embedded.until(refusals)
    assert 'is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false' in first
    before = embedded.registry.version
    await asyncio.sleep(0.5)
    assert embedded.registry.version - before < 20


@pytest.mark.needs("kubectl")
async def test_kubectl_tells_who_may_what(embedded):
    """auth whoami and can-i, create token, and refusals as kubectl prints them."""
    assert "kubernetes-admin" in await kubectl(embedded, "auth", "whoami")
    assert await kubectl(embedded, "get", "--raw", "/apis/apps/v1") != ""
    assert "control plane is running at https://" in await kubectl(embedded, "cluster-info")
    await account(embedded)
    allow_listing(embedded, "robot")
    robot = ("--as", "system:serviceaccount:default:robot")
    assert await kubectl(embedded, "auth", "can-i", "list", "pods", *robot) == "yes\n"
    assert await kubectl(embedded, "auth", "can-i", "list", "pods", "-A", *robot, fails=True) == ""
    assert "selfsubjectreviews" in await kubectl(embedded, "auth", "can-i", "--list", *robot)
    assert await kubectl(embedded, "get", "deployments", *robot, fails=True) == (
        "Error from server (Forbidden): deployments.apps is forbidden: "
        'User "system:serviceaccount:default:robot" cannot list resource "deployments" in API group "apps" '
        'in the namespace "default"\n'
    )
    assert await kubectl(embedded, "get", "pods", "--token=wrong", fails=True) == (
        "error: You must be logged in to the server (Unauthorized)\n"
    )
    token = (await kubectl(embedded, "create", "token", "robot", "--duration=15m")).strip()
    assert await kubectl(embedded, "get", "pods", "-o", "name", f"--token={token}") == ""
    refusal = await kubectl(embedded, "delete", "pod", "x", f"--token={token}", fails=True)
    assert 'pods "x" is forbidden: User "system:serviceaccount:default:robot" cannot delete' in refusal
