# ruff: noqa: INP001 - a script, no part of the package
"""Writes what each image is made of, as CycloneDX: `python .ci/sbom.py FOLDER`.

The versions are those of the environment that runs this, made with constraints.txt as the images are. What only tests
and tools need is left out.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trimtab.version import __version__

ROOT = Path(__file__).resolve().parents[1]
_INSTALLS = re.compile(r"^FROM build AS build-(?P<image>[\w-]+)\nRUN .+? '\.\[(?P<extras>.+?)\]'", re.MULTILINE)


def images() -> dict[str, frozenset[str]]:
    """Return the extras of each image, from the Dockerfile."""
    found = _INSTALLS.finditer((ROOT / "Dockerfile").read_text())
    return {image["image"]: frozenset(image["extras"].split(",")) for image in found}


def closure(requirement: Requirement, seen: dict[str, set[str]]) -> None:
    """Note in `seen` everything that a requirement brings here, with the extras of each."""
    name = canonicalize_name(requirement.name)
    if name in seen and requirement.extras <= seen[name]:
        return
    seen.setdefault(name, set()).update(requirement.extras)
    for text in distribution(name).requires or ():
        inner = Requirement(text)
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in (*requirement.extras, "")):
            closure(inner, seen)


def environment(*, validate: bool) -> dict[str, Any]:
    """Return the bill of everything that is installed here; holding it against CycloneDX's schema takes a while."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--spec-version", "1.6"]
    command += ["--validate" if validate else "--no-validate", "--pyproject", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, sys.executable], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: cyclonedx-py made no bill:\n{done.stderr}")
    bill: dict[str, Any] = json.loads(done.stdout)
    return bill


def of_image(bill: dict[str, Any], image: str, names: set[str]) -> dict[str, Any]:
    """Return the part of a bill that has these names, which are in normal form, as an image's."""
    components = [one for one in bill["components"] if canonicalize_name(one["name"]) in names]
    root = {**bill["metadata"]["component"], "name": f"trimtab/{image}", "version": __version__}
    kept = {root["bom-ref"], *(one["bom-ref"] for one in components)}
    edges = {entry["ref"]: entry.get("dependsOn", ()) for entry in bill["dependencies"] if entry["ref"] in kept}
    dependencies = []
    for ref, below in sorted(edges.items()):
        inside = sorted(kept.intersection(below))
        dependencies.append({"ref": ref, "dependsOn": inside} if inside else {"ref": ref})
    metadata = {**bill["metadata"], "component": root}
    return {**bill, "metadata": metadata, "components": components, "dependencies": dependencies}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bill = environment(validate=True)
    for image, extras in images().items():
        seen: dict[str, set[str]] = {}
        closure(Requirement(f"trimtab[{','.join(sorted(extras))}]"), seen)
        part = of_image(bill, image, set(seen))
        path = folder / f"{image}.cdx.json"
        path.write_text(json.dumps(part, indent=1) + "\n")
        sys.stdout.write(f"{path}: {len(part['components'])} components\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
