"""Services: an address from the cluster's range, ports, and what of it stays."""

import re

from trimtab.local import statuses
from trimtab.local.kinds.rules import Neighbours, Rules
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, duplicate, invalid_value, required

HEADLESS = "None"
_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def _default(service: Object) -> None:
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port", 0)
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    service.setdefault("status", {}).setdefault("loadBalancer", {})


def _create(service: Object) -> None:
    service["status"] = {"loadBalancer": {}}


def _reserve(service: Object, neighbours: Neighbours) -> None:
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    wanted = spec.get("clusterIP") or None
    if wanted != HEADLESS:
        try:
            spec["clusterIP"] = neighbours.allocate_service_ip(wanted)
        except ValueError as error:
            cause = invalid_value("spec.clusterIPs", quote([wanted]), f"failed to allocate IP {wanted}: {error}")
            raise statuses.invalid("", "Service", service["metadata"]["name"], [cause]) from None
    spec["clusterIPs"] = [spec["clusterIP"]]


def _update(new: Object, old: Object) -> None:
    """An update that leaves the address out keeps it."""
    for name in ("clusterIP", "clusterIPs"):
        if not new["spec"].get(name) and old["spec"].get(name) and new["spec"]["type"] != "ExternalName":
            new["spec"][name] = old["spec"][name]


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    errors = []
    if not spec.get("ports") and spec.get("clusterIP") != HEADLESS and spec["type"] != "ExternalName":
        errors.append(required("spec.ports"))
    errors += _port_errors(spec.get("ports") or [])
    if spec["type"] not in ("ClusterIP", "ExternalName"):
        supported = ['"ClusterIP"', '"ExternalName"']
        errors.append(statuses.unsupported("spec.type", quote(spec["type"]), supported))
    if old is not None and old["spec"].get("clusterIP") and spec.get("clusterIP") != old["spec"]["clusterIP"]:
        shown = quote([spec.get("clusterIP")])
        errors.append(invalid_value("spec.clusterIPs[0]", shown, "may not change once set"))
    return errors


def _port_errors(ports: list[Object]) -> list[FieldError]:
    errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            errors.append(required(f"{at}.name"))
        elif name and not _PORT_NAME.fullmatch(name):
            errors.append(invalid_value(f"{at}.name", quote(name), "must be a lowercase RFC 1123 label"))
        elif name and name in names:
            errors.append(duplicate(f"{at}.name", quote(name)))
        names.add(name)
        for field in ("port", "targetPort"):
            number = port.get(field, 0)
            if isinstance(number, int) and not 1 <= number <= 65535:
                text = "must be between 1 and 65535, inclusive"
                errors.append(invalid_value(f"{at}.{field}", str(number), text))
    return errors


SERVICE = Rules(
    default=_default, create=_create, commit=_reserve, update=_update, validate=_validate, returns_deleted=True
)
