"""Pod Security admission: what each level refuses, in which words, and who is only warned."""

import pytest

from trimtab.local.access.podchecks import violations
from trimtab.local.statuses import ApiError

GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
BARE = (
    'allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false), '
    'unrestricted capabilities (container "main" must set securityContext.capabilities.drop=["ALL"]), '
    'runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true), '
    'seccompProfile (pod or container "main" must set securityContext.seccompProfile.type to '
    '"RuntimeDefault" or "Localhost")'
)


def spec(security=None, *, pod=None, container=None, **more):
    main = {"name": "main", "image": "i", **({"securityContext": security} if security else {}), **(container or {})}
    return {"containers": [main], **({"securityContext": pod} if pod else {}), **more}


@pytest.mark.parametrize(
    ("given", "baseline", "restricted"),
    [
        (spec(GOOD), [], []),
        (spec(), [], BARE.split("), ")),
        (
            spec({**GOOD, "privileged": True}),
            ['privileged (container "main" must not set securityContext.privileged=true)'],
            None,
        ),
        (spec(GOOD, hostNetwork=True, hostPID=True), ["host namespaces (hostNetwork=true, hostPID=true)"], None),
        (
            spec(GOOD, volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
            ['hostPath volumes (volume "v")'],
            ['restricted volume types (volume "v" uses restricted volume type "hostPath")'],
        ),
        (
            spec(GOOD, volumes=[{"name": "v", "emptyDir": {}}, {"name": "w", "nfs": {}}]),
            [],
            ['restricted volume types (volume "w" uses restricted volume type "nfs")'],
        ),
        (
            spec(GOOD, container={"ports": [{"hostPort": 80}, {"hostPort": 443}]}),
            ['hostPort (container "main" uses hostPorts 443, 80)'],
            None,
        ),
        (
            spec({**GOOD, "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "CHOWN"]}}),
            [
                (
                    'non-default capabilities (container "main" must not include "SYS_ADMIN" '
                    "in securityContext.capabilities.add)"
                )
            ],
            [
                (
                    'unrestricted capabilities (container "main" must not include "CHOWN", "SYS_ADMIN" '
                    "in securityContext.capabilities.add)"
                )
            ],
        ),
        (
            spec({**GOOD, "runAsNonRoot": False, "runAsUser": 0}, pod={"runAsUser": 0}),
            [],
            [
                'runAsNonRoot != true (container "main" must not set securityContext.runAsNonRoot=false)',
                'runAsUser=0 (pod and container "main" must not set runAsUser=0)',
            ],
        ),
        (
            spec({**GOOD, "seccompProfile": {"type": "Unconfined"}}),
            [
                'seccompProfile (container "main" must not set securityContext.seccompProfile.type to "Unconfined")',
            ],
            None,
        ),
        (
            spec({**GOOD, "seLinuxOptions": {"type": "spc_t", "user": "u"}}),
            [
                (
                    'seLinuxOptions (container "main" set forbidden securityContext.seLinuxOptions: '
                    'type "spc_t"; user may not be set)'
                )
            ],
            None,
        ),
        (
            spec({**GOOD, "procMount": "Unmasked"}),
            ['procMount (container "main" must not set securityContext.procMount to "Unmasked")'],
            None,
        ),
        (
            spec(GOOD, pod={"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_syncookies"}]}),
            ["forbidden sysctls (kernel.msgmax)"],
            None,
        ),
    ],
)
def test_what_a_level_refuses(given, baseline, restricted):
    """Every container and the pod itself count; the words are kube-apiserver's."""
    assert violations(given, "privileged") == []
    assert violations(given, "baseline") == baseline
    wanted = baseline if restricted is None else restricted
    assert ", ".join(violations(given, "restricted")) == "), ".join(w.rstrip(")") for w in wanted) + ")" * bool(wanted)


def labelled(registry, **modes):
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode, level in modes.items()}
    registry.create("namespaces", {"metadata": {"name": "n", "labels": labels}})


def test_pods_are_refused_and_what_makes_them_is_warned_about(registry):
    """Enforcement hits pods; a Deployment gets a warning where the namespace wants one."""
    labelled(registry, enforce="restricted", warn="restricted")
    with pytest.raises(ApiError) as caught:
        registry.create("pods", {"metadata": {"name": "p"}, "spec": spec()}, "n")
    assert (caught.value.status, caught.value.message) == (
        403,
        f'pods "p" is forbidden: violates PodSecurity "restricted:latest": {BARE}',
    )
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec()}
    made = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    warnings = []
    registry.create("deployments.apps", made, "n", warnings=warnings)
    assert warnings == [f'would violate PodSecurity "restricted:latest": {BARE}']
    pod = registry.create("pods", {"metadata": {"name": "good"}, "spec": spec(GOOD)}, "n")
    labelled_pod = {**pod, "metadata": {**pod["metadata"], "labels": {"x": "y"}}}
    assert registry.update("pods", labelled_pod)["metadata"]["labels"] == {"x": "y"}


def test_a_namespace_that_asks_for_no_level(registry):
    """A typo in a level or a version is refused with what it could be."""
    with pytest.raises(ApiError) as caught:
        labelled(registry, enforce="strict", **{"warn-version": "1.30"})
    assert caught.value.message == (
        'Namespace "n" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted, "
        'metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.30": must be "latest" or "v1.x"]'
    )
