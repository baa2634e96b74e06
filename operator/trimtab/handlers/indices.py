"""What the watches keep at hand: Kopf indices, complete before anything is decided."""

from __future__ import annotations

from typing import Any

import kopf

from trimtab.api.names import (
    COMPONENT_LABEL,
    GROUP,
    LEAVES_AT_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MODEL_LABEL,
    VERSION,
    Key,
)

Object = dict[str, Any]
OPTIMIZED_MODELS = (GROUP, VERSION, "optimizedmodels")
CAPACITY_POOLS = (GROUP, VERSION, "capacitypools")
OURS: dict[str, Any] = {MANAGED_BY_LABEL: MANAGED_BY}
OF_A_MODEL: dict[str, Any] = {**OURS, MODEL_LABEL: kopf.PRESENT}
GATEWAY_PODS: dict[str, Any] = {**OURS, COMPONENT_LABEL: "gateway"}


@kopf.index(*OPTIMIZED_MODELS)
async def models(body: kopf.Body, **_: Any) -> dict[Key, Object]:
    return {Key.of(body): _slim(body)}


@kopf.index(*OPTIMIZED_MODELS)
async def namespaced_models(body: kopf.Body, **_: Any) -> dict[str, Object]:
    return {body["metadata"]["namespace"]: _slim(body)}


@kopf.index(*CAPACITY_POOLS)
async def pools(body: kopf.Body, **_: Any) -> dict[str, Object]:
    return {body["metadata"]["name"]: _slim(body)}


@kopf.index("apps", "v1", "deployments", labels=OF_A_MODEL)
async def deployments(body: kopf.Body, **_: Any) -> dict[Key | None, Object]:
    return {Key.owner_of(body): _slim(body)}


@kopf.index("apps", "v1", "deployments", labels=OURS)
async def named_deployments(body: kopf.Body, **_: Any) -> dict[tuple[str, str], Object]:
    return {(body["metadata"]["namespace"], body["metadata"]["name"]): _slim(body)}


@kopf.index("batch", "v1", "jobs", labels=OF_A_MODEL)
async def jobs(body: kopf.Body, **_: Any) -> dict[Key | None, Object]:
    return {Key.owner_of(body): _slim(body)}


@kopf.index("batch", "v1", "jobs", labels=OF_A_MODEL)
async def named_jobs(body: kopf.Body, **_: Any) -> dict[tuple[str, str], Object]:
    return {(body["metadata"]["namespace"], body["metadata"]["name"]): _slim(body)}


@kopf.index("", "v1", "pods", labels=OF_A_MODEL)
async def pods(body: kopf.Body, **_: Any) -> dict[Key | None, Object]:
    return {Key.owner_of(body): _slim(body)}


@kopf.index("", "v1", "pods", labels=GATEWAY_PODS)
async def gateways(body: kopf.Body, **_: Any) -> dict[str, Object]:
    return {body["metadata"]["namespace"]: _slim(body)}


@kopf.index("", "v1", "services")
async def services(body: kopf.Body, **_: Any) -> dict[tuple[str, str], Object]:
    """Every Service, as one that is not ours may have the name that a model needs."""
    return {(body["metadata"]["namespace"], body["metadata"]["name"]): _slim(body)}


@kopf.index("", "v1", "nodes")
async def nodes(body: kopf.Body, **_: Any) -> dict[str, Object]:
    meta, status = body["metadata"], body.get("status") or {}
    leaves_at = (meta.get("annotations") or {}).get(LEAVES_AT_ANNOTATION)
    return {
        meta["name"]: {
            "metadata": {
                "name": meta["name"],
                "labels": dict(meta.get("labels") or {}),
                "creationTimestamp": meta["creationTimestamp"],
                "annotations": {LEAVES_AT_ANNOTATION: leaves_at} if leaves_at else {},
            },
            "spec": {
                "providerID": str(body["spec"].get("providerID") or ""),
                "taints": list(body["spec"].get("taints") or ()),
                "unschedulable": bool(body["spec"].get("unschedulable")),
            },
            "status": {
                "allocatable": dict(status.get("allocatable") or {}),
                "conditions": list(status.get("conditions") or ()),
            },
        }
    }


@kopf.index("apps", "v1", "daemonsets")
async def daemon_sets(body: kopf.Body, **_: Any) -> dict[tuple[str, str], Object]:
    """What every node runs besides our pods; only the pods' spec counts."""
    meta = body["metadata"]
    return {(meta["namespace"], meta["name"]): {"spec": {"template": dict(body["spec"]["template"])}}}


def _slim(body: kopf.Body) -> Object:
    """Return the body without managedFields, which are most of its size and nothing to us."""
    raw: Object = dict(body)
    raw["metadata"] = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return raw
