"""`make kind` without Docker: its own script and manifests, on a cluster with kind's nodes, and stand-ins around it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kindcluster import CONTEXT, ROOT, as_kind_writes_it, node_groups

from trimtab.cli.demo.assets import documents
from trimtab.local.access.podchecks import violations
from trimtab.version import __version__

UP = ROOT / "manifests" / "kind" / "up"
ROLES = ("operator", "compress", "serve", "gateway")
NOTES = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$NOTES"
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig as kind leaves it, of a cluster whose nodes are not there yet."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, str(ROOT / "tests" / "plugins" / "kindcluster.py"), str(tmp_path)]
    with (tmp_path / "cluster.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "PYTHONPATH": path})
    assert process.stdout is not None
    try:
        assert b"ready" in process.stdout.readline(), (tmp_path / "cluster.log").read_text()
        as_kind_writes_it(tmp_path / "kubeconfig")
        yield tmp_path / "kubeconfig"
    finally:
        process.terminate()
        process.stdout.read()
        process.wait(60)
        process.stdout.close()


def stand_ins(folder: Path, kind: str) -> dict[str, str]:
    """Return an environment in which docker and kind only note what they were asked for, and then do what is given."""
    folder.mkdir()
    for name, body in (("docker", ""), ("kind", kind)):
        (folder / name).write_text(NOTES + body)
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "NOTES": str(folder / "notes"), "OMP_NUM_THREADS": "1"}


@pytest.mark.integration
@pytest.mark.timeout(1500)
@pytest.mark.needs("kubectl")
def test_make_kind(cluster: Path, tmp_path: Path) -> None:
    """From images to an answer of the served model, which is right; a second time nothing is made anew."""
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(yaml.safe_dump_all(node_groups()))
    kind = f'if [[ $1 == create ]]; then kubectl --context {CONTEXT} apply -f "{nodes}"; fi\n'
    environment = {**stand_ins(tmp_path / "bin", kind), "KUBECONFIG": str(cluster)}
    done = subprocess.run(["make", "kind"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    answer = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"model_name"'))
    scores = answer["outputs"][0]["data"]
    assert scores.index(max(scores)) == 7
    assert re.search(r"^digits +True +Serving +Fast .* 2/2 +50% ", done.stdout, re.MULTILINE), done.stdout
    notes = (tmp_path / "bin" / "notes").read_text().splitlines()
    built = [note for note in notes if note.startswith("docker build ")]
    assert [re.findall(r"--target (\w+)", note) for note in built] == [[role] for role in ROLES]
    assert "kind create cluster --config kind-config.yaml" in notes
    assert [note for note in notes if note.startswith("kind load")] == [
        f"kind load docker-image --name trimtab trimtab/{role}:{__version__}" for role in ROLES
    ]
    again = subprocess.run([UP, __version__], env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, f"{again.stdout}\n{again.stderr}"
    assert "optimizedmodel.trimtab.dev/digits unchanged" in again.stdout
    assert "secret/s3 created" not in again.stdout


def test_what_is_there_is_shown_when_it_gets_no_further(tmp_path: Path) -> None:
    """A step that fails ends it, and what there is on the cluster is the last thing to be read."""
    environment = stand_ins(tmp_path / "bin", '[[ $1 != load ]] || { echo "no such image" >&2; exit 3; }\n')
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.write_text(NOTES + "echo NAMESPACE NAME READY\n")
    kubectl.chmod(0o755)
    done = subprocess.run([UP, __version__], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-3:] == [
        "no such image",
        "error: it got no further; this is what there is:",
        "NAMESPACE NAME READY",
    ]


def test_its_pods_are_restricted_and_of_this_version() -> None:
    """The namespace admits only what Pod Security calls restricted, and the Job runs the image that was just built."""
    (store,) = (body for body in documents(UP.with_name("store.yaml")) if body["kind"] == "Deployment")
    (upload,) = documents(UP.with_name("upload.yaml"))
    for body in (store, upload):
        assert violations(body["spec"]["template"]["spec"], "restricted") == []
    (container,) = upload["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"trimtab/compress:{__version__}"
