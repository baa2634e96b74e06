"""The bytes of an HTTP answer."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus

from trimtab.workloads.serve.messages import encode_error

JSON = b"content-type: application/json\r\n"
BINARY = b"content-type: application/octet-stream\r\n"
METRICS = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
HTML = b"content-type: text/html; charset=utf-8\r\n"
RETRY_SOON = b"retry-after: 1\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}


def head(status: int, length: int, headers: bytes, *, closes: bool, is_http10: bool) -> bytes:
    """Return everything before the body; `headers` are whole lines, each with its CRLF."""
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


def _date() -> bytes:
    now = int(time.time())
    if now != _Clock.second:
        _Clock.second = now
        _Clock.text = formatdate(now, usegmt=True).encode()
    return _Clock.text
