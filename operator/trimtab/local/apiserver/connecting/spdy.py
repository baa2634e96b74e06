"""Frames of SPDY/3.1, as far as Kubernetes' clients use them: port-forward, and exec of older clients.

Source: the SPDY protocol, draft 3.1. Flow control is left out: these clients neither send nor
expect window updates.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE_NAMES = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(name)) + name.encode() for name in (*_NAMES.split(), *_MORE_NAMES)) + _TAIL.encode()
)
"""What both sides' compression of headers starts from."""

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 0x01
_LARGEST_CONTROL = 256 * 1024  # bytes of a control frame; ours have a few hundred
_LARGEST_HEADERS = 64 * 1024  # bytes of a header block once it is inflated
_PREFIX = 8


class ProtocolError(Exception):
    """What arrived is not SPDY/3.1."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        type: of a control frame; 0 for data.
        stream: the stream it is about, 0 for the whole connection.
        number: a ping's identifier, or the status of a reset or of a farewell.
    """

    type: int
    stream: int = 0
    fin: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes = b""
    number: int = 0


class Decoder:
    """Bytes in, frames out; headers are compressed over the whole connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.

        Raises:
            ProtocolError: These bytes are no frames.
        """
        self._buffer += data
        while len(self._buffer) >= _PREFIX:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            control = bool(first >> 31)
            if control and (first >> 16 & 0x7FFF != VERSION or length > _LARGEST_CONTROL):
                found = first >> 16 & 0x7FFF
                msg = f"a control frame of version {found} with {length} bytes; version {VERSION} is spoken"
                raise ProtocolError(msg)
            if len(self._buffer) < _PREFIX + length:
                return
            body = bytes(self._buffer[_PREFIX : _PREFIX + length])
            del self._buffer[: _PREFIX + length]
            if control:
                yield self._control(first & 0xFFFF, flags, body)
            else:
                yield Frame(0, first, bool(flags & FIN), data=body)

    def _control(self, kind: int, flags: int, body: bytes) -> Frame:
        fin = bool(flags & FIN)
        try:
            match kind:
                case 1:
                    return Frame(kind, _number(body, 0) & 0x7FFFFFFF, fin, self._headers(body[10:]))
                case 2 | 8:
                    return Frame(kind, _number(body, 0) & 0x7FFFFFFF, fin, self._headers(body[4:]))
                case 3:
                    return Frame(kind, _number(body, 0) & 0x7FFFFFFF, number=_number(body, 4))
                case 6:
                    return Frame(kind, number=_number(body, 0))
        except struct.error as error:
            msg = f"a control frame of type {kind} is cut short: {len(body)} bytes"
            raise ProtocolError(msg) from error
        return Frame(kind)  # settings, farewells and windows change nothing here

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _LARGEST_HEADERS)
        except zlib.error as error:
            msg = f"a header block is not compressed as it should be: {error}"
            raise ProtocolError(msg) from error
        if self._inflate.unconsumed_tail:
            msg = f"a header block has more than {_LARGEST_HEADERS} bytes"
            raise ProtocolError(msg)
        return dict(_pairs(plain))


def _number(data: bytes, at: int) -> int:
    value: int = struct.unpack_from(">I", data, at)[0]
    return value


def _pairs(plain: bytes) -> Iterator[tuple[str, str]]:
    at = 4
    for _ in range(_number(plain, 0)):
        texts = []
        for _ in range(2):
            length = _number(plain, at)
            text = plain[at + 4 : at + 4 + length]
            if len(text) < length:
                msg = f"a header of {length} bytes is cut short"
                raise ProtocolError(msg)
            texts.append(text.decode(errors="replace"))
            at += 4 + length
        yield texts[0].lower(), texts[1].split("\0")[0]


class Encoder:
    """Frames in, bytes out."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def syn_stream(self, stream: int, headers: Mapping[str, str]) -> bytes:
        """Open a stream."""
        return _framed(SYN_STREAM, 0, struct.pack(">IIBB", stream, 0, 0, 0) + self._block(headers))

    def syn_reply(self, stream: int) -> bytes:
        """Accept a stream that the other side has opened."""
        return _framed(SYN_REPLY, 0, struct.pack(">I", stream) + self._block({}))

    def _block(self, headers: Mapping[str, str]) -> bytes:
        texts = [text.encode() for pair in headers.items() for text in pair]
        plain = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(t)) + t for t in texts)
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def data_frame(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """Bytes of a stream; `fin` is the end of this direction."""
    return struct.pack(">II", stream, (FIN if fin else 0) << 24 | len(data)) + data


def reset_frame(stream: int, status: int = 5) -> bytes:
    """End a stream at once; status 5 is a cancellation."""
    return _framed(RST_STREAM, 0, struct.pack(">II", stream, status))


def ping_frame(number: int) -> bytes:
    """A sign of life, or the answer to one."""
    return _framed(PING, 0, struct.pack(">I", number))


def _framed(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">II", 1 << 31 | VERSION << 16 | kind, flags << 24 | len(body)) + body
