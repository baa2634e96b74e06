"""Tells failures that mean a full disk or no memory from faults of ours, whichever library they come from."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled

_FULL = {errno.ENOSPC, errno.EDQUOT}
# Libraries in C++ and Rust keep no error number: torch, ONNX Runtime, OpenVINO, safetensors.
_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded|os error (28|122)\b", re.IGNORECASE)
_NO_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|failed to allocate memory|std::bad_alloc|bad allocation|"
    r"unable to allocate .{1,40} for an array|CUDA out of memory",
    re.IGNORECASE,
)


def exhaustion(error: BaseException, scratch: str) -> Stalled | None:
    """Return what ran out, when that is what `error` or one of its causes says; `scratch` is the folder for files.

    A store that is full says so itself, by its own field: such an error is left as it is.
    """
    for cause in _chain(error):
        if isinstance(cause, NotYet):
            return None
        if _is_of(cause, _FULL, _NO_SPACE):
            return Stalled(
                Reason.DISK_FULL,
                f"spec.compression.job.resources: the volume of {scratch} is full ({_said(cause)}); raise "
                "requests and limits of ephemeral-storage, or choose a pool whose nodes have larger disks",
            )
        if isinstance(cause, MemoryError) or _is_of(cause, {errno.ENOMEM}, _NO_MEMORY):
            return Stalled(
                Reason.RUN_OUT_OF_MEMORY,
                f"spec.compression.job.resources: memory could not be allocated ({_said(cause)}); raise requests and "
                "limits of memory, or lower the steps' batchSize",
            )
    return None


def _is_of(error: BaseException, numbers: set[int], words: re.Pattern[str]) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in numbers
    return words.search(str(error)) is not None


def _said(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from; Python keeps no circles there."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
