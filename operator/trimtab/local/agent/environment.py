"""The environment of a container: what its spec asks for, and nothing of the user's."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trimtab.local.objects import Object
from trimtab.local.quantities import quantity

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.\-][A-Za-z0-9_.\-]*)\)")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class ConfigError(Exception):
    """The spec names something that is not there (yet): CreateContainerConfigError."""


class MountError(ConfigError):
    """A volume cannot be set up (yet): the container is not created, and an event says why."""

    def __init__(self, volume: str, message: str) -> None:
        super().__init__(message)
        self.volume = volume


@dataclass(frozen=True, slots=True)
class Sources:
    """Where values come from.

    Attributes:
        pod: the pod's object.
        facts: values that the object does not carry yet, by field path (status.podIP, status.hostIP).
        config_map: the data of a ConfigMap of the pod's namespace, None where it does not exist.
        secret: the data of a Secret, base64 as stored, None where it does not exist.
        allocatable: what the node offers; a limit that is not set counts as all of it.
        services: those that the pod finds by variables.
    """

    pod: Object
    facts: Mapping[str, str]
    config_map: Callable[[str], Mapping[str, str] | None]
    secret: Callable[[str], Mapping[str, str] | None]
    allocatable: Mapping[str, str]
    services: Callable[[], Sequence[Object]] = tuple


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; `$$` is a dollar sign, and an unknown name stays as it is written."""

    def value(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(value, text)


def service_links(services: Sequence[Object]) -> dict[str, str]:
    """The variables by which a container finds the Services that were there before it."""
    variables: dict[str, str] = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP") or "None", service["spec"].get("ports") or ()
        if address == "None" or not ports:
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        variables[f"{name}_SERVICE_HOST"] = address
        variables[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                variables[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        for index, port in enumerate(ports):
            protocol, number = port.get("protocol") or "TCP", port["port"]
            url = f"{protocol.lower()}://{address}:{number}"
            if index == 0:
                variables[f"{name}_PORT"] = url
            prefix = f"{name}_PORT_{number}_{protocol.upper()}"
            variables[prefix] = url
            variables[f"{prefix}_PROTO"] = protocol.lower()
            variables[f"{prefix}_PORT"] = str(number)
            variables[f"{prefix}_ADDR"] = address
    return variables


def environment_of(container: Object, sources: Sources) -> dict[str, str]:
    """The variables that the spec sets, `envFrom` first; a value may use those before it, and those of Services.

    Raises:
        ConfigError: A ConfigMap, Secret or key that must exist does not.
    """
    variables = service_links(sources.services())
    for source in container.get("envFrom") or ():
        variables.update(_from_source(source, sources))
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            value = _value_from(entry["valueFrom"], container, sources)
            if value is not None:
                variables[entry["name"]] = value
        else:
            variables[entry["name"]] = expanded(entry.get("value") or "", variables)
    return variables


def _from_source(source: Object, sources: Sources) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field, decode in (("configMapRef", False), ("secretRef", True)):
        if reference := source.get(field):
            data = _data_of(reference, sources, secret=decode)
            return {prefix + k: _decoded(v) if decode else v for k, v in data.items()}
    return {}


def _data_of(reference: Object, sources: Sources, *, secret: bool) -> Mapping[str, str]:
    name = reference["name"]
    data = sources.secret(name) if secret else sources.config_map(name)
    if data is None:
        if reference.get("optional"):
            return {}
        kind = "secret" if secret else "configmap"
        msg = f'{kind} "{name}" not found'
        raise ConfigError(msg)
    return data


def _value_from(source: Object, container: Object, sources: Sources) -> str | None:
    if reference := source.get("fieldRef"):
        return field_value(reference["fieldPath"], sources)
    if reference := source.get("resourceFieldRef"):
        return resource_value(reference, container, sources)
    for field, secret in (("configMapKeyRef", False), ("secretKeyRef", True)):
        if reference := source.get(field):
            return _key_value(reference, sources, secret=secret)
    msg = (
        f"env valueFrom has no known source, found {sorted(source)}; "
        "use fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef"
    )
    raise ConfigError(msg)


def _key_value(reference: Object, sources: Sources, *, secret: bool) -> str | None:
    data = _data_of(reference, sources, secret=secret)
    key = reference["key"]
    if key not in data:
        if reference.get("optional"):
            return None
        kind, namespace = ("Secret" if secret else "ConfigMap"), sources.pod["metadata"]["namespace"]
        msg = f"couldn't find key {key} in {kind} {namespace}/{reference['name']}"
        raise ConfigError(msg)
    return _decoded(data[key]) if secret else data[key]


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode(errors="replace")


def field_value(path: str, sources: Sources) -> str:
    """What the downward API says of the pod.

    Raises:
        ConfigError: The path is none that Kubernetes offers.
    """
    if (fact := sources.facts.get(path)) is not None:
        return fact
    metadata, spec = sources.pod["metadata"], sources.pod["spec"]
    if keyed := _KEYED.fullmatch(path):
        values: Mapping[str, str] = metadata.get(keyed.group(1)) or {}
        return values.get(keyed.group(2), "")
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "metadata.labels": _lines(metadata.get("labels") or {}),
        "metadata.annotations": _lines(metadata.get("annotations") or {}),
    }
    if path not in known:
        msg = f"fieldRef {path!r} is not supported; known: {', '.join([*known, *sources.facts])}"
        raise ConfigError(msg)
    return str(known[path])


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in sorted(values.items()))


def resource_value(reference: Object, container: Object, sources: Sources) -> str:
    """A request or limit in units of the divisor, rounded up."""
    kind, _, name = str(reference["resource"]).partition(".")
    amounts = (container.get("resources") or {}).get(kind) or {}
    amount = amounts.get(name)
    if amount is None:
        amount = sources.allocatable.get(name, "0") if kind == "limits" else "0"
    divisor = quantity(str(reference.get("divisor") or "1")) or quantity("1")
    return str(math.ceil(quantity(str(amount)) / divisor))
