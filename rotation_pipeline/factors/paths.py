"""Growth of one unit bought at a month's opening close, by asset and day: what every book of the stage is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from numba import njit

from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.inputs import Bits, Days, Int32s, as_days, is_known, require_columns, require_sorted
from rotation_pipeline.factors.pieces import buffers, numbers
from rotation_pipeline.factors.ranks import Ints, Order, places, rising_orders
from rotation_pipeline.factors.statistics import Flags, Floats

HELD_COLUMNS: tuple[str, ...] = ("day", "asset_key", "ret")
"""What is read of intermediate.adjusted_bars to hold a book."""


@njit(cache=True)
def _survey(
    key: Int32s, day: Int32s, ret: Floats, known: Bits, bit: int, first: int, month_of: Ints, seen: Flags, members: Ints,
    last: Ints,
) -> tuple[bool, bool]:  # fmt: skip
    """Look at every row of the months wanted once: whether one is out of order or twice, whether one has a wrong return.

    Args:
        key, day, ret: some of the table's rows; ``first`` is the lowest day. known, bit: which returns are known, as
            :func:`~rotation_pipeline.factors.inputs.lying` says it.
        month_of: number of the month of each day from ``first`` on, −1 if it is not wanted, shape (calendar,).
        seen: filled with the days that have a row, shape (calendar,). members: filled with securities by month.
        last: key and day of the last row that was wanted, −1 for none; moved on.
    """
    unsorted, wrong, before, then = False, False, last[0], last[1]
    for row in range(key.size):
        at = day[row] - first
        m = month_of[at]
        if m < 0:
            continue
        fresh = key[row] != before
        if key[row] < before or (not fresh and day[row] <= then):
            unsorted = True
        if (ret[row] < -1.0 or np.isinf(ret[row])) and is_known(known, bit + row):
            wrong = True
        if fresh or month_of[then - first] != m:
            members[m] += 1
        seen[at] = True
        before, then = key[row], day[row]
    last[0], last[1] = before, then
    return unsorted, wrong


_KEY, _MONTH, _AT, _DAY = range(4)


@njit(cache=True)
def _growth(
    key: Int32s, day: Int32s, ret: Floats, known: Bits, bit: int, first: int, month_of: Ints, place_of: Ints, days: Ints,
    asset_start: Ints, start: Ints, filled: Ints, path: Ints, reached: Floats, keys: Int32s, out: Floats,
) -> None:  # fmt: skip
    """Value paths of every (security, month) from daily returns; a day without a return leaves the value as it is.

    Args:
        key, day, ret, known, bit, first, month_of: as in :func:`_survey`, in order. place_of: number of each day inside its
            month. days: days of each month, and 0 for a last, empty one.
        asset_start, start: where each month's securities begin in ``keys`` and its paths in ``out``; both are filled.
        filled: paths begun by month; moved on. path: the one that was reached: its security, its month (the last, empty one at
            the beginning), where it begins, days filled; reached: its value, shape (1,); both moved on.
    """
    wanted, month, at, d, value = path[_KEY], path[_MONTH], path[_AT], path[_DAY], reached[0]
    for row in range(key.size):
        m = month_of[day[row] - first]
        if m < 0:
            continue
        if key[row] != wanted or m != month:
            while d < days[month]:
                out[at + d] = value
                d += 1
            wanted, month, at, d, value = key[row], m, start[m] + filled[m] * days[m], 0, 1.0
            keys[asset_start[m] + filled[m]] = wanted
            filled[m] += 1
        place = place_of[day[row] - first]
        while d < place:
            out[at + d] = value
            d += 1
        if is_known(known, bit + row) and not np.isnan(ret[row]):
            value *= 1.0 + ret[row]
    path[_KEY], path[_MONTH], path[_AT], path[_DAY], reached[0] = wanted, month, at, d, value


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
    # piece by piece, where they lie: one array of all would be memory touched for the first time
    parts = [
        (numbers(part, "asset_key"), numbers(part, "day"), *buffers(part, "ret"))
        for part in rows.to_arrow().to_batches()
        if part.num_rows
    ]
    first = min((int(part[1].min()) for part in parts), default=0)
    calendar = np.arange(first, max((int(part[1].max()) for part in parts), default=-1) + 1).astype("datetime64[D]")
    stamps, month = as_days(wanted), calendar.astype("datetime64[M]").astype("datetime64[D]")
    at = np.minimum(np.searchsorted(stamps, month), len(wanted) - 1)
    month_of = np.where(stamps[at] == month, at, -1)
    seen, members, last = np.zeros(calendar.size, np.bool_), np.zeros(len(wanted), np.int64), np.full(2, -1, np.int64)
    found = [_survey(*part, first, month_of, seen, members, last) for part in parts]
    if any(unsorted or wrong for unsorted, wrong in found):
        _refuse(rows, calendar, month_of >= 0, table)
    days = np.bincount(month_of[seen], minlength=len(wanted))
    if (days == 0).any():
        raise MissingInput(f"{table} has no row in {wanted[int(np.argmin(days))]:%Y-%m}; load that month's bars")
    sessions, begin = calendar[seen], np.cumsum(days) - days
    place_of = np.cumsum(seen) - 1 - begin[np.maximum(month_of, 0)]
    asset_start, start = np.cumsum(members) - members, np.cumsum(members * days) - members * days
    keys, values = np.empty(int(members.sum()), np.int32), np.empty(int((members * days).sum()))
    room, filled, reached = np.append(days, 0), np.zeros(len(wanted), np.int64), np.ones(1)
    path = np.array([-1, len(wanted), 0, 0])
    for part in parts:
        _growth(*part, first, month_of, place_of, room, asset_start, start, filled, path, reached, keys, values)
    values[path[_AT] + path[_DAY] : path[_AT] + room[path[_MONTH]]] = reached[0]  # the last path to its month's end
    return {
        stamp: MonthPaths(
            sessions[begin[m] : begin[m] + days[m]],
            keys[asset_start[m] : asset_start[m] + members[m]],
            values[start[m] : start[m] + members[m] * days[m]].reshape(-1, days[m]),
        )
        for m, stamp in enumerate(wanted)
    }
