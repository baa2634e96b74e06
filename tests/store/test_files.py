import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled
from trimtab.store import fetch_all, folder_digest, open_artifact, open_store, publish_artifact, write_manifest


@pytest.fixture
def source(tmp_path):
    """A folder with a file, a nested file, and what a ConfigMap volume hides."""
    folder = tmp_path / "source"
    (folder / "code").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "code" / "model.py").write_text("pass")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    return folder


def an_artifact(folder: Path, content: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    (folder / "config.json").write_text("{}")
    write_manifest(folder, key="k")
    return folder


def test_a_folder_is_listed_and_fetched(source, tmp_path):
    """All visible files come along, hidden ones do not."""
    store = open_store(source.as_uri())
    assert [(file.name, file.size) for file in store.files()] == [("code/model.py", 4), ("model.onnx", 7)]
    fetch_all(store, tmp_path / "copy")
    assert (tmp_path / "copy" / "code" / "model.py").read_text() == "pass"
    assert not (tmp_path / "copy" / ".git").exists()


def test_a_single_file_is_fetched_under_its_name(source, tmp_path):
    """A URI may name one file."""
    fetch_all(open_store((source / "model.onnx").as_uri()), tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["model.onnx"]


def test_config_map_volumes_work(tmp_path):
    """Links that stay inside the folder are followed: Kubernetes mounts ConfigMaps that way."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "model.onnx").write_bytes(b"w")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "model.onnx").symlink_to("..data/model.onnx")
    assert [file.name for file in open_store(tmp_path.as_uri()).files()] == ["model.onnx"]


@pytest.mark.parametrize("target", ["file", "folder"])
def test_links_out_of_the_folder_are_refused(source, tmp_path, target):
    """A source cannot reach what lies outside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s")
    (source / "sly").symlink_to(tmp_path / "outside" / ("secret" if target == "file" else ""))
    with pytest.raises(Stalled, match="sly is a link out of the folder, which is refused"):
        open_store(source.as_uri(), "spec.source.uri").files()


@pytest.mark.parametrize(
    ("uri", "reason", "message"),
    [
        ("file:///nowhere/x", Reason.SOURCE_NOT_FOUND, "spec.source.uri: file:///nowhere/x does not exist or is empty"),
        ("file://host/x", Reason.INVALID_SPEC, "write it like file:///models/digits"),
        ("file:///a/../b", Reason.INVALID_SPEC, "is no absolute path"),
        (
            "hf://org/model",
            Reason.NOT_SUPPORTED,
            "spec.source.uri: hf:// is not supported by this version; use file://",
        ),
        ("s3://bucket", Reason.INVALID_SPEC, "names no bucket and folder"),
    ],
)
def test_what_cannot_be_opened_says_why(uri, reason, message):
    """Each URI that leads nowhere is answered with field, value and remedy."""
    with pytest.raises(Stalled) as caught:
        open_store(uri, "spec.source.uri").files()
    assert caught.value.reason == reason
    assert message in caught.value.message


def test_no_permission(source, monkeypatch):
    """A file of another user is AccessDenied, with the user to allow."""

    def deny(path, _target):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.copyfile", deny)
    with pytest.raises(Stalled, match=rf"no permission for .*model\.onnx; allow user {os.getuid()}") as caught:
        open_store(source.as_uri()).fetch("model.onnx", source / "copy")
    assert caught.value.reason == Reason.ACCESS_DENIED


def test_digest_depends_on_names_and_contents(source):
    """Renaming, moving bytes between files and changing them each give another digest; hidden copies do not matter."""
    digests = {folder_digest(source)}
    (source / "model.onnx").rename(source / "other.onnx")
    digests.add(folder_digest(source))
    (source / "other.onnx").write_bytes(b"weight")
    (source / "code" / "model.py").write_text("spass")
    digests.add(folder_digest(source))
    assert len(digests) == 3
    assert all(digest.startswith("sha256:") and len(digest) == 71 for digest in digests)


def test_an_artifact_survives_the_round_trip(tmp_path):
    """What is published is what is opened; the second publication changes nothing."""
    uri = (tmp_path / "out" / "digits" / "key").as_uri()
    first = publish_artifact(an_artifact(tmp_path / "a"), uri)
    again = publish_artifact(an_artifact(tmp_path / "b", b"other"), uri)
    assert again.digest == first.digest
    opened = open_artifact(uri, first.digest, tmp_path / "opened")
    assert opened == first
    assert (tmp_path / "opened" / "model.onnx").read_bytes() == b"weights"
    assert opened.facts == {"key": "k"}
    assert opened.bytes == 9


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.onnx").write_bytes(b"weighTs"), "model.onnx: expected sha256 "),
        (lambda f: (f / "model.onnx").unlink(), "model.onnx: expected 7 bytes, found no file"),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json does not exist: its publication never finished"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json: expected sha256:"),
    ],
)
def test_a_damaged_artifact_is_refused_and_replaced(tmp_path, damage, message):
    """Reading it names the file, what was expected and what was found; publishing again repairs it."""
    target = tmp_path / "out" / "key"
    digest = publish_artifact(an_artifact(tmp_path / "a"), target.as_uri()).digest
    damage(target)
    with pytest.raises(Stalled) as caught:
        open_artifact(target.as_uri(), digest, tmp_path / "opened")
    assert caught.value.reason == Reason.ARTIFACT_CORRUPT
    assert message in caught.value.message
    assert publish_artifact(an_artifact(tmp_path / "b"), target.as_uri()).digest == digest
    open_artifact(target.as_uri(), digest, tmp_path / "again")


