import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import numpy as np
import onnx
import pytest
import yaml
from imitatedaws import moto_server

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.api.runs import Progress, RunResult, RunSpec
from trimtab.errors import Stalled
from trimtab.store import file_sha256, folder_digest, join, open_artifact
from trimtab.workloads.compress.checkpoints import SUFFIX
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.recipe import content_key, recipe
from trimtab.workloads.compress.report import REPORT_FOLDER, read_report
from trimtab.workloads.compress.stopping import Interrupted, Stop
from trimtab.workloads.serve.artifact import read_spec
from trimtab.workloads.serve.engine import load_runner

pytestmark = pytest.mark.integration
OPERATOR = Path(__file__).parents[3] / "operator"


def job(arguments, tmp_path, **environment):
    """Start the Job's process as its container does."""
    return subprocess.Popen(
        [sys.executable, "-c", "from trimtab.cli import main; main()", "compress", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(OPERATOR),
            "TERMINATION_MESSAGE_PATH": str(tmp_path / "message"),
            **environment,
        },
    )


@pytest.fixture(scope="module")
def balanced(customer, tmp_path_factory):
    """One Balanced run of the Job's process, for all tests that look at what it made."""
    folder = tmp_path_factory.mktemp("balanced")
    source, data = customer
    spec = {
        "namespace": "default",
        "model": "digits",
        "key": "k",
        "source": {"uri": source.as_uri(), "entrypoint": "digits_model:build"},
        "compression": {"preset": "Balanced", "target": {"threads": 1}},
        "guardrail": {"dataset": {"uri": data.as_uri()}, "maxDrop": "2pp"},
        "output": (folder / "out").as_uri(),
        "allowCode": True,
    }
    process = job(["run"], folder, TRIMTAB_RUN=json.dumps(spec))
    stdout, stderr = process.communicate(timeout=280)
    assert process.returncode == 0, stderr
    return folder, spec, stdout.splitlines(), RunResult.model_validate_json((folder / "message").read_text())


def test_balanced_is_small_and_passes(balanced):
    """The demo's promise: at least four times smaller, and proven at 2pp."""
    _, _, _, result = balanced
    assert result.guardrail.verdict is Verdict.PASSED
    assert result.artifact.source_bytes / result.artifact.bytes >= 4
    assert result.recipe == ["prune", "distill", "quantize"]
    assert float(result.latency_ms) > 0
    assert not result.reused


def test_progress_only_rises_and_the_result_comes_last(balanced):
    """Every line but the last is a Progress; percent and step never fall."""
    _, _, lines, result = balanced
    progress = [Progress.model_validate_json(line) for line in lines[:-1]]
    assert [p.percent for p in progress] == sorted(p.percent for p in progress)
    assert list(dict.fromkeys(p.step for p in progress)) == [
        "export",
        "prune",
        "distill",
        "quantize",
        "evaluate",
        "publish",
    ]
    assert RunResult.model_validate_json(lines[-1]) == result


def test_the_artifact_can_be_served_and_keeps_no_secrets(balanced, customer, tmp_path):
    """The serving pod reads config.json; the model holds no path of the machine it was made on, and no sample."""
    _, _, _, result = balanced
    open_artifact(result.artifact.uri, result.artifact.digest, tmp_path)
    spec = read_spec(tmp_path)
    assert [(t.name, t.datatype, t.shape) for t in spec.inputs] == [("input", "FP32", (-1, 1, 8, 8))]
    assert spec.stackable
    assert str(customer[0]).encode() not in (tmp_path / "model.onnx").read_bytes()
    assert b"site-packages" not in (tmp_path / "model.onnx").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.onnx",
        "config.json",
        "manifest.json",
    }
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.json",
        "report.html",
        "report.png",
        "recipe.yaml",
        "manifest.json",
    }
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<svg" in page
    assert "http" not in page, "the page loads nothing"


def test_the_report_tells_what_each_step_did(balanced, tmp_path):
    """Parameters and work before and after, and how much is int8."""
    _, _, _, result = balanced
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, tmp_path)
    prune, _, quantize = (step["facts"] for step in read_report(tmp_path)["steps"])
    assert prune["parametersAfter"] < prune["parametersBefore"] / 3
    assert prune["macsAfter"] < prune["macsBefore"] / 3
    assert quantize["weightsInt8Percent"] == 100.0
    assert quantize["macsInt8Percent"] == 100.0


def test_what_a_preset_chose_can_be_pasted_back(balanced, customer, tmp_path):
    """recipe.yaml as steps is the same run, and so finds the artifact; the report says why these steps."""
    _, spec, _, result = balanced
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, tmp_path)
    pasted = {"steps": yaml.safe_load((tmp_path / "recipe.yaml").read_text()), "target": {"threads": 1}}
    again = RunSpec.model_validate_json(json.dumps(spec | {"compression": pasted}))
    placed = recipe(again, source_is_graph=False)
    machine = this_machine(1)
    digests = read_report(tmp_path)["data"]
    key = content_key(again, placed, folder_digest(customer[0]), digests, machine)
    assert result.artifact.uri.endswith(key)
    why = "\n".join(read_report(tmp_path)["why"])
    assert "the source is a convolutional network" in why
    assert "in 12 passes over 997 training samples" in why
    assert "Why these steps" in (tmp_path / "report.html").read_text()


