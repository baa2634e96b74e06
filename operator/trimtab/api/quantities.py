"""Numbers with units, as users write them: `50%`, `1pp`, `30s`, `250ms`, `2Gi`.

The API holds no floats (they do not survive every JSON round trip unchanged, and GitOps tools then see drift),
so each of these is a string with a pattern, parsed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, Overflow
from functools import lru_cache
from math import isfinite
from typing import Annotated

from pydantic import AfterValidator, Field

DURATION_PATTERN = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
PERCENT_PATTERN = r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)%$"
DROP_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,4})?(pp|%)$"
DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"

# Beyond what calendars and clocks of programs can hold there are only mistakes.
_LONGEST_HOURS = 87_600


def _bearable(duration: str) -> str:
    if seconds(duration) > _LONGEST_HOURS * 3600:
        raise ValueError(f"longer than ten years; write at most {_LONGEST_HOURS}h")
    return duration


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, min_length=2, max_length=32), AfterValidator(_bearable)]
Percent = Annotated[str, Field(pattern=PERCENT_PATTERN, max_length=9)]
Drop = Annotated[str, Field(pattern=DROP_PATTERN, max_length=10)]
DecimalString = Annotated[str, Field(pattern=DECIMAL_PATTERN, max_length=22)]

_DURATION = re.compile(r"^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$")
_QUANTITY = re.compile(r"^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]{0,2})$")
_SUFFIXES = {
    "": Decimal(1),
    **{suffix: Decimal(1000) ** -power for power, suffix in enumerate("mun", start=1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


@lru_cache(maxsize=1024)  # decisions ask for the same few durations every time
def seconds(duration: str) -> float:
    """Return a duration such as `1h30m`, `90s` or `250ms` in seconds.

    Raises:
        ValueError: The text is no such duration.
    """
    match = _DURATION.match(duration)
    if not duration or match is None:
        raise ValueError(f"{duration!r} is not a duration; write it like 90s, 2m or 250ms")
    hours, minutes, secs, millis = (int(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + secs + millis / 1000


def fraction(percent: str) -> float:
    """Return a percentage such as `62.5%` as a fraction (0.625)."""
    if not re.match(PERCENT_PATTERN, percent):
        raise ValueError(f"{percent!r} is not a percentage from 0% to 100%; write it like 50%")
    return float(percent[:-1]) / 100


@dataclass(frozen=True, slots=True)
class DropLimit:
    """How far a score may fall: `relative` to the baseline's score (`1%`) or in percentage points (`1pp`)."""

    value: float
    relative: bool

    def absolute(self, baseline: float) -> float:
        """Return the limit in the score's own unit (a share of 1 for accuracy)."""
        return self.value * baseline if self.relative else self.value


def drop_limit(text: str) -> DropLimit:
    """Parse `1pp` (percentage points) or `1%` (relative): two different promises."""
    if not re.match(DROP_PATTERN, text):
        raise ValueError(
            f"{text!r} is not a drop; write 1pp for a percentage point or 1% for one relative to the baseline"
        )
    if text.endswith("pp"):
        return DropLimit(float(text[:-2]) / 100, relative=False)
    return DropLimit(float(text[:-1]) / 100, relative=True)


def amount(quantity: str | float) -> float:
    """Return a Kubernetes resource quantity (`250m`, `2Gi`, `1e3`) as a plain number.

    Source: k8s.io/apimachinery/pkg/api/resource, "Quantity".
    """
    found = _amount(str(quantity).strip())
    if found is None:
        raise ValueError(f"{quantity!r} is not a resource quantity; write it like 250m, 2 or 512Mi")
    return found


def no_less_than_nothing(quantity: str | int) -> str | int:
    """Return an amount of a resource that a pod can ask for.

    Raises:
        ValueError: It is no quantity, or below zero.
    """
    if amount(quantity) < 0:
        raise ValueError("less than nothing; write 0 or more")
    return quantity


@lru_cache(maxsize=4096)  # thousands of pods reserve the same few
def _amount(text: str) -> float | None:
    match = _QUANTITY.match(text)
    if match is None or match.group(2) not in _SUFFIXES:
        return None
    try:
        found = float(Decimal(match.group(1)) * _SUFFIXES[match.group(2)])
    except (InvalidOperation, Overflow):
        return None
    return found if isfinite(found) else None


def human_bytes(count: float) -> str:
    """Return a size for people: `1.3 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun, or with noun and verb: `1 replica needs`, `2 replicas need`."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"
