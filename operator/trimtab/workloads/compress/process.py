"""The Job's process: reads its request, runs, and tells the outcome through message and exit code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from pydantic import ValidationError

from trimtab.api.conditions import Reason
from trimtab.api.runs import (
    EXIT_BUG,
    EXIT_GROUP_ENDED,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RETRY,
    RUN_ENVIRONMENT,
    TERMINATION_MESSAGE_BYTES,
    RunResult,
    RunSpec,
)
from trimtab.errors import NotYet, Stalled
from trimtab.workloads.compress.exhaustion import exhaustion
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.pipeline import Run
from trimtab.workloads.compress.stopping import GroupEnded, Interrupted, stop_on_signals
from trimtab.workloads.compress.supervising import MOST_STARTS, Death, memory_limit, supervise
from trimtab.workloads.compress.workers.member import member_of

MESSAGE_PATH = "TERMINATION_MESSAGE_PATH"
_DEFAULT_MESSAGE_PATH = "/dev/termination-log"
_ELLIPSIS = "…"
log = structlog.get_logger()


def run_job(text: str | None, environment: Mapping[str, str], emit: Callable[[str], None]) -> int:
    """Carry out the run that `text`, or TRIMTAB_RUN, asks for; return the exit code. Never raises for a bad run."""
    try:
        result, code = _attempt(text if text is not None else environment.get(RUN_ENVIRONMENT), environment, emit)
    except Stalled as error:
        told = exhaustion(error, tempfile.gettempdir()) or error
        result, code = RunResult(reason=told.reason, message=told.message), EXIT_INPUT
    except NotYet as error:
        result, code = RunResult(reason=error.reason, message=error.message), EXIT_RETRY
    except Interrupted:
        result, code = (
            RunResult(reason=Reason.RUN_FAILED, message="the pod was told to stop; the next one goes on from here"),
            EXIT_INTERRUPTED,
        )
    except GroupEnded as ended:
        result = RunResult(reason=Reason.RUN_FAILED, message=f"{ended}; all start again from the last checkpoint")
        code = EXIT_GROUP_ENDED
    except Exception as error:
        log.exception("run.crashed")
        result, code = _crashed(error)
    message = fitted(result)
    emit(message)
    _leave(message, environment.get(MESSAGE_PATH, _DEFAULT_MESSAGE_PATH))
    log.info("run.ended", exit_code=code, reason=result.reason, reused=result.reused)
    return code


def run_guarded(text: str | None, environment: Mapping[str, str], emit: Callable[[str], None]) -> int:
    """Carry out a run as `run_job` does; one that searches in a process of its own, which may die of a trial."""
    request = text if text is not None else environment.get(RUN_ENVIRONMENT)
    if not _searches(request):
        return run_job(request, environment, emit)

    def gave_up(death: Death) -> int:
        fault = "memory" if death.for_memory else f"signal {death.number}"
        message = (
            f"spec.compression.job.resources: the search was ended {MOST_STARTS} times, the last time for {fault}; "
            "raise requests and limits of memory, or give a space of fewer steps"
        )
        reason, code = (Reason.RUN_OUT_OF_MEMORY, EXIT_INPUT) if death.for_memory else (Reason.RUN_FAILED, EXIT_BUG)
        told = fitted(RunResult(reason=reason, message=message))
        emit(told)
        _leave(told, environment.get(MESSAGE_PATH, _DEFAULT_MESSAGE_PATH))
        return code

    return supervise(lambda: run_job(request, environment, emit), memory_limit(), gave_up)


def _searches(request: str | None) -> bool:
    try:
        return request is not None and RunSpec.model_validate_json(request).compression.search is not None
    except ValidationError:
        return False  # the run tells it in full


def _crashed(error: Exception) -> tuple[RunResult, int]:
    told = exhaustion(error, tempfile.gettempdir())
    if told is not None:
        return RunResult(reason=told.reason, message=told.message), EXIT_INPUT
    message = f"{type(error).__name__}: {error}; this is a fault of Trimtab: please report the pod's log"
    return RunResult(reason=Reason.RUN_FAILED, message=message), EXIT_BUG


def fitted(result: RunResult, limit: int = TERMINATION_MESSAGE_BYTES) -> str:
    """Return a result as JSON of at most `limit` bytes: messages are shortened, the JSON stays whole."""
    shortened = result
    for _ in range(2):
        text = shortened.model_dump_json(by_alias=True, exclude_none=True)
        excess = len(text.encode()) - limit
        if excess <= 0:
            return text
        shortened = _shortened(shortened, excess)
    raise ValueError(f"a result of {len(text)} bytes has no message to shorten to {limit}")


def _shortened(result: RunResult, excess: int) -> RunResult:
    """Cut the longest message; one character may take six bytes in JSON, so cut generously."""
    guardrail = result.guardrail
    if guardrail is not None and len(guardrail.message) > len(result.message):
        cut = guardrail.model_copy(update={"message": _cut(guardrail.message, excess)})
        return result.model_copy(update={"guardrail": cut})
    return result.model_copy(update={"message": _cut(result.message, excess)})


def _cut(message: str, excess: int) -> str:
    keep = len(message)
    removed = 0
    while keep > 0 and removed < excess + 8:  # and room for the ellipsis
        keep -= 1
        removed += len(RunResult(message=message[keep]).model_dump_json().encode()) - _EMPTY
    return message[:keep] + _ELLIPSIS


_EMPTY = len(RunResult().model_dump_json().encode())


def _attempt(text: str | None, environment: Mapping[str, str], emit: Callable[[str], None]) -> tuple[RunResult, int]:
    spec = _request(text)
    member = member_of(spec.compression.workers, environment)
    machine = this_machine(spec.compression.target.threads)
    worker = {"worker": member.index, "workers": member.workers} if member else {}
    log.info("run.started", model=spec.model, namespace=spec.namespace, key=spec.key, threads=machine.threads, **worker)
    with stop_on_signals() as stop, tempfile.TemporaryDirectory(prefix="trimtab-run-") as folder:
        run = Run(spec=spec, machine=machine, folder=Path(folder), emit=emit, stop=stop, member=member)
        return run.execute(), EXIT_OK


def _request(text: str | None) -> RunSpec:
    if not text:
        raise Stalled(
            Reason.INVALID_SPEC, f"no run is asked for; set {RUN_ENVIRONMENT} to a RunSpec in JSON, or use --spec FILE"
        )
    try:
        return RunSpec.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'the document'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise Stalled(Reason.INVALID_SPEC, f"the run's request is invalid: {faults}") from None


def _leave(message: str, path: str) -> None:
    """Write the termination message where there is a place for it; a terminal has none."""
    if path != _DEFAULT_MESSAGE_PATH or os.access(path, os.W_OK):
        Path(path).write_text(message)
