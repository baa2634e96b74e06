"""What is wrong with the containers of a pod: names, ports, environment, resources, probes and hooks."""

from trimtab.local.kinds.checks.gostructs import shown
from trimtab.local.kinds.checks.references import variable_sources_errors, variables_errors
from trimtab.local.kinds.checks.values import (
    choice_errors,
    count_errors,
    invalid_all,
    is_extended,
    label_errors,
    port_errors,
    port_name_problems,
    port_number_errors,
    protocol_errors,
    qualified_name_errors,
    quantity_errors,
)
from trimtab.local.kinds.checks.volumes import device_errors, mounts_errors
from trimtab.local.objects import Object, quote
from trimtab.local.quantities import canonical, quantity
from trimtab.local.statuses import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported

_PULL = ("Always", "IfNotPresent", "Never")
_MESSAGES = ("File", "FallbackToLogsOnError")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_HEADER = (
    "a valid HTTP header must consist of alphanumeric characters or '-' "
    "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
)
_IDS = "must be between 0 and 2147483647, inclusive"
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_STANDARD = ("cpu", "memory", "ephemeral-storage")
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def containers_errors(spec: Object, volumes: dict[str, Object], at: str) -> list[FieldError]:
    """Everything wrong with the containers of a pod's spec, whose path is `at`."""
    errors = _regular_errors(spec, volumes, f"{at}.containers")
    names = {container.get("name", "") for container in spec.get("containers") or []}
    for index, container in enumerate(spec.get("initContainers") or []):
        where = f"{at}.initContainers[{index}]"
        errors += _container_errors(container, volumes, where)
        policy = container.get("restartPolicy")
        if policy is not None and policy != "Always":
            errors.append(unsupported(f"{where}.restartPolicy", quote(policy), ['"Always"']))
        name = container.get("name", "")
        if name in names:
            errors.append(duplicate(f"{where}.name", quote(name)))
        names.add(name)
        errors += _host_port_errors([container], f"{at}.initContainers")
        if policy == "Always":
            errors += _life_errors(container, spec, where)
        else:
            text = "may not be set for init containers without restartPolicy=Always"
            given = [n for n in ("lifecycle", *_PROBES) if container.get(n) is not None]
            errors += [forbidden_field(f"{where}.{name}", text) for name in given]
    return errors


def _regular_errors(spec: Object, volumes: dict[str, Object], at: str) -> list[FieldError]:
    containers = spec.get("containers") or []
    if not containers:
        return [required(at)]
    errors = []
    names: set[str] = set()
    for index, container in enumerate(containers):
        where, name = f"{at}[{index}]", container.get("name", "")
        errors += _container_errors(container, volumes, where)
        if name in names:
            errors.append(duplicate(f"{where}.name", quote(name)))
        names.add(name)
        errors += _life_errors(container, spec, where)
        if container.get("restartPolicy") is not None:
            errors.append(forbidden_field(f"{where}.restartPolicy", "may not be set for non-init containers"))
    return errors + _host_port_errors(containers, at)


def _container_errors(container: Object, volumes: dict[str, Object], at: str) -> list[FieldError]:
    name = container.get("name", "")
    errors = label_errors(name, f"{at}.name") if name else [required(f"{at}.name")]
    errors += [] if container.get("image") else [required(f"{at}.image")]
    errors += choice_errors(container.get("terminationMessagePolicy", ""), f"{at}.terminationMessagePolicy", _MESSAGES)
    errors += _ports_errors(container.get("ports") or [], f"{at}.ports")
    errors += variables_errors(container.get("env") or [], f"{at}.env")
    errors += variable_sources_errors(container.get("envFrom") or [], f"{at}.envFrom")
    errors += mounts_errors(container, volumes, f"{at}.volumeMounts")
    errors += device_errors(container, volumes, f"{at}.volumeDevices")
    errors += choice_errors(container.get("imagePullPolicy", ""), f"{at}.imagePullPolicy", _PULL)
    errors += resources_errors(container.get("resources") or {}, f"{at}.resources")
    return errors + _security_errors(container.get("securityContext"), f"{at}.securityContext")


