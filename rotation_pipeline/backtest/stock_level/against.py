"""What the index-enhanced portfolio is held against: the members' weights, industries and past returns at a signal."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.stock_level.account import Account, values
from rotation_pipeline.backtest.stock_level.enhanced import IndexState
from rotation_pipeline.backtest.stock_level.kernel import Ints
from rotation_pipeline.backtest.stock_level.options import EnhancedOptions
from rotation_pipeline.backtest.stock_level.targets import Signal
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.conventions import Floats
from rotation_pipeline.market.reused_codes import present_since, reused_codes


def held_weights(account: Account, assets: Ints) -> Floats | None:
    """Weights (n,) of ``assets`` in the shares held, stocks outside them in the denominator; None for an account without shares."""
    worth = values(account.long, account.mark).astype(np.float64)
    total = float(worth.sum())
    if total <= 0.0:
        return None
    place = np.minimum(np.searchsorted(assets, account.assets), assets.size - 1)
    inside = assets[place] == account.assets
    held = np.zeros(assets.size)
    held[place[inside]] = worth[inside] / total
    return held


class Against:
    """The state of the index at each signal; weights are those published, or float market values where none are."""

    def __init__(
        self,
        index: pl.DataFrame | None,
        history: pl.DataFrame | None,
        listings: pl.DataFrame,
        options: EnhancedOptions,
    ) -> None:
        if index is None or history is None:
            raise ValueError("index_enhanced needs the index and the bars of the months before: pass index and history")
        self._index = index
        ret = pl.when(pl.col("prev_close") > 0.0).then(pl.col("close") / pl.col("prev_close") - 1.0)
        self._bars = history.select("month", "asset_key", "day", ret.alias("ret"))
        self._reused = reused_codes(listings)
        self._stored = {
            name: set(rows["month"].unique().to_list())
            for name, rows in (("raw.daily_bars", self._bars), ("raw.listings", listings))
        }
        self._months = options.risk_months
        self._by_value: list[date] = []

    def at(self, signal: Signal, month: date) -> IndexState:
        """The state at the close of ``month``, in the order of ``signal.assets``. MissingMonthError for months not passed."""
        rows = self._index.filter(pl.col("month") == month)
        if rows.is_empty():
            raise MissingMonthError(
                f"intermediate.universe has no rows for {month:%Y-%m}, needed against the index: materialise that month first"
            )
        order = pl.DataFrame({"asset_key": pl.Series(signal.assets, dtype=pl.Int32)})
        own = order.join(rows, on="asset_key", how="left", maintain_order="left")
        given = own["index_weight"].cast(pl.Float64).fill_null(0.0).to_numpy()
        if float(given.sum()) <= 0.0:
            self._by_value.append(month)
            given = np.nan_to_num(signal.market_value)
        if float(given.sum()) <= 0.0:
            raise MissingMonthError(
                f"neither raw.index_weights nor float market values say what the index held at {month:%Y-%m}"
            )
        industry = tuple(str(name) for name in own["industry"].fill_null("").to_list())
        return IndexState(given / float(given.sum()), industry, self._returns(signal.assets, month))

    def _returns(self, assets: Ints, month: date) -> Floats:
        """(T, n) daily returns of the months up to ``month``, NaN where the code was another company's."""
        first = add_months(month, 1 - self._months)
        rows = self._bars.filter(
            pl.col("month").is_between(first, month)
            & pl.col("asset_key").is_in(pl.Series(assets, dtype=pl.Int32).implode())
            & pl.col("ret").is_not_null()
        )
        needed = [add_months(first, ahead) for ahead in range(self._months)]
        for name, stored in self._stored.items():
            for when in needed:
                if when not in stored:
                    raise MissingMonthError(
                        f"{name} has no rows for {when:%Y-%m}, needed for the covariance at {month:%Y-%m}: materialise "
                        "that month first"
                    )
        rows = self._of_present(rows, month)
        days = np.unique(rows["day"].to_numpy())
        found = np.full((days.size, assets.size), np.nan)
        place = np.searchsorted(days, rows["day"].to_numpy()), np.searchsorted(assets, rows["asset_key"].to_numpy())
        found[place] = rows["ret"].to_numpy()
        return found

    def _of_present(self, rows: pl.DataFrame, month: date) -> pl.DataFrame:
        """``rows`` without those of companies that had their code before the one that has it at the close of ``month``."""
        if self._reused.is_empty():
            return rows
        ends = self._bars.filter(pl.col("month") == month).select("month", pl.col("day").max().alias("last_day"))
        since = present_since(self._reused, ends, self._months - 1).select("asset_key", "since")
        joined = rows.join(since, on="asset_key", how="left", maintain_order="left")
        return joined.filter(pl.col("since").is_null() | (pl.col("day") >= pl.col("since"))).drop("since")

    def notices(self) -> tuple[str, ...]:
        """Which months had no published weights."""
        if not self._by_value:
            return ()
        span = f"{min(self._by_value):%Y-%m} … {max(self._by_value):%Y-%m} ({len(self._by_value)} months)"
        return (f"index_enhanced: no index weights are stored for {span}; float market values stand in for them",)