def test_an_equal_request_reuses_the_artifact(balanced, execute):
    """No training: the same inputs lead to what is there; a rerun's reason asks for a new artifact."""
    _, spec, _, result = balanced
    again = execute(RunSpec.model_validate_json(json.dumps(spec)))
    assert again == result.model_copy(update={"reused": True})
    quick = spec | {"compression": {"preset": "None"}}
    first, rerun = (execute(RunSpec.model_validate_json(json.dumps(quick | {"salt": salt}))) for salt in ("", "again"))
    assert first.artifact.uri != rerun.artifact.uri
    assert not rerun.reused


def test_show_prints_the_report(balanced, tmp_path):
    """`trimtab compress show` is the report as text."""
    _, _, _, result = balanced
    process = job(["show", result.artifact.uri], tmp_path)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout.startswith("default/digits")
    assert result.guardrail.message in stdout
    assert "x smaller" in stdout


def test_the_same_run_makes_the_same_model(request_for, execute, tmp_path):
    """Two runs on one machine give the same bytes of model.onnx, training included."""
    steps = [{"prune": {"sparsity": "50%"}}, {"finetune": {"epochs": 1}}, {"quantize": {"scheme": "INT8"}}]
    digests = set()
    for attempt in ("a", "b"):
        spec = request_for(compression={"steps": steps}, output=(tmp_path / attempt).as_uri())
        result = execute(spec)
        open_artifact(result.artifact.uri, result.artifact.digest, tmp_path / f"copy-{attempt}")
        digests.add(file_sha256(tmp_path / f"copy-{attempt}" / "model.onnx"))
    assert len(digests) == 1


def test_preset_none_only_exports(request_for, execute):
    """Nothing lost, nothing gained: the candidate is the baseline."""
    result = execute(request_for())
    assert result.artifact.bytes == result.artifact.source_bytes
    assert result.guardrail.drop == "0.000000"
    assert result.recipe == []


def test_a_ruined_model_fails_its_guardrail_and_is_published(request_for, execute, tmp_path):
    """Pruning without recovery: the verdict is Failed; artifact and report are to look at, the original to serve."""
    asked = request_for(compression={"steps": [{"prune": {"sparsity": "75%", "scope": "Global"}}]})
    result = execute(asked)
    assert result.reason is None
    assert result.guardrail.verdict is Verdict.FAILED
    assert "accuracy fell" in result.guardrail.message
    assert "original/model.onnx" not in open_artifact(result.artifact.uri, result.artifact.digest, tmp_path / "a").files
    original = open_artifact(result.original.uri, result.original.digest, tmp_path / "original")
    assert sorted(original.files) == ["config.json", "model.onnx"]
    assert result.original.bytes == result.original.source_bytes == result.artifact.source_bytes
    with np.load(asked.guardrail.dataset.uri.removeprefix("file://")) as data:
        runner = load_runner(tmp_path / "original" / "model.onnx", 1)
        (answers,) = runner.run(None, {runner.inputs[0].name: data["x_test"]})
        assert (answers.argmax(1) == data["y_test"]).mean() == pytest.approx(float(result.guardrail.baseline), abs=1e-6)
    again = execute(asked)
    assert (again.reused, again.original) == (True, result.original)


def test_a_narrower_student_learns(request_for, execute):
    """distill.student.width keeps that share of the channels."""
    steps = [{"distill": {"student": {"width": "50%"}, "epochs": 3, "temperature": "3", "alpha": "0.5"}}]
    result = execute(request_for(compression={"steps": steps}))
    assert result.artifact.bytes < result.artifact.source_bytes / 3
    assert float(result.guardrail.candidate) > 0.9


def test_latency_is_part_of_the_promise(request_for, execute, customer):
    """A model that is slower than maxLatency fails, however accurate it is; disabled, nothing is proven."""
    dataset = {"uri": customer[1].as_uri()}
    slow = execute(request_for(guardrail={"dataset": dataset, "maxDrop": "2pp", "maxLatency": "0ms"}))
    assert slow.guardrail.verdict is Verdict.FAILED
    assert "median latency" in slow.guardrail.message
    assert slow.guardrail.message.endswith("limit 0 ms")
    assert execute(request_for(guardrail={"dataset": dataset, "mode": "Disabled"})).guardrail is None


def test_an_onnx_source_is_quantized(request_for, execute, a_graph, a_dataset, tmp_path):
    """Fast on a graph: int8 weights, calibrated with samples that are not judged on."""
    weight = a_graph(tmp_path / "source" / "model.onnx", inputs=64, classes=5)
    data = a_dataset(tmp_path / "data.npz", weight)
    spec = request_for(
        source={"uri": (tmp_path / "source").as_uri()},
        compression={"preset": "Fast"},
        guardrail={"dataset": {"uri": data.as_uri()}, "maxDrop": "20pp"},
        allowCode=False,
    )
    result = execute(spec)
    assert result.recipe == ["quantize"]
    assert result.guardrail.samples == 300, "a quarter went to calibration"
    open_artifact(result.artifact.uri, result.artifact.digest, tmp_path / "copy")
    model = onnx.load(tmp_path / "copy" / "model.onnx")
    assert "DequantizeLinear" in {node.op_type for node in model.graph.node}


