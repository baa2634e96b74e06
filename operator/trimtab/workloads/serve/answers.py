"""The bytes of an HTTP answer."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import ClassVar

from trimtab.workloads.serve.messages import encode_error

JSON = b"content-type: application/json\r\n"
BINARY = b"content-type: application/octet-stream\r\n"
METRICS = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
HTML = b"content-type: text/html; charset=utf-8\r\n"
RETRY_SOON = b"retry-after: 1\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_MOST_HEADS = 1024
_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}


def plain_head(status: int, length: int, headers: bytes) -> bytes:
    """Return everything before the body of an answer; `headers` are whole lines, each with its CRLF."""
    now = int(time.time())
    if now != _Clock.second:
        _tick(now)
    key = (status, length, headers)
    found = _Clock.heads.get(key)
    if found is None:
        found = head(status, length, headers, closes=False, is_http10=False)
        if len(_Clock.heads) < _MOST_HEADS:
            _Clock.heads[key] = found
    return found


def head(status: int, length: int, headers: bytes, *, closes: bool, is_http10: bool) -> bytes:
    """Return the same for an answer that says what becomes of the connection."""
    connection = b""
    if closes:
        connection = b"connection: close\r\n"
    elif is_http10:
        connection = b"connection: keep-alive\r\n"
    return b"%b%bdate: %b\r\n%bcontent-length: %d\r\n\r\n" % (_LINES[status], headers, _date(), connection, length)


def error_answer(message: str) -> tuple[bytes, bytes]:
    """Return body and header lines of an error."""
    return encode_error(message), JSON


class _Clock:
    """The Date header changes once a second; writing it costs more than the rest of the head."""

    second = -1
    text = b""
    heads: ClassVar[dict[tuple[int, int, bytes], bytes]] = {}
    """Those of this second."""


def _date() -> bytes:
    now = int(time.time())
    if now != _Clock.second:
        _tick(now)
    return _Clock.text


def _tick(now: int) -> None:
    _Clock.second = now
    _Clock.text = formatdate(now, usegmt=True).encode()
    _Clock.heads.clear()
