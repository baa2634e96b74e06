"""One HTTP/1.1 connection: bytes in, requests out; answers in the order of the requests, bytes out.

The grammar is llhttp's, strict: a request with both Content-Length and Transfer-Encoding, bare line feeds or folded
headers ends the connection with 400. This class adds what a parser cannot know: limits, time, order and back-pressure.
A client that ends its side counts as gone: what it waits for is not computed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from trimtab.workloads.serve.answers import CONTINUE, RETRY_SOON, error_answer, head, plain_head
from trimtab.workloads.serve.exchange import Exchange, Head, Heads
from trimtab.workloads.serve.limits import Limits

_FORBIDDEN_REPEATS = frozenset({b"host", b"content-length", b"content-type", b"inference-header-content-length"})


class Owner(Protocol):
    """What a connection needs from the server that owns it."""

    limits: Limits
    draining: bool
    heads: Heads
    handle: Callable[[Exchange], None]
    time: Callable[[], float]

    def opened(self, connection: Connection) -> bool:
        """Take the connection in; False when there are too many."""

    def closed(self, connection: Connection) -> None: ...

    def claim(self, size: int) -> bool:
        """Take room for some bytes of a body; False when there is none."""

    def release(self, size: int) -> None: ...


class Connection(asyncio.Protocol):
    """Parses, limits, orders; `flush` writes what is answered."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._limits = owner.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[Exchange] = deque()
        self._current: Exchange | None = None  # whose bytes are arriving
        self._begun = 0  # requests
        self._parsed: Head | None = None  # the last one, once it is whole
        self._fresh = True  # the parser is as it was in the beginning
        self._head_done = False
        self._head_bytes = 0
        self._received = 0
        self._since = 0.0  # of the current request, else of the last sign of life
        self._refused = False
        self._lingers_since: float | None = None
        self._stuck_since: float | None = None
        self._held = False
        self.lost = False
        self.peer = ""

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the base class
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        self._since = self._owner.time()
        if not self._owner.opened(self):
            self._refuse(503, "too many connections; try again later")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.lost = True
        for exchange in (*self._pending, self._current):
            self._let_go(exchange)
        self._pending.clear()
        self._current = None
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        began = self._current
        fresh = self._fresh
        if fresh:
            start = data[: data.find(b"\r\n\r\n") + 4]
            head = self._owner.heads.get(start)
            if head is not None and len(data) == len(start) + head.length:
                self._take(head, data[len(start) :])
                return
        begun = self._begun
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refused = True  # what follows would be in the other protocol
        except httptools.HttpParserError as error:
            if not self._refused:
                self._refuse(400, f"not a valid HTTP/1.1 request: {error}")
        if self._current is not None and not self._refused:
            self._received += len(data)
            if self._current is began and not self._head_done:
                self._count_head(len(data))
        elif fresh and self._begun == begun + 1 and not self._refused:
            self._learn(start, len(data))

    def eof_received(self) -> None:
        self.lost = True

    def pause_writing(self) -> None:
        self._stuck_since = self._owner.time()
        self._hold()

    def resume_writing(self) -> None:
        self._stuck_since = None
        self._release()

    # --- what httptools calls ---

    def on_message_begin(self) -> None:
        now = self._owner.time()
        self._current = Exchange(self, Head(), now)
        self._begun += 1
        self._fresh = False
        self._since = now
        self._head_done = False
        self._head_bytes = 0
        self._received = 0

    def on_url(self, url: bytes) -> None:
        if self._current is not None:
            self._current.head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._current
        if exchange is None or self._refused:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.head_bytes:
            self._refuse_head()
        if self._head_done:
            return  # a trailer: counted, never a header
        name = name.lower()
        headers = exchange.head.headers
        known = headers.get(name)
        if known is None:
            headers[name] = value
        elif name in _FORBIDDEN_REPEATS:
            self._refuse(400, f"header {name.decode('latin-1')} is given twice")
        else:
            headers[name] = known + b", " + value

    def on_headers_complete(self) -> None:
        exchange = self._current
        if exchange is None or self._refused:
            return
        self._head_done = True
        head = exchange.head
        head.method = self._parser.get_method()
        version = self._parser.get_http_version()
        head.is_http10 = version == "1.0"
        if version not in {"1.0", "1.1"}:
            self._refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
            return
        if not head.is_http10 and b"host" not in head.headers:
            self._refuse(400, "header Host is missing")
            return
        self._count_head(len(head.target))
        head.length = int(head.headers.get(b"content-length", 0))
        if b"transfer-encoding" in head.headers:
            head.length = -1
        if head.length > self._limits.body_bytes:
            self._refuse_body()
        elif not self._refused and head.headers.get(b"expect", b"").lower() == b"100-continue":
            head.length = -1
            self._invite(exchange)

    def on_body(self, body: bytes) -> None:
        exchange = self._current
        if exchange is None or self._refused:
            return
        if len(exchange.body) + len(body) > self._limits.body_bytes:
            self._refuse_body()
            return
        if not self._owner.claim(len(body)):
            self._refuse_for_now()
            return
        exchange.held_bytes += len(body)
        if not exchange.body:
            exchange.body = body
        elif isinstance(exchange.body, bytearray):
            exchange.body += body
        else:
            # Never a list of pieces: a body in one-byte chunks would cost forty bytes for each.
            exchange.body = bytearray(exchange.body)
            exchange.body += body

    def on_message_complete(self) -> None:
        exchange = self._current
        self._current = None
        if exchange is None or self._refused:
            return
        self._refused = (
            self._parser.should_upgrade()
        )  # an offer: answered as plain HTTP/1.1, and nothing read behind it
        self._parsed = exchange.head
        self._parsed.closes = self._refused or not self._parser.should_keep_alive()
        self._fresh = not self._parsed.closes
        self._since = self._owner.time()
        self._pending.append(exchange)
        if len(self._pending) >= self._limits.pipelined:
            self._hold()
        self._owner.handle(exchange)

    # --- whole requests ---

    def _take(self, head: Head, body: bytes) -> None:
        """Take a request that came in one piece, with a head that the parser has seen before."""
        self._since = now = self._owner.time()
        exchange = Exchange(self, head, now)
        if body:
            if not self._owner.claim(len(body)):
                self._current = Exchange(self, Head(head.method), now)
                self._refuse_for_now()
                return
            exchange.held_bytes = len(body)
            exchange.body = body
        self._pending.append(exchange)
        if len(self._pending) >= self._limits.pipelined:
            self._hold()
        (head.route or self._owner.handle)(exchange)

    def _learn(self, start: bytes, size: int) -> None:
        """Keep the head of the request that was just parsed, if it is all that came and the next may begin like it."""
        head = self._parsed
        if head is not None and not head.closes and size == len(start) + head.length:
            self._owner.heads.learn(start, head)

    # --- answers ---

    def answered(self, exchange: Exchange) -> None:
        """Let go of the request, and write its answer when its turn comes."""
        if exchange.held_bytes:
            self._owner.release(exchange.held_bytes)
            exchange.held_bytes = 0
        self.flush()

    def _let_go(self, exchange: Exchange | None) -> None:
        if exchange is not None and exchange.held_bytes:
            self._owner.release(exchange.held_bytes)
            exchange.held_bytes = 0

    def flush(self) -> None:
        """Write the answers that are ready and whose turn it is."""
        transport = self._transport
        if transport is None or self.lost or transport.is_closing() or self._lingers_since is not None:
            return
        pending = self._pending
        while pending and (answer := pending[0].ready) is not None:
            asked = pending.popleft().head
            status, headers, body = answer
            # While draining the last answer says so, never one with another request behind it.
            last = asked.closes or (self._owner.draining and not pending and self._current is None)
            if last or asked.is_http10:
                start = head(status, len(body), headers, closes=last, is_http10=asked.is_http10)
            else:
                start = plain_head(status, len(body), headers)
            transport.write(start if asked.method == b"HEAD" else start + body)
            if self._current is None:
                self._since = self._owner.time()
            if last:
                self._end(transport)
                return
        if self._held:
            self._release()

    def _end(self, transport: asyncio.Transport) -> None:
        for exchange in self._pending:
            self._let_go(exchange)
        self._pending.clear()
        if not self._refused:
            transport.close()
            return
        # Closing with bytes unread resets the connection and may take the answer with it: end our side, read on a bit.
        self._lingers_since = self._owner.time()
        transport.resume_reading()
        transport.write_eof()

    def _invite(self, exchange: Exchange) -> None:
        if self._transport is not None and not self._pending and not exchange.head.is_http10:
            self._transport.write(CONTINUE)

    # --- refusals and back-pressure ---

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            self._refuse_head()

    def _refuse_head(self) -> None:
        self._refuse(431, f"the request's head is larger than {self._limits.head_bytes} bytes")

    def _refuse_body(self) -> None:
        self._refuse(413, f"the body is larger than {self._limits.body_bytes} bytes; send fewer rows per request")

    def _refuse_for_now(self) -> None:
        self._refuse(503, "the bodies of other requests take all the memory there is; try again", RETRY_SOON)

    def _refuse(self, status: int, message: str, headers: bytes = b"") -> None:
        """Answer the current request with an error, behind those before it, and read no further."""
        if self._refused:
            return
        self._refused = True
        exchange = self._current or Exchange(self, Head(), self._since)
        self._current = None
        exchange.body = b""
        exchange.head.closes = True
        self._pending.append(exchange)
        body, content_type = error_answer(message)
        exchange.answer(status, body, content_type + headers)

    def _hold(self) -> None:
        if self._transport is not None and not self._held and not self._transport.is_closing():
            self._held = True
            self._transport.pause_reading()

    def _release(self) -> None:
        full = len(self._pending) >= self._limits.pipelined
        if self._transport is not None and self._held and not full and self._stuck_since is None:
            self._held = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # --- time ---

    def check(self, now: float) -> None:
        """End what takes too long: slow senders, slow readers, idle connections."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        limits = self._limits
        if self._lingers_since is not None:
            if now - self._lingers_since > limits.linger_s:
                transport.abort()
        elif self._stuck_since is not None:
            if now - self._stuck_since > limits.write_s:
                transport.abort()
        elif self._current is not None:
            if now - self._since > limits.head_s + self._received / limits.slowest_bytes_per_s:
                self._refuse(408, "the request came too slowly")
        elif not self._pending:
            idle_s = limits.draining_idle_s if self._owner.draining else limits.idle_s
            if now - self._since > idle_s:
                transport.close()

    def abort(self) -> None:
        """End the connection now, whatever it waits for."""
        if self._transport is not None:
            self._transport.abort()
