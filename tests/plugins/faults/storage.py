"""Storage that fails: an S3 with errors and cut answers, and a disk that fills up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
from aiohttp import web

_DISK_BYTES = 48 * 1024**2


class FaultyS3:
    """Forwards to an imitated S3; what is asked of `address` fails as often as was set."""

    def __init__(self, upstream: str, rng: random.Random) -> None:
        self.upstream, self._rng = upstream, rng
        self.address = ""
        self.errors = self.truncates = 0.0
        self.failed = 0
        """How many answers were spoilt."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            runner = web.ServerRunner(web.Server(self._handle))
            await runner.setup()
            listening = socket.create_server(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            await web.SockSite(runner, listening).start()
            try:
                yield
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if self._rng.random() < self.errors:
            self.failed += 1
            return self._refusal(request)
        headers = {name: text for name, text in request.headers.items() if name.lower() not in {"host", "expect"}}
        url = f"{self.upstream}{request.raw_path}"
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            content = await answer.read()
        kept = {name: text for name, text in answer.headers.items() if name.lower() != "transfer-encoding"}
        response = web.StreamResponse(status=answer.status, headers=kept)
        if request.method != "HEAD":
            response.content_length = len(content)
        await response.prepare(request)
        if request.method == "GET" and len(content) > 1 and self._rng.random() < self.truncates:
            self.failed += 1
            await response.write(content[: len(content) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        if request.method != "HEAD":
            await response.write(content)
        await response.write_eof()
        return response

    def _refusal(self, request: web.BaseRequest) -> web.Response:
        """What S3 says when it has too much to do, when something broke, and when a connection is lost."""
        kind = self._rng.choice(["SlowDown", "InternalError", "reset"])
        if kind == "reset" and request.transport is not None:
            request.transport.abort()
        text = f"<Error><Code>{kind}</Code><Message>made up by a test</Message></Error>"
        return web.Response(status=500 if kind == "InternalError" else 503, text=text, content_type="application/xml")


@contextlib.contextmanager
def imitated_s3() -> Iterator[str]:
    """Run moto as a process of its own; yields its address once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class SmallDisk:
    """A file system of its own that can be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / ".ballast"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65_536))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk | None]:
    """Mount a small file system on `folder`; None where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=0777", "chaos", str(folder)]
    mounted = os.getuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield SmallDisk(folder) if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


async def stored(s3: FaultyS3, bucket: str, files: dict[str, bytes]) -> None:
    """Make a bucket with files, past the faults; an empty one to write into is a bucket without files."""
    async with aiohttp.ClientSession() as session:
        for name, content in {"": b"", **files}.items():
            for _ in range(50):
                async with session.put(f"{s3.upstream}/{bucket}{name and '/'}{name}", data=content) as answer:
                    if answer.status == 200:
                        break
                await asyncio.sleep(0.1)
