"""Dates, times and durations of tables as text, in any range: Python's own hold the years 1 to 9999 and microseconds.

The text is what Python's `isoformat` and `str` make, where they can.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400
# After 400 years the calendar begins again, at the same day of the week.
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
_EPOCH = date(1970, 1, 1).toordinal()
# A year less at both ends, so that no time zone leads out of Python's range.
_FIRST_DAY, _LAST_DAY = date(2, 1, 1).toordinal() - _EPOCH, date(9999, 1, 1).toordinal() - _EPOCH
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


def date_text(days: int) -> str:
    """Return the ISO date so many days after 1970-01-01, of the proleptic calendar; "+10000-01-01", "-0044-03-15"."""
    cycles, inside = _in_range(days)
    return _with_year(date.fromordinal(inside + _EPOCH).isoformat(), cycles)


def timestamp_text(count: int, unit: str, zone: tzinfo | None) -> str:
    """Return the ISO time so many units after 1970, in the zone; without a zone, with none."""
    seconds, fraction = divmod(count, _PER_SECOND[unit])
    days, second = divmod(seconds, _DAY_S)
    cycles, inside = _in_range(days)
    moment = datetime.fromtimestamp(inside * _DAY_S + second, zone or UTC)
    text = moment.replace(tzinfo=None).isoformat() + _fraction(fraction, unit)
    offset = moment.isoformat()[len("2000-01-01T00:00:00") :] if zone else ""
    return _with_year(text, cycles) + offset


def time_text(count: int, unit: str) -> str:
    """Return the ISO time of day; more than a day and less than nothing are written on: "25:00:00", "-00:00:01"."""
    seconds, fraction = divmod(abs(count), _PER_SECOND[unit])
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{'-' * (count < 0)}{hour:02}:{minute:02}:{second:02}{_fraction(fraction, unit)}"


def duration_text(count: int, unit: str) -> str:
    """Return what `str(timedelta)` does: "0:01:30", "2 days, 0:00:00.500000"."""
    seconds, fraction = divmod(count, _PER_SECOND[unit])
    days, second = divmod(seconds, _DAY_S)
    return f"{_days(days)}{timedelta(seconds=second)}{_fraction(fraction, unit)}"


@lru_cache(100)
def zone_of(name: str | None) -> tzinfo | None:
    """Return the time zone of a name or an offset, None for no name; UTC for a zone that is not known here."""
    if name is None:
        return None
    if found := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset) if offset < timedelta(days=1) else UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def _in_range(days: int) -> tuple[int, int]:
    """Return so many cycles of 400 years, and the days that Python's dates can hold beside them."""
    if _FIRST_DAY <= days < _LAST_DAY:
        return 0, days
    cycles, inside = divmod(days, _CYCLE_DAYS)
    return cycles, inside


def _with_year(text: str, cycles: int) -> str:
    if not cycles:
        return text
    year = int(text[:4]) + cycles * _CYCLE_YEARS
    return (f"{year:04}" if 0 <= year <= date.max.year else f"{year:+05}") + text[4:]


def _fraction(count: int, unit: str) -> str:
    nanoseconds = count * 10**9 // _PER_SECOND[unit]
    if not nanoseconds:
        return ""
    return f".{nanoseconds:09}" if nanoseconds % 1000 else f".{nanoseconds // 1000:06}"


def _days(days: int) -> str:
    return f"{days} day{'' if abs(days) == 1 else 's'}, " if days else ""