def test_another_digest_is_refused(tmp_path):
    """An artifact that is not the one a revision was proven with does not serve."""
    uri = (tmp_path / "out").as_uri()
    found = publish_artifact(an_artifact(tmp_path / "a"), uri).digest
    with pytest.raises(Stalled, match=f"expected sha256:0, found {found}"):
        open_artifact(uri, "sha256:0", tmp_path / "opened")


def test_a_manifest_cannot_write_outside(tmp_path):
    """A hostile manifest's names are refused before anything is copied."""
    folder = an_artifact(tmp_path / "a")
    (folder / "manifest.json").write_text(
        '{"schema": "trimtab.dev/artifact/v1", "files": [{"name": "../evil", "size": 1, "sha256": "0"}]}'
    )
    with pytest.raises(Stalled, match=r"refused the file name '\.\./evil'"):
        open_artifact(folder.as_uri(), None, tmp_path / "opened")


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    """Errors of the volume may pass: retry."""

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(NotYet, match=r"DiskFull: spec\.x: file://.*: its volume is full; free space there"):
        publish_artifact(an_artifact(tmp_path / "a"), (tmp_path / "out").as_uri(), "spec.x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"], "nothing half-written stays"


@pytest.mark.integration
def test_kill_during_publication_leaves_nothing_visible(tmp_path):
    """After kill -9 a reader sees no artifact, and the next publication removes the leftover."""
    target = tmp_path / "out" / "key"
    artifact = an_artifact(tmp_path / "a")
    script = (
        "import sys, time, pathlib, trimtab.store.files as files\n"
        "from trimtab.store import publish_artifact\n"
        "files._flush = lambda folder: (print('copied', flush=True), time.sleep(60))\n"
        "publish_artifact(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, artifact, target.as_uri()],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "operator")},
    )
    assert process.stdout.readline() == b"copied\n"
    with pytest.raises(Stalled, match="does not exist"):
        open_artifact(target.as_uri(), None, tmp_path / "early")
    rival = publish_artifact(an_artifact(tmp_path / "b"), (tmp_path / "out" / "rival").as_uri())
    partial = list((tmp_path / "out").glob(".key.partial-*"))
    assert len(partial) == 1, "a publication that goes on is left alone"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    published = publish_artifact(artifact, target.as_uri())
    assert published.digest == rival.digest
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["key", "rival"]


def test_the_callers_own_disk_is_not_the_stores(tmp_path, monkeypatch):
    """Copying from a store may fill the disk that it copies to: the system's error, which names no store."""
    (tmp_path / "model").write_text("m")

    def full(_source, _target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        open_store(tmp_path.as_uri()).fetch("model", tmp_path / "copy")
