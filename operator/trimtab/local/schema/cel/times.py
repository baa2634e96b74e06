"""Durations and points in time, in nanoseconds, as Go reads and writes them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 10**9
_OLDEST, _NEWEST = -62135596800 * _SECOND, 253402300799 * _SECOND + _SECOND - 1


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time."""

    nanoseconds: int

    def __str__(self) -> str:
        """As CEL converts it: seconds with their fraction."""
        sign = "-" if self.nanoseconds < 0 else ""
        whole, rest = divmod(abs(self.nanoseconds), _SECOND)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{sign}{whole}{fraction}s"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A point in time."""

    nanoseconds: int  # since 1970 in UTC

    def __str__(self) -> str:
        moment = _EPOCH + timedelta(seconds=self.nanoseconds // _SECOND)
        rest = self.nanoseconds % _SECOND
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z".rjust(20, "0")

    def at(self, zone: str = "") -> datetime:
        """The same moment in a time zone: a name or an offset such as 02:00. Raises ValueError."""
        return (_EPOCH + timedelta(microseconds=self.nanoseconds // 1000)).astimezone(_zone(zone))


def _zone(name: str) -> tzinfo:
    if not name or name == "UTC":
        return UTC
    if match := re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, OSError):
        raise ValueError(f"unknown time zone {name}") from None


def parse_duration(text: str) -> Duration:
    """1h30m, 500ms, -2s. Raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return Duration(0)
    total, at = 0, 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None:
            raise ValueError(f'time: invalid duration "{text}"')
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS[match[2]]
        total += int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        at = match.end()
    if not rest or total >= 2**63:
        raise ValueError(f'time: invalid duration "{text}"')
    return Duration(sign * total)


def parse_timestamp(text: str) -> Timestamp:
    """An RFC 3339 time. Raises ValueError."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid timestamp {text}")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    offset = timedelta()
    if match[8] not in "Zz":
        offset = timedelta(hours=int(match[8][1:3]), minutes=int(match[8][4:6])) * (-1 if match[8][0] == "-" else 1)
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    nanoseconds = int((match[7] or "").ljust(9, "0")[:9])
    return timestamp(int((moment - _EPOCH - offset).total_seconds()) * _SECOND + nanoseconds)


def parse_date(text: str) -> Timestamp:
    """A full date, at midnight in UTC. Raises ValueError."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid date {text}")
    moment = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
    return Timestamp(int((moment - _EPOCH).total_seconds()) * _SECOND)


def timestamp(nanoseconds: int) -> Timestamp:
    """Raises ValueError outside of the years 1 to 9999."""
    if not _OLDEST <= nanoseconds <= _NEWEST:
        raise ValueError("timestamp overflow")
    return Timestamp(nanoseconds)


def duration(nanoseconds: int) -> Duration:
    """Raises ValueError beyond 290 years."""
    if not -(2**63) <= nanoseconds < 2**63:
        raise ValueError("duration overflow")
    return Duration(nanoseconds)
