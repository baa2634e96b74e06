"""What is wrong with a pod's spec, by itself or in a template."""

from trimtab.local.kinds.checks.containers import containers_errors, id_errors, resources_errors, seccomp_errors
from trimtab.local.kinds.checks.placement import placement_errors, tolerations_errors
from trimtab.local.kinds.checks.values import (
    choice_errors,
    invalid_all,
    ip_errors,
    label_errors,
    qualified_name_errors,
    subdomain_errors,
)
from trimtab.local.kinds.checks.volumes import volumes_errors
from trimtab.local.names import annotation_errors, labels_errors, subdomain_problems
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION = ("PreemptLowerPriority", "Never")
_DEADLINE = "must be between 1 and 2147483647, inclusive"


def pod_spec_errors(spec: Object, at: str, *, is_pod: bool = False) -> list[FieldError]:
    """Everything wrong with a pod's spec, whose path is `at`; `is_pod` where it is no template's."""
    errors, volumes = volumes_errors(spec.get("volumes") or [], f"{at}.volumes")
    errors += containers_errors(spec, volumes, at)
    if spec.get("resources"):
        errors += resources_errors(spec["resources"], f"{at}.resources")
    errors += _host_network_errors(spec, at, is_pod=is_pod)
    errors += choice_errors(spec.get("restartPolicy", ""), f"{at}.restartPolicy", _RESTART)
    errors += choice_errors(spec.get("dnsPolicy", ""), f"{at}.dnsPolicy", _DNS)
    errors += _security_errors(spec, f"{at}.securityContext")
    errors += placement_errors(spec, at)
    errors += _dns_errors(spec, f"{at}.dnsConfig")
    errors += _gate_errors(spec, at)
    errors += _name_errors(spec, at)
    if spec.get("tolerations"):
        errors += tolerations_errors(spec["tolerations"], f"{at}.tolerations")
    for index, alias in enumerate(spec.get("hostAliases") or []):
        errors += ip_errors(alias.get("ip", ""), f"{at}.hostAliases[{index}].ip")
        for place, name in enumerate(alias.get("hostnames") or []):
            errors += subdomain_errors(name, f"{at}.hostAliases[{index}].hostnames[{place}]")
    if spec.get("priorityClassName"):
        errors += subdomain_errors(spec["priorityClassName"], f"{at}.priorityClassName")
    if spec.get("runtimeClassName") is not None:
        errors += subdomain_errors(spec["runtimeClassName"], f"{at}.runtimeClassName")
    if spec.get("preemptionPolicy") is not None:
        errors += choice_errors(spec["preemptionPolicy"], f"{at}.preemptionPolicy", _PREEMPTION)
    return errors + _os_errors(spec.get("os"), f"{at}.os")


def _host_network_errors(spec: Object, at: str, *, is_pod: bool) -> list[FieldError]:
    if not spec.get("hostNetwork"):
        return []
    errors = []
    for index, container in enumerate(spec.get("containers") or []):
        for place, port in enumerate(container.get("ports") or []):
            host, own = port.get("hostPort", 0), port.get("containerPort", 0)
            if (is_pod or host) and host != own:
                where = f"{at}.containers[{index}].ports[{place}].hostPort"
                text = "must match `containerPort` when `hostNetwork` is true"
                errors.append(invalid_value(where, str(host), text))
    return errors


def _security_errors(spec: Object, at: str) -> list[FieldError]:
    context = spec.get("securityContext") or {}
    errors = id_errors(context, at, "fsGroup", "runAsUser", "runAsGroup")
    for index, group in enumerate(context.get("supplementalGroups") or []):
        errors += id_errors({f"supplementalGroups[{index}]": group}, at, f"supplementalGroups[{index}]")
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(invalid_value(f"{at}.shareProcessNamespace", "true", text))
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in ("Always", "OnRootMismatch"):
        errors.append(unsupported(f"{at}.fsGroupChangePolicy", quote(policy), ['"Always"', '"OnRootMismatch"']))
    return errors + seccomp_errors(context.get("seccompProfile"), at)


def _dns_errors(spec: Object, at: str) -> list[FieldError]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(at, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{at}.nameservers", text)]
    servers = (config or {}).get("nameservers") or []
    errors = []
    if len(servers) > 3:
        errors.append(invalid_value(f"{at}.nameservers", quote(servers), "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        errors += ip_errors(server, f"{at}.nameservers[{index}]")
    for index, option in enumerate((config or {}).get("options") or []):
        errors += [] if option.get("name") else [required(f"{at}.options[{index}]", "must not be empty")]
    return errors


def _gate_errors(spec: Object, at: str) -> list[FieldError]:
    errors = []
    for index, gate in enumerate(spec.get("readinessGates") or []):
        errors += qualified_name_errors(gate.get("conditionType", ""), f"{at}.readinessGates[{index}].conditionType")
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or []):
        where, name = f"{at}.schedulingGates[{index}]", gate.get("name", "")
        errors += qualified_name_errors(name, where)
        errors += [duplicate(where, quote(name))] if name in seen else []
        seen.add(name)
    return errors


def _name_errors(spec: Object, at: str) -> list[FieldError]:
    errors = []
    for name in ("serviceAccountName", "nodeName"):
        if spec.get(name):
            errors += invalid_all(f"{at}.{name}", spec[name], subdomain_problems(spec[name]))
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and not 1 <= seconds <= 2**31 - 1:
        errors.append(invalid_value(f"{at}.activeDeadlineSeconds", str(seconds), _DEADLINE))
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            errors += label_errors(spec[name], f"{at}.{name}")
    return errors


def _os_errors(system: Object | None, at: str) -> list[FieldError]:
    if system is None:
        return []
    name = system.get("name", "")
    if not name:
        return [required(f"{at}.name", "cannot be empty")]
    return [] if name in ("linux", "windows") else [unsupported(at, quote(name), ['"linux"', '"windows"'])]


def pod_errors(pod: Object) -> list[FieldError]:
    """Everything wrong with the spec of a pod that is no template's."""
    spec = pod["spec"]
    errors = pod_spec_errors(spec, "spec", is_pod=True)
    for group in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(group) or []):
            image = container.get("image", "")
            if image != image.strip():
                text = "must not have leading or trailing whitespace"
                errors.append(invalid_value(f"spec.{group}[{index}].image", quote(image), text))
    return errors


def new_pod_errors(pod: Object) -> list[FieldError]:
    """What a pod may not have from the beginning."""
    spec = pod["spec"]
    errors = pod_errors(pod)
    if spec.get("ephemeralContainers"):
        errors.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        errors.append(forbidden_field("spec.nodeName", text))
    return errors


def template_errors(template: Object, at: str) -> list[FieldError]:
    """Everything wrong with a pod template."""
    metadata = template.get("metadata") or {}
    errors = labels_errors(metadata.get("labels") or {}, f"{at}.labels")
    errors += annotation_errors(metadata.get("annotations") or {}, f"{at}.annotations")
    errors += pod_spec_errors(template.get("spec") or {}, f"{at}.spec")
    if (template.get("spec") or {}).get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        errors.append(forbidden_field(f"{at}.spec.ephemeralContainers", text))
    return errors