def test_a_graph_fixed_to_a_batch_is_judged(request_for, execute, a_graph, a_dataset, tmp_path):
    """Batches of a fixed size are filled up; the answers to the filling are not counted."""
    weight = a_graph(tmp_path / "model.onnx", batch=7)
    data = a_dataset(tmp_path / "data.npz", weight)
    spec = request_for(
        source={"uri": (tmp_path / "model.onnx").as_uri()}, guardrail={"dataset": {"uri": data.as_uri()}}
    )
    result = execute(spec)
    assert result.guardrail.samples == 400
    assert result.guardrail.baseline == "1.000000"


def test_leaked_samples_are_reported(request_for, execute, customer, tmp_path):
    """Evaluation samples among the training data flatter the candidate: the report says how many."""
    with np.load(customer[1]) as arrays:
        known = dict(arrays)
    known["x_train"][:3], known["y_train"][:3] = known["x_test"][:3], known["y_test"][:3]
    np.savez(tmp_path / "leaky.npz", **known)
    spec = request_for(
        compression={"steps": [{"finetune": {"epochs": 1, "batchSize": 256}}]},
        guardrail={"dataset": {"uri": (tmp_path / "leaky.npz").as_uri()}, "maxDrop": "20pp"},
    )
    result = execute(spec)
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, tmp_path / "copy")
    (warning,) = read_report(tmp_path / "copy")["warnings"]
    assert "3 of 800 evaluation samples are in the training data" in warning


def test_a_digest_pins_the_source(request_for, execute, customer):
    """The right digest runs; another one is refused, with both."""
    digest = folder_digest(customer[0])
    source = {"uri": customer[0].as_uri(), "entrypoint": "digits_model:build"}
    assert execute(request_for(source=source | {"digest": digest})).artifact
    wrong = "sha256:" + "0" * 64
    with pytest.raises(Stalled, match=f"expected {wrong}, but .* has {digest}") as caught:
        execute(request_for(source=source | {"digest": wrong}))
    assert caught.value.reason == Reason.DIGEST_MISMATCH


def test_a_stop_ends_training_at_the_next_batch(request_for, execute, tmp_path):
    """Asked to stop in the first epoch, a run of a hundred ends, and publishes nothing."""
    stop = Stop()

    def emit(line):
        if json.loads(line)["detail"].startswith("epoch"):
            stop.ask()

    spec = request_for(compression={"steps": [{"finetune": {"epochs": 100}}]})
    with pytest.raises(Interrupted):
        execute(spec, emit, stop)
    assert published(tmp_path) == []


def test_sigterm_exits_143(request_for, tmp_path):
    """A spot node that goes away: the process ends soon, says so, and leaves nothing visible."""
    spec = request_for(compression={"steps": [{"finetune": {"epochs": 10_000}}]})
    (tmp_path / "spec.json").write_text(spec.model_dump_json(by_alias=True, exclude_none=True))
    process = job(["run", "--spec", str(tmp_path / "spec.json")], tmp_path)
    for line in process.stdout:
        if '"finetune"' in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert "told to stop" in json.loads((tmp_path / "message").read_text())["message"]
    assert published(tmp_path) == []


def published(folder):
    """Return what is to be seen beside checkpoints."""
    found = (folder / "out" / "digits").iterdir()
    return [path.name for path in found if not path.name.endswith(SUFFIX)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_everything_may_lie_in_s3(request_for, execute, customer, monkeypatch):
    """Source, data and artifacts over real HTTP; the second run finds what the first one made."""
    with moto_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="lake")
        for path in customer[0].glob("*.*"):
            client.upload_file(str(path), "lake", f"models/digits/{path.name}")
        client.upload_file(str(customer[1]), "lake", "data/digits.npz")
        spec = request_for(
            source={"uri": "s3://lake/models/digits", "entrypoint": "digits_model:build"},
            compression={"preset": "Fast"},
            guardrail={"dataset": {"uri": "s3://lake/data/digits.npz"}, "maxDrop": "2pp"},
            output="s3://lake/artifacts",
        )
        first = execute(spec)
        assert first.artifact.uri.startswith("s3://lake/artifacts/digits/")
        assert first.guardrail.verdict is Verdict.PASSED
        assert execute(spec) == first.model_copy(update={"reused": True})


@pytest.mark.usefixtures("drawing")
def test_a_report_that_cannot_be_drawn_costs_no_model(request_for, execute, monkeypatch, tmp_path):
    """The artifact is published with the numbers, though the page is missing."""

    def fail(_report):
        raise ValueError("no room for a legend")

    monkeypatch.setattr("trimtab.workloads.compress.report.page.page", fail)
    result = execute(request_for())
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, tmp_path / "report")
    assert read_report(tmp_path / "report")["model"] == "digits"
    assert not (tmp_path / "report" / "report.html").exists()
