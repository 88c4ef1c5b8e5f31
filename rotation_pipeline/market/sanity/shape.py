"""Rules that follow from a table's definition: columns, types, nulls, ranges, categories, keys, sessions, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from rotation_pipeline.market.calendar import month_last_day, month_start, sessions
from rotation_pipeline.market.identifiers import with_asset_key
from rotation_pipeline.market.sanity.findings import HIT_SCHEMA, ROW, SanityError, absences, hits, number
from rotation_pipeline.market.schema import Column, Table, stored_name
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES

POLARS_TYPES: dict[str, pl.DataType] = {
    "ASSET": pl.Int32(), "VARCHAR": pl.String(), "DATE": pl.Date(), "TIMESTAMP": pl.Datetime("us"),
    "DOUBLE": pl.Float64(), "BIGINT": pl.Int64(), "INTEGER": pl.Int32(), "BOOLEAN": pl.Boolean(),
}  # fmt: skip
SESSION_TABLES = frozenset({"trading_days", "index_bars", "daily_bars", "daily_valuation", "index_weights"})
"""Tables whose rows are dated by session; ex-days and announcements need not be checked against the calendar."""


class SchemaMismatch(SanityError):
    """A delivered frame lacks a column or has one of another type."""


def conform(table: Table, frame: pl.DataFrame, *, month: bool = True) -> pl.DataFrame:
    """The table's stored columns in order and type (extra columns left out, NaN made null).

    Whole numbers become DOUBLE where asked for, midnight timestamps DATE; nothing else is converted.
    ``month=False``: the partition column is not there yet. Raises :class:`SchemaMismatch` naming table and column.
    """
    keyed = with_asset_key(frame) if "asset_id" in frame.columns else frame
    columns = table.columns if month else table.columns[1:]
    missing = [column.name for column in columns if stored_name(column) not in keyed.columns]
    if missing:
        raise SchemaMismatch(
            f"{table.full_name}: column {missing[0]!r} is missing (of {len(missing)} missing: {', '.join(missing)}); "
            f"delivered were {', '.join(frame.columns) or 'none'}"
        )
    return keyed.select([_converted(table, column, keyed.schema[stored_name(column)]) for column in columns])


def _converted(table: Table, column: Column, found: pl.DataType) -> pl.Expr:
    wanted, name = POLARS_TYPES[column.type], stored_name(column)
    value = pl.col(name)
    if found == wanted:
        return value.fill_nan(None) if wanted == pl.Float64() else value
    if found == pl.Null():
        return value.cast(wanted)
    if wanted.is_float() and found.is_numeric():
        return value.cast(wanted).fill_nan(None)
    if wanted.is_integer() and found.is_integer():
        return value.cast(wanted)
    if wanted == pl.Date() and isinstance(found, pl.Datetime):
        return value.cast(wanted)
    if wanted == pl.String() and found in (pl.Categorical(), pl.Enum([])):
        return value.cast(wanted)
    raise SchemaMismatch(f"{table.full_name}: column {column.name!r} is {found}, expected {wanted}")


def value_hits(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Nulls where none may be, values that are not finite, outside their range or category."""
    found: list[pl.DataFrame] = []
    for column in table.columns:
        name = stored_name(column)
        value = pl.col(name)
        if not column.nullable:
            detail = pl.lit(f"{column.name} is null; it must be given")
            found.append(hits(frame, "0_null", "quarantined", value.is_null(), detail))
        if column.type == "DOUBLE":
            outside = value.is_infinite()
            outside = outside if column.minimum is None else outside | (value < column.minimum)
            outside = outside if column.maximum is None else outside | (value > column.maximum)
            span = f"[{_bound(column.minimum, '−∞')}, {_bound(column.maximum, '∞')}]"
            detail = pl.format("{} = {} lies outside {}", pl.lit(column.name), number(name), pl.lit(span))
            found.append(hits(frame, "0_range", "quarantined", outside, detail))
        if column.allowed:
            detail = pl.format("{} = {} is none of {}", pl.lit(column.name), value, pl.lit(", ".join(column.allowed)))
            found.append(hits(frame, "0_category", "quarantined", ~value.is_in(list(column.allowed)), detail))
    # one finding per row and rule: the first column that broke it
    return _concat(found).unique([ROW, "rule"], keep="first", maintain_order=True)


def _bound(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:g}"


