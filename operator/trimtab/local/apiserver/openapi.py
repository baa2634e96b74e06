"""OpenAPI v3 and v2 documents, enough for kubectl to explain, validate and apply."""

from typing import Any

from trimtab.local.catalog import Catalog
from trimtab.local.kinds.served import Served
from trimtab.local.resources import Resource
from trimtab.local.schema import builtin, descriptions
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.publishing import published_name

_KIND = "x-kubernetes-group-version-kind"
_PREFIX = "io.k8s.api."
_DROPPED = ("x-go-type",)


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def paths(catalog: Catalog) -> list[str]:
    """Every group and version as the index names it: api/v1, apis/apps/v1."""
    return sorted({_path(r.group, v) for r in catalog.resources() for v in r.versions})


def has_group(catalog: Catalog, path: str) -> bool:
    return path in paths(catalog)


def index(catalog: Catalog, digest: Any) -> dict[str, Any]:
    """GET /openapi/v3."""
    return {
        "paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest(path)}"} for path in paths(catalog)}
    }


def v3(catalog: Catalog, path: str) -> dict[str, Any]:
    """The document of one group and version."""
    schemas: dict[str, Node] = {}
    operations: dict[str, Any] = {}
    for served in catalog.all():
        resource = served.resource
        for version in resource.versions:
            if _path(resource.group, version) == path:
                _add(served, version, schemas, "#/components/schemas/")
                operations.update(_operations(resource, version, "#/components/schemas/"))
    head = {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}}
    return {**head, "paths": operations, "components": {"schemas": schemas}}


def v2(catalog: Catalog) -> dict[str, Any]:
    """GET /openapi/v2: every kind in one document."""
    definitions: dict[str, Node] = {}
    operations: dict[str, Any] = {}
    for served in catalog.all():
        for version in served.resource.versions:
            _add(served, version, definitions, "#/definitions/")
            operations.update(_v2_operations(served.resource, version))
    head = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}}
    return {**head, "paths": operations, "definitions": definitions}


def schema_name(resource: Resource, version: str) -> str:
    """The name of a kind's schema, as Kubernetes publishes it; custom groups read backwards."""
    if resource.custom:
        group = ".".join(reversed(resource.group.split(".")))
        return f"{group}.{version}.{resource.kind}"
    if resource.group == "apiextensions.k8s.io":
        return f"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{resource.kind}"
    return f"{_PREFIX}{resource.group.partition('.')[0] or 'core'}.{version}.{resource.kind}"


def _add(served: Served, version: str, schemas: dict[str, Node], prefix: str) -> None:
    """The schema of a kind, and those of all types it refers to."""
    resource = served.resource
    source = served.schema(version) if resource.custom else builtin.definitions()[resource.schema]
    node = _published(source, schemas, prefix)
    node[_KIND] = [{"group": resource.group, "version": version, "kind": resource.kind}]
    if resource.custom:
        properties = dict(node.get("properties") or {})
        metadata = {"$ref": prefix + published_name("ObjectMeta")}
        _need("ObjectMeta", schemas, prefix)
        properties |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata}
        for field in ("apiVersion", "kind", "metadata"):
            properties[field] = _described(properties[field], descriptions.of_field("", field), prefix)
        node["properties"] = properties
    schemas[schema_name(resource, version)] = node


def _need(name: str, schemas: dict[str, Node], prefix: str) -> None:
    if published_name(name) in schemas:
        return
    schemas[published_name(name)] = {}  # a place, as types may refer to themselves
    schemas[published_name(name)] = _published(builtin.definitions()[name], schemas, prefix)


