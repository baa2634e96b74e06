"""Kubernetes' way of writing instants and durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def stamp(instant: datetime) -> str:
    """`metav1.Time`: UTC, whole seconds, trailing Z."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise_stamp(instant: datetime) -> str:
    """`metav1.MicroTime`: as `stamp`, with microseconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_stamp(text: str) -> datetime:
    """Read either form.

    Raises:
        ValueError: The text is no RFC 3339 instant.
    """
    return datetime.fromisoformat(text)


def parse_duration(text: str) -> timedelta:
    """Read a Go duration such as `90s`, `1m30s` or `500ms`.

    Raises:
        ValueError: The text is no sum of hours, minutes, seconds and milliseconds.
    """
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        msg = f"duration {text!r} is not readable; write it like 5s, 2m or 1m30s"
        raise ValueError(msg)
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def seconds_until(then: datetime, now: datetime) -> float:
    """How long to wait for an instant; a stamp has whole seconds, so never less than nothing."""
    return max(0.0, (then - now).total_seconds())
