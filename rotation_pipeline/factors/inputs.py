"""What every function of the stage asks of the frames it is handed; errors name the table, the row and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.statistics import Floats

Days = NDArray[np.datetime64]


def as_days(days: Sequence[date] | NDArray[np.datetime64]) -> Days:
    """Dates as ``datetime64[D]``, shape (n,)."""
    if isinstance(days, np.ndarray):
        return days.astype("datetime64[D]")
    return np.array(list(days), dtype="datetime64[D]")


def require_columns(frame: pl.DataFrame, table: str, names: Sequence[str]) -> None:
    """Raise :class:`MissingInput` naming the columns ``frame`` lacks."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise MissingInput(f"{table} lacks {missing}; it has {frame.columns}")


def require_sorted(frame: pl.DataFrame, table: str, keys: Sequence[str]) -> None:
    """Raise :class:`BadInput` naming the first row that does not come strictly after the one before it."""
    first, second = (frame[name].to_physical().to_numpy() for name in keys)
    rises = (first[1:] > first[:-1]) | ((first[1:] == first[:-1]) & (second[1:] > second[:-1]))
    if not rises.all():
        row = int(np.argmin(rises)) + 1
        found = ", ".join(f"{name} {frame[name][row]}" for name in keys)
        raise BadInput(
            f"{table}: row {row} ({found}) is out of order or twice; sort by {', '.join(keys)} without duplicates"
        )


def floats(frame: pl.DataFrame, name: str) -> Floats:
    """A column as float64 with NaN for null and for infinities."""
    values = frame[name].cast(pl.Float64).to_numpy(writable=True)
    values[np.isinf(values)] = np.nan
    return values


def members_of(universe: pl.DataFrame, months: Sequence[date]) -> pl.DataFrame:
    """The universe's rows of ``months``, sorted by month and asset; raises where a month has none or a row is twice."""
    require_columns(
        universe, "intermediate.universe", ("month", "asset_key", "in_estimation", "in_tradable", "industry")
    )
    rows = universe.filter(pl.col("month").is_in(list(months))).sort("month", "asset_key")
    absent = sorted(set(months) - set(rows["month"].unique().to_list()))
    if absent:
        raise MissingInput(f"intermediate.universe has no row for {absent[0]:%Y-%m} ({len(absent)} such months)")
    require_sorted(rows, "intermediate.universe", ("month", "asset_key"))
    return rows


def with_snapshot(rows: pl.DataFrame, snapshot: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    require_columns(snapshot, "intermediate.stock_snapshot", ("month", "asset_key", *columns))
    wanted = rows["month"].unique().to_list()
    right = (
        snapshot.filter(pl.col("month").is_in(wanted)).select("month", "asset_key", *columns).sort("month", "asset_key")
    )
    require_sorted(right, "intermediate.stock_snapshot", ("month", "asset_key"))
    absent = sorted(set(wanted) - set(right["month"].unique().to_list()))
    if absent:
        raise MissingInput(f"intermediate.stock_snapshot has no row for {absent[0]:%Y-%m} ({len(absent)} such months)")
    return rows.join(right, on=["month", "asset_key"], how="left", maintain_order="left")


def ordered_months(months: Sequence[date]) -> list[date]:
    """The months asked for, rising; raises :class:`BadInput` for a repeated one or one that is not a first day."""
    wrong = [month for month in months if month.day != 1]
    if wrong or len(set(months)) != len(months):
        raise BadInput(f"months must be distinct first days of months, got {wrong or list(months)}")
    return sorted(months)
