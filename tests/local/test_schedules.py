"""The times of CronJobs."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.schedules import Schedule

START = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("* * * * *", "2026-01-01T12:01"),
        ("*/15 * * * *", "2026-01-01T12:15"),
        ("5/20 13-14 * * *", "2026-01-01T13:05"),
        ("@hourly", "2026-01-01T13:00"),
        ("@daily", "2026-01-02T00:00"),
        ("0 0 * * sun", "2026-01-04T00:00"),
        ("0 0 * * 7", "2026-01-04T00:00"),
        ("0 0 29 feb *", "2028-02-29T00:00"),
        ("0 0 3 * sun", "2026-01-03T00:00"),
    ],
)
def test_the_next_time(text, then):
    """As cron reads it; restricted in both, days of the month and of the week are either-or."""
    assert Schedule.parse(text).next_after(START, UTC) == datetime.fromisoformat(then).replace(tzinfo=UTC)


def test_a_time_of_day_is_that_of_the_zone():
    """Six in the morning in New York is eleven in winter elsewhere."""
    found = Schedule.parse("0 6 * * *").next_after(START, ZoneInfo("America/New_York"))
    assert found == datetime(2026, 1, 2, 11, tzinfo=UTC)


def test_a_day_that_never_comes():
    """Is not searched for without end."""
    assert Schedule.parse("0 0 31 feb *").next_after(START, UTC) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", "failed to parse int from x"),
        ("@often", "unrecognized descriptor: @often"),
        ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
    ],
)
def test_what_is_no_schedule(text, message):
    """Is refused with the part that is wrong."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Schedule.parse(text)


@given(minute=st.integers(0, 59), hour=st.integers(0, 23), ahead=st.integers(0, 10**6))
def test_every_day_has_the_time(minute, hour, ahead):
    """Never more than a day away, never in the past."""
    moment = START + timedelta(seconds=ahead)
    found = Schedule.parse(f"{minute} {hour} * * *").next_after(moment, UTC)
    assert moment < found <= moment + timedelta(days=1)
    assert (found.minute, found.hour) == (minute, hour)
