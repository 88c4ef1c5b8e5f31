"""Growth of one unit bought at a month's opening close, by asset and day: what every book of the stage is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.inputs import Days, as_days, floats, require_columns, require_sorted
from rotation_pipeline.factors.statistics import Floats

Ints = NDArray[np.int64]


@njit(cache=True)
def _members(key: NDArray[np.int32], month: Ints, months: int) -> Ints:
    """Securities with a row in each month, shape (months,); rows sorted by key, then month."""
    out = np.zeros(months, np.int64)
    for row in range(key.size):
        if row == 0 or key[row] != key[row - 1] or month[row] != month[row - 1]:
            out[month[row]] += 1
    return out


@njit(cache=True)
def _growth(
    key: NDArray[np.int32], month: Ints, day: Ints, ret: Floats, days: Ints, asset_start: Ints, start: Ints, keys: NDArray[np.int32],
    out: Floats,
) -> None:  # fmt: skip
    """Value paths of every (security, month) from daily returns; a day without a return leaves the value as it is.

    Args:
        key, month, day, ret: rows sorted by key and day: number of the month and of the day inside it.
        days: days of each month. asset_start, start: where each month's securities begin in ``keys`` and its paths in
            ``out``; both are filled.
    """
    filled = np.zeros(days.size, np.int64)
    row = 0
    while row < key.size:
        m, wanted = month[row], key[row]
        keys[asset_start[m] + filled[m]] = wanted
        at = start[m] + filled[m] * days[m]
        filled[m] += 1
        value, d = 1.0, 0
        while row < key.size and key[row] == wanted and month[row] == m:
            while d < day[row]:
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
    asset_key: NDArray[np.int32]
    growth: Floats

    def rows(self, keys: NDArray[np.int32]) -> NDArray[np.int64]:
        """Row of each key in ``growth``, −1 where the security has none, shape (keys,)."""
        at = np.minimum(np.searchsorted(self.asset_key, keys), self.asset_key.size - 1)
        return np.where(self.asset_key[at] == keys, at, -1).astype(np.int64)

    def returns(self, keys: NDArray[np.int32], absent: float) -> Floats:
        """Return over the month of each key, ``absent`` where the security has no row, shape (keys,)."""
        at = self.rows(keys)
        return np.where(at >= 0, self.growth[np.maximum(at, 0), -1] - 1.0, absent)


def _of_months(rows: pl.DataFrame, months: list[date]) -> pl.DataFrame:
    """Rows of these months, looked up by day rather than computed for each row."""
    if not rows.height:
        return rows
    day = rows["day"].to_physical().to_numpy()
    first, last = int(day.min()), int(day.max())
    calendar = np.arange(first, last + 1).astype("datetime64[D]").astype("datetime64[M]")
    inside = np.isin(calendar, as_days(months).astype("datetime64[M]"))[day - first]
    return rows if inside.all() else rows.filter(pl.Series(inside))


def month_paths(bars: pl.DataFrame, months: Iterable[date]) -> dict[date, MonthPaths]:
    """Value paths of each month, from intermediate.adjusted_bars (day, asset_key, ret) sorted by asset_key, day.

    Only the rows of the months asked for are read, so a month's paths depend on nothing else.

    Raises:
        MissingInput: a month without bars. BadInput: unsorted or doubled rows, a return below −1 or infinite.
    """
    wanted = sorted(set(months))
    table = "intermediate.adjusted_bars"
    require_columns(bars, table, ("day", "asset_key", "ret"))
    rows = _of_months(bars.select("day", "asset_key", "ret"), wanted)
    require_sorted(rows, table, ("asset_key", "day"))
    bad = rows.filter((pl.col("ret") < -1.0) | pl.col("ret").is_infinite())
    if bad.height:
        row = bad.row(0, named=True)
        raise BadInput(
            f"{table}: asset_key {row['asset_key']} on {row['day']} has ret {row['ret']}; quarantine the row"
        )
    day = rows["day"].to_physical().to_numpy()
    offset = int(day.min()) if day.size else 0
    place = np.full(int(day.max()) - offset + 1 if day.size else 1, -1, np.int64)
    place[day - offset] = 0
    present = np.flatnonzero(place == 0)
    place[present] = np.arange(present.size)
    sessions, number = (present + offset).astype("datetime64[D]"), place[day - offset]
    session_month = np.searchsorted(as_days(wanted), sessions.astype("datetime64[M]").astype("datetime64[D]"))
    first = np.searchsorted(session_month, np.arange(len(wanted)))
    days = np.diff(first, append=sessions.size)
    if (days == 0).any():
        raise MissingInput(f"{table} has no row in {wanted[int(np.argmin(days))]:%Y-%m}; load that month's bars")
    key, month = rows["asset_key"].to_numpy().astype(np.int32), session_month[number]
    members = _members(key, month, len(wanted))
    asset_start, start = np.cumsum(members) - members, np.cumsum(members * days) - members * days
    keys, values = np.empty(int(members.sum()), np.int32), np.empty(int((members * days).sum()))
    _growth(key, month, number - first[month], floats(rows, "ret"), days, asset_start, start, keys, values)
    return {
        stamp: MonthPaths(
            sessions[first[m] : first[m] + days[m]],
            keys[asset_start[m] : asset_start[m] + members[m]],
            values[start[m] : start[m] + members[m] * days[m]].reshape(-1, days[m]),
        )
        for m, stamp in enumerate(wanted)
    }
