import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.runs import RunResult
from trimtab.api.status import GuardrailStatus
from trimtab.workloads.compress.process import fitted, run_job

GUARDRAIL = GuardrailStatus(
    verdict=Verdict.PASSED,
    metric=Metric.ACCURACY,
    baseline="0.99",
    candidate="0.99",
    drop="0",
    lower="0",
    upper="0",
    limit="0.01",
    confidence="95%",
    samples=800,
)


@given(st.text(max_size=6000), st.text(max_size=6000))
def test_a_result_always_fits(message, verdict):
    """Whatever the messages hold, the termination message is whole JSON of at most 4,096 bytes."""
    result = RunResult(message=message, guardrail=GUARDRAIL.model_copy(update={"message": verdict}))
    text = fitted(result)
    assert len(text.encode()) <= 4096
    kept = RunResult.model_validate_json(text)
    assert message.startswith(kept.message.removesuffix("…"))


@pytest.mark.parametrize("message", ["x" * 10_000, "\x01" * 10_000, "ü" * 10_000, '"\\' * 5_000])
def test_long_messages_are_cut_not_broken(message):
    """The beginning, which says what is wrong, stays; an ellipsis tells that there was more."""
    text = fitted(RunResult(message=message))
    kept = RunResult.model_validate_json(text).message
    assert kept.endswith("…")
    assert message.startswith(kept[:-1])
    assert 3500 < len(text.encode()) <= 4096


def job(tmp_path, request):
    """Run with a request in the environment; return exit code and termination message."""
    lines = []
    environment = {"TERMINATION_MESSAGE_PATH": str(tmp_path / "message")}
    if request is not None:
        environment["TRIMTAB_RUN"] = request
    code = run_job(None, environment, lines.append)
    assert lines[-1] == (tmp_path / "message").read_text()
    return code, json.loads(lines[-1])


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        (None, "no run is asked for; set TRIMTAB_RUN to a RunSpec in JSON, or use --spec FILE"),
        ("{", "the run's request is invalid: the document: Invalid JSON"),
        ('{"namespace": "a"}', "model: Field required"),
    ],
)
def test_a_request_that_is_none(tmp_path, request_text, message):
    """Exit code 65: retrying cannot help."""
    code, result = job(tmp_path, request_text)
    assert code == 65
    assert result["reason"] == Reason.INVALID_SPEC
    assert message in result["message"]


def test_a_missing_source(tmp_path, request_for):
    """Exit code 65, and the field, the value and the remedy in the message."""
    spec = request_for(source={"uri": "file:///nowhere/model"})
    code, result = job(tmp_path, spec.model_dump_json(by_alias=True, exclude_none=True))
    assert code == 65
    assert result["reason"] == Reason.SOURCE_NOT_FOUND
    assert result["message"].startswith("spec.source.uri: file:///nowhere/model does not exist")


@pytest.mark.integration
def test_an_unreachable_store(tmp_path, request_for, monkeypatch, capfd):
    """Exit code 75: the Job tries again; the secret is in no log and no message."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    spec = request_for(source={"uri": "s3://models/digits"})
    code, result = job(tmp_path, spec.model_dump_json(by_alias=True, exclude_none=True))
    assert code == 75
    assert result["reason"] == Reason.STORE_UNREACHABLE
    assert "very-secret" not in "".join(capfd.readouterr()) + json.dumps(result)


def test_a_fault_of_ours(tmp_path, request_for, monkeypatch):
    """Exit code 1, which is retried; the message says what to report."""

    def broken(_self):
        raise RuntimeError("cannot happen")

    monkeypatch.setattr("trimtab.workloads.compress.pipeline.Run.execute", broken)
    code, result = job(tmp_path, request_for().model_dump_json(by_alias=True, exclude_none=True))
    assert code == 1
    assert result["reason"] == Reason.RUN_FAILED
    assert "RuntimeError: cannot happen; this is a fault of Trimtab" in result["message"]
