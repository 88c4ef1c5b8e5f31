"""The warehouse: the one object that reads and writes the database file.

A partition is overwritten by delete and insert inside one transaction, together with everything else its stage wrote,
so a run that dies half way leaves every month as it was.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.schema import Table, stored_name
from rotation_pipeline.warehouse.asof import as_of_query
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.connection import OTHER_FILE, Room, connect
from rotation_pipeline.warehouse.errors import (
    DiskFull,
    LayoutMismatch,
    MissingPartition,
    PartitionInvalid,
    WarehouseError,
)
from rotation_pipeline.warehouse.models import SqlModel, sql_models
from rotation_pipeline.warehouse.replaced import kept_tables, settle_stale
from rotation_pipeline.warehouse.schemas import RUN_ID, create_statement, definition, polars_schema

Frame = pl.DataFrame | pd.DataFrame
_BATCH = 1 << 15
"""Rows of a piece a table is read in: what fits a processor's cache."""
_LARGE = 2_000_000
"""Rows from which on a table passes through little memory."""
_SCHEMAS = ("raw", "truth", "staging", "intermediate", "marts")


def as_stored(table: Table, frame: Frame, months: Sequence[date]) -> pl.DataFrame:
    """A frame with exactly the stored columns and types of ``table``.

    Raises :class:`PartitionInvalid` naming the table and the column that is missing, unknown, of another type, or the
    month that was not asked for.
    """
    data = pl.from_pandas(frame) if isinstance(frame, pd.DataFrame) else frame
    schema = polars_schema(table)
    missing = [name for name in schema if name not in data.columns]
    unknown = [name for name in data.columns if name not in schema]
    if missing or unknown:
        raise PartitionInvalid(f"{table.full_name}: columns missing {missing}, unknown {unknown}")
    try:
        floats = [name for name, kind in data.schema.items() if kind.is_float()]
        data = data.with_columns(pl.col(floats).fill_nan(None)).select(
            pl.col(name).cast(kind, strict=True) for name, kind in schema.items()
        )
    except pl.exceptions.PolarsError as error:
        raise PartitionInvalid(f"{table.full_name}: {error}") from error
    if data.height and months:
        low, high = data["month"].min(), data["month"].max()
        if low < months[0] or high > months[-1]:  # type: ignore[operator]  # both are dates
            raise PartitionInvalid(
                f"{table.full_name}: rows of {low}..{high} where {months[0]:%Y-%m}..{months[-1]:%Y-%m} were asked for"
            )
    return data


@contextmanager
def open_warehouse(path: Path, *, read_only: bool = False, threads: int | None = None) -> Generator[Warehouse]:
    """The warehouse in a file, made if absent (unless read-only), closed at the end."""
    connection = connect(path, read_only=read_only, threads=threads)
    try:
        yield Warehouse(connection, path, read_only=read_only)
    finally:
        connection.close()


@dataclass(frozen=True)
class Execution:
    """What is logged of a stage's write: its name, the first month it read, and when it began (monotonic clock)."""

    stage: str
    reads_from: date
    started: float


