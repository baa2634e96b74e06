"""CustomResourceDefinitions, written from the API models: one truth, two forms.

Pydantic's JSON schema becomes a structural schema (no references, no nullable unions, nothing beside
`properties`), as apiextensions.k8s.io/v1 asks for.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from trimtab.api.capacity import CapacityPoolSpec
from trimtab.api.names import GROUP, MODEL_NAME_MAX, VERSION
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.status import CapacityPoolStatus, OptimizedModelStatus

Schema = dict[str, Any]
_READY = '.status.conditions[?(@.type=="Ready")].status'
_DROPPED = {"title", "additionalProperties", "default", "$defs", "x-trimtab-list-key"}


def crds() -> dict[str, Schema]:
    """Return our CustomResourceDefinitions by file name."""
    model = _crd(
        kind="OptimizedModel",
        plural="optimizedmodels",
        short="om",
        scope="Namespaced",
        description="A model that is compressed, proven, rolled out and scaled as one object.",
        spec=OptimizedModelSpec,
        status=OptimizedModelStatus,
        name_schema={"type": "string", "maxLength": MODEL_NAME_MAX, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
        columns=[
            _column("Ready", _READY),
            _column("Status", ".status.summary.status"),
            _column("Compression", ".status.summary.compression"),
            _column("Size", ".status.summary.size"),
            _column("Drop", ".status.summary.drop"),
            _column("Replicas", ".status.summary.replicas"),
            _column("Spot", ".status.summary.spot"),
            _column("URL", ".status.url"),
            _column("Age", ".metadata.creationTimestamp", "date"),
            _column("Revision", ".status.activeRevision.name", wide=True),
            _column("LB", ".status.summary.loadBalancing", wide=True),
            _column("Cost/H", ".status.summary.costPerHour", wide=True),
            _column("Message", ".status.summary.message", wide=True),
        ],
    )
    pool = _crd(
        kind="CapacityPool",
        plural="capacitypools",
        short="cpool",
        scope="Cluster",
        description="Nodes of one kind that models may run on.",
        spec=CapacityPoolSpec,
        status=CapacityPoolStatus,
        name_schema={"type": "string", "maxLength": 63},
        columns=[
            _column("Ready", _READY),
            _column("Type", ".spec.capacityType"),
            _column("Nodes", ".status.ready", "integer"),
            _column("Desired", ".status.desired", "integer"),
            _column("Doomed", ".status.doomed", "integer"),
            _column("Price/H", ".spec.price.perNodeHour"),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
    )
    return {f"{GROUP}_{crd['spec']['names']['plural']}.yaml": crd for crd in (model, pool)}


def _crd(
    *,
    kind: str,
    plural: str,
    short: str,
    scope: str,
    description: str,
    spec: type[BaseModel],
    status: type[BaseModel],
    name_schema: Schema,
    columns: list[Schema],
) -> Schema:
    status_schema = structural(status, defaults=False)  # we write every status whole
    status_schema["default"] = {"observedGeneration": -1}
    schema = {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
            "kind": {"type": "string", "description": "Type of this object."},
            "metadata": {"type": "object", "properties": {"name": name_schema}},
            "spec": structural(spec),
            "status": status_schema,
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "trimtab"}},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["trimtab"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": 1} if wide else {})}


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}), defaults=defaults)


def _convert(node: Schema, definitions: dict[str, Schema], *, defaults: bool) -> Schema:
    """Return `node` without references, unions with null, and what a structural schema may not hold.

    Inside atomic lists defaults are left out: an applier that sends the list without them would see drift.
    """
    node = _resolved(node, definitions)
    if node.get("x-kubernetes-int-or-string"):
        out: Schema = {key: node[key] for key in ("description", "x-kubernetes-int-or-string") if key in node}
    else:
        out = {key: value for key, value in node.items() if key not in _DROPPED}
        _convert_children(node, out, definitions, defaults=defaults)
    if defaults and node.get("default") is not None:
        # The nested defaults fill an object's {}; rules over it see the bare {} and guard with has().
        out["default"] = {} if out.get("type") == "object" else node["default"]
    return out


def _convert_children(node: Schema, out: Schema, definitions: dict[str, Schema], *, defaults: bool) -> None:
    if "properties" in node:
        out["properties"] = {
            name: _convert(child, definitions, defaults=defaults) for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _convert(node["additionalProperties"], definitions, defaults=defaults)
    if "items" in node:
        item = _resolved(node["items"], definitions)
        key = item.get("x-trimtab-list-key")
        out["items"] = _convert(node["items"], definitions, defaults=defaults and key is not None)
        out["x-kubernetes-list-type"] = "map" if key else "atomic"
        if key:
            out["x-kubernetes-list-map-keys"] = [key]


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Follow a reference, or the one branch of a union that is not null; what stands beside it wins."""
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
    elif "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
        branches = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
        if len(branches) != 1:
            raise ValueError(f"a union of {len(branches)} types has no structural schema: {node}")
        target = branches[0]
    else:
        return node
    beside = {key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}
    return {**_resolved(target, definitions), **beside}
