"""A revision's two Deployments and its Service, and the model's Service in front of the gateway."""

from __future__ import annotations

from math import ceil
from typing import Any

from trimtab.api.base import CapacityType, Resources
from trimtab.api.capacity import CapacityPool
from trimtab.api.compression import Device
from trimtab.api.names import (
    CAPACITY_TYPE_LABEL,
    GATEWAY,
    GATEWAY_PORT,
    GATEWAY_TLS_PORT,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    REVISION_LABEL,
    SERVE_GRPC_PORT,
    SERVE_PORT,
    ZONE_LABEL,
    Key,
    labels,
    selector,
    short_hash,
)
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import amount, seconds
from trimtab.api.serving import Accelerator, Engine, LoadingMode
from trimtab.api.status import ArtifactStatus, RevisionStatus
from trimtab.planning import accelerators
from trimtab.planning.manifests import nodecache, pods
from trimtab.planning.manifests.placing import placement
from trimtab.planning.settings import Settings
from trimtab.planning.traffic import GRPC_PORT, HTTP_PORT

Manifest = dict[str, Any]
_H2C: Manifest = {"protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}
DEFAULT_REQUESTS: dict[str, int | str] = {"cpu": "500m", "memory": "256Mi"}
# The gateway learns of a terminating pod within milliseconds; the rest is margin for a slow watch.
_DRAIN_DELAY = "2s"


def revision_hash(artifact: ArtifactStatus, spec: OptimizedModelSpec, settings: Settings) -> str:
    """Return the hash of what a replica is: the artifact and everything of the spec that its pods are made from."""
    serving = spec.serving
    return short_hash(
        artifact.digest,
        serving.image or settings.serve_image,
        serving.batching.model_dump_json(),
        serving.rollout.drain_timeout,
        serving.resources.model_dump_json() if serving.resources else "",
        str(spec.compression.target.threads),
        spec.source.secret_ref.name if spec.source.secret_ref else "",
        ",".join(sorted(spec.capacity.pools)),
        *([serving.accelerator.model_dump_json()] if serving.accelerator else ()),
        *([serving.engine.value] if serving.engine is not Engine.AUTO else ()),
        *_answering(spec),
        *((settings.node_cache_volume, str(settings.node_cache_bytes)) if serving.prefetch else ()),
    )


def deployment_name(revision: str, capacity_type: CapacityType) -> str:
    return f"{revision}-{capacity_type.short}"


def requests(spec: OptimizedModelSpec) -> dict[str, int | str]:
    """Return what one replica reserves; limits count where no request is given, as in Kubernetes."""
    given: Resources | None = spec.serving.resources
    if given is None:
        return dict(DEFAULT_REQUESTS)
    return {**(given.limits or {}), **(given.requests or {})}


def deployment(
    model: Key,
    uid: str,
    spec: OptimizedModelSpec,
    revision: RevisionStatus,
    capacity_type: CapacityType,
    replicas: int,
    pools: tuple[CapacityPool, ...],
    settings: Settings,
) -> Manifest:
    """Return the Deployment of a revision on one capacity type."""
    name = deployment_name(revision.name, capacity_type)
    marks = {
        **labels("serve", name, model=model.name, revision=revision.name),
        CAPACITY_TYPE_LABEL: capacity_type.label,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": marks, **pods.owned_by(model, uid)},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": max(1, int(seconds(spec.serving.rollout.progress_deadline))),
            "selector": {"matchLabels": selector(name)},
            "template": {
                "metadata": {"labels": marks},
                "spec": _pod(model, spec, revision, capacity_type, pools, settings, marks),
            },
        },
    }


def _pod(
    model: Key,
    spec: OptimizedModelSpec,
    revision: RevisionStatus,
    capacity_type: CapacityType,
    pools: tuple[CapacityPool, ...],
    settings: Settings,
    marks: dict[str, str],
) -> Manifest:
    drain = seconds(spec.serving.rollout.drain_timeout)
    accelerator = accelerators.wanted(spec, pools)
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": int(drain) + 10,
        "enableServiceLinks": False,  # variables named after Services would fall among our own
        "securityContext": pods.POD_SECURITY,
        **placement(spec, capacity_type, pools, accelerator),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {REVISION_LABEL: marks[REVISION_LABEL]}},
            }
            for key in (ZONE_LABEL, "kubernetes.io/hostname")
        ],
        "containers": [_container(model, spec, revision, settings, accelerator)],
        "volumes": [
            pods.SCRATCH_VOLUME,
            *([nodecache.volume(model.namespace, settings)] if spec.serving.prefetch else ()),
        ],
    }


