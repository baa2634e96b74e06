"""How much work a call is, as a count that a busy machine does not change."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(call: Callable[[], object], most: int) -> int:
    """Return how many lines of Python ran in `call`; fails at once where they are more than `most`.

    What happens inside functions of C is one step.
    """
    count = 0

    def counted(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        assert count <= most, f"more than {most} steps"
        return counted

    before = sys.gettrace()
    gc.disable()  # what collections call back is other work, and comes whenever it does
    sys.settrace(counted)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count
