"""Months and sessions."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.market.calendar import (
    CalendarError,
    add_months,
    calendar_end,
    last_session,
    month_last_day,
    month_sessions,
    month_start,
    months_between,
    next_session,
    parse_month,
    projected_sessions,
    session_array,
    sessions,
    sessions_since,
)

DAYS = st.dates(date(1991, 1, 1), date(2026, 12, 31))


def test_sessions_of_the_reference_span() -> None:
    days = sessions(date(2014, 1, 1), date(2024, 1, 31))
    assert len(days) == 2456
    assert days[0] == date(2014, 1, 2)
    assert days[-1] == date(2024, 1, 31)
    assert days == sorted(set(days))


def test_calendar_is_not_cut_at_a_year_from_today() -> None:
    # holidays of 2026 are recorded; the library's default end is a year after today at most
    assert calendar_end() >= date(2026, 12, 31)
    assert sessions(date(2026, 12, 31), date(2026, 12, 31)) == [date(2026, 12, 31)]
    assert len(session_array(date(1990, 12, 19), calendar_end())) > 8700


def test_known_closures() -> None:
    # Spring Festival 2020 was prolonged to 2 February; 28 and 29 January 2014 traded, 31 January began the holiday
    assert sessions(date(2020, 1, 24), date(2020, 2, 2)) == []
    assert sessions(date(2014, 1, 28), date(2014, 2, 9)) == [
        date(2014, 1, 28),
        date(2014, 1, 29),
        date(2014, 1, 30),
        date(2014, 2, 7),
    ]


def test_bounds_raise() -> None:
    with pytest.raises(CalendarError, match="recorded from 1990-12-19"):
        sessions(date(1990, 12, 18), date(1991, 1, 1))
    with pytest.raises(CalendarError, match="exchange-calendars"):
        sessions(date(2024, 1, 1), calendar_end() + timedelta(days=1))
    with pytest.raises(CalendarError, match="no session"):
        next_session(calendar_end())


def test_empty_and_reversed_ranges() -> None:
    assert sessions(date(2024, 1, 6), date(2024, 1, 7)) == []
    assert sessions(date(2024, 1, 31), date(2024, 1, 2)) == []
    assert months_between(date(2024, 2, 1), date(2024, 1, 1)) == []


def test_sessions_are_a_view_nobody_can_write() -> None:
    with pytest.raises(ValueError, match="read-only"):
        session_array(date(2024, 1, 1), date(2024, 1, 31))[0] = np.datetime64("2000-01-01")


@pytest.mark.parametrize("text", ["2014-1", "2014/01", "2014-13", "2014-00", "201401", "", "0000-01", "2014-01-02"])
def test_parse_month_refuses(text: str) -> None:
    with pytest.raises(CalendarError, match="write it as 2014-01"):
        parse_month(text)


def test_parse_month() -> None:
    assert parse_month("2014-01") == parse_month(" 2014-01-01 ") == date(2014, 1, 1)


@given(DAYS, st.integers(-200, 200))
@settings(deadline=None, max_examples=25)
def test_months_are_consistent(day: date, n: int) -> None:
    month = month_start(day)
    assert month <= day <= month_last_day(day)
    assert month_last_day(month) + timedelta(days=1) == add_months(month, 1)
    assert add_months(add_months(day, n), -n) == month
    assert len(months_between(month, add_months(month, abs(n)))) == abs(n) + 1


@given(DAYS, DAYS)
@settings(deadline=None, max_examples=25)
def test_sessions_since_counts_sessions(start: date, day: date) -> None:
    count = int(sessions_since(np.array([start], "datetime64[D]"), np.array([day], "datetime64[D]"))[0])
    if start <= day:
        assert count == len(sessions(start, day)) - 1
    else:
        assert count <= -1 + len(sessions(day, start))


def test_sessions_since_unknown_start() -> None:
    days = np.array(["2024-01-02", "2024-01-02"], "datetime64[D]")
    starts = np.array(["NaT", "2024-01-02"], "datetime64[D]")
    assert sessions_since(starts, days).tolist() == [-1, 0]


def test_month_ends() -> None:
    assert last_session(date(2024, 3, 1)) == date(2024, 3, 29)
    assert next_session(date(2024, 3, 29)) == date(2024, 4, 1)
    assert month_sessions(date(1990, 12, 1))[0] == date(1990, 12, 19)


def test_no_warning_leaks() -> None:
    code = "from datetime import date; from rotation_pipeline.market.calendar import sessions; sessions(date(2014,1,1), date(2014,1,31))"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert "Warning" not in done.stderr


def test_projected_sessions_follow_the_recorded_ones_inside_their_context_only() -> None:
    end = calendar_end()
    recorded = sessions(date(2020, 1, 1), end)
    until = date(end.year + 16, 12, 31)
    with projected_sessions(until):
        assert calendar_end() == until
        later = sessions(date(2020, 1, 1), until)
        assert later[: len(recorded)] == recorded
        assert all(day.weekday() < 5 for day in later)
        by_year = [sum(day.year == end.year + n for day in later) for n in range(1, 16)]
        assert min(by_year) >= 240
        assert max(by_year) <= 250
        months = months_between(date(end.year + 1, 1, 1), date(end.year + 15, 12, 1))
        assert min(len(month_sessions(month)) for month in months) >= 13
    assert calendar_end() == end
    with pytest.raises(CalendarError):
        sessions(end, until)
