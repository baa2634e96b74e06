"""What holds of all commands: JSON for programs, colours and bars for terminals, and help that says what they do."""

import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from trimtab.cli import local, logs, main, printing
from trimtab.cli.background import Running
from trimtab.cli.dashboard import command as dashboard_command
from trimtab.cli.dashboard import serving
from trimtab.cli.demo import stage, train
from trimtab.cli.demo.timeline import Outcome, Proof, Requests, Sample
from trimtab.store import publish_artifact, write_manifest

# These print no result of their own.
WITHOUT_JSON = {
    "operator": "works until it is told to end; its log is JSON where nobody looks",
    "serve": "as the operator",
    "gateway run": "as the operator",
    "gateway proxy": "as the operator",
    "gateway agent": "as the operator",
    "gateway stop": "prints nothing; its log is JSON",
    "compress run": "always prints one JSON object per line",
    "completion": "prints a script for a shell",
}
REPORT = {"model": "digits", "bytes": 10, "source": {"bytes": 100, "uri": "file:///m", "digest": "d"}, "steps": []}


def leaves(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield " ".join((*path, name)), command


def with_json() -> dict[str, click.Option]:
    """Return the option by command."""
    found = {}
    for path, command in leaves(main):
        for option in command.params:
            if "--output" in option.opts and isinstance(option.type, click.Choice) and "json" in option.type.choices:
                found[path] = option
    return found


def test_every_command_prints_json() -> None:
    """But those that have no result, each with its reason."""
    everything = {path for path, _ in leaves(main)}
    assert everything - set(with_json()) == set(WITHOUT_JSON)


def test_every_command_says_what_it_does() -> None:
    """A sentence each, and one per option."""
    for path, command in leaves(main):
        assert command.help, path
    for path, option in with_json().items():
        assert option.default == "text", path


@pytest.fixture
def world(objects: Any, parts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder and a cluster in which every command has something to print."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "report.json").write_text(json.dumps(REPORT))
    (made / "report.html").write_text("<p>page")
    write_manifest(made)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("0")
    write_manifest(tmp_path / "model")
    publish_artifact(tmp_path / "model", (tmp_path / "store").as_uri())
    publish_artifact(made, (tmp_path / "store" / "report").as_uri())
    artifact = {"uri": (tmp_path / "store").as_uri(), "digest": "d", "bytes": 1024, "sourceBytes": 4096}
    rollout = {"revision": "digits-b", "steps": 2, "stepsPassed": 0, "weight": 20, "progressedAt": "x"}
    active, candidate = parts.revision("digits-a"), parts.revision("digits-b", artifact=artifact)
    rolling = parts.model(activeRevision=active, candidateRevision=candidate, rollout=rollout)
    meta = {"name": "spot-1", "labels": {"local.trimtab.dev/node-group": "spot"}, "resourceVersion": "1"}
    objects.objects = [rolling, {"kind": "Node", "metadata": meta, "spec": {}}]
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({k: v for k, v in rolling.items() if k != "status"}))
    (tmp_path / "spot.csv").write_text("t_s,a\n0,4\n7200,4\n")

    running = Running(7, "https://127.0.0.1:1", str(tmp_path / "kubeconfig"), "2026-01-01T00:00:00Z")
    monkeypatch.setattr(logs, "configure", lambda *_: None)  # it would be for this whole process
    monkeypatch.setattr(local.background, "stop", lambda _: None)
    monkeypatch.setattr(local, "_start_in_background", lambda *_, **__: None)
    monkeypatch.setattr(local, "LocalApi", FewNodes)
    monkeypatch.setattr(local.background, "running", lambda folder: None if folder.name == "none" else running)
    monkeypatch.setattr(train, "write_customer_model", trained)
    monkeypatch.setattr(stage, "perform", performed)
    monkeypatch.setattr(dashboard_command, "connected", objects_connected)
    monkeypatch.setattr(serving, "serving", page)
    return tmp_path


class FewNodes:
    """The embedded cluster's API, which has nothing."""

    def __init__(self, _: Path) -> None: ...

    def items(self, _: str) -> list[Any]:
        return []

    def interrupt(self, _: str) -> None: ...


def trained(model: Path, data: Path, _: int) -> float:
    for path in (model / "weights", data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0")
    return 0.99


async def performed(**_: Any) -> tuple[Outcome, None]:
    proof = Proof(4, 1, 0.9, 0.9, 0.0, 0.0, 0.0, 0.01, "95%", 800, "Passed", "fell 0pp", 0.3, 0.1)
    sample = Sample(0, 1, 1, 0, 9, 9, 1, 9, 0, 0.1, 0.2)
    return Outcome(proof, Requests(2000, 0, 2000, 1, 2), 1, (sample, sample), (), 9.0), None


@asynccontextmanager
async def objects_connected(_: Any) -> Any:
    yield None


@asynccontextmanager
async def page(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGTERM)  # somebody ends it
    yield "http://127.0.0.1:8088"


ARGUMENTS = {
    "demo": "--report {0}/demo",
    "local up": "--data-dir {0}/none",
    "local down": "--data-dir {0}",
    "local status": "--data-dir {0}",
    "local interrupt": "spot-1 --data-dir {0}",
    "compress show": "file://{0}/store",
    "simulate": "--spot {0}/spot.csv --replicas 1 --length 10m --offsets 1",
    "status": "",
    "explain": "digits",
    "promote": "digits",
    "rollback": "digits",
    "interrupt": "spot-1",
    "dashboard": "",
    "report": "digits --folder {0}/report",
    "diff": "-f {0}/model.yaml",
    "sample": "file://{0}/sample",
    "crds": "--directory {0}/crds",
    "version": "",
}


def run(command: str, world: Path, *more: str, **how: Any) -> Result:
    arguments = ARGUMENTS[command].format(world).split()
    return CliRunner().invoke(main, [*command.split(), *arguments, *more], **how)


def test_all_of_them_are_run() -> None:
    """A new command with a result gets its line in the table."""
    assert set(ARGUMENTS) == set(with_json())


@pytest.mark.parametrize("command", sorted(ARGUMENTS))
def test_standard_output_is_one_json_document(command: str, world: Path) -> None:
    """Nothing before it, nothing after it, no colours in it, even where a terminal is forced."""
    done = run(command, world, "--output", "json", color=True)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "\x1b" not in done.stdout
    assert isinstance(json.loads(done.stdout), (dict, list))


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colours_are_a_choice(environment: dict[str, str], coloured: bool, world: Path) -> None:
    """On a terminal, unless its owner wants none (no-color.org): one that is empty does not count."""
    env = {"NO_COLOR": None, "TERM": "xterm", **environment}
    assert ("\x1b[" in run("status", world, "digits", color=True, env=env).stdout) == coloured
    assert "\x1b[" not in run("status", world, "digits", env=env).stdout, "no terminal, no colours"


class Terminal(io.StringIO):
    """Standard error that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("screen", "term", "drawn"), [(Terminal, "xterm", True), (Terminal, "dumb", False), (io.StringIO, "xterm", False)]
)
def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch, screen: Any, term: str, drawn: bool) -> None:
    """Elsewhere nothing is printed: no half lines in a log."""
    error = screen()
    monkeypatch.setattr(printing.sys, "stderr", error)
    monkeypatch.setenv("TERM", term)
    with printing.progress() as show:
        show("distill (3/6)", 40)
        show("distill (3/6)", 30)
        show("quantize (4/6)", 140)
    text = error.getvalue()
    assert bool(text) == drawn
    assert ("distill (3/6)" in text and " 40%" in text and "100%" in text) == drawn


@pytest.mark.parametrize("command", sorted(ARGUMENTS))
def test_help_needs_no_cluster(command: str) -> None:
    """And exits with 0; a wrong option exits with 2."""
    assert CliRunner().invoke(main, [*command.split(), "--help"]).exit_code == 0
    assert CliRunner().invoke(main, [*command.split(), "--no-such-option"]).exit_code == 2


def test_exit_codes_are_told() -> None:
    """Where people look first."""
    told = " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    assert "0 done; 1 it could not be done, and standard error says why; 2 the command line is wrong" in told
