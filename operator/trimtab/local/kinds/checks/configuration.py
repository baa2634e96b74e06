"""What is wrong with ConfigMaps, Secrets, Namespaces, Nodes, PriorityClasses, StorageClasses and Leases."""

import base64
import json

from trimtab.local.kinds.checks.gostructs import shown
from trimtab.local.kinds.checks.placement import effect_errors
from trimtab.local.kinds.checks.values import (
    IMMUTABLE,
    NOT_NEGATIVE,
    choice_errors,
    cidr_errors,
    invalid_all,
    key_problems,
    qualified_name_errors,
    quantity_errors,
)
from trimtab.local.names import label_value_problems, qualified_name_problems
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required, too_long

_LARGEST = 1024 * 1024  # bytes of data in one object
_HIGHEST_PRIORITY = 1_000_000_000
_SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
# What secrets of a type must hold.
_DOCKER = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def _frozen_errors(new: Object, old: Object | None, *fields: str) -> list[FieldError]:
    """Once `immutable` is set, neither it nor the data may change."""
    if old is None or not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    errors = [] if new.get("immutable") else [forbidden_field("immutable", text)]
    return errors + [forbidden_field(f, text) for f in fields if new.get(f) != old.get(f)]


def config_map_errors(new: Object, old: Object | None) -> list[FieldError]:
    errors = _frozen_errors(new, old, "data", "binaryData")
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        errors += invalid_all(f"data[{key}]", key, key_problems(key))
        if key in binary:
            errors.append(invalid_value(f"data[{key}]", quote(key), "duplicate of key present in binaryData"))
        size += len(value.encode())
    for key, value in binary.items():
        errors += invalid_all(f"binaryData[{key}]", key, key_problems(key))
        size += len(value) * 3 // 4
    return errors + ([too_long("", _LARGEST)] if size > _LARGEST else [])