def _published(node: Node, schemas: dict[str, Node], prefix: str) -> Node:
    """A schema node as it is published: references resolved by name, our own keywords left out."""
    if "$ref" in node:
        _need(node["$ref"], schemas, prefix)
        reference = {"$ref": prefix + published_name(node["$ref"])}
        rest = {k: v for k, v in node.items() if k != "$ref"}
        if not rest:
            return reference
        return {**rest, "allOf": [reference]} if prefix.startswith("#/components") else {**reference, **rest}
    out = {k: v for k, v in node.items() if k not in _DROPPED}
    if node.get("x-go-type") == "quantity":
        out["type"] = "string"
        out.pop("x-kubernetes-int-or-string", None)
    elif out.get("x-kubernetes-int-or-string") and prefix.startswith("#/definitions"):
        out |= {"type": "string", "format": "int-or-string"}
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(out.get(keyword), dict):
            out[keyword] = _published(out[keyword], schemas, prefix)
    if "properties" in out:
        out["properties"] = {k: _published(v, schemas, prefix) for k, v in out["properties"].items()}
        if name := node.get("x-go-type"):
            fields = out["properties"].items()
            out["properties"] = {k: _described(v, descriptions.of_field(name, k), prefix) for k, v in fields}
            out = _described(out, descriptions.of_type(name), prefix)
    return out


def _described(node: Node, text: str, prefix: str) -> Node:
    """A node with what it means; what a reference refers to keeps its own meaning."""
    if not text or "description" in node:
        return node
    if "$ref" in node and prefix.startswith("#/components"):
        return {"description": text, "allOf": [node]}
    return {"description": text, **node}


_VERBS = {
    "get": ("get", "get"),
    "update": ("put", "put"),
    "patch": ("patch", "patch"),
    "delete": ("delete", "delete"),
    "list": ("get", "list"),
    "create": ("post", "post"),
}
_ON_OBJECT = ("get", "update", "patch", "delete")


def _object_paths(resource: Resource, version: str) -> dict[str, tuple[str, ...]]:
    base = "/" + _path(resource.group, version)
    if resource.namespaced:
        base += "/namespaces/{namespace}"
    base += f"/{resource.plural}"
    found = {
        base: tuple(v for v in ("list", "create") if v in resource.verbs),
        f"{base}/{{name}}": tuple(v for v in _ON_OBJECT if v in resource.verbs),
    }
    if resource.subresource("status", version):
        found[f"{base}/{{name}}/status"] = ("get", "update", "patch")
    return {path: verbs for path, verbs in found.items() if verbs}


_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def _operations(resource: Resource, version: str, prefix: str) -> dict[str, Any]:
    """Paths with what kubectl looks for: the kind, the action, and whether writes may be dry runs."""
    kind = {"group": resource.group, "version": version, "kind": resource.kind}
    reference = {"schema": {"$ref": prefix + schema_name(resource, version)}}
    found: dict[str, Any] = {}
    for path, verbs in _object_paths(resource, version).items():
        item: dict[str, Any] = {}
        for verb in verbs:
            method, action = _VERBS[verb]
            operation: dict[str, Any] = {
                "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
                "x-kubernetes-action": action,
                _KIND: kind,
            }
            if verb in ("create", "update", "patch"):
                operation["parameters"] = [
                    {"name": name, "in": "query", "schema": {"type": "string"}} for name in _PARAMETERS
                ]
                content = {"application/json": reference} if verb != "patch" else _patch_content(resource)
                operation["requestBody"] = {"content": content, "required": True}
            item[method] = operation
        found[path] = item
    return found


def _patch_content(resource: Resource) -> dict[str, Any]:
    types = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
    if not resource.custom:
        types.append("application/strategic-merge-patch+json")
    return {content_type: {"schema": {"type": "object"}} for content_type in types}


def _v2_operations(resource: Resource, version: str) -> dict[str, Any]:
    kind = {"group": resource.group, "version": version, "kind": resource.kind}
    reference = {"$ref": "#/definitions/" + schema_name(resource, version)}
    found: dict[str, Any] = {}
    for path, verbs in _object_paths(resource, version).items():
        item: dict[str, Any] = {}
        for verb in verbs:
            method, action = _VERBS[verb]
            operation: dict[str, Any] = {
                "responses": {"200": {"description": "OK", "schema": reference}},
                "x-kubernetes-action": action,
                _KIND: kind,
            }
            if verb in ("create", "update", "patch"):
                operation["parameters"] = [{"name": name, "in": "query", "type": "string"} for name in _PARAMETERS]
            item[method] = operation
        found[path] = item
    return found
