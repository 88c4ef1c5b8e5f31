"""What every function of the stage asks of the frames it is handed; errors name the table, the row and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.statistics import Floats

Days = NDArray[np.datetime64]
Int32s = NDArray[np.int32]
Bits = NDArray[np.uint8]
_ALL_KNOWN: Bits = np.empty(0, np.uint8)
_ALL_KNOWN.flags.writeable = False  # as Arrow's are: one version of each function is compiled


def as_days(days: Sequence[date] | NDArray[np.datetime64]) -> Days:
    """Dates as ``datetime64[D]``, shape (n,)."""
    if isinstance(days, np.ndarray):
        return days.astype("datetime64[D]")
    return np.array(list(days), dtype="datetime64[D]")


def require_columns(frame: Any, table: str, names: Sequence[str]) -> None:
    """Raise :class:`MissingInput` naming the columns ``frame`` (or Arrow record batch) lacks."""
    there = frame.columns if isinstance(frame, pl.DataFrame) else frame.schema.names
    missing = [name for name in names if name not in there]
    if missing:
        raise MissingInput(f"{table} lacks {missing}; it has {there}")


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


@njit(cache=True)
def is_known(valid: Bits, at: int) -> bool:
    """Bit ``at`` of an Arrow validity bitmap; an empty one says that all are known."""
    return not valid.size or (valid[at >> 3] >> (at & 7)) & 1 == 1


@njit(cache=True)
def take(values: Floats, valid: Bits, shift: int, out: Floats) -> None:
    """Numbers to ``out``; unknown or infinite ones as NaN. ``shift``: bit of the bitmap that is the first number's."""
    for i in range(values.size):
        out[i] = values[i] if abs(values[i]) < np.inf and is_known(valid, shift + i) else np.nan


def lying(column: Any, kind: Any) -> tuple[NDArray[Any], Bits, int]:
    """An Arrow array's numbers, of a NumPy type, and validity bitmap where they lie (empty if all are known), and the bit of
    the bitmap that is the first number's."""
    valid, values = column.buffers()
    numbers = np.frombuffer(values, kind)[column.offset : column.offset + len(column)]
    return numbers, np.frombuffer(valid, np.uint8) if column.null_count else _ALL_KNOWN, column.offset


def floats(frame: pl.DataFrame, name: str, out: Floats | None = None) -> Floats:
    """A column as float64 with NaN for null and for infinities; into ``out``, shape (rows,), if it is given."""
    column, done = frame[name].cast(pl.Float64), 0
    out = np.empty(column.len()) if out is None else out
    # from where they lie: one array of all would be memory touched for the first time
    for chunk in column.get_chunks():
        take(*lying(chunk.to_arrow(), np.float64), out[done : done + chunk.len()])
        done += chunk.len()
    return out


def _rises(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    return bool(((first[1:] > first[:-1]) | ((first[1:] == first[:-1]) & (second[1:] > second[:-1]))).all())


def _of_months(frame: pl.DataFrame, table: str, months: Sequence[date], columns: Sequence[str]) -> pl.DataFrame:
    """Rows of ``months``, sorted by month and asset; raises where a month has none or a row is twice."""
    stamps = frame["month"].unique().to_list() if frame.height else []
    absent = sorted(set(months) - set(stamps))
    if absent:
        raise MissingInput(f"{table} has no row for {absent[0]:%Y-%m} ({len(absent)} such months)")
    rows = frame.select("month", "asset_key", *columns)
    if len(stamps) > len(set(months)):
        rows = rows.filter(pl.col("month").is_in(list(months)))
    if not _rises(rows["month"].to_physical().to_numpy(), rows["asset_key"].to_numpy()):
        rows = rows.sort("month", "asset_key")
        require_sorted(rows, table, ("month", "asset_key"))
    return rows


def members_of(
    universe: pl.DataFrame,
    months: Sequence[date],
    columns: Sequence[str] = ("in_estimation", "in_tradable", "industry"),
) -> pl.DataFrame:
    """The universe's rows of ``months``, sorted by month and asset; raises where a month has none or a row is twice."""
    require_columns(universe, "intermediate.universe", ("month", "asset_key", *columns))
    return _of_months(universe, "intermediate.universe", months, columns)


@njit(cache=True)
def _matches(month: Int32s, key: Int32s, other_month: Int32s, other_key: Int32s) -> NDArray[np.int64]:
    """Row of the other table with the same month and key, −1 for none; both sorted by month and key."""
    out = np.full(month.size, -1, np.int64)
    j = 0
    for i in range(month.size):
        while j < other_month.size and (
            other_month[j] < month[i] or (other_month[j] == month[i] and other_key[j] < key[i])
        ):
            j += 1
        if j < other_month.size and other_month[j] == month[i] and other_key[j] == key[i]:
            out[i] = j
    return out


def snapshot_of(members: pl.DataFrame, snapshot: pl.DataFrame, columns: Sequence[str]) -> dict[str, Floats]:
    """Figures of each member at its month end, NaN where unknown or without a row, each of shape (members,).

    Args:
        members: month, asset_key, sorted. snapshot: intermediate.stock_snapshot of these months.
    """
    table = "intermediate.stock_snapshot"
    require_columns(snapshot, table, ("month", "asset_key", *columns))
    right = _of_months(snapshot, table, members["month"].unique().to_list(), columns)
    at = _matches(
        *(
            frame[name].to_physical().cast(pl.Int32).to_numpy()
            for frame in (members, right)
            for name in ("month", "asset_key")
        )
    )
    whole = bool((at == np.arange(at.size)).all()) and at.size == right.height
    out: dict[str, Floats] = {}
    for name in columns:
        values = floats(right, name)
        out[name] = values if whole else np.where(at >= 0, values[np.maximum(at, 0)], np.nan)
    return out


def ordered_months(months: Sequence[date]) -> list[date]:
    """The months asked for, rising; raises :class:`BadInput` for a repeated one or one that is not a first day."""
    wrong = [month for month in months if month.day != 1]
    if wrong or len(set(months)) != len(months):
        raise BadInput(f"months must be distinct first days of months, got {wrong or list(months)}")
    return sorted(months)