def _ports_errors(ports: list[Object], at: str) -> list[FieldError]:
    errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        where, name = f"{at}[{index}]", port.get("name", "")
        if name and (problems := port_name_problems(name)):
            errors += invalid_all(f"{where}.name", name, problems)
        elif name and name in names:
            errors.append(duplicate(f"{where}.name", quote(name)))
        names.add(name)
        number = port.get("containerPort", 0)
        errors += (
            port_number_errors(number, f"{where}.containerPort") if number else [required(f"{where}.containerPort")]
        )
        if port.get("hostPort"):
            errors += port_number_errors(port["hostPort"], f"{where}.hostPort")
        errors += protocol_errors(port.get("protocol", ""), f"{where}.protocol")
    return errors


def _host_port_errors(containers: list[Object], at: str) -> list[FieldError]:
    errors = []
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for place, port in enumerate(container.get("ports") or []):
            if not port.get("hostPort"):
                continue
            text = f"{port.get('protocol')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if text in taken:
                errors.append(duplicate(f"{at}[{index}].ports[{place}].hostPort", quote(text)))
            taken.add(text)
    return errors


def resources_errors(resources: Object, at: str) -> list[FieldError]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    errors = []
    for name, value in sorted(limits.items()):
        errors += _resource_name_errors(name, f"{at}.limits[{name}]")
        errors += quantity_errors(name, value, f"{at}.limits[{name}]")
    for name, value in sorted(requests.items()):
        errors += _resource_name_errors(name, f"{at}.requests[{name}]")
        errors += quantity_errors(name, value, f"{at}.requests[{name}]")
        errors += _request_errors(name, value, limits.get(name), at)
    huge = [n for n in {**limits, **requests} if n.startswith("hugepages-")]
    if huge and not {"cpu", "memory"} & (limits.keys() | requests.keys()):
        errors.append(forbidden_field(at, "HugePages require cpu or memory"))
    return errors


def _request_errors(name: str, value: str, limit: str | None, at: str) -> list[FieldError]:
    fixed = is_extended(name) or name.startswith("hugepages-")
    if limit is None:
        text = "Limit must be set for non overcommitable resources"
        return [required(f"{at}.limits", text)] if fixed else []
    shown_value, shown_limit = quote(canonical(value)), canonical(limit)
    if fixed and quantity(value) != quantity(limit):
        return [invalid_value(f"{at}.requests", shown_value, f"must be equal to {name} limit of {shown_limit}")]
    if quantity(value) > quantity(limit):
        text = f"must be less than or equal to {name} limit of {shown_limit}"
        return [invalid_value(f"{at}.requests", shown_value, text)]
    return []


def _resource_name_errors(name: str, at: str) -> list[FieldError]:
    if errors := qualified_name_errors(name, at):
        return errors
    if "/" in name:
        bad = is_extended(name) and name.startswith("requests.")
        return [invalid_value(at, quote(name), "doesn't follow extended resource name standard")] if bad else []
    if name in _STANDARD or name.startswith("hugepages-"):
        return []
    texts = ["must be a standard resource for containers"]
    if name not in ("storage", "pods", "services", "secrets", "configmaps"):
        texts.insert(0, "must be a standard resource type or fully qualified")
    return invalid_all(at, name, texts)


def _life_errors(container: Object, spec: Object, at: str) -> list[FieldError]:
    errors = []
    lifecycle = container.get("lifecycle") or {}
    for hook in ("postStart", "preStop"):
        if lifecycle.get(hook) is not None:
            errors += _handler_errors(lifecycle[hook], spec, f"{at}.lifecycle.{hook}")
    for name in _PROBES:
        if container.get(name) is not None:
            errors += _probe_errors(container[name], spec, name, f"{at}.{name}")
    return errors


