"""Two workers of a run whose processes are killed go on in the next ones."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from trimtab.api.runs import EXIT_GROUP_ENDED, EXIT_INTERRUPTED, EXIT_OK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
STEPS = [{"finetune": {"epochs": 8, "augment": ["Rotate"]}}, {"prune": {"sparsity": "50%"}}, {"distill": {"epochs": 6}}]


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.glob("digits/*/*") if p.is_file() and p.parent.name != "report"}


@pytest.fixture
def workers_of(request_for, tmp_path):
    """Start both workers of a run whose artifact goes to a folder of its own."""
    net = f"127.{random.randrange(20, 250)}.{random.randrange(1, 250)}"
    started = []

    def start(name):
        compression = {"steps": STEPS, "target": {"threads": 1}, "workers": 2}
        request = request_for(compression=compression, output=(tmp_path / name).as_uri())
        both = []
        for index in range(2):
            environment = os.environ | {
                "TRIMTAB_RUN": request.model_dump_json(by_alias=True, exclude_none=True),
                "TERMINATION_MESSAGE_PATH": str(tmp_path / f"message-{index}"),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "JOB_COMPLETION_INDEX": str(index),
                "POD_IP": f"{net}.{index + 1}",
                "TRIMTAB_JOB": f"job-{name}",
            }
            command = [sys.executable, "-m", "trimtab", "compress", "run"]
            with (tmp_path / f"log-{index}").open("a") as log:  # the process has its own copy
                process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=log)
            both.append(process)
        started.extend(both)
        return both

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill_in(step, workers, victim, number):
    """Send one worker a signal while worker 0 says that it trains; return the exit codes: both end soon."""
    for line in workers[0].stdout:
        told = json.loads(line)
        if told.get("step") == step and told["detail"].startswith("epoch"):
            break
    workers[victim].send_signal(number)
    for worker in workers:
        worker.communicate(timeout=120)
    return [worker.returncode for worker in workers]


def said(tmp_path, index):
    return json.loads((tmp_path / f"message-{index}").read_text())


def test_killed_workers_make_the_same_artifact(workers_of, tmp_path):
    """SIGTERM to one, SIGKILL to the other: both end soon, and the next ones end with the bytes of undisturbed ones."""
    for worker in (undisturbed := workers_of("whole")):
        worker.communicate(timeout=200)
    assert [worker.returncode for worker in undisturbed] == [EXIT_OK, EXIT_OK], (tmp_path / "log-0").read_text()
    assert said(tmp_path, 1)["message"] == "worker 1 of 2 has done its part; worker 0 goes on"
    assert abs(float(said(tmp_path, 0)["guardrail"]["drop"])) < 0.01, "as accurate as the original"

    codes = kill_in("finetune", workers_of("killed"), 1, signal.SIGTERM)
    assert codes == [EXIT_GROUP_ENDED, EXIT_INTERRUPTED]
    assert said(tmp_path, 0)["message"].startswith("worker 0 of 2 ends, as another worker was told to stop; all start")

    codes = kill_in("distill", workers_of("killed"), 0, signal.SIGKILL)
    assert codes == [-signal.SIGKILL, EXIT_GROUP_ENDED]
    assert said(tmp_path, 1)["message"].startswith("worker 1 of 2 lost another worker: ")

    last = workers_of("killed")
    steps = {json.loads(line).get("step") for line in last[0].stdout}
    for worker in last:
        worker.communicate(timeout=200)
    assert [worker.returncode for worker in last] == [EXIT_OK, EXIT_OK], (tmp_path / "log-0").read_text()
    assert "finetune" not in steps, "what was finished is not done again"
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert not list(tmp_path.glob("killed/digits/*-checkpoints"))
