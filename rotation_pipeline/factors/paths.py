"""Growth of one unit bought at a month's opening close, by asset and day: what every book of the stage is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from numba import njit

from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.inputs import Days, Int32s, as_days, require_columns, require_sorted
from rotation_pipeline.factors.ranks import Ints, Order, places, rising_orders
from rotation_pipeline.factors.statistics import Flags, Floats

HELD_COLUMNS: tuple[str, ...] = ("day", "asset_key", "ret")
"""What is read of intermediate.adjusted_bars to hold a book."""


@njit(cache=True)
def _survey(
    key: Int32s, day: Int32s, ret: Floats, first: int, month_of: Ints, seen: Flags, members: Ints
) -> tuple[int, int]:
    """Look at every row of the months wanted once: first row out of order or twice, first with a wrong return, −1 for none.

    Args:
        key, day, ret: the table's rows; ``first`` is the lowest day.
        month_of: number of the month of each day from ``first`` on, −1 if it is not wanted, shape (calendar,).
        seen: filled with the days that have a row, shape (calendar,). members: filled with securities by month.
    """
    last, unsorted, wrong = -1, -1, -1
    for row in range(key.size):
        at = day[row] - first
        m = month_of[at]
        if m < 0:
            continue
        fresh = last < 0 or key[row] != key[last]
        if last >= 0 and unsorted < 0 and (key[row] < key[last] or (not fresh and day[row] <= day[last])):
            unsorted = row
        if wrong < 0 and (ret[row] < -1.0 or np.isinf(ret[row])):
            wrong = row
        if fresh or month_of[day[last] - first] != m:
            members[m] += 1
        seen[at] = True
        last = row
    return unsorted, wrong


@njit(cache=True)
def _growth(
    key: Int32s, day: Int32s, ret: Floats, first: int, month_of: Ints, place_of: Ints, days: Ints, asset_start: Ints, start: Ints,
    keys: Int32s, out: Floats,
) -> None:  # fmt: skip
    """Value paths of every (security, month) from daily returns; a day without a return leaves the value as it is.

    Args:
        key, day, ret, first, month_of: as in :func:`_survey`, in order. place_of: number of each day inside its month.
        days: days of each month. asset_start, start: where each month's securities begin in ``keys`` and its paths in
            ``out``; both are filled.
    """
    filled = np.zeros(days.size, np.int64)
    row = 0
    while row < key.size:
        m, wanted = month_of[day[row] - first], key[row]
        if m < 0:
            row += 1
            continue
        keys[asset_start[m] + filled[m]] = wanted
        at = start[m] + filled[m] * days[m]
        filled[m] += 1
        value, d = 1.0, 0
        while row < key.size and key[row] == wanted and month_of[day[row] - first] == m:
            place = place_of[day[row] - first]
            while d < place:
                out[at + d] = value
                d += 1
            if not np.isnan(ret[row]):
                value *= 1.0 + ret[row]
            row += 1
        while d < days[m]:
            out[at + d] = value
            d += 1


@dataclass(frozen=True)
class MonthPaths:
    """Value paths over (t−1, t] of every security with a row in month t.

    Attributes:
        days: sessions of the month, shape (days,).
        asset_key: rising, shape (assets,).
        growth: value at each close of one unit at the close of t−1, shape (assets, days). A suspended day leaves it
            as it is; the resumption day's return spans the suspension; a delisted security keeps its last value.
    """

    days: Days
    asset_key: Int32s
    growth: Floats

    @cached_property
    def total(self) -> Floats:
        """Return of each security over the month, shape (assets,)."""
        return self.growth[:, -1] - 1.0

    @cached_property
    def order(self) -> Order:
        """Securities by rising return, as one row of :func:`~rotation_pipeline.factors.ranks.rising_orders`."""
        return rising_orders(self.total.reshape(1, -1))

    def rows(self, keys: Int32s) -> Ints:
        """Row of each key in ``growth``, −1 where the security has none, shape (keys,)."""
        return places(self.asset_key, keys)

    def returns(self, keys: Int32s, absent: float) -> Floats:
        """Return over the month of each key, ``absent`` where the security has no row, shape (keys,)."""
        at = self.rows(keys)
        return np.where(at >= 0, self.total[np.maximum(at, 0)], absent)


Paths = Mapping[date, MonthPaths]


def _refuse(bars: pl.DataFrame, calendar: Days, wanted: Flags, table: str) -> None:
    """Raise BadInput for the rows that :func:`_survey` found wanting."""
    rows = bars.filter(pl.col("day").is_in(pl.Series(calendar[wanted])))
    require_sorted(rows, table, ("asset_key", "day"))
    row = rows.filter((pl.col("ret") < -1.0) | pl.col("ret").is_infinite()).row(0, named=True)
    raise BadInput(f"{table}: asset_key {row['asset_key']} on {row['day']} has ret {row['ret']}; quarantine the row")


def month_paths(bars: pl.DataFrame | Paths, months: Iterable[date]) -> dict[date, MonthPaths]:
    """Value paths of each month, from intermediate.adjusted_bars (day, asset_key, ret) sorted by asset_key, day.

    Only the rows of the months asked for are read, so a month's paths depend on nothing else. ``bars`` may be paths made
    before.

    Raises:
        MissingInput: a month without bars. BadInput: unsorted or doubled rows, a return below −1 or infinite.
    """
    wanted, table = sorted(set(months)), "intermediate.adjusted_bars"
    if not isinstance(bars, pl.DataFrame):
        absent = [month for month in wanted if month not in bars]
        if absent:
            raise MissingInput(f"there are no paths of {absent[0]:%Y-%m}; make them of that month's bars as well")
        return {month: bars[month] for month in wanted}
    require_columns(bars, table, HELD_COLUMNS)
    if not wanted:
        return {}
    rows = bars.select(pl.col("day"), pl.col("asset_key").cast(pl.Int32), pl.col("ret").cast(pl.Float64))
    day = rows["day"].to_physical().to_numpy()
    key, ret = rows["asset_key"].to_numpy(), rows["ret"].fill_null(math.nan).to_numpy()
    first, last = (int(day.min()), int(day.max())) if day.size else (0, -1)
    calendar = np.arange(first, last + 1).astype("datetime64[D]")
    stamps, month = as_days(wanted), calendar.astype("datetime64[M]").astype("datetime64[D]")
    at = np.minimum(np.searchsorted(stamps, month), len(wanted) - 1)
    month_of = np.where(stamps[at] == month, at, -1)
    seen, members = np.zeros(calendar.size, np.bool_), np.zeros(len(wanted), np.int64)
    unsorted, wrong = _survey(key, day, ret, first, month_of, seen, members)
    if unsorted >= 0 or wrong >= 0:
        _refuse(rows, calendar, month_of >= 0, table)
    days = np.bincount(month_of[seen], minlength=len(wanted))
    if (days == 0).any():
        raise MissingInput(f"{table} has no row in {wanted[int(np.argmin(days))]:%Y-%m}; load that month's bars")
    sessions, begin = calendar[seen], np.cumsum(days) - days
    place_of = np.cumsum(seen) - 1 - begin[np.maximum(month_of, 0)]
    asset_start, start = np.cumsum(members) - members, np.cumsum(members * days) - members * days
    keys, values = np.empty(int(members.sum()), np.int32), np.empty(int((members * days).sum()))
    _growth(key, day, ret, first, month_of, place_of, days, asset_start, start, keys, values)
    return {
        stamp: MonthPaths(
            sessions[begin[m] : begin[m] + days[m]],
            keys[asset_start[m] : asset_start[m] + members[m]],
            values[start[m] : start[m] + members[m] * days[m]].reshape(-1, days[m]),
        )
        for m, stamp in enumerate(wanted)
    }
