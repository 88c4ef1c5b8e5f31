"""The database as it stood at the close of a day.

Raw rows are visible from the day they were known, everything computed from the day its month was complete:

* dated rows (bars, valuation, index levels and weights, sessions) from their day; fundamentals from their announcement,
  so that a revision stands beside the first value from its own day on and not before; dividends from their ex-day, or
  from their announcement where that came later;
* intervals (members, industries, listings) from the day they begin, an end or an announcement from its own day on; the
  partitions of earlier months are as they were written, with everything after their month hidden;
* a computed month, and what ingestion says of a month (``raw.quarantine``, ``raw.ingestions``), from the close of the
  month's last session, because only then is it computed. A row that the sanity rules kept out of a month is therefore
  absent on the month's earlier days too;
* a view is its query over the tables as they stood, and so follows from them.

A restatement of history that was taken over, and what was computed again after it, is visible from the day (UTC) it
replaced what stood before: until the day before, the partition reads as it was, from the rows kept of it (see
``warehouse/replaced.py``). A day long before any of this shows what was known first.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import sqlglot
from sqlglot import exp

from rotation_pipeline.market.calendar import add_months, calendar_end, month_last_day, month_sessions, month_start
from rotation_pipeline.market.schema import Table
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.models import SqlModel, sql_models
from rotation_pipeline.warehouse.replaced import rows_until


def last_complete_month(day: date) -> date:
    """The latest month whose last session had closed by the close of ``day``.

    A month the calendar does not record to its end counts as incomplete; nothing of it can be stored.
    """
    month = month_start(day)
    if month_last_day(month) <= calendar_end():
        days = month_sessions(month)
        if days and days[-1] <= day:
            return month
    return add_months(month, -1)


def as_of_query(name: str, day: date, kept: Collection[str] = ()) -> str:
    """SQL for the rows of a table or view as they stood at the close of ``day``, with all its columns.

    ``kept``: tables of which replaced partitions are kept. Raises
    :class:`rotation_pipeline.warehouse.errors.WarehouseError` for an unknown table.
    """
    table = table_named(name)
    view = _view(name)
    if view is not None:
        return _over_tables_as_of(view, day, kept)
    rows = rows_until(table, day) if name in kept else name
    if table in SOURCE_TABLES:
        return _interval_rows(table, rows, day) if table.name in INTERVAL_TABLES else _dated_rows(table, rows, day)
    return f"SELECT * FROM {rows} WHERE month <= {_literal(last_complete_month(day))}"


def _literal(day: date) -> str:
    return f"DATE '{day.isoformat()}'"


def _view(name: str) -> SqlModel | None:
    return next((model for model in sql_models() if model.is_view and model.table.full_name == name), None)


def _dated_rows(table: Table, rows: str, day: date) -> str:
    conditions = [f"{DATED_BY[table.name]} <= {_literal(day)}"]
    if "announced_on" in table.column_names and DATED_BY[table.name] != "announced_on":
        conditions.append(f"(announced_on IS NULL OR announced_on <= {_literal(day)})")
    return f"SELECT * FROM {rows} WHERE {' AND '.join(conditions)}"


def _interval_rows(table: Table, rows: str, day: date) -> str:
    """Snapshots of earlier months as written; of the current month what had begun, with later ends hidden."""
    month, now = _literal(month_start(day)), _literal(day)
    hidden = [column for column in (INTERVAL_ENDS[table.name], "announced_on") if column in table.column_names]
    shown = ", ".join(f"CASE WHEN {column} <= {now} THEN {column} END AS {column}" for column in hidden)
    begun = f"month = {month} AND {INTERVAL_TABLES[table.name]} <= {now}"
    return f"SELECT * REPLACE ({shown}) FROM {rows} WHERE month < {month} OR ({begun})"


def _over_tables_as_of(model: SqlModel, day: date, kept: Collection[str]) -> str:
    """A view's query with each table it reads replaced by that table as of ``day``."""
    tree = sqlglot.parse_one(model.query, dialect="duckdb")
    for node in list(tree.find_all(exp.Table)):
        if not node.db:
            continue  # a common table expression
        rows = sqlglot.parse_one(as_of_query(f"{node.db}.{node.name}", day, kept), dialect="duckdb")
        if not isinstance(rows, exp.Query):
            raise TypeError(f"the rows of {node.db}.{node.name} as of a day must be a query")
        node.replace(rows.subquery(node.alias or node.name))
    return tree.sql(dialect="duckdb")
