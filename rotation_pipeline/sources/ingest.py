"""From a source to the rows of monthly partitions: fetch once, cut into months, judge, hash.

The rows of a month are the same whether it is ingested alone or within a range, and whatever the source holds later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from rotation_pipeline.market.calendar import consecutive, month_last_day, month_start
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.sanity import (
    FINDING_SCHEMA,
    POLARS_TYPES,
    SanityContext,
    SanityResult,
    check_table,
    conform,
)
from rotation_pipeline.market.schema import Table, stored_name
from rotation_pipeline.market.tables import DATED_BY, INGESTIONS, QUARANTINE, SOURCE_TABLES
from rotation_pipeline.sources.base import Source, SourceError
from rotation_pipeline.sources.canonical import content_hashes, partitioned

REQUIRED = ("trading_days", "index_bars", "daily_bars", "index_members")
"""Tables without which nothing downstream can be computed."""
WITH_LOOKBACK = frozenset({"daily_bars", "daily_valuation", "dividends"})
"""Tables of which rows before the month are needed to judge the month."""


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What one ingestion brought.

    ``tables``: by table name, stored columns with ``month``, sorted by month and key; a table the source does not
    serve is empty. ``quarantine`` and ``ingestions``: rows of the tables of those names, sorted by their keys.
    """

    tables: dict[str, pl.DataFrame]
    quarantine: pl.DataFrame
    ingestions: pl.DataFrame


def ingest_months(
    source: Source, months: Sequence[date], *, fetched_at: datetime, options: SanityOptions | None = None
) -> Ingestion:
    """Fetch, partition and judge ``months`` (first days; any order, gaps allowed).

    ``fetched_at``: UTC without zone, stamped on every ingestion row. Raises :class:`SourceError` for months outside the
    source's span, a required table it lacks, rows without a date and a month left without rows; the errors of
    :func:`check_table` pass through. Memory: all rows of the range and of ``options.lookback_days`` before it; ask for a
    long one in parts, which gives the same rows.
    """
    options = options or SanityOptions()
    wanted = sorted(set(months))
    check_request(source, wanted)
    parts = [_ingest_run(source, run, fetched_at, options) for run in consecutive(wanted)]
    if len(parts) == 1:
        return parts[0]
    return Ingestion(
        {table.name: pl.concat([part.tables[table.name] for part in parts]) for table in SOURCE_TABLES},
        pl.concat([part.quarantine for part in parts]).sort(QUARANTINE.key),
        pl.concat([part.ingestions for part in parts]).sort(INGESTIONS.key),
    )


def check_request(source: Source, months: Sequence[date]) -> None:
    """Raise :class:`SourceError` for no months, days that begin none, months outside the source's span, or a source that
    lacks a required table: what is known before anything is fetched."""
    if not months:
        raise SourceError(f"source {source.name}: no month was asked for")
    odd = [month for month in months if month != month_start(month)]
    if odd:
        raise SourceError(f"source {source.name}: {odd[0]} is no month; give the first calendar day")
    first, last = source.span()
    outside = [month for month in months if not first <= month <= last]
    if outside:
        named = ", ".join(f"{month:%Y-%m}" for month in outside[:6]) + (", …" if len(outside) > 6 else "")
        raise SourceError(
            f"source {source.name} serves {first:%Y-%m} to {last:%Y-%m} completely; asked for {named} "
            f"({len(outside)} months outside). Choose months inside, or give the source more data"
        )
    missing = [name for name in REQUIRED if not source.serves(name)]
    if missing:
        raise SourceError(
            f"source {source.name} does not serve {', '.join(missing)}, which the pipeline can't do without; add it to the source (files: TABLE.parquet, or [TABLE] file = … in mapping.toml)"
        )


def _ingest_run(source: Source, months: list[date], fetched_at: datetime, options: SanityOptions) -> Ingestion:
    """One run of consecutive months."""
    first, last = months[0], month_last_day(months[-1])
    before = first - timedelta(days=options.lookback_days)
    delivered: dict[str, pl.DataFrame] = {}
    for table in SOURCE_TABLES:
        if source.serves(table.name):
            delivered[table.name] = _fetch(source, table, before if table.name in WITH_LOOKBACK else first, last)
    results: dict[str, SanityResult] = {}
    snapshots: pl.DataFrame | None = None
    for table in sorted(SOURCE_TABLES, key=lambda table: table.name != "listings"):  # these first: others trust them
        if table.name in delivered:
            rows = delivered[table.name]
            context = SanityContext(
                months, options, _before(table, rows, first), delivered.get("daily_bars"), delivered.get("dividends"), snapshots
            )  # fmt: skip
            results[table.name] = check_table(table, partitioned(table, rows, months), context)
            _refuse_empty(source, table, results[table.name])
            if table.name == "listings":
                snapshots = _spells(table, rows, results["listings"].accepted, months)
    accepted = {
        table.name: results[table.name].accepted if table.name in results else empty(table) for table in SOURCE_TABLES
    }
    records = _records(source, results, fetched_at)
    return Ingestion(accepted, _quarantine(source, results, records), records)


