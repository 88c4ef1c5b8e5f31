"""Partitions a restatement replaced, and those it made stale.

When other rows of a month are taken over from a source, the rows they replace are kept, and every partition computed
from them is marked stale. The write that computes a stale partition again keeps what it replaces and takes the mark
off, in its own transaction. So the database as it stood on an earlier day can still be read (``warehouse/asof.py``).

``meta.restatements`` says what was taken over, ``meta.stale`` what has yet to be computed again, ``meta.replaced`` which
partitions are kept; their rows stand in tables of the schema ``replaced``, named after the table's full name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from rotation_pipeline.market.calendar import consecutive
from rotation_pipeline.market.schema import Table
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.schemas import RUN_ID

if TYPE_CHECKING:
    from rotation_pipeline.warehouse.store import Execution, Warehouse

REPLACED_AT = "replaced_at"
PARTITION_SCHEMA = pl.Schema(
    {
        "table_name": pl.String(), "month": pl.Date(), "old_sha256": pl.String(), "new_sha256": pl.String(),
        "added": pl.Int64(), "removed": pl.Int64(), "changed": pl.Int64(),
    }
)  # fmt: skip
"""One restated partition of a raw table (``table_name`` without its schema): fingerprints and rows that differ."""
Marks = dict[str, dict[date, str]]
"""By table (full name) and month the restatement that made the partition stale."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Restated rows to take over: new rows of whole partitions by full table name, what differs, what becomes stale."""

    restatement_id: str
    partitions: pl.DataFrame
    """:data:`PARTITION_SCHEMA`."""
    rows: Mapping[str, pl.DataFrame]
    """Stored columns; all rows of the months in ``months`` of that table."""
    months: Mapping[str, Sequence[date]]
    stale: Mapping[str, Sequence[date]]
    """By table (full name) the months computed from what is restated."""


def kept_name(table: Table) -> str:
    """The table that holds replaced partitions of ``table``."""
    return f"replaced.{table.schema}_{table.name}"


def _columns(table: Table) -> list[str]:
    readable = ["asset_id"] if any(column.type == "ASSET" for column in table.columns) else []
    return [*table.stored_names, *([RUN_ID] if table.tracked else []), *readable]


def rows_until(table: Table, day: date) -> str:
    """SQL: each partition as it was at the end of ``day`` (UTC), in brackets; for a table with replaced partitions."""
    later = f"table_name = '{table.full_name}' AND replaced_at >= TIMESTAMP '{day + timedelta(days=1)} 00:00:00'"
    columns = ", ".join(_columns(table))
    return (
        f"(SELECT {columns} FROM {table.full_name} WHERE month NOT IN (SELECT month FROM meta.replaced WHERE {later}) "
        f"UNION ALL SELECT {', '.join(f'k.{name}' for name in _columns(table))} FROM {kept_name(table)} AS k "
        f"JOIN (SELECT month, min(replaced_at) AS replaced_at FROM meta.replaced WHERE {later} GROUP BY month) AS r "
        f"USING (month, replaced_at)) AS {table.name}"
    )


def _has(warehouse: Warehouse, name: str) -> bool:
    """Whether the file has the bookkeeping; one made by an earlier version and opened for reading may not."""
    found = warehouse.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'meta' AND table_name = ?", [name]
    )
    return bool(found[0][0])


def kept_tables(warehouse: Warehouse) -> frozenset[str]:
    """Full names of the tables of which replaced partitions are kept."""
    if not _has(warehouse, "replaced"):
        return frozenset()
    return frozenset(name for (name,) in warehouse.execute("SELECT DISTINCT table_name FROM meta.replaced"))


def restated_months(warehouse: Warehouse) -> dict[str, set[date]]:
    """By table the months whose last write is the one a restatement asked for; whatever read them was computed again, too.

    Any later write of the month, by whichever run, was for another reason.
    """
    found: dict[str, set[date]] = {}
    if _has(warehouse, "replaced"):
        rows = warehouse.execute(
            "SELECT r.table_name, r.month FROM "
            "(SELECT table_name, month, max(replaced_at) AS replaced_at FROM meta.replaced GROUP BY ALL) AS r "
            "JOIN meta.executions AS e ON e.table_name = r.table_name AND r.month BETWEEN e.first_month AND e.last_month "
            "AND e.finished_at >= r.replaced_at GROUP BY ALL HAVING count(*) = 1"
        )
        for name, month in rows:
            found.setdefault(name, set()).add(month)
    return found


def stale_marks(warehouse: Warehouse) -> Marks:
    """Every partition that is stale, months in order."""
    found: Marks = {}
    if _has(warehouse, "stale"):
        rows = warehouse.execute(
            "SELECT table_name, month, max(restatement_id) FROM meta.stale GROUP BY ALL ORDER BY ALL"
        )
        for name, month, restatement_id in rows:
            found.setdefault(name, {})[month] = restatement_id
    return found


def restated_partitions(warehouse: Warehouse) -> pl.DataFrame:
    """What was taken over: restatement_id, taken_at and the columns of :data:`PARTITION_SCHEMA`, in order."""
    if not _has(warehouse, "restatements"):
        schema = {"restatement_id": pl.String(), "taken_at": pl.Datetime("us"), **PARTITION_SCHEMA}
        return pl.DataFrame(schema=schema)
    return warehouse.query("SELECT * FROM meta.restatements ORDER BY taken_at, table_name, month")


