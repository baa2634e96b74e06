"""A full disk and no memory are told from faults of ours."""

import errno
import json
import os

import numpy as np
import pytest

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled
from trimtab.workloads.compress.exhaustion import exhaustion
from trimtab.workloads.compress.process import run_job

REQUEST = {
    "namespace": "default",
    "model": "digits",
    "key": "k",
    "source": {"uri": "file:///source"},
    "compression": {"preset": "None"},
    "guardrail": {"dataset": {"uri": "file:///data.npz"}},
    "output": "file:///out",
}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/x"), Reason.DISK_FULL),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), Reason.DISK_FULL),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), Reason.DISK_FULL),
        (MemoryError(), Reason.RUN_OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), Reason.RUN_OUT_OF_MEMORY),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
            Reason.RUN_OUT_OF_MEMORY,
        ),
        (RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"), Reason.RUN_OUT_OF_MEMORY),
    ],
)
def test_what_ran_out(error, reason):
    """By number where there is one, by the words of the library otherwise; the message says what to raise."""
    found = exhaustion(error, "/scratch")
    assert found is not None
    assert found.reason == reason
    assert found.message.startswith("spec.compression.job.resources: ")
    assert "raise requests and limits" in found.message


def test_a_cause_is_found_below_other_errors():
    """A step that wraps what its library said does not hide that the memory ran out."""
    try:
        try:
            np.zeros(2**60, np.uint8)
        except MemoryError as inner:
            raise Stalled(Reason.DATASET_INVALID, "the model does not take samples") from inner
    except Stalled as outer:
        found = exhaustion(outer, "/scratch")
    assert found is not None
    assert found.reason == Reason.RUN_OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad shape"),
        OSError(errno.ENOENT, "no space left on device"),
        NotYet(Reason.DISK_FULL, "spec.compression.output.uri: its volume is full"),
    ],
)
def test_other_errors_stay_what_they_are(error):
    """Numbers count before words; a store that is full has said so itself."""
    assert exhaustion(error, "/scratch") is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Reason.DISK_FULL),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Reason.RUN_OUT_OF_MEMORY),
    ],
)
def test_a_run_that_ran_out_is_not_tried_again(tmp_path, monkeypatch, error, reason):
    """Exit code 65, and the reason in the termination message."""

    def exhausted(_self):
        raise error

    monkeypatch.setattr("trimtab.workloads.compress.pipeline.Run.execute", exhausted)
    lines = []
    environment = {
        "TERMINATION_MESSAGE_PATH": str(tmp_path / "message"),
        "TRIMTAB_RUN": json.dumps(REQUEST),
    }
    assert run_job(None, environment, lines.append) == 65
    assert json.loads(lines[-1])["reason"] == reason