def secret_errors(new: Object, old: Object | None) -> list[FieldError]:
    errors = []
    kind, data = new.get("type") or "", new.get("data") or {}
    if old is not None and old.get("type") != kind:
        errors.append(invalid_value("type", quote(kind), IMMUTABLE))
    errors += _frozen_errors(new, old, "data")
    for key in data:
        errors += invalid_all(f"data[{key}]", key, key_problems(key))
    if sum(len(value) * 3 // 4 for value in data.values()) > _LARGEST:
        errors.append(too_long("data", _LARGEST))
    return errors + _secret_type_errors(new, kind, data)


def _secret_type_errors(secret: Object, kind: str, data: dict[str, str]) -> list[FieldError]:
    match kind:
        case "kubernetes.io/service-account-token":
            name = "kubernetes.io/service-account.name"
            given = (secret["metadata"].get("annotations") or {}).get(name)
            return [] if given else [required(f"metadata.annotations[{name}]")]
        case "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson":
            return _docker_errors(data, _DOCKER[kind])
        case "kubernetes.io/basic-auth" if not {"username", "password"} & data.keys():
            return [required("data[username]"), required("data[password]")]
        case "kubernetes.io/ssh-auth" if not data.get("ssh-privatekey"):
            return [required("data[ssh-privatekey]")]
        case "kubernetes.io/tls":
            return [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    return []


def _docker_errors(data: dict[str, str], key: str) -> list[FieldError]:
    if key not in data:
        return [required(f"data[{key}]")]
    text = base64.b64decode(data[key]).decode("utf-8", "replace")
    try:
        found = json.loads(text)
        problem = (
            "" if isinstance(found, dict) else "json: cannot unmarshal into Go value of type map[string]interface {}"
        )
    except ValueError:
        problem = f"invalid character '{text[0]}' looking for beginning of value" if text else ""
        problem = problem or "unexpected end of JSON input"
    return [invalid_value(f"data[{key}]", '"<secret contents redacted>"', problem)] if problem else []


def namespace_status_errors(new: Object, _old: Object) -> list[FieldError]:
    phase, going = (new.get("status") or {}).get("phase") or "", bool(new["metadata"].get("deletionTimestamp"))
    if phase == ("Terminating" if going else "Active"):
        return []
    text = (
        "may only be 'Terminating' if `deletionTimestamp` is not empty"
        if going
        else "may only be 'Active' if `deletionTimestamp` is empty"
    )
    return [invalid_value("status.Phase", quote(phase), text)]


def node_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    errors = _taints_errors(spec.get("taints") or [], "metadata.taints")
    errors += node_status_errors(new, new)
    for index, value in enumerate(spec.get("podCIDRs") or []):
        errors += cidr_errors(value, f"spec.podCIDRs[{index}]")
    if old is None:
        return errors
    before = old.get("spec") or {}
    if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
        text = 'node updates may not change podCIDR except from "" to valid'
        errors.append(forbidden_field("spec.podCIDRs", text))
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        errors.append(forbidden_field("spec.providerID", text))
    return errors


def node_status_errors(new: Object, _old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    errors = []
    for group in ("capacity", "allocatable"):
        for name, value in sorted((status.get(group) or {}).items()):
            errors += quantity_errors(name, value, f"status.{group}.{name}")
    return errors


def _taints_errors(taints: list[Object], at: str) -> list[FieldError]:
    errors = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        where = f"{at}[{index}]"
        key, value, effect = (taint.get(name) or "" for name in ("key", "value", "effect"))
        errors += qualified_name_errors(key, f"{where}.key")
        if problems := label_value_problems(value):
            errors.append(invalid_value(f"{where}.value", quote(value), ";".join(problems)))
        errors += effect_errors(effect, f"{where}.effect")
        if (key, effect) in seen:
            text = f"Duplicate value: {shown(taint, 'Taint')}: taints must be unique by key and effect pair"
            errors.append(FieldError(where, "FieldValueDuplicate", text))
        seen.add((key, effect))
    return errors


def priority_class_errors(new: Object, old: Object | None) -> list[FieldError]:
    if old is not None:
        errors = []
        if new.get("value") != old.get("value"):
            errors.append(forbidden_field("value", "may not be changed in an update."))
        if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
            errors.append(invalid_value("preemptionPolicy", quote(new.get("preemptionPolicy")), IMMUTABLE))
        return errors
    errors = []
    name, value = new["metadata"].get("name") or "", new.get("value") or 0
    if name.startswith("system-"):
        if _SYSTEM_CLASSES.get(name) != value:
            text = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
            )
            errors.append(forbidden_field("metadata.name", text))
    elif value > _HIGHEST_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}"
        errors.append(forbidden_field("value", text))
    policy = new.get("preemptionPolicy")
    return errors + choice_errors(policy or "", "preemptionPolicy", ("PreemptLowerPriority", "Never"))


def storage_class_errors(new: Object, old: Object | None) -> list[FieldError]:
    errors = []
    provisioner = new.get("provisioner") or ""
    if not provisioner:
        errors.append(required("provisioner"))
    else:
        errors += invalid_all("provisioner", provisioner, qualified_name_problems(provisioner.lower()))
    reclaim, binding = new.get("reclaimPolicy") or "", new.get("volumeBindingMode") or ""
    errors += choice_errors(reclaim, "reclaimPolicy", ("Delete", "Retain"))
    errors += choice_errors(binding, "volumeBindingMode", ("Immediate", "WaitForFirstConsumer"))
    if old is None:
        return errors
    text = "updates to parameters are forbidden."
    if new.get("parameters") != old.get("parameters"):
        errors.append(forbidden_field("parameters", text))
    for name in ("provisioner", "reclaimPolicy"):
        if new.get(name) != old.get(name):
            errors.append(forbidden_field(name, f"updates to {name} are forbidden."))
    if binding != old.get("volumeBindingMode"):
        errors.append(invalid_value("volumeBindingMode", quote(binding), IMMUTABLE))
    return errors


def lease_errors(new: Object, _old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    errors = []
    if seconds is not None and seconds <= 0:
        errors.append(invalid_value("spec.leaseDurationSeconds", str(seconds), "must be greater than 0"))
    if transitions is not None and transitions < 0:
        errors.append(invalid_value("spec.leaseTransitions", str(transitions), NOT_NEGATIVE))
    if spec.get("preferredHolder") and not spec.get("strategy"):
        text = "may only be specified if `strategy` is defined"
        errors.append(forbidden_field("spec.preferredHolder", text))
    return errors