def _probe_errors(probe: Object, spec: Object, name: str, at: str) -> list[FieldError]:
    errors = _handler_errors(probe, spec, at) + count_errors(probe, at, *_COUNTS)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        text = "must be greater than 0"
        errors.append(invalid_value(f"{at}.terminationGracePeriodSeconds", str(grace), text))
    if name == "readinessProbe":
        if grace is not None:
            text = "must not be set for readinessProbes"
            errors.append(invalid_value(f"{at}.terminationGracePeriodSeconds", str(grace), text))
    elif probe.get("successThreshold", 1) != 1:
        errors.append(invalid_value(f"{at}.successThreshold", str(probe["successThreshold"]), "must be 1"))
    return errors


def _handler_errors(handler: Object, spec: Object, at: str) -> list[FieldError]:
    given = [name for name in _HANDLERS if handler.get(name) is not None]
    if not given:
        return [required(at, "must specify a handler type")]
    name, where = given[0], f"{at}.{given[0]}"
    action = handler[name]
    errors = []
    match name:
        case "exec" if not action.get("command"):
            errors.append(required(f"{where}.command"))
        case "httpGet":
            errors += _http_errors(action, where)
        case "tcpSocket":
            errors += port_errors(action.get("port", 0), f"{where}.port")
        case "grpc":
            errors += port_number_errors(action.get("port", 0), f"{where}.port")
        case "sleep":
            errors += _sleep_errors(action, spec, where)
    text = "may not specify more than 1 handler type"
    return errors + [forbidden_field(f"{at}.{other}", text) for other in given[1:]]


def _http_errors(action: Object, at: str) -> list[FieldError]:
    errors = [] if action.get("path") else [required(f"{at}.path")]
    errors += port_errors(action.get("port", 0), f"{at}.port")
    scheme = action.get("scheme", "")
    if scheme not in ("HTTP", "HTTPS"):
        errors.append(unsupported(f"{at}.scheme", quote(scheme), ['"HTTP"', '"HTTPS"']))
    for header in action.get("httpHeaders") or []:
        name = header.get("name", "")
        if not name or not name.replace("-", "a").isalnum() or not name.isascii():
            errors.append(invalid_value(f"{at}.httpHeaders", quote(name), _HEADER))
    return errors


def _sleep_errors(action: Object, spec: Object, at: str) -> list[FieldError]:
    grace, seconds = spec.get("terminationGracePeriodSeconds"), action.get("seconds", 0)
    if grace is None or 0 <= seconds <= grace:
        return []
    text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
    return [invalid_value(at, str(seconds), text)]


def _security_errors(context: Object | None, at: str) -> list[FieldError]:
    if context is None:
        return []
    errors = id_errors(context, at, "runAsUser", "runAsGroup") + seccomp_errors(context.get("seccompProfile"), at)
    if context.get("allowPrivilegeEscalation") is False:
        quoted = shown(context, "SecurityContext")
        if context.get("privileged"):
            text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(invalid_value(at, quoted, text))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or []):
            text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(invalid_value(at, quoted, text))
    return errors


def id_errors(context: Object, at: str, *names: str) -> list[FieldError]:
    """Numbers of users and groups."""
    return [
        invalid_value(f"{at}.{name}", str(context[name]), _IDS)
        for name in names
        if context.get(name) is not None and not 0 <= context[name] <= 2**31 - 1
    ]


def seccomp_errors(profile: Object | None, at: str) -> list[FieldError]:
    if profile is None:
        return []
    where, kind, local = f"{at}.seccompProfile", profile.get("type", ""), profile.get("localhostProfile")
    errors = []
    if not kind:
        errors.append(required(f"{where}.type", "type is required when seccompProfile is set"))
    elif kind not in _SECCOMP:
        errors.append(unsupported(f"{where}.type", quote(kind), [quote(k) for k in _SECCOMP]))
    if kind == "Localhost" and local is None:
        errors.append(required(f"{where}.localhostProfile", "must be set when seccomp type is Localhost"))
    if kind != "Localhost" and local is not None:
        text = "can only be set when seccomp type is Localhost"
        errors.append(invalid_value(f"{where}.localhostProfile", shown(profile, "SeccompProfile"), text))
    return errors
