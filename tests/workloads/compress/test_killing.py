"""A run whose process is killed, with and without a warning, goes on in the next one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
STEPS = [{"prune": {"sparsity": "50%"}}, {"finetune": {"epochs": 12}}, {"distill": {"epochs": 6}}]


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.glob("digits/*/*") if p.is_file() and p.parent.name != "report"}


def test_killed_processes_make_the_same_artifact(request_for, execute, tmp_path):
    """SIGTERM, SIGKILL and SIGTERM while it trains: the fourth process ends with the bytes of an undisturbed run."""

    def spec(name):
        return request_for(compression={"steps": STEPS, "target": {"threads": 1}}, output=(tmp_path / name).as_uri())

    execute(spec("whole"))
    request = spec("killed").model_dump_json(by_alias=True, exclude_none=True)
    environment = os.environ | {
        "TRIMTAB_RUN": request,
        "TERMINATION_MESSAGE_PATH": str(tmp_path / "message"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }

    def started():
        command = [sys.executable, "-m", "trimtab", "compress", "run"]
        with (tmp_path / "log").open("a") as log:  # the process has its own copy
            return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=log)

    for number, step in ((signal.SIGTERM, "finetune"), (signal.SIGKILL, "distill"), (signal.SIGTERM, "distill")):
        with started() as process:
            for line in process.stdout:
                told = json.loads(line)
                if told.get("step") == step and told["detail"].startswith("epoch"):
                    process.send_signal(number)
                    break
            process.stdout.read()
        assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    with started() as process:
        steps = {json.loads(line).get("step") for line in process.stdout}
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert steps & {"prune", "finetune"} == set(), "what was finished is not done again"
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


SEARCH = {"objective": "Size", "strategy": "Grid", "trials": 3, "space": [*STEPS[:1], {"distill": {"epochs": 10}}]}


def test_killed_searches_choose_the_same_model(request_for, execute, customer, tmp_path):
    """SIGTERM, death of its process, SIGKILL of all, in trials that train: the bytes of an undisturbed search."""

    def spec(name):
        return request_for(
            compression={"search": SEARCH, "target": {"threads": 1}},
            guardrail={"dataset": {"uri": customer[1].as_uri()}, "maxDrop": "5pp"},
            output=(tmp_path / name).as_uri(),
        )

    execute(spec("whole"))
    request = spec("killed").model_dump_json(by_alias=True, exclude_none=True)
    environment = os.environ | {
        "TRIMTAB_RUN": request,
        "TERMINATION_MESSAGE_PATH": str(tmp_path / "message"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }

    def kill_its_child(process):
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)

    plan = [
        ("trial 2", subprocess.Popen.terminate),
        ("trial 2", kill_its_child),
        ("trial 4", subprocess.Popen.kill),
    ]
    codes = []
    while not codes or codes[-1] != 0:
        command = [sys.executable, "-m", "trimtab", "compress", "run"]
        with (
            (tmp_path / "log").open("a") as log,
            subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=log) as process,
        ):
            for line in process.stdout:
                told = json.loads(line).get("detail", "")
                if plan and told.startswith(plan[0][0]) and "epoch" in told:
                    plan.pop(0)[1](process)
        codes.append(process.returncode)
        assert len(codes) < 5, (tmp_path / "log").read_text()
    assert codes == [143, -signal.SIGKILL, 0]
    logged = (tmp_path / "log").read_text()
    assert logged.count('"search.died"') == 1
    assert logged.count('"trial.finished"') == 4, "nothing is measured twice"
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
