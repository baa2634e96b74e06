"""What names, labels and finalizers may look like, with the texts that Kubernetes explains it with."""

import re
from collections.abc import Mapping, Sequence

from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required, too_long

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME_PART = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_ALNUM = "must start and end with an alphanumeric character"

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    f"and {_ALNUM} (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    f"and {_ALNUM} (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    f"regex used for validation is '{_LABEL_1035}')"
)
_NAME_PART_TEXT = (
    f"name part must consist of alphanumeric characters, '-', '_' or '.', and {_ALNUM} "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME_PART}')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    f"and {_ALNUM} (e.g. 'MyValue',  or 'my_value',  or '12345', "
    r"regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_DNS_LABEL_NAMES = {"namespaces"}
_DNS_1035_NAMES = {"services"}
_LEGACY_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_IMMUTABLE = "field is immutable"
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
_ANNOTATION_BYTES = 256 * 1024


def subdomain_problems(value: str) -> list[str]:
    found = [] if len(value) <= 253 else ["must be no more than 253 characters"]
    return found if re.fullmatch(_SUBDOMAIN, value) else [*found, _SUBDOMAIN_TEXT]


def label_problems(value: str) -> list[str]:
    """Problems of an RFC 1123 label."""
    found = [] if len(value) <= 63 else ["must be no more than 63 bytes"]
    return found if re.fullmatch(_LABEL, value) else [*found, _LABEL_TEXT]


def label_1035_problems(value: str) -> list[str]:
    found = [] if len(value) <= 63 else ["must be no more than 63 bytes"]
    return found if re.fullmatch(_LABEL_1035, value) else [*found, _LABEL_1035_TEXT]


def qualified_name_problems(value: str) -> list[str]:
    """Problems of a label key, an annotation key or a finalizer: [prefix/]name."""
    parts = value.split("/")
    if len(parts) > 2:
        text = (
            f"a qualified name must consist of alphanumeric characters, '-', '_' or '.', and {_ALNUM} "
            f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME_PART}') "
            "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
        return [text]
    found: list[str] = []
    if len(parts) == 2:
        if not parts[0]:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {problem}" for problem in subdomain_problems(parts[0])]
    name = parts[-1]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if not re.fullmatch(_NAME_PART, name):
        found.append(_NAME_PART_TEXT)
    return found


def label_value_problems(value: str) -> list[str]:
    found = [] if len(value) <= 63 else ["must be no more than 63 bytes"]
    return found if not value or re.fullmatch(_NAME_PART, value) else [*found, _VALUE_TEXT]


def path_segment_problems(value: str) -> list[str]:
    """Problems of a name that only has to fit into a URL."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{character}'" for character in ("/", "%") if character in value]


def _name_problems(resource: str, name: str) -> list[str]:
    if resource.endswith("rbac.authorization.k8s.io"):
        return path_segment_problems(name)
    if resource in _DNS_LABEL_NAMES:
        return label_problems(name)
    if resource in _DNS_1035_NAMES:
        return label_1035_problems(name)
    return subdomain_problems(name)


def name_errors(resource: str, metadata: Object) -> list[FieldError]:
    """Everything wrong with an object's name, and with what its name was made of."""
    name, base = metadata.get("name") or "", metadata.get("generateName") or ""
    errors = []
    if base:
        # A trailing dash is fine, as something follows it.
        shown = f"{base[:-2]}a" if base.endswith("-") and len(base) > 1 else base
        problems = _name_problems(resource, shown)
        errors += [invalid_value("metadata.generateName", quote(base), text) for text in problems]
    if not name:
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        errors += [invalid_value("metadata.name", quote(name), text) for text in _name_problems(resource, name)]
    return errors


def metadata_errors(resource: str, metadata: Object) -> list[FieldError]:
    """Everything wrong with an object's metadata, in the order Kubernetes reports it."""
    errors = name_errors(resource, metadata)
    errors += labels_errors(metadata.get("labels") or {}, "metadata.labels")
    errors += annotation_errors(metadata.get("annotations") or {}, "metadata.annotations")
    errors += _owner_errors(metadata.get("ownerReferences") or [])
    return errors + _finalizers_errors(metadata.get("finalizers") or [])


