"""Months and sessions of the Shanghai exchange (XSHG).

A month is its first calendar day everywhere. Sessions come from ``exchange_calendars``, asked for its whole recorded
range: left alone, that library ends its calendar a year after today, which would make results depend on the clock.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXCHANGE = "XSHG"
FIRST_SESSION = date(1990, 12, 19)
"""The exchange opened that day."""
_MONTH = re.compile(r"^(\d{4})-(\d{2})(?:-01)?$")


class CalendarError(ValueError):
    """A day, month or range the calendar can't answer for."""


def parse_month(text: str) -> date:
    """``2014-01`` (or ``2014-01-01``) → 2014-01-01. Raises :class:`CalendarError` for anything else."""
    match = _MONTH.match(text.strip())
    if match is None or not 1 <= int(match.group(2)) <= 12 or int(match.group(1)) == 0:
        raise CalendarError(f"{text!r} is no month; write it as 2014-01")
    return date(int(match.group(1)), int(match.group(2)), 1)


def month_start(day: date) -> date:
    """First calendar day of the month ``day`` lies in."""
    return date(day.year, day.month, 1)


def month_last_day(month: date) -> date:
    """Last calendar day of the month ``month`` lies in."""
    return add_months(month, 1) - timedelta(days=1)


def add_months(month: date, n: int) -> date:
    """First calendar day of the month ``n`` months after (before, if negative) the one ``month`` lies in."""
    total = month.year * 12 + month.month - 1 + n
    return date(total // 12, total % 12 + 1, 1)


def months_between(first: date, last: date) -> list[date]:
    """All months from that of ``first`` to that of ``last``, both included; empty if ``last`` is earlier."""
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [add_months(first, n) for n in range(count)]


@lru_cache(maxsize=1)
def _recorded() -> tuple[NDArray[np.datetime64], date]:
    """Every recorded session (datetime64[D], ascending, read-only) and the last day the records reach."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library: Any = import_module("exchange_calendars")  # slow to import and without types
        end: date = library.exchange_calendar_xshg.XSHGExchangeCalendar.bound_max().date()
        calendar = library.get_calendar(EXCHANGE, start=FIRST_SESSION.isoformat(), end=end.isoformat())
        days = np.array(calendar.sessions.values, dtype="datetime64[D]")
    days.flags.writeable = False
    return days, end


_HORIZON: ContextVar[date | None] = ContextVar("horizon", default=None)
_HOLIDAYS = frozenset(
    {
        (1, 1),
        (4, 5),
        *((2, day) for day in range(1, 8)),
        *((5, day) for day in range(1, 4)),
        *((10, day) for day in range(1, 8)),
    }
)
"""(month, day) without a session where none is recorded: about the 244 sessions a year of the records."""


@contextmanager
def projected_sessions(until: date) -> Generator[None]:
    """Inside, sessions after the last recorded day are made up, to ``until``: weekdays but the usual holidays.

    For simulated markets that last longer than the records; no real day may be judged by them.
    """
    token = _HORIZON.set(until)
    try:
        yield
    finally:
        _HORIZON.reset(token)


@lru_cache(maxsize=4)
def _projected(until: date) -> tuple[NDArray[np.datetime64], date]:
    """Recorded and made-up sessions to ``until``."""
    days, end = _recorded()
    later = np.arange(np.datetime64(end) + 1, np.datetime64(until) + 1)
    weekdays = later[np.is_busday(later)]
    kept = [day for day in weekdays.tolist() if (day.month, day.day) not in _HOLIDAYS]
    found = np.concatenate([days, np.array(kept, dtype="datetime64[D]")])
    found.flags.writeable = False
    return found, until


def _known() -> tuple[NDArray[np.datetime64], date]:
    """The sessions to answer from and the last day they reach."""
    horizon = _HORIZON.get()
    return _recorded() if horizon is None or horizon <= _recorded()[1] else _projected(horizon)


def calendar_end() -> date:
    """Last day for which holidays are recorded, or sessions projected."""
    return _known()[1]


def session_array(first: date, last: date) -> NDArray[np.datetime64]:
    """Sessions from ``first`` to ``last``, both included: datetime64[D], ascending, read-only.

    Raises :class:`CalendarError` if a bound lies outside the recorded range.
    """
    days, end = _known()
    if first < FIRST_SESSION or last > end:
        raise CalendarError(
            f"{EXCHANGE} sessions are recorded from {FIRST_SESSION} to {end}, asked for {first} to {last}; "
            "choose days inside, or install an exchange-calendars release that records later holidays"
        )
    low = int(np.searchsorted(days, np.datetime64(first), side="left"))
    high = int(np.searchsorted(days, np.datetime64(last), side="right"))
    return days[low : max(low, high)]


def sessions(first: date, last: date) -> list[date]:
    """Sessions from ``first`` to ``last``, both included; empty if there are none.

    Raises :class:`CalendarError` if a bound lies outside the recorded range.
    """
    return session_array(first, last).tolist()


def month_sessions(month: date) -> list[date]:
    """Sessions of one month. Raises :class:`CalendarError` outside the recorded range."""
    return sessions(max(month_start(month), FIRST_SESSION), month_last_day(month))


def last_session(month: date) -> date:
    """The session at whose close values stamped ``month`` are known."""
    days = month_sessions(month)
    if not days:
        raise CalendarError(f"no session of {EXCHANGE} in {month:%Y-%m}")
    return days[-1]


def next_session(day: date) -> date:
    """First session after ``day``. Raises :class:`CalendarError` outside the recorded range."""
    following = session_array(day + timedelta(days=1), min(day + timedelta(days=30), calendar_end()))
    if not following.size:
        raise CalendarError(f"no session of {EXCHANGE} is recorded after {day}; the records end on {calendar_end()}")
    return following[0].item()


def sessions_since(start: NDArray[np.datetime64], day: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Sessions from ``start`` to ``day``: 0 on the first session on or after ``start``, negative before it.

    Shapes (n,) and (n,), datetime64[D]; an unknown start (NaT) gives −1. ``day`` beyond the recorded range raises
    :class:`CalendarError`; a start before the exchange opened counts from its first session.
    """
    days, end = _known()
    if day.size and np.nanmax(day) > np.datetime64(end):
        raise CalendarError(f"{np.nanmax(day)} lies after the last day recorded for {EXCHANGE}, {end}")
    count = np.searchsorted(days, day, side="right") - 1 - np.searchsorted(days, start, side="left")
    return np.where(np.isnat(start), -1, count).astype(np.int64)


def consecutive(months: Iterable[date]) -> list[list[date]]:
    """Months (first days; any order, each once or more) as ascending runs without a gap."""
    runs: list[list[date]] = []
    for month in sorted(set(months)):
        if runs and add_months(runs[-1][-1], 1) == month:
            runs[-1].append(month)
        else:
            runs.append([month])
    return runs
