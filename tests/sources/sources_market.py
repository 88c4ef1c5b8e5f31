"""A small market in the canonical layout, held in memory, for the tests of files and ingestion."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES
from rotation_pipeline.sources.base import SourceKind

FIRST, LAST = date(2021, 11, 1), date(2022, 4, 29)
MEMBERS = 50
INDEX = "000016.SH"


def tables() -> dict[str, pl.DataFrame]:
    """All canonical tables without ``month``: 50 members of one index plus a name that enters and one that leaves."""
    rng = np.random.default_rng(11)
    days = sessions(FIRST, LAST)
    ids = [f"{600001 + n}.SH" for n in range(MEMBERS + 1)]
    bars = pl.concat([_bars(rng, asset, days) for asset in ids])
    ends = [day for n, day in enumerate(days) if n + 1 == len(days) or days[n + 1].month != day.month]
    no_number, no_day = pl.lit(None, dtype=pl.Float64), pl.lit(None, dtype=pl.Date)
    swap = date(2022, 2, 15)
    members = pl.DataFrame({"asset_id": ids}).select(
        pl.lit(INDEX).alias("index_id"),
        "asset_id",
        pl.when(pl.col("asset_id") == ids[-1]).then(swap).otherwise(date(2015, 6, 15)).alias("valid_from"),
        pl.when(pl.col("asset_id") == ids[0]).then(swap).otherwise(None).alias("valid_to"),
        pl.when(pl.col("asset_id") == ids[-1]).then(date(2022, 2, 1)).otherwise(None).alias("announced_on"),
    )
    return {
        "trading_days": pl.DataFrame({"day": days}).with_columns(pl.col("day").is_in(ends).alias("is_month_end")),
        "index_bars": pl.DataFrame({"day": days}).select(
            pl.lit(INDEX).alias("index_id"), "day", *(pl.lit(3000.0).alias(n) for n in ("open", "high", "low", "close")),
            no_number.alias("volume"), no_number.alias("amount"),
        ),
        "daily_bars": bars,
        "daily_valuation": bars.select(
            "asset_id", "day", pl.lit(12.0).alias("pe_ttm"), pl.lit(1.5).alias("pb"), no_number.alias("ps_ttm"),
            no_number.alias("dividend_yield_ttm"), no_number.alias("turnover_rate"),
            (pl.col("close") * 1e9).alias("total_market_value"), (pl.col("close") * 6e8).alias("float_market_value"),
        ),
        "fundamentals": pl.DataFrame({"asset_id": ids}).select(
            "asset_id", pl.lit(date(2021, 12, 31)).alias("report_period"), pl.lit(date(2022, 3, 30)).alias("announced_on"),
            pl.lit("roe_ttm").alias("item"), pl.lit(0.1).alias("value"), pl.lit(False).alias("is_revision"),
            pl.lit(False).alias("announcement_is_deadline"),
        ),
        "dividends": pl.DataFrame({"asset_id": ids[:2]}).select(
            "asset_id", pl.lit(date(2022, 3, 15)).alias("ex_day"), no_day.alias("announced_on"),
            pl.lit(0.0).alias("cash_per_share"), pl.lit(0.0).alias("shares_per_share"),
        ),
        "index_members": members,
        "index_weights": pl.DataFrame({"asset_id": ids[:MEMBERS]}).select(
            pl.lit(INDEX).alias("index_id"), "asset_id", pl.lit(date(2022, 1, 28)).alias("day"),
            pl.lit(1 / MEMBERS).alias("weight"), pl.lit("published").alias("derivation"),
        ),
        "industries": pl.DataFrame({"asset_id": ids}).select(
            "asset_id", pl.lit(date(2015, 1, 1)).alias("valid_from"), no_day.alias("valid_to"),
            pl.lit("one").alias("scheme"), pl.lit("银行").alias("industry"),
        ),
        "listings": pl.DataFrame({"asset_id": ids}).select(
            "asset_id", pl.lit("名").alias("name"), pl.lit("main").alias("board"),
            pl.lit(date(2010, 1, 4)).alias("listed_on"), no_day.alias("delisted_on"),
        ),
    }  # fmt: skip


def _bars(rng: np.random.Generator, asset: str, days: list[date]) -> pl.DataFrame:
    close = np.round(20 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days)))), 2)
    before = np.concatenate([[20.0], close[:-1]])
    volume = rng.integers(1_000, 9_000, len(days)) * 100.0
    return pl.DataFrame(
        {
            "asset_id": [asset] * len(days), "day": days, "open": before,
            "high": np.maximum(before, close), "low": np.minimum(before, close), "close": close, "prev_close": before,
            "volume": volume, "amount": volume * (before + close) / 2, "adj_factor": np.ones(len(days)),
            "is_suspended": [False] * len(days), "is_st": [False] * len(days), "board": ["main"] * len(days),
        }
    )  # fmt: skip


class MemorySource:
    """A source over frames in memory; ``until`` hides everything that was not known at the end of that day."""

    name = "memory"
    kind: SourceKind = "simulated"
    version = "1"

    def __init__(
        self, frames: dict[str, pl.DataFrame], until: date = LAST, last_month: date = date(2022, 4, 1)
    ) -> None:
        self.frames, self.until, self.last_month = frames, until, last_month
        self.fetched: list[tuple[str, date, date]] = []

    def span(self) -> tuple[date, date]:
        return date(2021, 11, 1), self.last_month

    def serves(self, table_name: str) -> bool:
        return table_name in self.frames

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        self.fetched.append((table_name, first, last))
        frame = self.frames[table_name].sample(fraction=1.0, shuffle=True, seed=3)
        if table_name in DATED_BY:
            return frame.filter(pl.col(DATED_BY[table_name]).is_between(first, min(last, self.until)))
        start, end = INTERVAL_TABLES[table_name], INTERVAL_ENDS[table_name]
        frame = frame.with_columns(pl.when(pl.col(end) <= self.until).then(pl.col(end)).alias(end))
        known = pl.col(start) <= min(last, self.until)
        return frame.filter(known & (pl.col(end).is_null() | (pl.col(end) > first)))


def write(frames: dict[str, pl.DataFrame], folder: Path, suffix: str = ".parquet") -> Path:
    """The frames as files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        if suffix == ".parquet":
            frame.write_parquet(folder / f"{name}.parquet")
        else:
            frame.write_csv(folder / f"{name}.csv")
    return folder
