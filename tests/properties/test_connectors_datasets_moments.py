"""Dates, times and durations as text: as Python writes them where it can, and numpy's calendar beyond."""

import datetime as dt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.datasets.moments import date_text, duration_text, time_text, timestamp_text, zone_of

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


def year_and_rest(text: str) -> tuple[int, str]:
    """numpy writes years with other signs and zeros."""
    year, dash, rest = text[1:].partition("-")
    return int(text[0] + year), dash + rest


@given(st.integers(-(2**31), 2**31 - 1) | st.integers(-(10**6), 10**7))
def test_dates(days: int) -> None:
    assert year_and_rest(date_text(days)) == year_and_rest(str(np.datetime64(days, "D")))
    assert len(date_text(days).lstrip("+-").partition("-")[0]) >= 4


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(["s", "ms", "us", "ns"]))
def test_times_without_a_zone_in_any_range(count: int, unit: str) -> None:
    seconds = count // {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    text = timestamp_text(count, unit, None)
    if abs(seconds) < 2**62:  # beyond, numpy's own years overflow
        assert year_and_rest(text.partition(".")[0]) == year_and_rest(str(np.datetime64(seconds, "s")))
    assert text.partition(".")[0].endswith(f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}")


@given(st.datetimes(), st.sampled_from([None, "UTC", "Europe/Berlin", "America/St_Johns", "+05:30", "-00:45"]))
def test_times_as_python_writes_them(moment: dt.datetime, name: str | None) -> None:
    zone = zone_of(name)
    count = (moment.replace(tzinfo=dt.UTC) - EPOCH) // MICROSECOND
    if 2 < moment.year < 9998:
        expected = moment if zone is None else moment.replace(tzinfo=dt.UTC).astimezone(zone)
        assert timestamp_text(count, "us", zone) == expected.isoformat()
        assert date_text(count // 86_400_000_000) == moment.date().isoformat()


@given(st.times())
def test_times_of_day_as_python_writes_them(time: dt.time) -> None:
    count = (dt.datetime.combine(dt.date(1970, 1, 1), time, dt.UTC) - EPOCH) // MICROSECOND
    assert time_text(count, "us") == time.isoformat()


@given(st.timedeltas())
def test_durations_as_python_writes_them(duration: dt.timedelta) -> None:
    assert duration_text(duration // MICROSECOND, "us") == str(duration)


def test_beyond_what_python_holds() -> None:
    assert time_text(-1, "us") == "-00:00:00.000001"
    assert time_text(90_000, "s") == "25:00:00"
    assert duration_text(2**62, "s") == f"{2**62 // 86_400} days, 7:45:04"
    assert duration_text(-1, "ns") == "-1 day, 23:59:59.999999999"
    assert timestamp_text(1, "ns", zone_of("No/Such/Zone")) == "1970-01-01T00:00:00.000000001+00:00"
    assert zone_of("+99:00") == zone_of("../../etc/passwd") == dt.UTC
