"""One request and the place for its answer; and what is known of requests that begin alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

_LARGEST_HEAD = 1024  # larger ones hold tokens or traces, which change
_MOST_HEADS = 1024


class Head:
    """A request up to its body. It may stand for every request that begins with the same bytes: read it only."""

    __slots__ = ("closes", "headers", "is_http10", "length", "method", "note", "route", "target")

    def __init__(self, method: bytes = b"", target: bytes = b"", headers: dict[bytes, bytes] | None = None) -> None:
        self.method = method
        self.target = target
        self.headers = headers if headers is not None else {}
        self.is_http10 = False
        self.closes = False
        """Whether the connection ends with the answer."""
        self.length = 0
        """Of the body that follows in one piece; -1 where it comes in another way."""
        self.route: Callable[[Any], None] | None = None
        """What answers it, once that is known."""
        self.note: Any = None
        """What whoever answers it has read in the headers."""


class Heads:
    """Heads by their bytes: what the parser said about them once it says again.

    The parser's state between two requests is always the same, so the same bytes mean the same there. A head is kept
    only after it was parsed together with its body, nothing before and nothing behind it.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self.get = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, start: bytes, head: Head) -> None:
        """Keep what the parser said."""
        if len(start) > _LARGEST_HEAD:
            return
        if len(self._known) >= _MOST_HEADS:
            self._known.clear()
        self._known[start] = head


class Answering(Protocol):
    """The connection that a request came over."""

    lost: bool
    peer: str

    def answered(self, exchange: Exchange) -> None:
        """Learn that an answer is ready."""


class Exchange:
    """One request and the place for its answer."""

    __slots__ = ("arrived", "body", "connection", "head", "held_bytes", "ready")

    def __init__(self, connection: Answering, head: Head, arrived: float) -> None:
        self.head = head
        self.body: bytes | bytearray = b""
        self.arrived = arrived  # when its first byte came, by the owner's clock
        self.held_bytes = 0  # of the owner's buffer
        self.ready: tuple[int, bytes, bytes] | None = None
        """Status, extra header lines and body, once answered."""
        self.connection = connection

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        return self.connection.lost

    @property
    def client(self) -> bytes | str:
        """Who asks: what the last proxy says, else the address at the other end."""
        forwarded = self.head.headers.get(b"x-forwarded-for")
        return forwarded.rpartition(b",")[2].strip() if forwarded else self.connection.peer

    def answer(self, status: int, body: bytes, headers: bytes = b"") -> None:
        """Answer once; `headers` are whole lines, each with its CRLF. Nothing happens when the client has left."""
        if self.ready is None:
            self.ready = (status, headers, body)
            self.connection.answered(self)
