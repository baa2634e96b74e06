"""The Pod Security Standards: what a pod's spec does that a level does not allow, in the words of kube-apiserver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from trimtab.local.objects import Object

_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
_SYSCTLS = frozenset(
    (
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"),
        *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout"),
        *("net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time"),
        *("net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem"),
    )
)
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_VOLUMES = frozenset(
    (
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim"),
        *("projected", "secret"),
    )
)
_SECCOMP = ("RuntimeDefault", "Localhost")

Check = Callable[[Object], Iterable[str]]


def violations(spec: Object, level: str) -> list[str]:
    """What the spec violates of a level (privileged, baseline or restricted), in the order of the checks' names."""
    checks = {"baseline": _BASELINE, "restricted": _RESTRICTED}.get(level, ())
    return [violation for check in checks for violation in check(spec)]


def _containers(spec: Object) -> list[Object]:
    groups = ("initContainers", "containers", "ephemeralContainers")
    return [container for group in groups for container in spec.get(group) or ()]


def _secured(spec: Object) -> Iterator[tuple[str, Object]]:
    """Names and security contexts of the containers."""
    for container in _containers(spec):
        yield container["name"], container.get("securityContext") or {}


def _joined(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _several(word: str, items: Sequence[Any]) -> str:
    return word if len(items) == 1 else f"{word}s"


def _named(names: Sequence[str], word: str = "container") -> str:
    return f"{_several(word, names)} {_joined(names)}"


def _setters(pod: object, names: Sequence[str]) -> str:
    """Who sets something: the pod, some containers, or both."""
    return " and ".join([*(["pod"] if pod else []), *([_named(names)] if names else [])])


def _escalation(spec: Object) -> Iterator[str]:
    if bad := [name for name, context in _secured(spec) if context.get("allowPrivilegeEscalation") is not False]:
        detail = f"{_named(bad)} must set securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({detail})"


def _added(spec: Object, allowed: frozenset[str]) -> tuple[list[str], str]:
    """Containers that add capabilities beyond those allowed, and what is said of them."""
    bad, added = [], set()
    for name, context in _secured(spec):
        if beyond := set((context.get("capabilities") or {}).get("add") or ()) - allowed:
            bad.append(name)
            added |= beyond
    return bad, f"{_named(bad)} must not include {_joined(sorted(added))} in securityContext.capabilities.add"


def _capabilities(spec: Object) -> Iterator[str]:
    bad, text = _added(spec, _CAPABILITIES)
    if bad:
        yield f"non-default capabilities ({text})"


def _few_capabilities(spec: Object) -> Iterator[str]:
    keeping = [
        name for name, context in _secured(spec) if "ALL" not in ((context.get("capabilities") or {}).get("drop") or ())
    ]
    texts = [f'{_named(keeping)} must set securityContext.capabilities.drop=["ALL"]'] if keeping else []
    bad, text = _added(spec, frozenset({"NET_BIND_SERVICE"}))
    if found := [*texts, *([text] if bad else [])]:
        yield f"unrestricted capabilities ({'; '.join(found)})"


def _host_namespaces(spec: Object) -> Iterator[str]:
    if found := [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]:
        yield f"host namespaces ({', '.join(found)})"


def _host_paths(spec: Object) -> Iterator[str]:
    if names := [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]:
        yield f"hostPath volumes ({_named(names, 'volume')})"


def _host_ports(spec: Object) -> Iterator[str]:
    names, ports = [], set()
    for container in _containers(spec):
        used = {int(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}
        if used:
            names.append(container["name"])
            ports |= used
    if names:
        uses, listed = "uses" if len(names) == 1 else "use", sorted(str(port) for port in ports)
        yield f"hostPort ({_named(names)} {uses} {_several('hostPort', listed)} {', '.join(listed)})"


def _privileged(spec: Object) -> Iterator[str]:
    if bad := [name for name, context in _secured(spec) if context.get("privileged")]:
        yield f"privileged ({_named(bad)} must not set securityContext.privileged=true)"


def _proc_mounts(spec: Object) -> Iterator[str]:
    bad = [(name, c["procMount"]) for name, c in _secured(spec) if c.get("procMount") not in (None, "Default")]
    if bad:
        values = _joined(sorted({value for _, value in bad}))
        yield f"procMount ({_named([name for name, _ in bad])} must not set securityContext.procMount to {values})"


def _volume_types(spec: Object) -> Iterator[str]:
    bad = [(v["name"], next((k for k in v if k != "name"), "emptyDir")) for v in spec.get("volumes") or ()]
    bad = [(name, kind) for name, kind in bad if kind not in _VOLUMES]
    if bad:
        names, types = [name for name, _ in bad], sorted({kind for _, kind in bad})
        uses = "uses" if len(names) == 1 else "use"
        text = f"{_named(names, 'volume')} {uses} {_several('restricted volume type', types)} {_joined(types)}"
        yield f"restricted volume types ({text})"


def _non_root(spec: Object) -> Iterator[str]:
    of_pod = (spec.get("securityContext") or {}).get("runAsNonRoot")
    explicit, implicit = [], []
    for name, context in _secured(spec):
        own = context.get("runAsNonRoot")
        if own is False:
            explicit.append(name)
        elif own is None and of_pod is None:
            implicit.append(name)
    if setters := _setters(of_pod is False, explicit):
        yield f"runAsNonRoot != true ({setters} must not set securityContext.runAsNonRoot=false)"
    elif implicit:
        yield f"runAsNonRoot != true (pod or {_named(implicit)} must set securityContext.runAsNonRoot=true)"


def _users(spec: Object) -> Iterator[str]:
    bad = [name for name, context in _secured(spec) if context.get("runAsUser") == 0]
    if setters := _setters((spec.get("securityContext") or {}).get("runAsUser") == 0, bad):
        yield f"runAsUser=0 ({setters} must not set runAsUser=0)"


def _selinux(spec: Object) -> Iterator[str]:
    types: set[str] = set()
    fields: set[str] = set()

    def is_bad(context: Object) -> bool:
        options = context.get("seLinuxOptions") or {}
        kind = options.get("type") or ""
        set_here = {field for field in ("user", "role") if options.get(field)}
        fields.update(set_here)
        if kind not in _SELINUX_TYPES:
            types.add(kind)
        return bool(set_here) or kind not in _SELINUX_TYPES

    of_pod = is_bad(spec.get("securityContext") or {})
    if setters := _setters(of_pod, [name for name, context in _secured(spec) if is_bad(context)]):
        said = [f"{_several('type', list(types))} {_joined(sorted(types))}"] if types else []
        said += [f"{field} may not be set" for field in ("user", "role") if field in fields]
        yield f"seLinuxOptions ({setters} set forbidden securityContext.seLinuxOptions: {'; '.join(said)})"


def _seccomp_types(spec: Object) -> tuple[str | None, list[tuple[str, str | None]]]:
    """The profile types of the pod and of its containers, None where none is set."""

    def of(context: Object) -> str | None:
        kind: str | None = (context.get("seccompProfile") or {}).get("type")
        return kind

    return of(spec.get("securityContext") or {}), [(name, of(context)) for name, context in _secured(spec)]


def _seccomp(spec: Object) -> Iterator[str]:
    of_pod, of_containers = _seccomp_types(spec)
    yield from _bad_seccomp(of_pod, of_containers, lambda kind: kind in (None, *_SECCOMP))


def _bad_seccomp(
    of_pod: str | None, of_containers: Sequence[tuple[str, str | None]], fits: Callable[[str | None], bool]
) -> Iterator[str]:
    bad = [(name, kind) for name, kind in of_containers if not fits(kind)]
    if setters := _setters(not fits(of_pod), [name for name, _ in bad]):
        kinds = {str(kind) for _, kind in bad} | ({str(of_pod)} if not fits(of_pod) else set())
        yield f"seccompProfile ({setters} must not set securityContext.seccompProfile.type to {_joined(sorted(kinds))})"


def _some_seccomp(spec: Object) -> Iterator[str]:
    of_pod, of_containers = _seccomp_types(spec)
    if found := list(_bad_seccomp(of_pod, of_containers, lambda kind: kind in (None, *_SECCOMP))):
        yield from found
    elif of_pod is None and (without := [name for name, kind in of_containers if kind is None]):
        wanted = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        yield f"seccompProfile (pod or {_named(without)} must set {wanted})"


def _sysctls(spec: Object) -> Iterator[str]:
    given = (spec.get("securityContext") or {}).get("sysctls") or ()
    if bad := [sysctl["name"] for sysctl in given if sysctl["name"] not in _SYSCTLS]:
        yield f"forbidden sysctls ({', '.join(bad)})"


def _windows(spec: Object) -> Iterator[str]:
    def is_bad(context: Object) -> bool:
        return bool((context.get("windowsOptions") or {}).get("hostProcess"))

    bad = [name for name, context in _secured(spec) if is_bad(context)]
    if setters := _setters(is_bad(spec.get("securityContext") or {}), bad):
        yield f"hostProcess ({setters} must not set securityContext.windowsOptions.hostProcess=true)"


# In the order of the names that kube-apiserver has for them.
_BASELINE: tuple[Check, ...] = (
    *(_capabilities, _host_namespaces, _host_paths, _host_ports, _privileged, _proc_mounts, _selinux, _seccomp),
    *(_sysctls, _windows),
)
_RESTRICTED: tuple[Check, ...] = (
    *(_escalation, _few_capabilities, _host_namespaces, _host_ports, _privileged, _proc_mounts, _volume_types),
    *(_non_root, _users, _selinux, _some_seccomp, _sysctls, _windows),
)
