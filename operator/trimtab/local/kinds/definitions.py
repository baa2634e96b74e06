"""CustomResourceDefinitions as objects: their defaults, and what is wrong with one."""

from typing import Any

from trimtab.local.jsonpaths import UnreadablePath, steps_of
from trimtab.local.kinds.rules import Rules
from trimtab.local.names import label_1035_problems, subdomain_problems
from trimtab.local.objects import Object, quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.structural import structural_errors
from trimtab.local.statuses import FieldError, invalid_value, required, unsupported

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_NO_NAMES = {"plural": "", "kind": ""}


def _default(definition: Object) -> None:
    spec = definition["spec"]
    names = spec.setdefault("names", {})
    names.setdefault("singular", names.get("kind", "").lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")
    spec.setdefault("conversion", {"strategy": "None"}).setdefault("strategy", "None")
    for version in spec.get("versions") or []:
        for rule in (version.get("subresources") or {}).get("rules") or []:
            rule.setdefault("reason", "FieldValueInvalid")


def _create(definition: Object) -> None:
    stored = [v["name"] for v in definition["spec"].get("versions") or [] if v.get("storage")]
    definition["status"] = {"conditions": None, "acceptedNames": dict(_NO_NAMES), "storedVersions": stored}


def _update(new: Object, old: Object) -> None:
    """A new storage version joins the ones that objects may still be stored in."""
    stored = list(old["status"].get("storedVersions") or [])
    stored += [v["name"] for v in new["spec"]["versions"] if v.get("storage") and v["name"] not in stored]
    new["status"] = {**new["status"], "storedVersions": stored}


def _on_delete(definition: Object, _gone: bool, now: str) -> tuple[Object, bool]:
    """A definition stays until all objects of its kind are gone."""
    metadata = dict(definition["metadata"])
    metadata.setdefault("deletionTimestamp", now)
    metadata.pop("deletionGracePeriodSeconds", None)
    finalizers = metadata.get("finalizers") or []
    metadata["finalizers"] = finalizers if CLEANUP in finalizers else [*finalizers, CLEANUP]
    condition = {
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }
    others = [c for c in definition["status"].get("conditions") or [] if c["type"] != "Terminating"]
    status = {**definition["status"], "conditions": [*others, condition]}
    return {**definition, "metadata": metadata, "status": status}, False


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    names = spec["names"]
    errors = []
    if new["metadata"].get("name") != f"{names.get('plural')}.{spec.get('group')}":
        shown = quote(new["metadata"].get("name"))
        errors.append(invalid_value("metadata.name", shown, 'must be spec.names.plural+"."+spec.group'))
    errors += _name_errors(spec)
    errors += _version_errors(new)
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        shown = quote(spec.get("scope", ""))
        errors.append(unsupported("spec.scope", shown, ['"Cluster"', '"Namespaced"']))
    if spec["conversion"]["strategy"] != "None":
        text = "only None is supported by the embedded cluster: webhooks do not convert here"
        errors.append(invalid_value("spec.conversion.strategy", quote(spec["conversion"]["strategy"]), text))
    if old is not None:
        errors += _change_errors(spec, old["spec"])
    return errors


def _name_errors(spec: Object) -> list[FieldError]:
    names = spec["names"]
    errors = []
    group = spec.get("group", "")
    if not group:
        errors.append(required("spec.group"))
    else:
        errors += [invalid_value("spec.group", quote(group), text) for text in subdomain_problems(group)]
        if "." not in group:
            errors.append(invalid_value("spec.group", quote(group), "should be a domain with at least one dot"))
    for field in ("plural", "singular", "kind", "listKind"):
        value = names.get(field, "")
        if not value:
            errors.append(required(f"spec.names.{field}"))
        else:
            problems = label_1035_problems(value.lower())
            errors += [invalid_value(f"spec.names.{field}", quote(value), text) for text in problems]
    return errors


def _version_errors(definition: Object) -> list[FieldError]:
    versions = definition["spec"].get("versions") or []
    errors = []
    storage = [v for v in versions if v.get("storage")]
    if len(storage) != 1:
        shown = quote([_shown_version(v) for v in versions])
        text = "must have exactly one version marked as storage version"
        errors.append(invalid_value("spec.versions", shown, text))
    if not (definition.get("status") or {}).get("storedVersions"):
        errors.append(invalid_value("status.storedVersions", "null", "must have at least one stored version"))
    for index, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            errors.append(required(f"spec.versions[{index}].schema.openAPIV3Schema"))
    if errors:
        return errors
    for prefix, version in _distinct(versions):
        schema_at = f"{prefix}.schema" if prefix != "spec" else "spec.validation"
        schema = version["schema"]["openAPIV3Schema"]
        errors += structural_errors(schema, f"{schema_at}.openAPIV3Schema")
        errors += _subresource_errors(version, prefix)
        errors += _column_errors(version, prefix)
        errors += _selectable_errors(version, schema, prefix)
    return errors


def _distinct(versions: list[Object]) -> list[tuple[str, Object]]:
    """Versions by the paths that errors name: all under `spec` where they do not differ."""
    fields = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")
    parts = [{field: v.get(field) for field in fields} for v in versions]
    if all(part == parts[0] for part in parts):
        return [("spec", versions[0])]
    return [(f"spec.versions[{i}]", v) for i, v in enumerate(versions)]


def _shown_version(version: Object) -> Object:
    return {
        "Name": version.get("name", ""),
        "Served": version.get("served", False),
        "Storage": version.get("storage", False),
        "Deprecated": version.get("deprecated", False),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": None,
        "Subresources": None,
        "AdditionalPrinterColumns": None,
        "SelectableFields": None,
    }


def _subresource_errors(version: Object, prefix: str) -> list[FieldError]:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return []
    errors = []
    for field, root in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        path = scale.get(field, "")
        at = f"{prefix}.subresources.scale.{field}"
        if not path:
            errors.append(required(at))
        elif not path.startswith(f"{root}."):
            errors.append(invalid_value(at, quote(path), f"should be a json path under {root}"))
    selector = scale.get("labelSelectorPath")
    if selector and not selector.startswith((".spec.", ".status.")):
        at = f"{prefix}.subresources.scale.labelSelectorPath"
        errors.append(invalid_value(at, quote(selector), "should be a json path under either .status or .spec"))
    return errors


def _column_errors(version: Object, prefix: str) -> list[FieldError]:
    errors = []
    for index, column in enumerate(version.get("additionalPrinterColumns") or []):
        at = f"{prefix}.additionalPrinterColumns[{index}]"
        path = column.get("jsonPath", "")
        if column.get("type") not in _COLUMN_TYPES:
            shown = [quote(t) for t in _COLUMN_TYPES]
            errors.append(unsupported(f"{at}.type", quote(column.get("type", "")), shown))
        if not path.startswith("."):
            text = "must be a simple json path starting with ."
            errors.append(invalid_value(f"{at}.JSONPath", quote(path), text))
            continue
        try:
            steps_of(path)
        except UnreadablePath as error:
            errors.append(invalid_value(f"{at}.JSONPath", quote(path), str(error)))
    return errors


def _selectable_errors(version: Object, schema: Node, prefix: str) -> list[FieldError]:
    errors = []
    for index, field in enumerate(version.get("selectableFields") or []):
        path = field.get("jsonPath", "")
        node: Any = schema
        for part in path.strip(".").split("."):
            node = (node or {}).get("properties", {}).get(part)
        if (node or {}).get("type") not in ("string", "boolean", "integer"):
            text = (
                "must point to a field of type string, boolean or integer. "
                "Enum string fields and strings with formats are allowed."
            )
            at = f"{prefix}.selectableFields[{index}].jsonPath"
            errors.append(invalid_value(at, quote(path), text))
    return errors


def _change_errors(new: Object, old: Object) -> list[FieldError]:
    errors = []
    if new.get("scope") != old.get("scope"):
        errors.append(invalid_value("spec.scope", quote(new.get("scope")), "field is immutable"))
    if new["names"].get("plural") != old["names"].get("plural"):
        errors.append(invalid_value("spec.names.plural", quote(new["names"].get("plural")), "field is immutable"))
    if new.get("group") != old.get("group"):
        errors.append(invalid_value("spec.group", quote(new.get("group")), "field is immutable"))
    return errors


DEFINITION = Rules(
    default=_default,
    create=_create,
    update=_update,
    validate=_validate,
    on_delete=_on_delete,
    unconditional=False,
)
