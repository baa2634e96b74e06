"""Rewriting the paths of a pod."""

from pathlib import Path

import pytest

from trimtab.local.agent.paths import PathMap

MAP = PathMap([("/models", Path("/real/m")), ("/models/cache", Path("/real/c")), ("/dev/termination-log", Path("/t"))])


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/models", "/real/m"),
        ("/models/a.onnx", "/real/m/a.onnx"),
        ("/models/", "/real/m/"),
        ("--dir=/models", "--dir=/real/m"),
        ("file:///models/a", "file:///real/m/a"),
        ("/models:/models/cache/x", "/real/m:/real/c/x"),
        ("echo x > /dev/termination-log; exit", "echo x > /t; exit"),
        ("/models-old", "/models-old"),
        ("/models.bak", "/models.bak"),
        ("/x/models", "/x/models"),
        ("s3://models/a", "s3://models/a"),
        ("http://host/models/a", "http://host/models/a"),
    ],
)
def test_mount_paths_are_rewritten_where_they_are_paths(text, rewritten):
    """A mount path counts as a whole path or as the beginning of one, the longest mount first."""
    assert MAP.rewritten(text) == rewritten


def test_nothing_mounted_changes_nothing():
    """Without mounts a text stays as it is."""
    assert PathMap([]).rewritten("/models") == "/models"