def _container(
    model: Key,
    spec: OptimizedModelSpec,
    revision: RevisionStatus,
    settings: Settings,
    accelerator: Accelerator | None,
) -> Manifest:
    batching = spec.serving.batching
    return {
        "name": "serve",
        "image": spec.serving.image or settings.serve_image,
        "args": [
            "serve",
            f"--model-name={model.name}",
            f"--artifact-uri={revision.artifact.uri}",
            f"--artifact-digest={revision.artifact.digest}",
            f"--revision={revision.name}",
            "--host=$(POD_IP)",
            f"--port={SERVE_PORT}",
            f"--threads={_threads(spec)}",
            f"--engine={spec.serving.engine}",
            f"--max-batch={batching.max_size}",
            f"--max-wait={batching.max_wait}",
            f"--drain-delay={_DRAIN_DELAY}",
            f"--drain-timeout={spec.serving.rollout.drain_timeout}",
            *_answering(spec),
            *(nodecache.arguments(settings) if spec.serving.prefetch else ()),
        ],
        "env": [pods.POD_IP, *pods.SCRATCH_ENV],
        **pods.environment_from(spec.source.secret_ref),
        "ports": _ports(spec),
        "resources": pods.resources(spec.serving.resources, DEFAULT_REQUESTS, accelerator),
        "readinessProbe": {
            "httpGet": {"path": "/v2/health/ready", "port": SERVE_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": SERVE_PORT},
            "initialDelaySeconds": 30,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "securityContext": pods.CONTAINER_SECURITY,
        "volumeMounts": [pods.SCRATCH_MOUNT, *([nodecache.MOUNT] if spec.serving.prefetch else ())],
    }


def _ports(spec: OptimizedModelSpec) -> list[Manifest]:
    grpc = [{"name": GRPC_PORT, "containerPort": SERVE_GRPC_PORT}] if spec.serving.grpc else []
    return [{"name": HTTP_PORT, "containerPort": SERVE_PORT}, *grpc]


def _answering(spec: OptimizedModelSpec) -> list[str]:
    """Return the arguments for what is off unless the user says so."""
    serving = spec.serving
    arguments = [] if serving.loading is LoadingMode.EAGER else [f"--loading={serving.loading}"]
    if serving.grpc:
        arguments.append(f"--grpc-port={SERVE_GRPC_PORT}")
    if spec.compression.target.device is not Device.CPU:
        arguments.append(f"--device={spec.compression.target.device}")
    if serving.cache is not None:
        arguments.append(f"--cache-entries={serving.cache.entries}")
        if serving.cache.ttl is not None:
            arguments.append(f"--cache-ttl={serving.cache.ttl}")
    return arguments


def _threads(spec: OptimizedModelSpec) -> int:
    """Return the engine's threads: what the user says, else the CPUs that the replica may or will have."""
    if spec.compression.target.threads is not None:
        return spec.compression.target.threads
    given = spec.serving.resources
    limits = (given.limits if given else None) or {}
    return max(1, ceil(amount(limits.get("cpu", requests(spec).get("cpu", 1)))))


def revision_service(model: Key, uid: str, revision: str) -> Manifest:
    """Return the headless Service whose EndpointSlices tell the gateway a revision's replicas."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": revision,
            "labels": labels("serve", revision, model=model.name, revision=revision),
            **pods.owned_by(model, uid),
        },
        "spec": {
            "clusterIP": "None",
            "selector": {MANAGED_BY_LABEL: MANAGED_BY, REVISION_LABEL: revision},
            "ports": [
                {"name": HTTP_PORT, "port": SERVE_PORT, "targetPort": SERVE_PORT, "protocol": "TCP"},
                # By name: pods that do not listen there have no port of that name, and no endpoint.
                {"name": GRPC_PORT, "port": SERVE_GRPC_PORT, "targetPort": GRPC_PORT, **_H2C},
            ],
        },
    }


def model_service(model: Key, uid: str) -> Manifest:
    """Return the Service that users call; the gateway's pods stand behind it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": model.name,
            "labels": labels("gateway", model.name, model=model.name),
            **pods.owned_by(model, uid),
        },
        "spec": {
            "selector": selector(GATEWAY),
            "ports": [
                {"name": "http", "port": 80, "targetPort": GATEWAY_PORT, "protocol": "TCP"},
                # Where only root may listen below 1024, as on the embedded cluster.
                {"name": "http-alt", "port": GATEWAY_PORT, "targetPort": GATEWAY_PORT, "protocol": "TCP"},
                # Nobody listens there before the namespace has a certificate.
                {"name": "https", "port": 443, "targetPort": GATEWAY_TLS_PORT, "protocol": "TCP"},
                {"name": "https-alt", "port": GATEWAY_TLS_PORT, "targetPort": GATEWAY_TLS_PORT, "protocol": "TCP"},
                # The same listener, which sees what is spoken; a client or a mesh may want to know before.
                {"name": GRPC_PORT, "port": SERVE_GRPC_PORT, "targetPort": GATEWAY_PORT, **_H2C},
            ],
        },
    }
