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


@njit(cache=True)
def _growth(asset: NDArray[np.int64], day: NDArray[np.int64], ret: Floats, assets: int, days: int) -> Floats:
    """Value path of each asset from daily returns; a day without a return leaves the value as it is."""
    out = np.ones((assets, days))
    for row in range(asset.size):
        if not np.isnan(ret[row]):
            out[asset[row], day[row]] = 1.0 + ret[row]
    for a in range(assets):
        for d in range(1, days):
            out[a, d] *= out[a, d - 1]
    return out


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


def month_paths(bars: pl.DataFrame, months: Iterable[date]) -> dict[date, MonthPaths]:
    """Value paths of each month, from intermediate.adjusted_bars (day, asset_key, ret) sorted by asset_key, day.

    Only the rows of the months asked for are read, so a month's paths depend on nothing else.

    Raises:
        MissingInput: a month without bars. BadInput: unsorted or doubled rows, a return below −1 or infinite.
    """
    wanted = sorted(set(months))
    table = "intermediate.adjusted_bars"
    require_columns(bars, table, ("day", "asset_key", "ret"))
    rows = bars.select("day", "asset_key", "ret").filter(pl.col("day").dt.month_start().is_in(wanted))
    require_sorted(rows, table, ("asset_key", "day"))
    bad = rows.filter((pl.col("ret") < -1.0) | pl.col("ret").is_infinite())
    if bad.height:
        row = bad.row(0, named=True)
        raise BadInput(
            f"{table}: asset_key {row['asset_key']} on {row['day']} has ret {row['ret']}; quarantine the row"
        )
    stamped = rows.with_columns(pl.col("day").dt.month_start().alias("month"))
    parts = {key[0]: part for key, part in stamped.partition_by("month", as_dict=True, maintain_order=True).items()}
    out: dict[date, MonthPaths] = {}
    for month in wanted:
        if month not in parts:
            raise MissingInput(f"{table} has no row in {month:%Y-%m}; load that month's bars")
        part = parts[month]
        days, day = np.unique(as_days(part["day"].to_numpy()), return_inverse=True)
        keys, asset = np.unique(part["asset_key"].to_numpy().astype(np.int32), return_inverse=True)
        growth = _growth(asset.astype(np.int64), day.astype(np.int64), floats(part, "ret"), keys.size, days.size)
        out[month] = MonthPaths(days, keys, growth)
    return out
