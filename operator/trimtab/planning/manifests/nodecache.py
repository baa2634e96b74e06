"""The volume that keeps artifacts on a node for all replicas there; the platform says what it is."""

from __future__ import annotations

import json
from typing import Any

from trimtab.planning.settings import Settings

Manifest = dict[str, Any]

# Ours alone, as the scratch folder is.
_FOLDER = "/var/run/trimtab/artifacts"
_NAMESPACE = "{namespace}"
MOUNT: Manifest = {"name": "artifacts", "mountPath": _FOLDER}


def checked(text: str) -> str:
    """Return the JSON of a pod's volume source that outlives pods.

    Raises:
        ValueError: It is none; the message says what to write.
    """
    wanted = 'give JSON with one kind of volume, as {"persistentVolumeClaim": {"claimName": "artifacts"}}'
    try:
        source = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no JSON ({error}); {wanted}") from None
    if not isinstance(source, dict) or len(source) != 1 or not all(isinstance(v, dict) for v in source.values()):
        raise ValueError(f"{text!r} is no volume; {wanted}")
    if {"emptyDir", "ephemeral"} & source.keys():
        raise ValueError(f"{text!r} goes with its pod, and no other pod sees it; {wanted}")
    return text


def volume(namespace: str, settings: Settings) -> Manifest:
    """Return the volume in a namespace's pods; `{namespace}` in its source stands for the namespace."""
    source = json.loads(settings.node_cache_volume.replace(_NAMESPACE, namespace))
    return {"name": MOUNT["name"], **source}


def arguments(settings: Settings) -> list[str]:
    """Return what tells a replica of it."""
    return [f"--artifact-cache={_FOLDER}", f"--artifact-cache-bytes={settings.node_cache_bytes}"]
