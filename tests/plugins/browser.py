"""A real browser, headless, spoken to over the Chrome DevTools Protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

# Without these it looks for updates and hosts of its own.
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-gpu",
    "--no-first-run",
)
_START_S = 60
_ANSWER_S = 60


def executable() -> str | None:
    """Return where the browser is, or None."""
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


class Tab:
    """One page. What its console and its policy complain of is kept in `complaints`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._answers[number]
        finally:
            del self._answers[number]

    async def value(self, expression: str) -> Any:
        """Return what a JavaScript expression is, after its promise where it is one."""
        told = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true; one that fails is not true yet."""
        watched = f"""new Promise((resolve) => {{
          const holds = () => {{ try {{ return {expression}; }} catch {{ return false; }} }};
          const look = () => (holds() ? resolve(true) : setTimeout(look, 20));
          look();
        }})"""
        async with asyncio.timeout(seconds):
            await self.value(watched)

    async def screenshot(self, to: Path, width: int, height: int, *, dark: bool = False) -> None:
        """Write the page as a PNG, as a screen of that size shows it."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        picture = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        to.write_bytes(base64.b64decode(picture["data"]))

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                # Nobody waits any more for what took too long.
                if answer := self._answers.get(told["id"]):
                    answer.set_result(told.get("result", {}))
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.complaints.append(told["params"]["entry"]["text"])
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["params"]["exceptionDetails"]))


@asynccontextmanager
async def tab(folder: Path) -> AsyncIterator[Tab]:
    """Start a browser with an empty profile in `folder`, lend one page of it, and end it."""
    browser = executable()
    assert browser is not None
    arguments = [*_QUIET, "--headless", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    if os.getuid() == 0:
        arguments.insert(0, "--no-sandbox")
    process = await asyncio.create_subprocess_exec(
        browser, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_START_S):
            address = await _address(process)
        origin = address.removeprefix("ws://").partition("/")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{origin}/json/list") as listed:
                (page,) = [target for target in await listed.json() if target["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket, Tab(socket) as made:
                yield made
    finally:
        process.terminate()
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    """Return where it listens, which it says once on standard error."""
    assert process.stderr is not None
    async for line in process.stderr:
        said = line.decode(errors="replace")
        if "DevTools listening on " in said:
            return said.rpartition(" ")[2].strip()
    raise AssertionError("the browser ended before it listened")
