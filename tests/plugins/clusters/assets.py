"""The programs of a control plane in an envtest-style folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


class AssetsError(Exception):
    """KUBEBUILDER_ASSETS does not hold what a control plane takes."""


@dataclass(frozen=True)
class Assets:
    """What was found: without the last two, nothing reconciles and nothing is scheduled."""

    etcd: Path
    apiserver: Path
    controller_manager: Path | None
    scheduler: Path | None

    @classmethod
    def find(cls, folder: Path) -> Assets:
        """Look into a folder. Raises AssetsError naming what is missing."""
        if not folder.is_dir():
            msg = f"KUBEBUILDER_ASSETS={folder}: no such folder; `setup-envtest use -p path` prints one"
            raise AssetsError(msg)
        return cls(
            _required(folder, "etcd"),
            _required(folder, "kube-apiserver"),
            _optional(folder, "kube-controller-manager"),
            _optional(folder, "kube-scheduler"),
        )


def _optional(folder: Path, name: str) -> Path | None:
    path = folder / name
    if not path.exists():
        return None
    if not os.access(path, os.X_OK):
        msg = f"KUBEBUILDER_ASSETS={folder}: {name} is not executable; chmod +x {path}"
        raise AssetsError(msg)
    return path


def _required(folder: Path, name: str) -> Path:
    if (path := _optional(folder, name)) is None:
        msg = f"KUBEBUILDER_ASSETS={folder}: {name} is missing; `setup-envtest use` installs etcd and kube-apiserver"
        raise AssetsError(msg)
    return path