class Warehouse:
    """Tables by name over one open DuckDB connection (see module docstring)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool = False) -> None:
        self.connection = connection
        self.path = path
        self.read_only = read_only
        self._lock = threading.RLock()
        self._open = False
        self._room = Room(self.execute)
        # DuckDB's own bar would go into pipes as well; how far a run is, the command line says
        connection.execute("SET enable_progress_bar = false")
        if read_only:
            self._check_layout()
        else:
            self._create()

    # ------------------------------------------------------------------ layout

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement to its end and return its rows: a result left unread would block the next statement."""
        with self._lock:
            return self.connection.execute(statement, list(parameters)).fetchall()

    def _stored_layout(self) -> dict[str, str]:
        known = self.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'meta' AND table_name = 'layout'"
        )
        if not known[0][0]:
            return {}
        try:
            return dict(self.execute("SELECT table_name, definition FROM meta.layout"))
        except duckdb.Error as error:
            raise LayoutMismatch(f"{self.path}: meta.layout is not this pipeline's ({error}). {OTHER_FILE}") from error

    def _refuse_foreign(self) -> None:
        """A file of somebody else's tables is never adopted, and one without any holds nothing to read."""
        found = self.execute("SELECT table_schema || '.' || table_name FROM information_schema.tables ORDER BY ALL")
        names = [str(row[0]) for row in found]
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise LayoutMismatch(
                f"{self.path} was not made by this pipeline: it holds {shown}. Nothing was changed. {OTHER_FILE}"
            )
        if self.read_only:
            raise WarehouseError(f"{self.path} holds nothing yet; `rotation run` fills it")

    def _check_layout(self) -> None:
        stored = self._stored_layout()
        if not stored:
            self._refuse_foreign()
        changed = [
            name
            for name, table in catalog().items()
            if not table.view and name in stored and stored[name] != definition(table)
        ]
        if changed:
            raise LayoutMismatch(
                f"{self.path} was made by another version: {', '.join(changed)} have other columns. Nothing was changed. "
                "Set `database` to a new file and run again, or open this one with the version that made it"
            )
        lacking = [name for name in catalog() if name not in stored]
        if self.read_only and lacking:
            raise LayoutMismatch(
                f"{self.path} was made by an earlier version: it has no {', '.join(lacking)}. `rotation run` of this "
                "version adds what is missing and keeps the rest; the version that made it reads it as it is"
            )

    @contextmanager
    def _reading(self) -> Generator[None]:
        """What DuckDB has to say about a query, as WarehouseError."""
        try:
            yield
        except duckdb.Error as error:
            raise WarehouseError(f"{self.path} could not be queried: {error}") from error

    def _create(self) -> None:
        self._check_layout()
        stored = self._stored_layout()
        tables = [table for table in catalog().values() if not table.view]
        views = [model for model in sql_models() if model.is_view]
        wanted = {table.full_name: definition(table) for table in tables}
        wanted |= {model.table.full_name: model.query for model in views}
        bookkeeping = (Path(__file__).parent / "meta.sql").read_text(encoding="utf-8")
        wanted["meta"] = bookkeeping
        if stored == wanted:
            return
        with self.transaction():
            self.execute(bookkeeping)
            for schema in _SCHEMAS:
                self.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            for table in tables:
                self.execute(create_statement(table))
            for model in views:
                self.execute(f"CREATE OR REPLACE VIEW {model.table.full_name} AS {model.query}")
            self.execute("DELETE FROM meta.layout")
            self.connection.executemany("INSERT INTO meta.layout VALUES (?, ?)", list(wanted.items()))

    # ------------------------------------------------------------------ writing

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing; inside another one, part of it. A full disk raises :class:`DiskFull` after the rollback."""
        with self._lock:
            if self._open:
                yield
                return
            self.execute("BEGIN")
            self._open = True
            try:
                yield
                self.execute("COMMIT")
            except BaseException as error:
                try:
                    self.execute("ROLLBACK")
                except duckdb.Error:
                    # a failed COMMIT has rolled back already
                    if not isinstance(error, duckdb.Error):
                        raise
                if isinstance(error, duckdb.Error) and _is_disk_full(error):
                    raise DiskFull(
                        f"no space left beside {self.path}; nothing was changed. Free some space and run again"
                    ) from error
                raise
            finally:
                self._open = False

    def write(
        self,
        outputs: Mapping[str, pl.DataFrame],
        months: Sequence[date],
        run_id: str,
        execution: Execution | None = None,
    ) -> dict[str, int]:
        """Overwrite ``months`` of every table in ``outputs`` in one transaction; rows written by table.

        With ``execution`` the same transaction logs who wrote what and from which raw partitions, so that the log and
        the rows never disagree.
        """
        if self.read_only:
            raise WarehouseError(f"{self.path} is open for reading only")
        if not months or not outputs:
            return dict.fromkeys(outputs, 0)
        rows: dict[str, pl.DataFrame] = {}
        for name, frame in outputs.items():
            table = table_named(name)
            stored = as_stored(table, frame, months)
            rows[name] = stored.with_columns(pl.lit(run_id).alias(RUN_ID)) if table.tracked else stored
        incoming = {name: f"incoming_{name.replace('.', '_')}" for name in rows}
        with self._lock:
            for name, frame in rows.items():
                self.connection.register(incoming[name], frame.to_arrow())
            try:
                with self.transaction():
                    for name, frame in rows.items():
                        settle_stale(self, name, months)
                        self._replace(table_named(name), incoming[name], frame.columns, months)
                    if execution is not None:
                        self._log(run_id, execution, {name: frame.height for name, frame in rows.items()}, months)
            finally:
                for view in incoming.values():
                    self.connection.unregister(view)
        return {name: frame.height for name, frame in rows.items()}

    def _replace(self, table: Table, incoming: str, columns: Sequence[str], months: Sequence[date]) -> None:
        names = ", ".join(columns)
        scope = "".join(f" AND {column} IN (SELECT {column} FROM {incoming})" for column in table.scope)
        self.execute(f"DELETE FROM {table.full_name} WHERE month BETWEEN ? AND ?{scope}", [months[0], months[-1]])
        self.execute(f"INSERT INTO {table.full_name} ({names}) SELECT {names} FROM {incoming}")

    def _log(self, run_id: str, execution: Execution, written: Mapping[str, int], months: Sequence[date]) -> None:
        now, seconds = _now(), time.monotonic() - execution.started
        self.connection.executemany(
            "INSERT INTO meta.executions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                [run_id, execution.stage, name, months[0], months[-1], rows, seconds, now]
                for name, rows in written.items()
            ],
        )
        read = [execution.reads_from, months[-1]]
        self.execute(
            "DELETE FROM meta.run_inputs AS r USING raw.ingestions AS i WHERE r.run_id = ? AND i.month BETWEEN ? AND ? "
            "AND r.table_name = i.table_name AND r.month = i.month AND r.sha256 <> i.sha256",
            [run_id, *read],
        )
        self.execute(
            "INSERT INTO meta.run_inputs SELECT ?, table_name, month, sha256 FROM raw.ingestions AS i "
            "WHERE month BETWEEN ? AND ? AND NOT EXISTS (SELECT 1 FROM meta.run_inputs AS r "
            "WHERE r.run_id = ? AND r.table_name = i.table_name AND r.month = i.month)",
            [run_id, *read, run_id],
        )

    # ------------------------------------------------------------------ reading

    def read(
        self,
        name: str,
        *,
        first: date | None = None,
        last: date | None = None,
        columns: Sequence[str] | None = None,
        order: Sequence[str] | None = None,
        as_of: date | None = None,
        limit: int | None = None,
        **equals: Any,  # a value or a list of values of the column's type
    ) -> pl.DataFrame:
        """Rows of months ``first..last`` (both included; None: open), columns as stored, ordered by ``order`` or the key.

        An empty ``order`` leaves the rows as they lie in the file, which saves the sort.

        ``as_of``: the rows as they stood at the close of that day (see ``warehouse/asof.py``). ``limit``: the first
        rows in that order. ``equals`` keeps rows whose column has the value, or one of the values of a list. Raises
        WarehouseError for an unknown table and KeyError for an unknown column.
        """
        table = table_named(name)
        chosen = list(columns) if columns is not None else table.stored_names
        for column in (*chosen, *equals):
            table.column(column)
        conditions: list[str] = []
        parameters: list[object] = []
        for column, sign, bound in (("month", ">=", first), ("month", "<=", last)):
            if bound is not None:
                conditions.append(f"{column} {sign} ?")
                parameters.append(bound)
        for column, value in equals.items():
            values = list(value) if isinstance(value, list | tuple) else [value]
            conditions.append(f"{column} IN ({', '.join('?' * len(values))})")
            parameters.extend(values)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        keys = order if order is not None else [stored_name(table.column(key)) for key in table.key]
        rows = table.full_name if as_of is None else f"({as_of_query(name, as_of, kept_tables(self))}) AS stood"
        query = f"SELECT {', '.join(chosen)} FROM {rows}{where}"
        if keys:
            query += f" ORDER BY {', '.join(keys)}"
        if limit is not None:
            query += f" LIMIT {int(limit)}"
        with self._reading():
            return self._frame(query, parameters)

    def batches(
        self,
        name: str,
        *,
        columns: Sequence[str],
        order: Sequence[str],
        first: date | None = None,
        last: date | None = None,
    ) -> Generator[Any]:
        """Rows of months ``first..last``, months rising, each as it was written, in Arrow record batches; flags as bytes.

        Months written again lie at the end of the file; then all rows are sorted by ``order``, which should be the order
        months are written in.
        """
        table = table_named(name)
        chosen = ", ".join(f"{c}::UTINYINT AS {c}" if table.column(c).type == "BOOLEAN" else c for c in columns)
        inside = f"FROM {name} WHERE month BETWEEN ? AND ?"
        bounds = [first or date.min, last or date.max]
        pairs = f"SELECT month, lag(month) OVER () AS before {inside}"
        rows, falls = self.execute(f"SELECT count(*), count(*) FILTER (month < before) FROM ({pairs})", bounds)[0]
        query = f"SELECT {chosen} {inside}" + (f" ORDER BY {', '.join(order)}" if falls else "")
        room = self._room.little() if rows >= _LARGE and not falls else nullcontext()
        with self._reading(), room, self.connection.cursor() as cursor:
            yield from cursor.sql(query, params=bounds).to_arrow_reader(_BATCH)

    def as_of(self, name: str, day: date, **selection: Any) -> pl.DataFrame:
        """The table or view as it stood at the close of ``day``; ``selection`` as in :meth:`read`.

        Raw rows by the day they were known, computed months by their last session, views from both.
        """
        return self.read(name, as_of=day, **selection)

    def _frame(self, query: str, parameters: Sequence[object] | Mapping[str, object]) -> pl.DataFrame:
        with self._lock:
            return self.connection.sql(query, params=parameters or None).pl()

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Any query, as a frame. Raises WarehouseError with what DuckDB has against it."""
        with self._reading():
            return self._frame(sql, parameters or {})

    def run_model(self, model: SqlModel, first: date, last: date, parameters: Mapping[str, object]) -> pl.DataFrame:
        """Rows a relational model gives for the months ``first..last``; nothing is written."""
        available = {**parameters, "month_from": first, "month_to": last}
        unknown = [name for name in model.parameters if name not in available]
        if unknown:
            raise WarehouseError(f"{model.path.name} asks for parameters nobody sets: {unknown}")
        try:
            return self._frame(model.query, {name: available[name] for name in model.parameters})
        except duckdb.InvalidInputException as error:  # what a query refuses by ERROR(…)
            raise WarehouseError(f"{model.table.full_name}: {error}") from error

    def months(self, name: str) -> list[date]:
        """Months the table has rows of, in order."""
        table_named(name)
        with self._reading():
            rows = self.execute(f"SELECT DISTINCT month FROM {name} ORDER BY month")
        return [row[0] for row in rows]

    def count(self, name: str, first: date = date.min, last: date = date.max) -> int:
        """Rows of the table, of the months ``first..last``."""
        table_named(name)
        with self._reading():
            return int(self.execute(f"SELECT count(*) FROM {name} WHERE month BETWEEN ? AND ?", [first, last])[0][0])

    def require(self, name: str, months: Sequence[date], remedy: str) -> None:
        """Raise :class:`MissingPartition` naming the table and the first of ``months`` it has no rows of."""
        have = set(self.months(name))
        missing = [month for month in months if month not in have]
        if missing:
            raise MissingPartition(
                f"{name} has no rows of {missing[0]:%Y-%m}"
                + (f" and {len(missing) - 1} more months" if len(missing) > 1 else "")
                + f"; {remedy}"
            )

    # ------------------------------------------------------------------ provenance

    def record_run(self, run_id: str, facts: Mapping[str, str]) -> None:
        """Remember what a run id stands for, and of settings that shape nothing (where the data lies) the latest."""
        known = self.execute("SELECT settings FROM meta.runs WHERE run_id = ?", [run_id])
        if known:
            if known[0][0] != facts["settings"]:
                with self.transaction():
                    self.execute("UPDATE meta.runs SET settings = ? WHERE run_id = ?", [facts["settings"], run_id])
            return
        named = ("code_version", "settings", "seeds", "packages", "source", "source_kind", "source_version")
        with self.transaction():
            self.execute(
                "INSERT INTO meta.runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [run_id, *(facts[name] for name in named), _now()],
            )

    def latest_run(self) -> dict[str, Any]:
        """The run that wrote last: run_id, code_version, settings (JSON), packages (by name), source, source_kind.

        Its ``sample.end`` is the last month the file holds anything of, whichever run wrote it. Raises WarehouseError
        when nothing was ever run.
        """
        found = self.runs()
        if not found:
            raise WarehouseError(f"{self.path} holds no finished run; `rotation run` makes one")
        settings = json.loads(found[0]["settings"])
        last = max(f"{run['last_month']:%Y-%m}" for run in found)
        settings["sample"]["end"] = max(last, settings["sample"]["start"])
        return {
            **found[0],
            "settings": json.dumps(settings, sort_keys=True),
            "packages": json.loads(found[0]["packages"]),
        }

    def runs(self) -> list[dict[str, Any]]:
        """Every run that wrote something, the latest first, with the first and last month it wrote.

        The settings (JSON) are without ``sample.end``: how far a run went stands in its months.
        """
        found = self.query(
            "SELECT r.*, min(e.first_month) AS first_month, max(e.last_month) AS last_month, "
            "max(e.finished_at) AS finished_at FROM meta.runs AS r JOIN meta.executions AS e USING (run_id) "
            "GROUP BY ALL ORDER BY max(e.finished_at) DESC"
        ).to_dicts()
        for run in found:
            settings = json.loads(run["settings"])
            settings["sample"].pop("end", None)  # files of earlier versions have the first one seen
            run["settings"] = json.dumps(settings, sort_keys=True)
        return found

    def writes(self) -> dict[str, dict[date, tuple[int, str]]]:
        """By table and month the place in the log and the run of its last write, also where that wrote no rows.

        Later writes have later places.
        """
        found: dict[str, dict[date, tuple[int, str]]] = {}
        logged = self.execute(
            "SELECT rowid, table_name, first_month, last_month, run_id FROM meta.executions ORDER BY rowid"
        )
        for place, name, first, last, run_id in logged:
            found.setdefault(name, {}).update((month, (place, run_id)) for month in months_between(first, last))
        return found

    def written(self) -> dict[str, dict[date, str]]:
        """By table and month the run that wrote the month last, also where it wrote no rows."""
        return {name: {month: run for month, (_, run) in of.items()} for name, of in self.writes().items()}


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _is_disk_full(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return (
        any(sign in text for sign in ("file too large", "quota exceeded"))
        or "no space left" in text
        or "disk full" in text
        or "max_temp_directory_size" in text
    )
