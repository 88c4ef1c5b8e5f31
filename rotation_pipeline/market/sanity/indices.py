"""Rule 4: index weights sum to one, and an index has its members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from rotation_pipeline.market.calendar import last_session
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.sanity.findings import FINDING_SCHEMA, absences, hits, number
from rotation_pipeline.market.schema import Table

LEVEL_SLACK = 1e-5
"""Relative; levels are published with 2 to 4 decimals and the four of a bar may be rounded differently."""


def level_hits(frame: pl.DataFrame) -> pl.DataFrame:
    """Rule 2 on index levels: 0 < low ≤ open, close ≤ high."""
    levels = ("open", "high", "low", "close")
    positive = pl.all_horizontal(pl.col(name) > 0 for name in levels)
    inside = (pl.col("low") <= pl.min_horizontal("open", "close") * (1 + LEVEL_SLACK)) & (
        pl.max_horizontal("open", "close") <= pl.col("high") * (1 + LEVEL_SLACK)
    )
    detail = pl.format("open {}, high {}, low {}, close {}", *(number(name, 4) for name in levels))
    return hits(frame, "2_price_order", "quarantined", ~(positive & inside), detail)


def weight_hits(frame: pl.DataFrame, options: SanityOptions) -> pl.DataFrame:
    """Every row of an index day whose weights don't sum to one: which of them is wrong can't be known."""
    summed = frame.with_columns(
        pl.col("weight").sort_by("asset_key").sum().over("month", "index_id", "day").alias("_sum"),
        pl.len().over("month", "index_id", "day").alias("_count"),
    )
    detail = pl.format("{} weights sum to {}", pl.col("_count"), number("_sum"))
    wrong = (pl.col("_sum") - 1).abs() > options.weight_sum
    return hits(summed, "4_weight_sum", "quarantined", wrong, detail)


def weight_counts(table: Table, frame: pl.DataFrame, options: SanityOptions) -> pl.DataFrame:
    """Index days with another number of weights than the index has members; a warning."""
    counted = frame.group_by("month", "index_id", "day").agg(pl.len().alias("_count")).sort("index_id", "day")
    return _counts(table, counted, options, ["index_id", "day"], "weights")


def member_counts(table: Table, frame: pl.DataFrame, months: Sequence[date], options: SanityOptions) -> pl.DataFrame:
    """Months at whose last close an index has another number of members than it should; a warning.

    Warm-up months before a source's membership is complete are such months; nothing is dropped from them. An index
    that the source names in any month is counted in each of ``months`` from its own first interval on.
    """
    closes = pl.DataFrame(
        {"month": list(months), "day": [last_session(month) for month in months]},
        schema={"month": pl.Date, "day": pl.Date},
    )
    present = frame.join(closes, on="month")
    in_force = (pl.col("valid_from") <= pl.col("day")) & (pl.col("day") < pl.col("valid_to").fill_null(date.max))
    counted = present.group_by("month", "index_id", "day").agg(in_force.sum().alias("_count")).sort("index_id", "day")
    return _counts(table, counted, options, ["index_id", "day"], "members at the last close")


def _counts(table: Table, counted: pl.DataFrame, options: SanityOptions, key: list[str], what: str) -> pl.DataFrame:
    if counted.is_empty() or not options.members:
        return FINDING_SCHEMA.to_frame()
    expected = pl.col("index_id").replace_strict(options.members, default=None, return_dtype=pl.Int64)
    wrong = counted.with_columns(expected.alias("_expected")).filter(pl.col("_count") != pl.col("_expected"))
    detail = pl.format("{} {}, expected {}", pl.col("_count"), pl.lit(what), pl.col("_expected"))
    return absences(table, "4_member_count", "warning", wrong, key, detail)
