"""Rule 3: share counts implied by market values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.reused_codes import another_company
from rotation_pipeline.market.sanity.findings import HIT_SCHEMA, hits, number
from rotation_pipeline.market.sanity.windows import previous, windows, with_listing

ROUNDING = 1e-6
"""Rounding of a share count made from a market value of 7 digits: a placement of exactly 20 % is not beyond 20 %."""


def float_hits(frame: pl.DataFrame, options: SanityOptions) -> pl.DataFrame:
    """Float market value above the total by more than rounding."""
    ratio = pl.col("float_market_value") / pl.col("total_market_value")
    flagged = frame.with_columns(ratio.alias("_ratio"))
    detail = pl.format("float / total market value = {}", number("_ratio"))
    above = pl.col("_ratio") > 1 + options.float_above_total
    return hits(flagged, "3_float_above_total", "quarantined", above, detail)


def share_count_hits(
    frame: pl.DataFrame,
    months: Sequence[date],
    bars: pl.DataFrame,
    dividends: pl.DataFrame | None,
    listings: pl.DataFrame | None,
    options: SanityOptions,
) -> pl.DataFrame:
    """Jumps of the share count that no bonus explains (warnings), and the rows of those that were undone (quarantined).

    ``frame``: rows of ``months`` and of the lookback before, one per key, ``_row`` null on the latter. ``bars``: close by
    asset_key and day, sound rows only. ``dividends``: asset_key, ex_day, shares_per_share. ``listings``: month, asset_key,
    listed_on: shares of one company are not those of another one of the same code. An undoing after a month's last day is
    not seen from that month: its rows are let in with a warning.
    """
    if frame.is_empty():
        return HIT_SCHEMA.to_frame()
    counted = (
        frame.select("_row", "asset_key", "day", "total_market_value")
        .join(
            bars.select("asset_key", "day", "close").unique(["asset_key", "day"], keep="none"), on=["asset_key", "day"]
        )
        .with_columns((pl.col("total_market_value") / pl.col("close")).alias("_shares"))
        .filter(pl.col("_shares").is_not_null())
        .sort("asset_key", "day")
    )
    counted = _with_bonus(counted, dividends)
    found: list[pl.DataFrame] = []
    for _, window in windows(counted, "day", months, options.lookback_days):
        # a bonus counts from a company's second row of the window on: the first has nothing to be compared with
        window = with_listing(window, listings).with_columns(previous("day").alias("_day"))
        began = pl.when(pl.col("day") >= pl.col("listed_on")).then("listed_on")  # null before the listing
        window = window.with_columns(another_company(pl.col("_day")).alias("_another"), began.alias("_company"))
        first = previous("_shares").is_null() | pl.col("_another")
        judged = (
            window.with_columns(pl.when(first).then(0.0).otherwise(pl.col("_bonus")).alias("_bonus"))
            .with_columns(
                ((1 + pl.col("_bonus")).cum_prod().over("judged", "asset_key")).alias("_scale"),
            )
            .with_columns((pl.col("_shares") / pl.col("_scale")).alias("_level"))
        )
        former = pl.when(~pl.col("_another")).then(previous("_level"))
        judged = judged.with_columns(former.alias("_former")).with_columns(
            (pl.col("_level") / pl.col("_former")).alias("_ratio")
        )
        judged = _with_glitches(judged, options).filter(pl.col("own"))
        detail = pl.format(
            "share count × {} since the row before, and the former count returned within {} days",
            number("_glitch_ratio"), pl.lit(options.share_count_return_days),
        )  # fmt: skip
        found.append(hits(judged, "3_share_count_glitch", "quarantined", pl.col("_glitch"), detail))
        jump = _jumps(options) & ~pl.col("_glitch")
        detail = pl.format("share count × {} without a bonus that explains it", number("_ratio"))
        found.append(hits(judged, "3_share_count_jump", "warning", jump, detail))
    return pl.concat([HIT_SCHEMA.to_frame(), *found])


def _jumps(options: SanityOptions) -> pl.Expr:
    return ((pl.col("_ratio") - 1).abs() > options.share_count_jump + ROUNDING).fill_null(value=False)


def _with_bonus(counted: pl.DataFrame, dividends: pl.DataFrame | None) -> pl.DataFrame:
    """Add new shares per share of the ex-days after the row before up to the row's day; 0 where there is none."""
    if dividends is None or dividends.is_empty():
        return counted.with_columns(pl.lit(0.0).alias("_bonus"))
    terms = (
        dividends.filter(pl.col("shares_per_share") > 0)
        .group_by("asset_key", pl.col("ex_day").alias("day"))
        .agg((1 + pl.col("shares_per_share")).product().alias("_grown"))
        .sort("day")
    )
    # the first row of the security on or after the ex-day carries the bonus
    rows = counted.select("asset_key", "day", pl.col("day").alias("_at")).sort("day")
    carried = terms.join_asof(rows, on="day", by="asset_key", strategy="forward", check_sortedness=False)
    carried = carried.filter(pl.col("_at").is_not_null()).group_by("asset_key", pl.col("_at").alias("day")).agg(
        (pl.col("_grown").product() - 1).alias("_bonus")
    )  # fmt: skip
    return counted.join(carried, on=["asset_key", "day"], how="left", maintain_order="left").with_columns(
        pl.col("_bonus").fill_null(0.0)
    )


def _with_glitches(window: pl.DataFrame, options: SanityOptions) -> pl.DataFrame:
    """Add ``_glitch``: the row lies between a jump and the return of the count before it; and that jump's ratio."""
    window = window.with_row_index("_at")
    starts = window.filter(_jumps(options)).select(
        "judged", "asset_key", "_company", pl.col("_at").alias("_start"), pl.col("day").alias("_since"),
        pl.col("_former").alias("_target"), pl.col("_ratio").alias("_glitch_ratio"),
    )  # fmt: skip
    if starts.is_empty():
        return window.with_columns(
            pl.lit(value=False).alias("_glitch"), pl.lit(None, dtype=pl.Float64).alias("_glitch_ratio")
        )
    near = window.select("judged", "asset_key", "_company", "_at", "day", "_level")
    ahead = starts.join(near, on=["judged", "asset_key", "_company"], nulls_equal=True)
    ahead = ahead.filter(
        (pl.col("_at") > pl.col("_start"))
        & (pl.col("day") <= pl.col("_since") + timedelta(days=options.share_count_return_days))
    )
    back = (pl.col("_level") / pl.col("_target") - 1).abs() <= options.share_count_return
    ends = ahead.filter(back).group_by("_start").agg(pl.col("_at").min().alias("_end"))
    inside = ahead.join(ends, on="_start").filter(pl.col("_at") < pl.col("_end"))
    first = starts.join(ends, on="_start", how="semi").select(pl.col("_start").alias("_at"), "_start", "_glitch_ratio")
    rows = pl.concat([first, inside.select("_at", "_start", "_glitch_ratio")]).group_by("_at").agg(
        pl.col("_glitch_ratio").sort_by("_start").last()
    )  # fmt: skip
    return window.join(rows, on="_at", how="left", maintain_order="left").with_columns(
        pl.col("_glitch_ratio").is_not_null().alias("_glitch")
    )
