"""Completion of `kubectl trimtab ...`, as kubectl asks for it, and of `trimtab` itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.cli import _PARTS, completing
from trimtab.cli.completing import proposals

PROGRAM = Path(sys.executable).with_name("kubectl_complete-trimtab")


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        pytest.param(("stat",), ["status\tSay what a model is now.", ":4"], id="a command"),
        pytest.param(("status", "-o", ""), ["text", "json", ":4"], id="a value"),
        pytest.param(("local", "do"), ["down\tEnd the cluster and everything that runs...", ":4"], id="deeper"),
        pytest.param(("local", "up", "--data-dir", ""), [":16"], id="a folder"),
        pytest.param(("diff", "-f", "mod"), [":0"], id="a file"),
        pytest.param(("status", "dig"), [":4"], id="a model's name"),
        pytest.param(("nonsense", "x"), [":4"], id="no such command"),
    ],
)
def test_what_may_follow(words: tuple[str, ...], lines: list[str]) -> None:
    """A line each, and what the shell is to do where there is none."""
    assert list(proposals(words)) == lines


def test_options_are_proposed() -> None:
    """With what they mean."""
    found = list(proposals(("rollback", "--un")))
    assert found == ["--undo\tEnd a rollback: what the spec asks for is rolled out again.", ":4"]


def test_commands_are_known_without_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's image has neither demo nor simulator; what follows those is not known there."""

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named 'rich' for {name}", name="rich")

    monkeypatch.setattr("trimtab.cli.importlib.import_module", missing)
    *commands, directive = proposals(())
    assert [line.partition("\t")[0] for line in commands] == [*_PARTS, "completion", "version"]
    assert directive == ":4"
    assert list(proposals(("demo", "--"))) == [":1"]


@pytest.mark.integration
@pytest.mark.needs("kubectl")
def test_kubectl_finds_it() -> None:
    """By the name that it looks for on the PATH; it is installed beside the plugin."""
    assert PROGRAM.exists(), "see [project.scripts]"
    assert completing.main
    env = {**os.environ, "PATH": os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]])}
    asked = ["kubectl", "__complete", "trimtab", "rollb"]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[:1] == ["rollback\tGo back to the revision that served before."]
