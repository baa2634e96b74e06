"""What the Dockerfile installs, as far as that can be seen without Docker."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from ciscripts import script
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
closure = script("sbom").closure
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTALLS = dict(
    re.findall(r"^FROM build AS build-([\w-]+)\nRUN /opt/trimtab/bin/pip install (.+?) && ", DOCKERFILE, re.MULTILINE)
)
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].strip()
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def extras(target: str) -> set[str]:
    (found,) = re.findall(r"'\.\[(.+)\]'", INSTALLS[target])
    return set(found.split(","))


def test_each_role_has_an_image() -> None:
    """What is built is what the manifests name, and each takes its dependencies from an extra that there is."""
    targets = set(re.findall(r"^FROM base AS ([\w-]+)$", DOCKERFILE, re.MULTILINE))
    assert targets == INSTALLS.keys() == set(re.findall(r"--target ([\w-]+) ", DOCKERFILE))
    deployment = yaml.safe_load((ROOT / "manifests" / "base" / "operator.yaml").read_text())
    named = set(re.findall(r"trimtab/([\w-]+):", str(deployment)))
    assert named <= targets
    for target in targets:
        assert extras(target) <= EXTRAS.keys(), target


@pytest.mark.parametrize("target", sorted(INSTALLS))
def test_everything_in_an_image_is_pinned(target: str) -> None:
    """Whatever the extras bring, however deep, has its version in constraints.txt, and it is the one tested with."""
    seen: dict[str, set[str]] = {}
    for extra in extras(target):
        for text in EXTRAS[extra]:
            closure(Requirement(text), seen)
    assert len(seen) > 5
    there = {name: distribution(name).version.split("+")[0] for name in seen}  # torch's builds differ in what follows +
    assert {name: version for name, version in there.items() if PINS.get(name) != version} == {}


def test_images_of_others_are_pinned_by_digest() -> None:
    """The base image and MinIO, whose tags could be moved; what builds a Dockerfile is Docker's own."""
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S*[/:]\S+)", DOCKERFILE, re.MULTILINE)) == {"python:${PYTHON}"}
    store = (ROOT / "manifests" / "kind" / "store.yaml").read_text()
    for image in (base, *re.findall(r"image: (\S+)", store)):
        assert re.fullmatch(r"\S*[.\dZm-]+@sha256:[0-9a-f]{64}", image), image
    assert "syntax=" not in DOCKERFILE


def test_images_run_as_nobody() -> None:
    """The last user of every image is the one that the pods ask for."""
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    for stage in stages:
        if users := re.findall(r"^USER (\S+)$", stage, re.MULTILINE):
            assert users[-1] == "65532:65532", stage.splitlines()[0]
    assert "-slim-" in DOCKERFILE
    assert ":latest" not in DOCKERFILE


@pytest.mark.skipif("TRIMTAB_TEST_IMAGES" not in os.environ, reason="TRIMTAB_TEST_IMAGES is not set; it takes minutes")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("target", sorted(INSTALLS))
def test_install_steps_work_in_a_clean_environment(target: str, tmp_path: Path) -> None:
    """The Dockerfile's own arguments, from what its builder sees, make a command that starts."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    arguments = INSTALLS[target].replace("${PIP_ARGS} ", "").replace("'", "").split()
    install = [sys.executable, "-m", "pip", "--python", tmp_path / "venv", "install", "--quiet", *arguments]
    done = subprocess.run(install, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    command = [tmp_path / "venv" / "bin" / "trimtab", target.split("-", maxsplit=1)[0], "--help"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)


def test_kinds_nodes_are_the_sample_pools() -> None:
    """Each pool of manifests/samples/pools-labels.yaml has nodes, and tolerates what they are tainted with."""
    cluster = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    pools = [body for body in yaml.safe_load_all((ROOT / "manifests/samples/pools-labels.yaml").read_text()) if body]
    workers = [node for node in cluster["nodes"] if node["role"] == "worker"]
    for pool in pools:
        wanted = pool["spec"]["provider"]["labels"]["matchLabels"]
        own = [node for node in workers if wanted.items() <= node["labels"].items()]
        assert len(own) >= 2, pool["metadata"]["name"]
        tolerated = {entry["key"] for entry in pool["spec"].get("tolerations", ())}
        for node in own:
            for patch in node.get("kubeadmConfigPatches", ()):
                tainted = {taint["key"] for taint in yaml.safe_load(patch)["nodeRegistration"]["taints"]}
                assert tainted <= tolerated
