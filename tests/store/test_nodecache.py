"""Artifacts that the pods of a node keep for each other."""

from __future__ import annotations

import multiprocessing
import os
import shutil

import pytest

from trimtab.errors import Stalled
from trimtab.store import NodeCache, nodecache, write_manifest

GIGABYTE = 10**9


def made(folder, content=b"weights" * 1000):
    """Make an artifact and return its URI and digest."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    return f"file://{folder}", write_manifest(folder).digest


def fetch_in_a_pod(folder, uri, digest, gate, found):
    gate.wait()
    target = NodeCache(folder, GIGABYTE).fetch(uri, digest)
    found.put((target / "model.onnx").read_bytes())


@pytest.mark.integration
def test_pods_that_start_together_share_one_copy(tmp_path):
    """Each gets the whole artifact, whoever fetched it."""
    uri, digest = made(tmp_path / "a", os.urandom(3_000_000))
    context = multiprocessing.get_context("spawn")
    gate, found = context.Barrier(4), context.SimpleQueue()
    arguments = (tmp_path / "node", uri, digest, gate, found)
    pods = [context.Process(target=fetch_in_a_pod, args=arguments) for _ in range(4)]
    for pod in pods:
        pod.start()
    contents = {found.get() for _ in pods}
    for pod in pods:
        pod.join(20)
    assert contents == {(tmp_path / "a" / "model.onnx").read_bytes()}
    (copy,) = [path for path in (tmp_path / "node").iterdir() if path.is_dir()]
    assert copy.name == digest.replace(":", "-")


def test_what_is_there_is_used_in_place(tmp_path):
    """The store is not asked again, and files cannot be written by accident."""
    uri, digest = made(tmp_path / "a")
    first = NodeCache(tmp_path / "node", GIGABYTE).fetch(uri, digest)
    shutil.rmtree(tmp_path / "a")
    assert NodeCache(tmp_path / "node", GIGABYTE).fetch(uri, digest) == first
    assert (first / "model.onnx").stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("harm", ["changed", "cut", "lost", "left by a pod that died"])
def test_what_is_damaged_is_fetched_again(tmp_path, harm):
    """Every byte is checked at every use."""
    uri, digest = made(tmp_path / "a")
    cache = NodeCache(tmp_path / "node", GIGABYTE)
    model = cache.fetch(uri, digest) / "model.onnx"
    model.chmod(0o644)
    if harm == "changed":
        model.write_bytes(b"Weights" * 1000)
    elif harm == "cut":
        model.write_bytes(b"weights" * 999)
    elif harm == "lost":
        model.unlink()
    else:
        model.parent.rename(model.parent.with_suffix(".partial"))
    assert (cache.fetch(uri, digest) / "model.onnx").read_bytes() == b"weights" * 1000
    assert not list((tmp_path / "node").glob("*.partial"))


def fetch_and_hang(folder, uri, digest, begun):
    """Do what a pod does that is killed in the middle: half of a file is there."""

    def open_half(uri, digest, into):
        (into / "model.onnx").write_bytes(b"weights" * 10)
        begun.wait()
        begun.wait()

    nodecache.open_artifact = open_half
    NodeCache(folder, GIGABYTE).fetch(uri, digest)


@pytest.mark.integration
def test_a_pod_killed_in_the_middle_leaves_nothing_that_is_used(tmp_path):
    """The next one, which waits for it, fetches anew."""
    uri, digest = made(tmp_path / "a")
    context = multiprocessing.get_context("spawn")
    begun = context.Barrier(2)
    pod = context.Process(target=fetch_and_hang, args=(tmp_path / "node", uri, digest, begun))
    pod.start()
    begun.wait(60)
    (partial,) = (tmp_path / "node").glob("*.partial")
    assert (partial / "model.onnx").exists()
    pod.kill()
    pod.join(20)
    found = NodeCache(tmp_path / "node", GIGABYTE).fetch(uri, digest)
    assert (found / "model.onnx").read_bytes() == b"weights" * 1000
    assert not list((tmp_path / "node").glob("*.partial"))


def test_what_no_pod_uses_leaves_first(tmp_path):
    """Within its bytes; this process uses what it fetched, so another one has to have left."""
    old_uri, old_digest = made(tmp_path / "old")
    new_uri, new_digest = made(tmp_path / "new", b"other" * 1000)
    context = multiprocessing.get_context("spawn")
    gate, found = context.Barrier(1), context.SimpleQueue()
    arguments = (tmp_path / "node", old_uri, old_digest, gate, found)
    pod = context.Process(target=fetch_in_a_pod, args=arguments)
    pod.start()
    found.get()
    pod.join(20)
    new = NodeCache(tmp_path / "node", 8_000).fetch(new_uri, new_digest)
    assert [path for path in (tmp_path / "node").iterdir() if path.is_dir()] == [new]
    other_uri, other_digest = made(tmp_path / "other", b"more!" * 1000)
    other = NodeCache(tmp_path / "node", 8_000).fetch(other_uri, other_digest)
    assert new.is_dir(), "in use by this process"
    assert other.is_dir()


def test_a_folder_that_cannot_be_used_is_no_reason_to_fail(tmp_path):
    """The pod has a folder of its own."""
    uri, digest = made(tmp_path / "a")
    (tmp_path / "file").write_text("")
    assert NodeCache(tmp_path / "file" / "node", GIGABYTE).fetch(uri, digest) is None
    assert NodeCache(tmp_path / "node", GIGABYTE).fetch(uri, "sha256:../..") is None


def test_another_artifact_than_asked_for_is_refused(tmp_path):
    """And leaves nothing behind."""
    uri, _ = made(tmp_path / "a")
    with pytest.raises(Stalled, match=r"manifest\.json: expected sha256:0000"):
        NodeCache(tmp_path / "node", GIGABYTE).fetch(uri, "sha256:" + "0" * 64)
    assert not [path for path in (tmp_path / "node").iterdir() if path.is_dir()]
