"""What the rules of a month may look at: its own rows and those of the lookback days before it, nothing later.

Every month judged gets its own copy of the rows it may see, so a month's judgement can't depend on which other months
are judged in the same call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import polars as pl

from rotation_pipeline.market.calendar import month_last_day

MONTHS_AT_ONCE = 12
"""Months whose windows are held in memory together; results don't depend on it."""
ROWS_AT_ONCE = 500_000
"""Rows of the months held together, in a large market: their windows are two to three times as many."""


def windows(
    frame: pl.DataFrame, day: str, months: Sequence[date], lookback_days: int
) -> Iterator[tuple[list[date], pl.DataFrame]]:
    """Chunks of months with their rows: column ``judged`` = the month that looks, ``own`` = the row is of that month.

    ``frame`` must be sorted by asset and day; chunks come sorted by judged month, asset and day.
    """
    few = min(max(ROWS_AT_ONCE * len(months) // max(frame.height, 1), 1), MONTHS_AT_ONCE)
    for at in range(0, len(months), few):
        chunk = list(months[at : at + few])
        yield chunk, pl.concat([_window(frame, day, month, lookback_days) for month in chunk], rechunk=True)


def _window(frame: pl.DataFrame, day: str, month: date, lookback_days: int) -> pl.DataFrame:
    first = month - timedelta(days=lookback_days)
    return frame.filter(pl.col(day).is_between(first, month_last_day(month))).with_columns(
        pl.lit(month, dtype=pl.Date).alias("judged"), (pl.col(day) >= month).alias("own")
    )


def previous(name: str, steps: int = 1) -> pl.Expr:
    """Value of the same asset's row ``steps`` rows before within the window; null where there is none."""
    same = (pl.col("asset_key") == pl.col("asset_key").shift(steps)) & (
        pl.col("judged") == pl.col("judged").shift(steps)
    )
    return pl.when(same).then(pl.col(name).shift(steps))


def with_listing(window: pl.DataFrame, listings: pl.DataFrame | None) -> pl.DataFrame:
    """Add ``listed_on`` of the company each row is of, as known in the month that looks; null where unknown.

    Where a code was given to another company in that month, days from the later listing on are the later company's.
    """
    if listings is None:
        return window.with_columns(pl.lit(None, dtype=pl.Date).alias("listed_on"))
    known = listings.group_by(pl.col("month").alias("judged"), "asset_key").agg(
        pl.col("listed_on").min().alias("_earlier"), pl.col("listed_on").max()
    )
    window = window.join(known, on=["judged", "asset_key"], how="left", maintain_order="left")
    begun = pl.col("listed_on") <= pl.col("day")
    return window.with_columns(pl.when(begun).then("listed_on").otherwise("_earlier").alias("listed_on")).drop(
        "_earlier"
    )