def empty(table: Table) -> pl.DataFrame:
    """No rows, in the table's stored columns and types."""
    return pl.DataFrame(schema={stored_name(column): POLARS_TYPES[column.type] for column in table.columns})


def _spells(table: Table, listings: pl.DataFrame, accepted: pl.DataFrame, months: Sequence[date]) -> pl.DataFrame:
    """Listings that others are judged by: those accepted, and of companies whose code another one had by a month's end.

    What contradicts, and is kept out, excuses nothing.
    """
    names = ["month", "asset_key", "listed_on", "delisted_on"]
    every = partitioned(table, listings, months, every_spell=True).select(names)
    ended = every.join(partitioned(table, listings, months), on=names, how="anti", nulls_equal=True)
    return pl.concat([accepted.select(names), ended])


def _fetch(source: Source, table: Table, first: date, last: date) -> pl.DataFrame:
    """Delivered rows in stored columns; refuses rows without a date, which no partition could hold."""
    frame = conform(table, source.fetch(table.name, first, last), month=False)
    day = DATED_BY.get(table.name)
    if day is None:
        return frame
    stray = frame.filter(pl.col(day).is_null() | ~pl.col(day).is_between(first, last))
    if stray.height:
        raise SourceError(
            f"source {source.name}, table {table.name}: {stray.height} rows with {day} = {stray[day][0]}, "
            f"asked for {first} to {last}"
        )
    return frame


def _before(table: Table, rows: pl.DataFrame, first: date) -> pl.DataFrame | None:
    """Lookback rows of a table that needs them for itself."""
    if table.name not in ("daily_bars", "daily_valuation"):
        return None
    earlier = rows.filter(pl.col("day") < first)
    return earlier.with_columns(pl.col("day").dt.month_start().alias("month")).select(table.stored_names)


def _refuse_empty(source: Source, table: Table, result: SanityResult) -> None:
    if table.minimum_rows == 0:
        return
    bare = result.counts.filter(pl.col("rows") - pl.col("quarantined") < table.minimum_rows)
    if bare.height:
        month, rows = bare.select("month", "rows").row(0)
        raise SourceError(
            f"source {source.name}, table {table.name}: {rows} rows for {month:%Y-%m}, at least {table.minimum_rows} "
            "are needed. Is the month complete at the source?"
        )


def _records(source: Source, results: dict[str, SanityResult], fetched_at: datetime) -> pl.DataFrame:
    """Rows of ``raw.ingestions``: one per table served and month."""
    parts: list[pl.DataFrame] = []
    for name, result in results.items():
        hashes = content_hashes(result.accepted, result.counts["month"].to_list())
        parts.append(
            result.counts.select(
                "month",
                pl.lit(source.name).alias("source"),
                pl.lit(name).alias("table_name"),
                pl.lit(fetched_at, dtype=pl.Datetime("us")).alias("fetched_at"),
                (pl.col("rows") - pl.col("quarantined")).alias("rows"),
                "quarantined",
                "warnings",
                pl.Series("sha256", hashes, dtype=pl.String),
                pl.lit(source.kind).alias("source_kind"),
                pl.lit(source.version).alias("source_version"),
            )
        )
    return pl.concat(parts).select(INGESTIONS.stored_names).sort(INGESTIONS.key).rechunk()


def _quarantine(source: Source, results: dict[str, SanityResult], records: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``raw.quarantine``: findings with the ingestion they came from."""
    found = pl.concat([FINDING_SCHEMA.to_frame(), *(result.findings for result in results.values())])
    name = pl.format(
        "{}/{}/{}/{}", "source", "table_name", pl.col("month").dt.strftime("%Y-%m"), pl.col("sha256").str.slice(0, 16)
    )
    stamps = records.select("month", "table_name", name.alias("ingestion"))
    return (
        found.join(stamps, on=["month", "table_name"], how="left")
        .with_columns(pl.lit(source.name).alias("source"))
        .select(QUARANTINE.stored_names)
        .sort(QUARANTINE.key)
    )
