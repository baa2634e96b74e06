"""A run whose process is killed, with and without a warning, goes on in the next one."""

import json
import os
import signal
import subprocess
import sys

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
