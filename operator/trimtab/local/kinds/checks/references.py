"""What is wrong with references to fields, resources and keys: in variables and in the files of volumes."""

from collections.abc import Sequence

from trimtab.local.kinds.checks.values import (
    invalid_all,
    key_problems,
    qualified_name_errors,
    subdomain_errors,
    variable_problems,
)
from trimtab.local.objects import Object, quote
from trimtab.local.quantities import canonical, quantity
from trimtab.local.statuses import FieldError, invalid_value, required, unsupported

# What a variable may tell about its pod.
_VARIABLE_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_SUBSCRIPTED = ("metadata.annotations", "metadata.labels")
_ALL_FIELDS = {*_VARIABLE_FIELDS, *_SUBSCRIPTED, "spec.restartPolicy", "spec.schedulerName", "status.phase"}
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_CPU_DIVISORS = ("1m", "1")
_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def variables_errors(variables: list[Object], at: str) -> list[FieldError]:
    """Everything wrong with the environment of a container."""
    errors = []
    for index, variable in enumerate(variables):
        where, name = f"{at}[{index}]", variable.get("name", "")
        errors += invalid_all(f"{where}.name", name, variable_problems(name)) if name else [required(f"{where}.name")]
        if variable.get("valueFrom") is not None:
            errors += _source_errors(variable, f"{where}.valueFrom")
    return errors


def _source_errors(variable: Object, at: str) -> list[FieldError]:
    source = variable["valueFrom"]
    errors = []
    if source.get("fieldRef") is not None:
        errors += field_reference_errors(source["fieldRef"], f"{at}.fieldRef", _VARIABLE_FIELDS)
    if source.get("resourceFieldRef") is not None:
        errors += resource_reference_errors(source["resourceFieldRef"], f"{at}.resourceFieldRef")
    for name in ("configMapKeyRef", "secretKeyRef"):
        if source.get(name) is not None:
            errors += _key_errors(source[name], f"{at}.{name}")
    given = [name for name in _SOURCES if source.get(name) is not None]
    if not given:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(invalid_value(at, '""', text))
    elif variable.get("value"):
        errors.append(invalid_value(at, '""', "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(invalid_value(at, '""', "may not have more than one field specified at a time"))
    return errors


def _key_errors(reference: Object, at: str) -> list[FieldError]:
    errors = subdomain_errors(reference.get("name", ""), f"{at}.name")
    key = reference.get("key", "")
    return errors + (invalid_all(f"{at}.key", key, key_problems(key)) if key else [required(f"{at}.key")])


def variable_sources_errors(sources: list[Object], at: str) -> list[FieldError]:
    """Everything wrong with the ConfigMaps and Secrets that a container takes its environment from."""
    errors = []
    for index, source in enumerate(sources):
        where = f"{at}[{index}]"
        if source.get("prefix"):
            errors += invalid_all(f"{where}.prefix", source["prefix"], variable_problems(source["prefix"]))
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in given:
            referred = source[name].get("name", "")
            place = f"{where}.{name}.name"
            errors += subdomain_errors(referred, place) if referred else [required(place)]
        if not given:
            errors.append(invalid_value(at, '""', "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(invalid_value(at, '""', "may not have more than one field specified at a time"))
    return errors


def field_reference_errors(reference: Object, at: str, allowed: Sequence[str]) -> list[FieldError]:
    """A field of the pod; `allowed` are those that have no key."""
    path = reference.get("fieldPath", "")
    if not reference.get("apiVersion"):
        return [required(f"{at}.apiVersion")]
    if not path:
        return [required(f"{at}.fieldPath")]
    field, bracket, rest = path.partition("[")
    if bracket and rest.startswith("'") and rest.endswith("']"):
        if field not in _SUBSCRIPTED:
            text = f"error converting fieldPath: field label does not support subscript: {path}"
            return [invalid_value(f"{at}.fieldPath", quote(path), text)]
        key = rest[1:-2]
        return qualified_name_errors(key.lower() if field == "metadata.annotations" else key, at)
    if path not in _ALL_FIELDS:
        text = f"error converting fieldPath: field label not supported: {path}"
        return [invalid_value(f"{at}.fieldPath", quote(path), text)]
    if path not in allowed:
        return [unsupported(f"{at}.fieldPath", quote(path), [quote(a) for a in allowed])]
    return []


def resource_reference_errors(reference: Object, at: str, *, in_volume: bool = False) -> list[FieldError]:
    """A request or limit of a container; a file of a volume has to say which container's."""
    resource = reference.get("resource", "")
    errors = []
    if in_volume and not reference.get("containerName"):
        errors.append(required(f"{at}.containerName"))
    elif not resource:
        errors.append(required(f"{at}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        errors.append(unsupported(f"{at}.resource", quote(resource), [quote(r) for r in _RESOURCES]))
    divisor = reference.get("divisor")
    if divisor is None or quantity(divisor) == 0:
        return errors
    name = resource.partition(".")[2]
    if name == "cpu" and canonical(divisor) not in _CPU_DIVISORS:
        text = "only divisor's values 1m and 1 are supported with the cpu resource"
        errors.append(invalid_value(f"{at}.divisor", quote(resource), text))
    if name in ("memory", "ephemeral-storage") and canonical(divisor) not in _DIVISORS:
        what = "memory" if name == "memory" else "local ephemeral storage"
        text = f"only divisor's values {', '.join(_DIVISORS)} are supported with the {what} resource"
        errors.append(invalid_value(f"{at}.divisor", quote(resource), text))
    return errors
