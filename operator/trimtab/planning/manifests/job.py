"""The compression Job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimtab.api.capacity import CapacityPool
from trimtab.api.names import HOST_LABEL, JOB_UID_LABEL, POOL_LABEL, RUN_LABEL, Key, labels, run_name
from trimtab.api.quantities import seconds
from trimtab.api.runs import EXIT_GROUP_ENDED, EXIT_INPUT, JOB_ENVIRONMENT, RUN_ENVIRONMENT, RunSpec
from trimtab.api.serving import Accelerator
from trimtab.planning import accelerators
from trimtab.planning.manifests import pods
from trimtab.planning.settings import Settings

_DEFAULT_REQUESTS: dict[str, int | str] = {"cpu": "1", "memory": "2Gi"}
# Enough to finish a batch and end in order inside the shortest notice of a spot node.
_GRACE_SECONDS = 25
_JOB_UID = {"name": JOB_ENVIRONMENT, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{JOB_UID_LABEL}']"}}}


def compression_job(
    spec: RunSpec,
    uid: str,
    settings: Settings,
    accelerator: Accelerator | None = None,
    pools: Sequence[CapacityPool] = (),
) -> dict[str, Any]:
    """Return the Job of a run. Input errors fail it at once, a lost node does not count, the rest is retried.

    Each of its pods gets the `accelerator`, and tolerates the taints of `pools`, which have it.

    Several workers are the pods of an Indexed Job. When one is lost, the others end and start again with it, which does
    not count either: only its own end does. The run is done when worker 0 is.
    """
    model = Key(spec.namespace, spec.model)
    name = run_name(spec.model, spec.key)
    marks = labels("compress", name, model=spec.model, run=spec.key)
    job = spec.compression.job
    rules = [_rule([EXIT_INPUT], "FailJob")]
    workers: dict[str, Any] = {}
    if spec.compression.workers > 1:
        rules.append(_rule([EXIT_GROUP_ENDED], "Ignore"))
        count = spec.compression.workers
        workers = {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
        }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": marks, **pods.owned_by(model, uid)},
        "spec": {
            "backoffLimit": job.retries,
            "activeDeadlineSeconds": int(seconds(job.deadline)),
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    *rules,
                ]
            },
            **workers,
            "template": {"metadata": {"labels": marks}, "spec": _pod(spec, settings, accelerator, pools)},
        },
    }


def _rule(codes: list[int], action: str) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"containerName": "compress", "operator": "In", "values": codes}}


def _pod(
    spec: RunSpec, settings: Settings, accelerator: Accelerator | None, pools: Sequence[CapacityPool]
) -> dict[str, Any]:
    job, workers = spec.compression.job, spec.compression.workers > 1
    chosen = {
        **({POOL_LABEL: job.pool} if job.pool else {}),
        **((accelerator.node_selector or {}) if accelerator else {}),
    }
    tolerated = accelerators.tolerations(pools)
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "enableServiceLinks": False,  # variables named after Services would fall among our own
        "securityContext": pods.POD_SECURITY,
        **({"nodeSelector": chosen} if chosen else {}),
        **({"tolerations": tolerated} if tolerated else {}),
        **(_apart(spec.key) if workers else {}),
        "containers": [
            {
                "name": "compress",
                "image": job.image or settings.compress_image,
                "args": ["compress", "run"],
                "env": [
                    {"name": RUN_ENVIRONMENT, "value": spec.model_dump_json(by_alias=True, exclude_none=True)},
                    # Threads that wait by spinning take the CPU from the one that they wait for: measured 2.5 times
                    # slower on two busy cores.
                    {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},
                    *pods.SCRATCH_ENV,
                    *([pods.POD_IP, _JOB_UID] if workers else []),
                ],
                **pods.environment_from(spec.source.secret_ref),
                "resources": pods.resources(job.resources, _DEFAULT_REQUESTS, accelerator),
                "securityContext": pods.CONTAINER_SECURITY,
                "volumeMounts": [pods.SCRATCH_MOUNT],
            }
        ],
        "volumes": [pods.SCRATCH_VOLUME],
    }


def _apart(run: str) -> dict[str, Any]:
    """Workers go to different nodes where there are some: on one they would share its CPUs."""
    term = {"labelSelector": {"matchLabels": {RUN_LABEL: run}}, "topologyKey": HOST_LABEL}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}
