"""String formats that a schema may ask for: those that Kubernetes checks, and nothing for the others."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from email.utils import parseaddr
from urllib.parse import urlsplit

from trimtab.local.names import label_problems, subdomain_problems
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.numbers import NUMBER_FORMATS

_UNITS = "ns|us|µs|μs|ms|s|m|h"
_DURATION = re.compile(rf"[+-]?((\d+(\.\d*)?|\.\d+)({_UNITS}))+|[+-]?0")
_WORDS = re.compile(
    r"((\d+)\s*(seconds?|secs?|sec|s|minutes?|mins?|min|m|hours?|hrs?|hr|h|days?|d|weeks?|wks?|wk|w|"
    r"milliseconds?|millis?|milli|msecs?|msec|ms|microseconds?|micros?|micro|us|µs|nanoseconds?|nanos?|nano|ns)\s*)+"
)
_DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(:(\d\d)([.,]\d+)?)?([Zz]|[+-]\d\d:?\d\d)")
_HOST = "[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,255}}$){_HOST}(\.{_HOST})*")
_HEX = "[0-9a-fA-F]"
_TWO, _FOUR = f"{_HEX}{{2}}", f"{_HEX}{{4}}"
_MAC = re.compile(rf"{_TWO}([:-]{_TWO}){{5}}|{_TWO}([:-]{_TWO}){{7}}|{_FOUR}(\.{_FOUR}){{2,3}}")
_BYTE = r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*"
_BASE64 = re.compile(r"(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=|[A-Za-z0-9+\\/]{4})")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _uuid(version: str, variant: str) -> Callable[[str], bool]:
    pattern = re.compile(rf"{_HEX}{{8}}-?{_HEX}{{4}}-?{version}{_HEX}{{3}}-?{variant}{_HEX}{{3}}-?{_HEX}{{12}}")
    return lambda text: bool(pattern.fullmatch(text))


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: bool(compiled.fullmatch(text))


def _date(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _is_date_time(text: str) -> bool:
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return False
    _, month, day, hour, minute = (int(match[i]) for i in range(1, 6))
    in_day = hour < 24 and minute < 60 and int(match[7] or 0) < 60
    return 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1] and in_day


def _is_uri(text: str) -> bool:
    """A request URI: absolute, or a path from the root."""
    if not text or any(c <= " " or c == "\x7f" for c in text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _is_email(text: str) -> bool:
    _, address = parseaddr(text)
    local, _, domain = address.rpartition("@")
    return bool(local and domain) and " " not in address


def _luhn(text: str) -> bool:
    digits = [int(c) for c in re.sub(r"[ -]", "", text) if c.isdigit()]
    doubled = [d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _isbn10(text: str) -> bool:
    bare = re.sub(r"[ -]", "", text)
    if not re.fullmatch(r"\d{9}[\dX]", bare):
        return False
    return sum((i + 1) * (10 if c == "X" else int(c)) for i, c in enumerate(bare)) % 11 == 0


def _isbn13(text: str) -> bool:
    bare = re.sub(r"[ -]", "", text)
    if not re.fullmatch(r"\d{13}", bare):
        return False
    return sum(int(c) * (1, 3)[i % 2] for i, c in enumerate(bare)) % 10 == 0


def is_duration(text: str) -> bool:
    """Whether Go or its OpenAPI library reads a duration: 1h30m, 500ms, 3 days."""
    return bool(_DURATION.fullmatch(text) or _WORDS.fullmatch(text.strip()))


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(rf"{_HEX}{{24}}"),
    "byte": lambda text: bool(_BASE64.fullmatch(text)),
    "cidr": lambda text: "/" in text and _parses(lambda t: ipaddress.ip_network(t, strict=False))(text),
    "creditcard": _luhn,
    "date": _parses(_date),
    "datetime": _is_date_time,
    "duration": is_duration,
    "email": _is_email,
    "hexcolor": _matches(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": lambda text: bool(_HOSTNAME.fullmatch(text)),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "k8slongname": lambda text: not subdomain_problems(text),
    "k8sshortname": lambda text: not label_problems(text),
    "mac": lambda text: bool(_MAC.fullmatch(text)),
    "password": lambda _text: True,
    "rgbcolor": _matches(rf"rgb\({_BYTE}(,{_BYTE}){{2}}\)"),
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _is_uri,
    "uuid": _uuid(_HEX, _HEX),
    "uuid3": _uuid("3", _HEX),
    "uuid4": _uuid("4", "[89abAB]"),
    "uuid5": _uuid("5", "[89abAB]"),
}


def format_check(name: str) -> Callable[[str], bool] | None:
    """The check of a format; None for one that is not checked. Dashes in the name do not count."""
    return _CHECKS.get(name.replace("-", ""))


def has_format(text: str, name: str) -> bool:
    """Whether a string has a format; a format nobody knows is had by all."""
    check = format_check(name)
    return check is None or check(text)


def is_known(name: str, kind: str) -> bool:
    """Whether a definition may name the format for a type without a warning."""
    if kind == "string":
        return name.replace("-", "") in _CHECKS
    return name in NUMBER_FORMATS.get(kind, ())


def unknown_formats(node: Node) -> Iterator[str]:
    """The formats a schema names that nothing checks."""
    form = node.get("format")
    if form and not is_known(form, node.get("type") or ""):
        yield form
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(node.get(keyword), dict):
            yield from unknown_formats(node[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        for child in node.get(keyword) or []:
            yield from unknown_formats(child)
    for child in (node.get("properties") or {}).values():
        yield from unknown_formats(child)


def decode_base64(text: str) -> bytes:
    """The bytes of a string in format byte. Raises ValueError."""
    return base64.b64decode(text, validate=True)
