"""A cluster that stands in for kind's: the embedded one, with kind-config.yaml's nodes and something for MinIO's image.

`kindcluster.py FOLDER` starts it and stays, as `trimtab local up --foreground` does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trimtab.cli import local
from trimtab.cli.images import local_images

ROOT = Path(__file__).parents[2]
CONTEXT = "kind-trimtab"


def images() -> Mapping[str, Sequence[str]]:
    """Return what the embedded cluster runs for each image."""
    return {**local_images(), "minio/minio:*": [sys.executable, str(Path(__file__).with_name("imitatedstore.py"))]}


def node_groups() -> list[dict[str, Any]]:
    """Return a group of one node for each worker of kind-config.yaml, with its labels and taints."""
    workers = [
        node for node in yaml.safe_load((ROOT / "kind-config.yaml").read_text())["nodes"] if node["role"] == "worker"
    ]
    return [_node_group(f"worker-{number}", worker) for number, worker in enumerate(workers)]


def _node_group(name: str, worker: dict[str, Any]) -> dict[str, Any]:
    patches = (yaml.safe_load(patch) for patch in worker.get("kubeadmConfigPatches", ()))
    taints = [taint for patch in patches for taint in patch["nodeRegistration"]["taints"]]
    labels = dict(worker["labels"])
    zone = labels.pop("topology.kubernetes.io/zone")
    template = {"labels": labels, "taints": taints, "capacity": {"cpu": "4", "memory": "8Gi"}}
    return {
        "apiVersion": "local.trimtab.dev/v1",
        "kind": "NodeGroup",
        "metadata": {"name": name},
        "spec": {"desired": 1, "zones": [zone], "bootDelay": "0s", "template": template},
    }


def as_kind_writes_it(kubeconfig: Path) -> None:
    """Give the current context kind's name."""
    body = yaml.safe_load(kubeconfig.read_text())
    (context,) = (entry for entry in body["contexts"] if entry["name"] == body["current-context"])
    context["name"] = body["current-context"] = CONTEXT
    kubeconfig.write_text(yaml.safe_dump(body))


def main(folder: Path) -> None:
    local.local_images = images
    where = ["--data-dir", str(folder / "c"), "--kubeconfig", str(folder / "kubeconfig")]
    local.local(["up", "--foreground", "--in-memory", *where])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