def taken_over(warehouse: Warehouse) -> set[tuple[str, date, str]]:
    """(raw table, month, fingerprint) of every content a restatement replaced."""
    rows = restated_partitions(warehouse).select("table_name", "month", "old_sha256").iter_rows()
    return {(name, month, sha256) for name, month, sha256 in rows}


def other_rows_now(warehouse: Warehouse, run_ids: Sequence[str], last: date) -> list[tuple[str, str, date]]:
    """(run, raw table, month up to ``last``) with other rows now than the run read, but by a restatement (``meta.stale``).

    A table that is served of a month now and was not then, or the reverse, has other rows.
    """
    found = warehouse.execute(
        "WITH read AS (SELECT * FROM meta.run_inputs WHERE month <= $1 AND list_contains($2, run_id)), "
        "now AS (SELECT table_name, month, sha256 FROM raw.ingestions WHERE month <= $1), "
        "seen AS (SELECT DISTINCT run_id, month FROM read SEMI JOIN now USING (month)), "
        "either AS (SELECT s.run_id, n.table_name, s.month FROM seen AS s JOIN now AS n USING (month) "
        "UNION SELECT r.run_id, r.table_name, r.month FROM read AS r SEMI JOIN seen USING (run_id, month)) "
        "SELECT b.run_id, b.table_name, b.month, r.sha256 FROM either AS b "
        "LEFT JOIN read AS r USING (run_id, table_name, month) LEFT JOIN now AS n USING (table_name, month) "
        "WHERE r.sha256 IS DISTINCT FROM n.sha256 ORDER BY ALL",
        [last, list(run_ids)],
    )
    taken = taken_over(warehouse)
    return [(run_id, name, month) for run_id, name, month, sha256 in found if (name, month, sha256) not in taken]


def settle_stale(warehouse: Warehouse, name: str, months: Sequence[date]) -> None:
    """Keep the stale partitions of ``months`` that are about to be written again, and take their marks off."""
    found = warehouse.execute(
        "SELECT DISTINCT month, restatement_id FROM meta.stale WHERE table_name = ? AND month BETWEEN ? AND ?",
        [name, months[0], months[-1]],
    )
    if not found:
        return
    _keep(warehouse, name, dict(found))
    warehouse.execute(
        "DELETE FROM meta.stale WHERE table_name = ? AND month BETWEEN ? AND ?", [name, months[0], months[-1]]
    )


def _keep(warehouse: Warehouse, name: str, months: Mapping[date, str]) -> None:
    from rotation_pipeline.warehouse.catalog import table_named

    table, now = table_named(name), datetime.now(UTC).replace(tzinfo=None)
    into, columns = kept_name(table), ", ".join(_columns(table))
    warehouse.execute("CREATE SCHEMA IF NOT EXISTS replaced")
    # made from the table itself; the readable identifier, computed there, is a plain column here
    warehouse.execute(
        f"CREATE TABLE IF NOT EXISTS {into} AS SELECT {columns}, TIMESTAMP '{now}' AS {REPLACED_AT} FROM {name} WHERE false"
    )
    warehouse.execute(
        f"INSERT INTO {into} SELECT {columns}, ?::TIMESTAMP FROM {name} WHERE list_contains(?, month)",
        [now, list(months)],
    )
    for month, restatement_id in months.items():
        warehouse.execute("INSERT INTO meta.replaced VALUES (?, ?, ?, ?)", [name, month, now, restatement_id])


def take_over(warehouse: Warehouse, new: TakeOver, run_id: str, execution: Execution) -> None:
    """Replace the partitions by their restated rows, keep the old ones, mark what was computed from them: all or nothing."""
    if not set(new.rows) == set(new.months):
        raise WarehouseError("a restatement must bring the rows of every table whose months it names")
    now = datetime.now(UTC).replace(tzinfo=None)
    with warehouse.transaction():
        for name, months in new.months.items():
            _keep(warehouse, name, dict.fromkeys(months, new.restatement_id))
            for run in consecutive(months):
                frame = new.rows[name].filter(pl.col("month").is_between(run[0], run[-1]))
                warehouse.write({name: frame}, run, run_id, execution)
        for row in new.partitions.select(list(PARTITION_SCHEMA)).iter_rows():
            warehouse.execute(
                "INSERT INTO meta.restatements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [new.restatement_id, now, *row]
            )
        for name, months in new.stale.items():
            for month in months:
                warehouse.execute("DELETE FROM meta.stale WHERE table_name = ? AND month = ?", [name, month])
                warehouse.execute("INSERT INTO meta.stale VALUES (?, ?, ?)", [name, month, new.restatement_id])


def later_month_of(warehouse: Warehouse, name: str, month: date, assets: Sequence[int]) -> set[date]:
    """Of each security the first month after ``month`` with rows of it in ``name``: that is what reads its last row.

    A security may stay away for months and come back; what its return on that day is measured from lies where it left.
    """
    if not assets:
        return set()
    found = warehouse.execute(
        f"SELECT DISTINCT m FROM (SELECT min(month) AS m FROM {name} WHERE month > ? AND list_contains(?, asset_key) "
        "GROUP BY asset_key)",
        [month, list(assets)],
    )
    return {when for (when,) in found}
