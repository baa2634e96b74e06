"""The pod template that pods, Deployments, ReplicaSets and Jobs share: its defaults and its checks."""

from typing import Any

from trimtab.local.names import label_problems, labels_errors
from trimtab.local.objects import Object, quote
from trimtab.local.quantities import quantity
from trimtab.local.selectors import matches_label_selector
from trimtab.local.statuses import FieldError, duplicate, invalid_value, required, unsupported

_RESTART = ("Always", "OnFailure", "Never")
_TERMINATION_PATH = "/dev/termination-log"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def default_pod_spec(spec: Object) -> None:
    """Fill in what every pod has, in place."""
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or []:
            _default_container(container)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for volume in spec.get("volumes") or []:
        _default_volume(volume)


def _default_container(container: Object) -> None:
    container.setdefault("resources", {})
    _default_requests(container["resources"])
    container.setdefault("terminationMessagePath", _TERMINATION_PATH)
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or []:
        if field := (variable.get("valueFrom") or {}).get("fieldRef"):
            field.setdefault("apiVersion", "v1")
    for name in _PROBES:
        if probe := container.get(name):
            _default_probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and (get := hook.get("httpGet")):
            _default_http_get(get)


def _default_requests(resources: Object) -> None:
    """A limit without a request is the request too."""
    limits = resources.get("limits") or {}
    missing = {k: v for k, v in limits.items() if k not in (resources.get("requests") or {})}
    if missing:
        resources["requests"] = {**(resources.get("requests") or {}), **missing}


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    tag = name.partition("@")[0].partition(":")[2]
    return "Always" if "@" not in name and tag in ("", "latest") else "IfNotPresent"


def _default_probe(probe: Object) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if get := probe.get("httpGet"):
        _default_http_get(get)
    if grpc := probe.get("grpc"):
        grpc.setdefault("service", "")


def _default_http_get(get: Object) -> None:
    get.setdefault("path", "/")
    get.setdefault("scheme", "HTTP")


def _default_volume(volume: Object) -> None:
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if volume.get(source) is not None:
            volume[source].setdefault("defaultMode", 420)
    if (path := volume.get("hostPath")) is not None:
        path.setdefault("type", "")
    for item in ((volume.get("downwardAPI") or {}).get("items")) or []:
        if field := item.get("fieldRef"):
            field.setdefault("apiVersion", "v1")
    for source in ((volume.get("projected") or {}).get("sources")) or []:
        if token := source.get("serviceAccountToken"):
            token.setdefault("expirationSeconds", 3600)
    if not [key for key in volume if key != "name"]:
        volume["emptyDir"] = {}


def pod_spec_errors(spec: Object, at: str) -> list[FieldError]:
    """Everything wrong with a pod's spec; `at` is the path of the spec."""
    errors = []
    if not spec.get("containers"):
        errors.append(required(f"{at}.containers"))
    seen: set[str] = set()
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or []):
            where = f"{at}.{group}[{index}]"
            errors += _container_errors(container, where, volumes)
            name = container.get("name", "")
            if name in seen:
                errors.append(duplicate(f"{where}.name", quote(name)))
            seen.add(name)
    if spec["restartPolicy"] not in _RESTART:
        errors.append(unsupported(f"{at}.restartPolicy", quote(spec["restartPolicy"]), [quote(p) for p in _RESTART]))
    return errors + _volume_errors(spec.get("volumes") or [], f"{at}.volumes")


def _container_errors(container: Object, at: str, volumes: set[Any]) -> list[FieldError]:
    errors = []
    name = container.get("name", "")
    if not name:
        errors.append(required(f"{at}.name"))
    else:
        errors += [invalid_value(f"{at}.name", quote(name), text) for text in label_problems(name)]
    if not container.get("image"):
        errors.append(required(f"{at}.image"))
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            error = FieldError(
                f"{at}.volumeMounts[{index}].name", "FieldValueNotFound", f"Not found: {quote(mount.get('name', ''))}"
            )
            errors.append(error)
    errors += _port_errors(container.get("ports") or [], f"{at}.ports")
    errors += _env_errors(container.get("env") or [], f"{at}.env")
    return errors + _resource_errors(container["resources"], f"{at}.resources")


def _port_errors(ports: list[Object], at: str) -> list[FieldError]:
    errors = []
    for index, port in enumerate(ports):
        number = port.get("containerPort", 0)
        if not 1 <= number <= 65535:
            text = "must be between 1 and 65535, inclusive"
            errors.append(invalid_value(f"{at}[{index}].containerPort", str(number), text))
    return errors


def _env_errors(env: list[Object], at: str) -> list[FieldError]:
    errors = []
    for index, variable in enumerate(env):
        if not variable.get("name"):
            errors.append(required(f"{at}[{index}].name"))
        if variable.get("value") and variable.get("valueFrom"):
            text = "may not be specified when `value` is not empty"
            errors.append(invalid_value(f"{at}[{index}].valueFrom", '""', text))
    return errors


def _resource_errors(resources: Object, at: str) -> list[FieldError]:
    limits = resources.get("limits") or {}
    errors = []
    for group in ("limits", "requests"):
        for name, value in (resources.get(group) or {}).items():
            if quantity(value) < 0:
                text = "must be greater than or equal to 0"
                errors.append(invalid_value(f"{at}.{group}.{name}", quote(value), text))
    for name, value in (resources.get("requests") or {}).items():
        if name in limits and quantity(value) > quantity(limits[name]):
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            errors.append(invalid_value(f"{at}.requests", quote(value), text))
    return errors


def _volume_errors(volumes: list[Object], at: str) -> list[FieldError]:
    errors = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        where = f"{at}[{index}].name"
        errors += (
            [invalid_value(where, quote(name), text) for text in label_problems(name)] if name else [required(where)]
        )
        if name in seen:
            errors.append(duplicate(where, quote(name)))
        seen.add(name)
    return errors


def template_errors(template: Object, selector: Object | None, at: str) -> list[FieldError]:
    """Everything wrong with a pod template, and whether the selector of its owner selects it."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    errors = labels_errors(labels, f"{at}.metadata.labels")
    if selector is not None and not matches_label_selector(selector, labels):
        text = "`selector` does not match template `labels`"
        errors.append(invalid_value(f"{at}.metadata.labels", quote(labels), text))
    return errors + pod_spec_errors(template["spec"], f"{at}.spec")


def quality_class(spec: Object) -> str:
    """The pod's QoS class: Guaranteed, Burstable or BestEffort."""
    anything, guaranteed = False, True
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            anything = anything or name in requests or name in limits
            same = name in limits and quantity(requests.get(name, limits[name])) == quantity(limits[name])
            guaranteed = guaranteed and same
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