def duplicate_hits(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Rule 7: every copy of a key delivered more than once within its month; which copy is right can't be known."""
    key = ["month", *(_stored(name) for name in table.key if name != "month")]
    copies = frame.with_columns(pl.len().over(key).alias("_copies"))
    detail = pl.format("{} rows have this key", pl.col("_copies"))
    return hits(copies, "7_duplicate_key", "quarantined", pl.col("_copies") > 1, detail)


def session_hits(table: Table, frame: pl.DataFrame, months: Sequence[date]) -> pl.DataFrame:
    """Rows dated on a day that is no session of the Shanghai exchange."""
    if table.name not in SESSION_TABLES:
        return HIT_SCHEMA.to_frame()
    known = pl.Series(_sessions(months), dtype=pl.Date).implode()
    day = pl.col(DATED_BY[table.name])
    detail = pl.format("{} is no session of the Shanghai exchange", day)
    return hits(frame, "7_not_a_session", "quarantined", ~day.is_in(known), detail)


def _sessions(months: Sequence[date]) -> list[date]:
    return sessions(min(months), month_last_day(max(months)))


def month_hits(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows that do not belong to the month they were delivered for."""
    if table.name in DATED_BY:
        day = pl.col(DATED_BY[table.name])
        detail = pl.format("{} does not lie in the month", day)
        return hits(frame, "0_month", "quarantined", day.dt.month_start() != pl.col("month"), detail)
    start, end = pl.col(INTERVAL_TABLES[table.name]), pl.col(INTERVAL_ENDS[table.name])
    outside = (start > pl.col("month").dt.month_end()) | (end <= pl.col("month"))
    detail = pl.format("[{}, {}) does not touch the month", start, end.cast(pl.String).fill_null("open"))
    return hits(frame, "0_month", "quarantined", outside, detail)


def interval_hits(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Intervals that are empty, or that overlap another one of the same thing (a security would count twice)."""
    if table.name not in INTERVAL_TABLES:
        return HIT_SCHEMA.to_frame()
    start, end = INTERVAL_TABLES[table.name], INTERVAL_ENDS[table.name]
    empty = pl.col(end) <= pl.col(start)
    detail = pl.format("[{}, {}) is empty; the end is the first day no longer valid", pl.col(start), pl.col(end))
    found = [hits(frame, "0_interval", "quarantined", empty, detail)]
    owner = [_stored(name) for name in table.key if name != start]
    if table.name != "listings":
        ordered = frame.sort(*owner, start, ROW)
        before = pl.col(end).fill_null(date.max).cum_max().shift(1).over(owner) > pl.col(start)
        after = pl.col(end).fill_null(date.max) > pl.col(start).shift(-1).over(owner)
        detail = pl.format(
            "[{}, {}) overlaps another interval of the same security",
            pl.col(start), pl.col(end).cast(pl.String).fill_null("open"),
        )  # fmt: skip
        flagged = ordered.with_columns((before.fill_null(value=False) | after.fill_null(value=False)).alias("_overlap"))
        found.append(hits(flagged, "0_overlap", "quarantined", pl.col("_overlap"), detail))
    return _concat(found)


def announcement_hits(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Fundamentals public before their period ended, and dividends announced after their ex-day."""
    found: list[pl.DataFrame] = []
    if table.name == "fundamentals":
        early = pl.col("announced_on") < pl.col("report_period")
        detail = pl.format("announced on {}, before the period ended", pl.col("announced_on"))
        found.append(hits(frame, "0_announced_before_period", "quarantined", early, detail))
    if table.name == "dividends":
        late = pl.col("announced_on") > pl.col("ex_day")
        detail = pl.format("announced on {}, after the ex-day", pl.col("announced_on"))
        found.append(hits(frame, "0_announced_after_ex_day", "warning", late, detail))
    return _concat(found)


def month_end_hits(frame: pl.DataFrame, months: Sequence[date]) -> pl.DataFrame:
    """Trading days whose month-end flag is not that of the calendar."""
    ends = [days[-1] for month in months if (days := _sessions([month]))]
    wrong = pl.col("is_month_end") != pl.col("day").is_in(ends)
    detail = pl.format("is_month_end = {} is not what the calendar says", pl.col("is_month_end"))
    return hits(frame, "7_month_end", "quarantined", wrong, detail)


def missing_sessions(table: Table, frame: pl.DataFrame, months: Sequence[date]) -> pl.DataFrame:
    """Rule 7: sessions without a row, for trading days and for each index of the month; one finding per gap and index."""
    owner = [_stored(name) for name in table.key if name != "day"]
    expected = pl.DataFrame({"day": _sessions(months)}, schema={"day": pl.Date}).with_columns(
        pl.col("day").dt.month_start().alias("month")
    )
    expected = expected.filter(pl.col("month").is_in([month_start(month) for month in months]))
    if owner:
        expected = expected.join(frame.select("month", *owner).unique(), on="month")
    gaps = expected.join(frame.select("day", *owner).unique(), on=["day", *owner], how="anti").sort(*owner, "day")
    detail = pl.lit("no row for this session of the Shanghai exchange")
    return absences(table, "7_missing_session", "warning", gaps, [*owner, "day"], detail)


def _stored(name: str) -> str:
    return "asset_key" if name == "asset_id" else name


def _concat(found: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([HIT_SCHEMA.to_frame(), *found])
