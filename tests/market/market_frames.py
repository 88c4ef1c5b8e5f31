"""Small delivered frames for the tests of the sanity rules: four securities, three months, every rule satisfied."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.market.identifiers import asset_key

ASSETS = ("600001.SH", "600002.SH", "300001.SZ", "688001.SH")
BOARD = {"600001.SH": "main", "600002.SH": "main", "300001.SZ": "chinext", "688001.SH": "star"}
FIRST, LAST = date(2022, 1, 1), date(2022, 3, 31)
MONTHS = [date(2022, 1, 1), date(2022, 2, 1), date(2022, 3, 1)]
COPIES = 30
"""Securities per template, so that one wrong row stays below 1 % of a month."""


def bars(seed: int = 7) -> pl.DataFrame:
    """Daily bars of 4 × COPIES securities, prices on the 0.01 grid, factors that follow the previous closes."""
    rng = np.random.default_rng(seed)
    days = sessions(FIRST, LAST)
    parts = []
    for copy in range(COPIES):
        for template in ASSETS:
            close = np.round(20 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days)))), 2)
            before = np.concatenate([[20.0], close[:-1]])
            open_ = np.round((close + before) / 2, 2)
            volume = rng.integers(1_000, 9_000, len(days)) * 100.0
            parts.append(
                pl.DataFrame(
                    {
                        "asset_key": pl.Series([asset_key(template) + 400 * copy] * len(days), dtype=pl.Int32),
                        "day": days,
                        "open": open_,
                        "high": np.maximum(open_, close) + 0.05,
                        "low": np.minimum(open_, close) - 0.05,
                        "close": close,
                        "prev_close": before,
                        "volume": volume,
                        "amount": volume * (open_ + close) / 2,
                        "adj_factor": 1.0,
                        "is_suspended": False,
                        "is_st": False,
                        "board": BOARD[template],
                    }
                )
            )
    return with_month(pl.concat(parts))


def with_month(frame: pl.DataFrame) -> pl.DataFrame:
    """Prefix the partition column."""
    return frame.select(pl.col("day").dt.month_start().alias("month"), pl.all())


def listings(frame: pl.DataFrame) -> pl.DataFrame:
    """Snapshots with every security of ``frame`` listed long ago."""
    return frame.select("month", "asset_key").unique(maintain_order=True).with_columns(
        pl.lit(date(2019, 8, 1)).alias("listed_on"), pl.lit(None, dtype=pl.Date).alias("delisted_on")
    )  # fmt: skip


def valuation(frame: pl.DataFrame, shares: float = 1e9) -> pl.DataFrame:
    """Valuation rows of the bars: ``shares`` in all, 60 % of them tradable."""
    empty = pl.lit(None, dtype=pl.Float64)
    return frame.select(
        "month", "asset_key", "day",
        pl.lit(12.0).alias("pe_ttm"), pl.lit(1.5).alias("pb"), empty.alias("ps_ttm"),
        empty.alias("dividend_yield_ttm"), (pl.col("volume") / (0.6 * shares)).alias("turnover_rate"),
        (pl.col("close") * shares).alias("total_market_value"), (pl.col("close") * 0.6 * shares).alias("float_market_value"),
    )  # fmt: skip


def planted(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    """The frame with columns of one row replaced (expressions or values)."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(value if isinstance(value, pl.Expr) else pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def position(frame: pl.DataFrame, asset: str, day: date) -> int:
    """Row number of a security and day."""
    here = (pl.col("asset_key") == asset_key(asset)) & (pl.col("day") == day)
    return int(frame.with_row_index().filter(here)["index"][0])
