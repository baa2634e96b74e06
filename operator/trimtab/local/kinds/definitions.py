"""CustomResourceDefinitions as objects: their defaults, and what is wrong with one."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from trimtab.local.kinds.conversions import conversion_errors
from trimtab.local.kinds.rules import Rules
from trimtab.local.names import label_1035_problems, subdomain_problems
from trimtab.local.objects import Object, quote
from trimtab.local.schema import gostructs
from trimtab.local.schema.definitions import definition_errors
from trimtab.local.schema.keywords import selectable_errors
from trimtab.local.statuses import FieldError, invalid_value, required, unsupported

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
APPROVED = "api-approved.kubernetes.io"
_COLUMN_TYPES = "boolean,date,integer,number,string"
_COLUMN_FORMATS = "byte,date,date-time,double,float,int32,int64,password"
_NO_NAMES = {"plural": "", "kind": ""}
_WARNING_LENGTH = 256
_POLICY = "see https://github.com/kubernetes/enhancements/pull/1111"


def _default(definition: Object) -> None:
    spec = definition.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if kind := names.get("kind"):
        names["singular"] = names.get("singular") or kind.lower()
        names["listKind"] = names.get("listKind") or f"{kind}List"
    for version in spec.get("versions") or []:
        for name, empty in (("name", ""), ("served", False), ("storage", False)):
            version.setdefault(name, empty)
    conversion = spec.setdefault("conversion", {"strategy": "None"})
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)
    if spec.get("preserveUnknownFields") is False:
        del spec["preserveUnknownFields"]


def _create(definition: Object) -> None:
    stored = [v["name"] for v in _versions(definition) if v.get("storage")][:1]
    definition["status"] = {"conditions": None, "acceptedNames": dict(_NO_NAMES), "storedVersions": stored or None}


def _update(new: Object, old: Object) -> None:
    """A new storage version joins the ones that objects may still be stored in."""
    stored = list(old["status"].get("storedVersions") or [])
    stored += [v["name"] for v in _versions(new) if v.get("storage") and v["name"] not in stored][:1]
    new["status"] = {**old["status"], "storedVersions": stored}


def _versions(definition: Object) -> list[Object]:
    return definition["spec"].get("versions") or []


def _on_delete(definition: Object, _gone: bool, now: str) -> tuple[Object, bool]:
    """A definition stays until all objects of its kind are gone."""
    metadata = dict(definition["metadata"])
    metadata.setdefault("deletionTimestamp", now)
    metadata.pop("deletionGracePeriodSeconds", None)
    finalizers = metadata.get("finalizers") or []
    metadata["finalizers"] = finalizers if CLEANUP in finalizers else [*finalizers, CLEANUP]
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    marked = {**definition, "metadata": metadata}
    return terminating(marked, "InstanceDeletionPending", message, now), False


def terminating(definition: Object, reason: str, message: str, now: str) -> Object:
    """The definition with a condition that says how far its end is."""
    condition = {
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    before = definition["status"].get("conditions") or []
    for old in before:
        if old["type"] == "Terminating":
            condition["lastTransitionTime"] = old["lastTransitionTime"]
    others = [c for c in before if c["type"] != "Terminating"]
    return {**definition, "status": {**definition["status"], "conditions": [*others, condition]}}


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    errors = []
    name = new["metadata"].get("name", "")
    if name and name != f"{spec['names'].get('plural', '')}.{spec.get('group', '')}":
        errors.append(invalid_value("metadata.name", quote(name), 'must be spec.names.plural+"."+spec.group'))
    errors += _group_errors(spec.get("group") or "")
    scope = spec.get("scope") or ""
    if not scope:
        errors.append(required("spec.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        errors.append(unsupported("spec.scope", quote(scope), ['"Cluster"', '"Namespaced"']))
    errors += _name_errors(spec["names"])
    errors += _version_errors(spec, old["spec"] if old is not None else None)
    if old is None or spec != old["spec"]:
        # Where the spec stays, it is the status that is written, by whoever moved the stored objects.
        errors += _stored_errors(new)
    errors += conversion_errors(spec)
    if spec.get("preserveUnknownFields"):
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        errors.append(invalid_value("spec.preserveUnknownFields", "true", text))
    errors += _approval_errors(new, old)
    if old is not None:
        errors += _change_errors(spec, old)
    return errors


def _group_errors(group: str) -> list[FieldError]:
    if not group:
        return [required("spec.group")]
    if problems := subdomain_problems(group):
        return [invalid_value("spec.group", quote(group), ",".join(problems))]
    if "." not in group:
        return [invalid_value("spec.group", quote(group), "should be a domain with at least one dot")]
    return []


def _name_errors(names: Object) -> list[FieldError]:
    at = "spec.names"
    errors = [required(f"{at}.{name}") for name in ("plural", "singular", "kind", "listKind") if not names.get(name)]
    for name in ("plural", "singular"):
        errors += _label_errors(names.get(name) or "", f"{at}.{name}")
    for name in ("kind", "listKind"):
        value = names.get(name) or ""
        if value and (problems := label_1035_problems(value.lower())):
            text = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            errors.append(invalid_value(f"{at}.{name}", quote(value), text))
    for name in ("shortNames", "categories"):
        for index, value in enumerate(names.get(name) or ()):
            errors += _label_errors(value, f"{at}.{name}[{index}]", empty_is_fine=False)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        text = "kind and listKind may not be the same"
        errors.append(invalid_value(f"{at}.listKind", quote(names["listKind"]), text))
    return errors


def _label_errors(value: str, at: str, *, empty_is_fine: bool = True) -> list[FieldError]:
    if not value and empty_is_fine:
        return []
    problems = label_1035_problems(value)
    return [invalid_value(at, quote(value), ",".join(problems))] if problems else []


def _version_errors(spec: Object, before: Object | None) -> Iterator[FieldError]:
    versions = spec.get("versions") or []
    names = [version.get("name", "") for version in versions]
    for index, version in enumerate(versions):
        at = f"spec.versions[{index}]"
        yield from _label_errors(version.get("name", ""), f"{at}.name", empty_is_fine=False)
        yield from _warning_errors(version, f"{at}.deprecationWarning")
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield required(f"{at}.schema.openAPIV3Schema")
    shown = gostructs.shown([gostructs.version(v, shared=_shared(versions)) for v in versions] or None)
    if len(set(names)) != len(names):
        yield invalid_value("spec.versions", shown, "must contain unique version names")
    if sum(1 for version in versions if version.get("storage")) != 1:
        yield invalid_value("spec.versions", shown, "must have exactly one version marked as storage version")
    if versions:
        yield from _detail_errors(versions, before)


def _shared(versions: list[Object]) -> set[str]:
    """Details that are the same in all versions; a real server keeps them once, beside the versions."""
    details = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")
    return {name for name in details if all(v.get(name) == versions[0].get(name) for v in versions)}


def _detail_errors(versions: list[Object], before: Object | None) -> Iterator[FieldError]:
    shared = _shared(versions)
    known = {v.get("name"): v.get("schema") for v in (before or {}).get("versions") or []}
    with_status = any("status" in (version.get("subresources") or {}) for version in versions)
    for index, version in enumerate(versions):
        own = f"spec.versions[{index}]"
        places = {name: "spec" if name in shared else own for name in ("subresources", "additionalPrinterColumns")}
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        unchanged = version.get("name") in known and known[version.get("name")] == version.get("schema")
        if schema and not unchanged and not ("schema" in shared and index):
            at = "spec.validation" if "schema" in shared else f"{own}.schema"
            has_status = with_status if "schema" in shared else "status" in (version.get("subresources") or {})
            yield from definition_errors(schema, f"{at}.openAPIV3Schema", has_status=has_status)
        if not ("subresources" in shared and index):
            yield from _scale_errors(version, f"{places['subresources']}.subresources.scale")
        if not ("additionalPrinterColumns" in shared and index):
            yield from _column_errors(version, f"{places['additionalPrinterColumns']}.additionalPrinterColumns")
        if schema and not ("selectableFields" in shared and index):
            at = "spec" if "selectableFields" in shared else own
            yield from selectable_errors(version.get("selectableFields") or [], schema, f"{at}.selectableFields")


def _warning_errors(version: Object, at: str) -> Iterator[FieldError]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    problems = []
    if not version.get("deprecated"):
        problems.append("can only be set for deprecated versions")
    else:
        if len(warning.encode()) > _WARNING_LENGTH:
            problems.append("must be <= 256 characters long")
        if not warning:
            problems.append("must not be an empty string")
        strange = next((c for c in warning if not c.isprintable()), None)
        if strange is not None:
            place = len(warning[: warning.index(strange)].encode())
            text = "must only contain printable UTF-8 characters; non-printable character found at index"
            problems.append(f"{text} {place}")
    for text in problems:
        yield invalid_value(at, quote(warning), text)


def _path_errors(path: str, at: str, roots: tuple[str, ...]) -> list[FieldError]:
    if not path.startswith("."):
        return [invalid_value(at, quote(path), "must be a simple json path starting with .")]
    if roots and not path.startswith(tuple(f"{root}." for root in roots)):
        where = roots[0] if len(roots) == 1 else f"either {' or '.join(roots)}"
        return [invalid_value(at, quote(path), f"should be a json path under {where}")]
    return []


def _scale_errors(version: Object, at: str) -> list[FieldError]:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return []
    errors = []
    for name, root in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        path = scale.get(name) or ""
        errors += _path_errors(path, f"{at}.{name}", (root,)) if path else [required(f"{at}.{name}")]
    if selector := scale.get("labelSelectorPath"):
        errors += _path_errors(selector, f"{at}.labelSelectorPath", (".spec", ".status"))
    return errors


def _column_errors(version: Object, at: str) -> Iterator[FieldError]:
    for index, column in enumerate(version.get("additionalPrinterColumns") or []):
        where = f"{at}[{index}]"
        if not column.get("name"):
            yield required(f"{where}.name")
        kind, form, path = (column.get(name) or "" for name in ("type", "format", "jsonPath"))
        if not kind:
            yield required(f"{where}.type", f"must be one of {_COLUMN_TYPES}")
        elif kind not in _COLUMN_TYPES.split(","):
            yield invalid_value(f"{where}.type", quote(kind), f"must be one of {_COLUMN_TYPES}")
        if form and form not in _COLUMN_FORMATS.split(","):
            yield invalid_value(f"{where}.format", quote(form), f"must be one of {_COLUMN_FORMATS}")
        if not path:
            yield required(f"{where}.JSONPath")
        else:
            yield from _path_errors(path, f"{where}.JSONPath", ())


def _stored_errors(definition: Object) -> Iterator[FieldError]:
    at = "status.storedVersions"
    stored = (definition.get("status") or {}).get("storedVersions") or []
    if not stored:
        yield invalid_value(at, "null", "must have at least one stored version")
        return
    names = [version.get("name") for version in _versions(definition)]
    for version in _versions(definition):
        if version.get("storage") and version.get("name") not in stored:
            yield invalid_value(at, quote(stored), f"must have the storage version {version.get('name')}")
    for index, name in enumerate(stored):
        if name not in names:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            yield invalid_value(f"{at}[{index}]", quote(name), text)


def approval(definition: Object) -> tuple[str, str]:
    """(state, reason) of a definition in a protected group: Approved, Bypassed, Invalid or Missing."""
    given = (definition["metadata"].get("annotations") or {}).get(APPROVED, "")
    if not given:
        return "Missing", f'protected groups must have approval annotation "{APPROVED}", {_POLICY}'
    if given.startswith("unapproved"):
        return "Bypassed", f"not approved: {quote(given)}"
    parts = urlsplit(given)
    if parts.scheme and parts.netloc:
        return "Approved", f"approved in {given}"
    text = f'protected groups must have approval annotation "{APPROVED}" with either a URL or a reason starting with'
    return "Invalid", f'{text} "unapproved", {_POLICY}'


def is_protected(group: str) -> bool:
    """Whether a group belongs to the Kubernetes project."""
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def _approval_errors(new: Object, old: Object | None) -> list[FieldError]:
    if not is_protected(new["spec"].get("group") or ""):
        return []
    state, reason = approval(new)
    if state in ("Approved", "Bypassed") or (old is not None and approval(old)[0] == state):
        return []
    at = f"metadata.annotations[{APPROVED}]"
    if state == "Missing":
        return [required(at, reason)]
    return [invalid_value(at, quote(new["metadata"]["annotations"][APPROVED]), reason)]


def _change_errors(new: Object, old: Object) -> list[FieldError]:
    before: Any = old["spec"]
    conditions = old["status"].get("conditions") or []
    established = any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
    pairs = [
        ("spec.group", new.get("group"), before.get("group")),
        ("spec.names.plural", new["names"].get("plural"), before["names"].get("plural")),
    ]
    if established:
        pairs += [
            ("spec.scope", new.get("scope"), before.get("scope")),
            ("spec.names.kind", new["names"].get("kind"), before["names"].get("kind")),
        ]
    return [invalid_value(at, quote(now), "field is immutable") for at, now, then in pairs if now != then]


DEFINITION = Rules(
    default=_default,
    create=_create,
    update=_update,
    validate=_validate,
    on_delete=_on_delete,
    unconditional=False,
)
