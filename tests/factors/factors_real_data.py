"""Inputs of the factor stage made from the real SSE 50 files beside the project, for checks on real numbers."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rotation_pipeline.market.identifiers import with_asset_key

FOLDER = Path(__file__).resolve().parents[2] / "../shared/data/sse50"
INDEX = "000016.SH"


def _read(name: str) -> pl.DataFrame:
    frame = pl.read_parquet(FOLDER / f"{name}.parquet")
    return with_asset_key(frame) if "asset_id" in frame.columns else frame


def _bars(last: date) -> pl.DataFrame:
    adjusted = _read("daily_bars").filter(pl.col("day") <= last).sort("asset_key", "day")
    price = (pl.col("close") * pl.col("adj_factor")).alias("adj_close")
    traded = pl.when(~pl.col("is_suspended")).then(pl.col("adj_close"))
    before = traded.forward_fill().shift(1).over("asset_key")
    return adjusted.with_columns(price).select(
        pl.col("day").dt.month_start().alias("month"), "day", "asset_key", "close", "adj_close",
        (traded / before - 1.0).alias("ret"), "is_suspended", "is_st", "volume", "amount",
    )  # fmt: skip


def real_inputs(months: list[date]) -> dict[str, pl.DataFrame]:
    """bars, index_daily, snapshot, universe, sessions up to the last of ``months``; skips where the data is absent."""
    if not FOLDER.is_dir():
        pytest.skip(f"the real SSE 50 files are not beside the project ({FOLDER})")
    days = _read("trading_days")
    ends = days.group_by("month").agg(pl.col("day").max()).sort("month").filter(pl.col("month").is_in(months))
    last = ends["day"].max()
    assert isinstance(last, date)
    index = _read("index_bars").filter((pl.col("index_id") == INDEX) & (pl.col("day") <= last)).sort("day")
    bars = _bars(last)
    at_end = (
        _read("daily_valuation")
        .join(ends, on="day")
        .join(bars.select("asset_key", "day", "close", "is_st", "is_suspended"), on=["asset_key", "day"])
    )
    reports = _read("fundamentals").filter(pl.col("item").is_in(["roe_ttm", "net_profit_ttm"]))
    known = ends.join(reports, how="cross").filter(pl.col("announced_on") <= pl.col("day"))
    known = (
        known.sort("announced_on").group_by("month", "asset_key", "item", "report_period").agg(pl.col("value").last())
    )
    newest = known.filter(pl.col("report_period") == pl.col("report_period").max().over("month", "asset_key", "item"))
    year_ago = newest.filter(pl.col("item") == "net_profit_ttm").select(
        "month", "asset_key", pl.col("report_period").dt.offset_by("-1y").dt.month_end()
    )
    base = known.filter(pl.col("item") == "net_profit_ttm").join(year_ago, on=["month", "asset_key", "report_period"])
    snapshot = at_end.select(
        "month", "asset_key", "close", "pb", "pe_ttm", pl.col("dividend_yield_ttm").alias("dividend_yield"),
        "total_market_value", "float_market_value", "is_st", "is_suspended",
    )  # fmt: skip
    for item in ("roe_ttm", "net_profit_ttm"):
        column = newest.filter(pl.col("item") == item).select("month", "asset_key", pl.col("value").alias(item))
        snapshot = snapshot.join(column, on=["month", "asset_key"], how="left")
    snapshot = snapshot.join(
        base.select("month", "asset_key", pl.col("value").alias("net_profit_ttm_year_ago")),
        on=["month", "asset_key"],
        how="left",
    )
    members = ends.join(_read("index_members").filter(pl.col("index_id") == INDEX), how="cross").filter(
        (pl.col("valid_from") <= pl.col("day")) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("day")))
    )
    industry = ends.join(_read("industries"), how="cross").filter(
        (pl.col("valid_from") <= pl.col("day")) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("day")))
    )
    universe = (
        members.select("month", "asset_key")
        .join(industry.select("month", "asset_key", "industry"), on=["month", "asset_key"], how="left")
        .join(snapshot.select("month", "asset_key", "is_st", "is_suspended"), on=["month", "asset_key"], how="left")
        .with_columns(
            pl.lit(True).alias("in_estimation"),
            (~(pl.col("is_suspended") | pl.col("is_st"))).fill_null(False).alias("in_tradable"),
        )
        .sort("month", "asset_key")
    )
    return {
        "bars": bars,
        "index_daily": index.select(
            pl.col("day").dt.month_start().alias("month"), "day", "index_id", "close",
            (pl.col("close") / pl.col("close").shift(1) - 1.0).alias("ret"), "amount",
        ),
        "snapshot": snapshot.drop("is_st", "is_suspended").sort("month", "asset_key"),
        "universe": universe,
        "sessions": days.filter(pl.col("day") <= last).select("day").sort("day"),
    }  # fmt: skip
