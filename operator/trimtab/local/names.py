"""What names, labels and finalizers may look like, with the texts that Kubernetes explains it with."""

import re
from collections.abc import Mapping

from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required

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


def _name_problems(resource: str, name: str) -> list[str]:
    if resource.endswith("rbac.authorization.k8s.io"):
        bad = [c for c in ("/", "%") if c in name]
        return [f"may not contain '{c}'" for c in bad]
    if resource in _DNS_LABEL_NAMES:
        return label_problems(name)
    if resource in _DNS_1035_NAMES:
        return label_1035_problems(name)
    return subdomain_problems(name)


def metadata_errors(resource: str, metadata: Object) -> list[FieldError]:
    """Everything wrong with an object's metadata, in the order Kubernetes reports it."""
    name = metadata.get("name") or ""
    errors = []
    if not name:
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        errors += [invalid_value("metadata.name", quote(name), text) for text in _name_problems(resource, name)]
    errors += labels_errors(metadata.get("labels") or {}, "metadata.labels")
    errors += _annotation_errors(metadata.get("annotations") or {})
    for finalizer in metadata.get("finalizers") or []:
        errors += _finalizer_errors(finalizer)
    return errors + _owner_errors(metadata.get("ownerReferences") or [])


def labels_errors(labels: Mapping[str, str], field: str) -> list[FieldError]:
    errors = []
    for key, value in sorted(labels.items()):
        errors += [invalid_value(field, quote(key), text) for text in qualified_name_problems(key)]
        errors += [invalid_value(field, quote(value), text) for text in label_value_problems(value)]
    return errors


def _annotation_errors(annotations: Mapping[str, str]) -> list[FieldError]:
    field = "metadata.annotations"
    errors = [
        invalid_value(field, quote(key), text)
        for key in sorted(annotations)
        for text in qualified_name_problems(key.lower())
    ]
    if sum(len(k) + len(v) for k, v in annotations.items()) > _ANNOTATION_BYTES:
        text = f"Too long: may not be more than {_ANNOTATION_BYTES} bytes"
        errors.append(FieldError(field, "FieldValueTooLong", text))
    return errors


def _finalizer_errors(finalizer: str) -> list[FieldError]:
    field = "metadata.finalizers"
    return [invalid_value(field, quote(finalizer), text) for text in qualified_name_problems(finalizer)]


def _owner_errors(owners: list[Object]) -> list[FieldError]:
    errors = []
    for owner in owners:
        errors += [
            invalid_value(f"metadata.ownerReferences.{key}", '""', f"{key} must not be empty")
            for key in ("apiVersion", "kind", "name", "uid")
            if not owner.get(key)
        ]
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        text = 'Only one reference can have Controller set to true. Found "true" in references for ' + " and ".join(
            f"{o['kind']}/{o['name']}" for o in controllers[:2]
        )
        errors.append(invalid_value("metadata.ownerReferences", quote(owners), text))
    return errors


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
    return errors


def _go_set(values: list[str]) -> str:
    return "[]string{" + ", ".join(quote(v) for v in values) + "}"
