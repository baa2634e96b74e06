"""Work that blocks, beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a thread that the process does not wait for: a download cannot be cancelled, only left behind."""
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def body() -> None:
        try:
            result, error = work(), None
        except BaseException as raised:  # noqa: BLE001 - carried to whoever awaits the future
            result, error = None, raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: the pod was told to go meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, name="loading", daemon=True).start()
    return future