def labels_errors(labels: Mapping[str, str], field: str) -> list[FieldError]:
    errors = []
    for key, value in sorted(labels.items()):
        errors += [invalid_value(field, quote(key), text) for text in qualified_name_problems(key)]
        errors += [invalid_value(field, quote(value), text) for text in label_value_problems(value)]
    return errors


def annotation_errors(annotations: Mapping[str, str], field: str) -> list[FieldError]:
    errors = [
        invalid_value(field, quote(key), text)
        for key in sorted(annotations)
        for text in qualified_name_problems(key.lower())
    ]
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > _ANNOTATION_BYTES:
        errors.append(too_long(field, _ANNOTATION_BYTES))
    return errors


def _finalizers_errors(finalizers: Sequence[str]) -> list[FieldError]:
    field = "metadata.finalizers"
    errors = [invalid_value(field, quote(f), text) for f in finalizers for text in qualified_name_problems(f)]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid_value(field, quote(list(finalizers)), text))
    return errors


def legacy_finalizer_errors(metadata: Object) -> list[FieldError]:
    """Finalizers of built-in kinds have a domain, but for those of the server itself."""
    text = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        invalid_value(f"metadata.finalizers[{index}]", quote(finalizer), text)
        for index, finalizer in enumerate(metadata.get("finalizers") or [])
        if "/" not in finalizer and finalizer not in _LEGACY_FINALIZERS
    ]


def _owner_errors(owners: list[Object]) -> list[FieldError]:
    field = "metadata.ownerReferences"
    errors = []
    first = ""
    for owner in owners:
        if not str(owner.get("apiVersion") or "").rpartition("/")[2]:
            shown = quote(owner.get("apiVersion") or "")
            errors.append(invalid_value(f"{field}.apiVersion", shown, "version must not be empty"))
        empty = [key for key in ("kind", "name", "uid") if not owner.get(key)]
        errors += [invalid_value(f"{field}.{key}", '""', "must not be empty") for key in empty]
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            text = "/v1, Kind=Event is disallowed from being an owner"
            errors.append(invalid_value(field, quote(_shown_owner(owner)), text))
        if owner.get("controller"):
            name = f"{owner.get('kind')}/{owner.get('name')}"
            if first:
                text = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{first} and {name}"
                )
                errors.append(invalid_value(field, quote([_shown_owner(o) for o in owners]), text))
            first = first or name
    return errors


def _shown_owner(owner: Object) -> Object:
    return {name: owner.get(name, "") for name in _OWNER_FIELDS if name in owner or name in _OWNER_FIELDS[:4]}


def metadata_change_errors(new: Object, old: Object) -> list[FieldError]:
    """Changes of metadata that no update may make, and what is wrong with what it may."""
    errors = immutable_metadata_errors(new, old)
    errors += labels_errors(new.get("labels") or {}, "metadata.labels")
    errors += annotation_errors(new.get("annotations") or {}, "metadata.annotations")
    return errors + _owner_errors(new.get("ownerReferences") or [])


def immutable_metadata_errors(new: Object, old: Object) -> list[FieldError]:
    """Changes of metadata that no update may make."""
    errors = []
    if old.get("deletionTimestamp"):
        added = [f for f in new.get("finalizers") or [] if f not in (old.get("finalizers") or [])]
        if added:
            text = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers {_go_set(added)}"
            )
            errors.append(forbidden_field("metadata.finalizers", text))
    fixed = ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")
    changed = [field for field in fixed if new.get(field) != old.get(field)]
    return errors + [invalid_value(f"metadata.{f}", quote(new.get(f)), _IMMUTABLE) for f in changed]


def _go_set(values: list[str]) -> str:
    return "[]string{" + ", ".join(quote(v) for v in sorted(values)) + "}"
