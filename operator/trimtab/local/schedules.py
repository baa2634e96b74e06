"""The times of a CronJob: five fields of cron, or a word such as @daily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = dict(
    zip(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], range(1, 13), strict=True)
)
_DAYS = dict(zip(["sun", "mon", "tue", "wed", "thu", "fri", "sat"], range(7), strict=True))
_LONGEST_SEARCH = timedelta(days=5 * 366)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The minutes, hours, days and months that are meant; weekdays count from Sunday.

    Where both days of the month and of the week are restricted, either will do, as in cron.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule.

        Raises:
            ValueError: It is none; the message says which part is wrong.
        """
        if text.startswith(("TZ=", "CRON_TZ=")):
            msg = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            raise ValueError(msg)
        fields = _WORDS.get(text, text).split()
        if text.startswith("@") and text not in _WORDS:
            msg = f"unrecognized descriptor: {text}"
            raise ValueError(msg)
        if len(fields) != 5:
            msg = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
            raise ValueError(msg)
        minute, hour, day, month, weekday = fields
        return cls(
            _values(minute, 0, 59),
            _values(hour, 0, 23),
            _values(day, 1, 31),
            _values(month, 1, 12, _MONTHS),
            frozenset(value % 7 for value in _values(weekday, 0, 7, _DAYS)),
            either_day=day[0] not in "*?" and weekday[0] not in "*?",
        )

    def next_after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """The first time after a moment, by the clocks of a zone; None where there is none in years."""
        at = (moment.astimezone(zone) + timedelta(minutes=1)).replace(second=0, microsecond=0)
        end = at + _LONGEST_SEARCH
        while at < end:
            if at.month not in self.months or not self._on(at):
                at = (at + timedelta(days=1)).replace(hour=0, minute=0)
            elif at.hour not in self.hours:
                at = (at + timedelta(hours=1)).replace(minute=0)
            elif at.minute not in self.minutes:
                at += timedelta(minutes=1)
            else:
                return at
        return None

    def _on(self, at: datetime) -> bool:
        by_date, by_weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return by_date or by_weekday if self.either_day else by_date and by_weekday


def _values(field: str, low: int, high: int, names: Mapping[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else (high if step else start)
        width = _number(step, None) if "/" in part else 1
        if start < low:
            msg = f"beginning of range ({start}) below minimum ({low}): {part}"
            raise ValueError(msg)
        if end > high:
            msg = f"end of range ({end}) above maximum ({high}): {part}"
            raise ValueError(msg)
        if start > end:
            msg = f"beginning of range ({start}) beyond end of range ({end}): {part}"
            raise ValueError(msg)
        if width == 0:
            msg = f"step of range should be a positive number: {part}"
            raise ValueError(msg)
        found.update(range(start, end + 1, width))
    return frozenset(found)


def _number(text: str, names: Mapping[str, int] | None) -> int:
    if names and text.lower() in names:
        return names[text.lower()]
    if not text.isdigit():
        msg = f"failed to parse int from {text}"
        raise ValueError(msg)
    return int(text)
