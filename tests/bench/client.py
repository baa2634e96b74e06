"""A light HTTP/1.1 client of the benchmark: it must cost less than what it measures."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import yaml


@dataclass(frozen=True, slots=True)
class Target:
    """A server: where it is and what every request to it carries."""

    host: str
    port: int
    prefix: str = ""
    headers: bytes = b""
    tls: ssl.SSLContext | None = None


def target_of(kubeconfig: Path) -> Target:
    """The API server that a kubeconfig names, with its current user's credentials."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
    cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
    user = next((u["user"] for u in config.get("users") or () if u["name"] == context["user"]), {})
    url = urlsplit(cluster["server"])
    secure = url.scheme == "https"
    headers = f"Authorization: Bearer {user['token']}\r\n".encode() if "token" in user else b""
    tls = _tls(cluster, user) if secure else None
    return Target(url.hostname or "", url.port or (443 if secure else 80), url.path.rstrip("/"), headers, tls)


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority := _bytes(cluster, "certificate-authority"):
        context = ssl.create_default_context(cadata=authority.decode())
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _bytes(user, "client-certificate"), _bytes(user, "client-key")
    if certificate and key:
        with tempfile.NamedTemporaryFile() as both:  # the ssl module reads files only
            both.write(certificate + b"\n" + key)
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _bytes(holder: dict[str, Any], name: str) -> bytes | None:
    if data := holder.get(f"{name}-data"):
        return base64.b64decode(data)
    return Path(holder[name]).read_bytes() if name in holder else None


class Connection(asyncio.Protocol):
    """One connection that is kept alive; one request at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._parser: Any = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body: list[bytes] = []
        self.transport: asyncio.Transport

    @classmethod
    async def open(cls, target: Target) -> Connection:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: cls(target), target.host, target.port, ssl=target.tls)
        return made

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    async def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self.transport.write(request(self._target, method, path, body, content_type))
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None:
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._body)))

    def close(self) -> None:
        self.transport.close()


def request(target: Target, method: str, path: str, body: bytes, content_type: str) -> bytes:
    head = (
        f"{method} {target.prefix}{path} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n"
        f"Accept: application/json\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        "User-Agent: bench/1\r\n"
    )
    return head.encode() + target.headers + b"\r\n" + body


class Stream(asyncio.Protocol):
    """An answer that goes on: calls `line` for every line of its body."""

    def __init__(self, line: Callable[[bytes], None]) -> None:
        self._line = line
        self._rest = b""
        self._parser = httptools.HttpResponseParser(self)
        self.ended = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    @classmethod
    async def open(
        cls, target: Target, method: str, path: str, line: Callable[[bytes], None], body: bytes = b""
    ) -> Stream:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: cls(line), target.host, target.port, ssl=target.tls)
        made.transport.write(request(target, method, path, body, "application/json"))
        return made

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(exc)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        first, *more = body.split(b"\n")
        if not more:
            self._rest += first
            return
        self._line(self._rest + first)
        for line in more[:-1]:
            self._line(line)
        self._rest = more[-1]

    def close(self) -> None:
        self.transport.close()


STAMP = re.compile(rb'"sent":"(\d+)"')
"""Where a written object says when it was due, in nanoseconds of the monotonic clock."""
STATUS_STAMP = re.compile(rb"due at (\d+)")
"""The same where only its status was written."""
