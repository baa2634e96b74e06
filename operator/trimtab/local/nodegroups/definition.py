"""The NodeGroup kind: the embedded cluster's cloud, as a custom resource."""

from __future__ import annotations

from trimtab.local.objects import Object

GROUP = "local.trimtab.dev"
RESOURCE = f"nodegroups.{GROUP}"
GROUP_LABEL = f"{GROUP}/node-group"
INTERRUPTION_TAINT = f"{GROUP}/interruption"
TERMINATES_AT = f"{GROUP}/terminates-at"
DRAINING_SINCE = f"{GROUP}/draining-since"

_DURATION = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}
_STRINGS = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
_MAP = {"type": "object", "additionalProperties": {"type": "string"}}
_AMOUNT = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}


def definition() -> Object:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": RESOURCE},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "plural": "nodegroups",
                "singular": "nodegroup",
                "kind": "NodeGroup",
                "listKind": "NodeGroupList",
                "shortNames": ["ng"],
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": "Desired", "type": "integer", "jsonPath": ".spec.desired"},
                        {"name": "Ready", "type": "integer", "jsonPath": ".status.ready"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                }
            ],
        },
    }


def _schema() -> Object:
    return {
        "type": "object",
        "description": "A group of simulated nodes that are kept at a desired number, as an auto-scaling group does.",
        "required": ["spec"],
        "properties": {"spec": _spec(), "status": _status()},
    }


def _spec() -> Object:
    taint = {
        "type": "object",
        "required": ["key", "effect"],
        "properties": {
            "key": {"type": "string"},
            "value": {"type": "string"},
            "effect": {"type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        },
    }
    return {
        "type": "object",
        "properties": {
            "desired": {
                "type": "integer",
                "minimum": 0,
                "maximum": 1000,
                "default": 0,
                "description": "How many nodes to keep.",
            },
            "zones": {**_STRINGS, "description": "Zones to spread over; none means nodes without a zone."},
            "template": {
                "type": "object",
                "description": "What each node is like.",
                "properties": {
                    "labels": _MAP,
                    "taints": {"type": "array", "items": taint},
                    "capacity": {
                        "type": "object",
                        "additionalProperties": _AMOUNT,
                        "description": "cpu, memory, pods and extended resources; 2 cpu and 4Gi where not given.",
                    },
                },
            },
            "bootDelay": {**_DURATION, "default": "5s", "description": "From the order until the node is ready."},
            "notice": {
                **_DURATION,
                "default": "120s",
                "description": f"From the taint {INTERRUPTION_TAINT} until the node is gone.",
            },
            "victims": {**_STRINGS, "description": "Names of nodes to remove first when desired goes down."},
            "unavailableZones": {**_STRINGS, "description": "Zones where no node can be had at present."},
        },
    }


def _status() -> Object:
    time = {"type": "string", "format": "date-time"}
    node = {
        "type": "object",
        "required": ["name", "phase"],
        "properties": {
            "name": {"type": "string"},
            "zone": {"type": "string"},
            "phase": {"type": "string", "enum": ["Booting", "Ready", "Interrupted", "Draining"]},
            "createdAt": time,
            "readyAt": time,
            "terminatesAt": time,
        },
    }
    condition = {
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            **{name: {"type": "string"} for name in ("type", "status", "reason", "message")},
            "lastTransitionTime": time,
            "observedGeneration": {"type": "integer"},
        },
    }
    return {
        "type": "object",
        "properties": {
            "observedGeneration": {"type": "integer"},
            "ready": {"type": "integer"},
            "nodes": {
                "type": "array",
                "items": node,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "conditions": {
                "type": "array",
                "items": condition,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        },
    }
