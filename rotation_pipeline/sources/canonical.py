"""Partitions of canonical tables: from what a source delivers to the rows of each month, and the hash of their content."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import month_last_day
from rotation_pipeline.market.schema import Table
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES


def partitioned(table: Table, frame: pl.DataFrame, months: Sequence[date]) -> pl.DataFrame:
    """Stored columns of ``table`` with ``month`` first, for ``months``; ``frame`` has them without ``month``.

    Dated rows belong to the month of their date. Intervals appear in every month they touch, with what lies after
    that month's last day (an end, an announcement) hidden as null.
    """
    names = table.stored_names
    if table.name in DATED_BY:
        dated = frame.with_columns(pl.col(DATED_BY[table.name]).dt.month_start().alias("month"))
        return dated.filter(pl.col("month").is_in(list(months))).select(names)
    return pl.concat([snapshot(table, frame, month) for month in months])


def snapshot(table: Table, frame: pl.DataFrame, month: date) -> pl.DataFrame:
    """Intervals that touch ``month``, as they were known at its end."""
    start, end, last = INTERVAL_TABLES[table.name], INTERVAL_ENDS[table.name], month_last_day(month)
    touching = frame.filter((pl.col(start) <= last) & (pl.col(end).is_null() | (pl.col(end) > month)))
    hidden = [name for name in (end, "announced_on") if name in frame.columns]
    return touching.with_columns(
        pl.lit(month, dtype=pl.Date).alias("month"),
        *(pl.when(pl.col(name) <= last).then(pl.col(name)).alias(name) for name in hidden),
    ).select(table.stored_names)


def content_hash(frame: pl.DataFrame) -> str:
    """sha256 of a frame's content: names, types and values column by column, nulls apart from values.

    Written out in bytes here (little-endian numbers, length-prefixed UTF-8) so that it does not change with the
    release of a library. Order of rows and columns counts.
    """
    digest = hashlib.sha256(struct.pack("<qq", frame.height, frame.width))
    for column in frame.get_columns():
        kind, values = _bytes(column)
        for part in (column.name.encode(), kind.encode(), np.packbits(column.is_null().to_numpy()).tobytes(), values):
            digest.update(struct.pack("<q", len(part)))
            digest.update(part)
    return digest.hexdigest()


def _bytes(column: pl.Series) -> tuple[str, bytes]:
    """Name of the type and the values as bytes, nulls as zero."""
    kind = column.dtype
    if kind == pl.String():
        text = column.fill_null("")
        lengths = text.str.len_bytes().to_numpy().astype("<i8").tobytes()
        return "text", lengths + "".join(text.to_list()).encode()
    if kind == pl.Float64():
        return "f8", (column.fill_null(0.0).to_numpy() + 0.0).astype("<f8").tobytes()  # + 0.0 makes −0 and 0 equal
    if kind == pl.Boolean():
        return "bool", column.fill_null(value=False).to_numpy().astype("u1").tobytes()
    if kind == pl.Date():
        return "date", column.cast(pl.Int32).fill_null(0).to_numpy().astype("<i4").tobytes()
    if kind.is_integer():
        return "i8", column.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes()
    raise TypeError(f"column {column.name!r} of type {kind} has no canonical bytes")
