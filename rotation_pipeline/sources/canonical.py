"""Partitions of canonical tables: from what a source delivers to the rows of each month, and the hash of their content."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.market.calendar import month_last_day
from rotation_pipeline.market.schema import Table
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES


def partitioned(
    table: Table, frame: pl.DataFrame, months: Sequence[date], *, every_spell: bool = False
) -> pl.DataFrame:
    """Stored columns of ``table`` with ``month`` first, for ``months``; ``frame`` has them without ``month``.

    Dated rows belong to the month of their date. Intervals appear in every month they touch, with what lies after
    that month's last day (an end, an announcement) hidden as null. Of two companies that had a code one after the other in
    one month, listings tell of the later, unless ``every_spell`` of the code is asked for.
    """
    names = table.stored_names
    if table.name in DATED_BY:
        dated = frame.with_columns(pl.col(DATED_BY[table.name]).dt.month_start().alias("month"))
        return dated.filter(pl.col("month").is_in(list(months))).select(names)
    found = pl.concat([snapshot(table, frame, month) for month in months])
    return found if every_spell or table.name != "listings" else _standing(found)


def _standing(listings: pl.DataFrame) -> pl.DataFrame:
    """Without the spells that ended before another one of the code began in the month; those that overlap contradict."""
    following = pl.col("listed_on").shift(-1).over("month", "asset_key", order_by="listed_on")
    ended = (pl.col("delisted_on") > pl.col("listed_on")) & (pl.col("delisted_on") <= following)
    return listings.filter(~ended.fill_null(value=False))


def snapshot(table: Table, frame: pl.DataFrame, month: date) -> pl.DataFrame:
    """Intervals that touch ``month``, as they were known at its end."""
    start, end, last = INTERVAL_TABLES[table.name], INTERVAL_ENDS[table.name], month_last_day(month)
    touching = frame.filter((pl.col(start) <= last) & (pl.col(end).is_null() | (pl.col(end) > month)))
    hidden = [name for name in (end, "announced_on") if name in frame.columns]
    return touching.with_columns(
        pl.lit(month, dtype=pl.Date).alias("month"),
        *(pl.when(pl.col(name) <= last).then(pl.col(name)).alias(name) for name in hidden),
    ).select(table.stored_names)


def content_hashes(frame: pl.DataFrame, months: Sequence[date]) -> list[str]:
    """sha256 of the content of each month's rows; ``frame`` must be sorted by ``month``.

    Hashed are names, types and values column by column, nulls apart from values. They are written out in bytes here
    (little-endian numbers, UTF-8 with lengths), so that the hash does not change with the release of a library. Order of
    rows and columns counts. A month without rows has the hash of an empty table.
    """
    stored = frame["month"].cast(pl.Int32).to_numpy()
    asked = pl.Series(list(months), dtype=pl.Date).cast(pl.Int32).to_numpy()
    starts: list[int] = np.searchsorted(stored, asked, side="left").tolist()
    ends: list[int] = np.searchsorted(stored, asked, side="right").tolist()
    columns = [_Bytes.of(column) for column in frame.get_columns()]
    return [_hash(columns, low, high) for low, high in zip(starts, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class _Bytes:
    """One column as bytes: fixed-width values (nulls as zero), which of them are null, and the text they measure."""

    name: str
    kind: str
    values: NDArray[Any]
    nulls: NDArray[np.bool_]
    text: bytes = b""
    offsets: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, column: pl.Series) -> _Bytes:
        kind, nulls = column.dtype, column.is_null().to_numpy()
        if kind == pl.String():
            filled = column.fill_null("")
            lengths = filled.str.len_bytes().to_numpy().astype("<i8")
            offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
            return cls(column.name, "text", lengths, nulls, "".join(filled.to_list()).encode(), offsets)
        if kind == pl.Float64():
            values = column.fill_null(0.0).to_numpy() + 0.0  # + 0.0 makes −0 and 0 equal
            return cls(column.name, "f8", values.astype("<f8"), nulls)
        if kind == pl.Boolean():
            return cls(column.name, "bool", column.fill_null(value=False).to_numpy().astype("u1"), nulls)
        if kind == pl.Date():
            return cls(column.name, "date", column.cast(pl.Int32).fill_null(0).to_numpy().astype("<i4"), nulls)
        if kind.is_integer():
            return cls(column.name, "i8", column.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8"), nulls)
        raise TypeError(f"column {column.name!r} of type {kind} has no canonical bytes")


def _hash(columns: Sequence[_Bytes], low: int, high: int) -> str:
    digest = hashlib.sha256(struct.pack("<qq", high - low, len(columns)))
    for column in columns:
        text = b"" if column.offsets is None else column.text[column.offsets[low] : column.offsets[high]]
        flags = np.packbits(column.nulls[low:high]).tobytes()
        for part in (column.name.encode(), column.kind.encode(), flags, column.values[low:high].tobytes(), text):
            digest.update(struct.pack("<q", len(part)))
            digest.update(part)
    return digest.hexdigest()
