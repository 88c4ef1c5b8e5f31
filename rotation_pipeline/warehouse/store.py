"""The warehouse: the one object that reads and writes the database file.

A partition is overwritten by delete and insert inside one transaction, together with everything else its stage wrote,
so a run that dies half way leaves every month as it was.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import psutil

from rotation_pipeline.market.schema import Table, stored_name
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.errors import (
    DatabaseLocked,
    DiskFull,
    LayoutMismatch,
    MissingPartition,
    PartitionInvalid,
    WarehouseError,
)
from rotation_pipeline.warehouse.models import SqlModel, sql_models
from rotation_pipeline.warehouse.schemas import RUN_ID, create_statement, definition, polars_schema

Frame = pl.DataFrame | pd.DataFrame
_PID = re.compile(r"\(PID (\d+)\)")
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


def lock_holder(message: str) -> str | None:
    """Who holds the lock DuckDB complains about, as ``PID 12 (command line)``; None if the message is about no lock."""
    if "Could not set lock" not in message:
        return None
    found = _PID.search(message)
    if found is None:
        return "another process"
    pid = int(found.group(1))
    try:
        command = " ".join(psutil.Process(pid).cmdline())[:200]
    except psutil.Error:
        command = "ended meanwhile"
    return f"PID {pid} ({command})"


def connect(path: Path, *, read_only: bool = False, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A connection to the file. Raises :class:`DatabaseLocked` naming who holds it, or WarehouseError."""
    if read_only and not path.exists():
        raise WarehouseError(f"there is no database at {path}; make one with `rotation run`")
    path.parent.mkdir(parents=True, exist_ok=True)
    config: dict[str, str | bool | int | float | list[str]] = {} if threads is None else {"threads": threads}
    try:
        return duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.IOException as error:
        holder = lock_holder(str(error))
        if holder is not None:
            raise DatabaseLocked(f"{path} is held by {holder}; wait for it or end it, then try again") from error
        raise WarehouseError(f"{path} cannot be opened as a DuckDB database: {error}") from error
    except duckdb.Error as error:
        raise WarehouseError(f"{path} cannot be opened: {error}") from error


@contextmanager
def open_warehouse(path: Path, *, read_only: bool = False, threads: int | None = None) -> Generator[Warehouse]:
    """The warehouse in a file, made if absent (unless read-only), closed at the end."""
    connection = connect(path, read_only=read_only, threads=threads)
    try:
        yield Warehouse(connection, path, read_only=read_only)
    finally:
        connection.close()


class Warehouse:
    """Tables by name over one open DuckDB connection (see module docstring)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool = False) -> None:
        self.connection = connection
        self.path = path
        self.read_only = read_only
        self._lock = threading.RLock()
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
        return dict(self.execute("SELECT table_name, definition FROM meta.layout"))

    def _check_layout(self) -> None:
        stored = self._stored_layout()
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

    def _create(self) -> None:
        self._check_layout()
        stored = self._stored_layout()
        tables = [table for table in catalog().values() if not table.view]
        views = [model for model in sql_models() if model.is_view]
        wanted = {table.full_name: definition(table) for table in tables}
        wanted |= {model.table.full_name: model.query for model in views}
        if stored == wanted:
            return
        with self.transaction():
            self.execute((Path(__file__).parent / "meta.sql").read_text(encoding="utf-8"))
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
        """All or nothing. A full disk raises :class:`DiskFull` after everything was rolled back."""
        with self._lock:
            self.execute("BEGIN")
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

    def write(self, outputs: Mapping[str, pl.DataFrame], months: Sequence[date], run_id: str) -> dict[str, int]:
        """Overwrite ``months`` of every table in ``outputs`` in one transaction; rows written by table."""
        if self.read_only:
            raise WarehouseError(f"{self.path} is open for reading only")
        if not months:
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
                        self._replace(table_named(name), incoming[name], frame.columns, months)
            finally:
                for view in incoming.values():
                    self.connection.unregister(view)
        return {name: frame.height for name, frame in rows.items()}

    def _replace(self, table: Table, incoming: str, columns: Sequence[str], months: Sequence[date]) -> None:
        names = ", ".join(columns)
        scope = "".join(f" AND {column} IN (SELECT {column} FROM {incoming})" for column in table.scope)
        self.execute(f"DELETE FROM {table.full_name} WHERE month BETWEEN ? AND ?{scope}", [months[0], months[-1]])
        self.execute(f"INSERT INTO {table.full_name} ({names}) SELECT {names} FROM {incoming}")

    # ------------------------------------------------------------------ reading

    def read(
        self,
        name: str,
        *,
        first: date | None = None,
        last: date | None = None,
        columns: Sequence[str] | None = None,
        order: Sequence[str] | None = None,
        **equals: Any,  # a value or a list of values of the column's type
    ) -> pl.DataFrame:
        """Rows of months ``first..last`` (both included; None: open), columns as stored, ordered by ``order`` or the key.

        ``equals`` keeps rows whose column has the value, or one of the values of a list. Raises WarehouseError for an
        unknown table and KeyError for an unknown column.
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
        query = f"SELECT {', '.join(chosen)} FROM {table.full_name}{where} ORDER BY {', '.join(keys)}"
        return self._frame(query, parameters)

    def _frame(self, query: str, parameters: Sequence[object] | Mapping[str, object]) -> pl.DataFrame:
        with self._lock:
            return self.connection.sql(query, params=parameters or None).pl()

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Any query, as a frame."""
        return self._frame(sql, parameters or {})

    def run_model(self, model: SqlModel, first: date, last: date, parameters: Mapping[str, object]) -> pl.DataFrame:
        """Rows a relational model gives for the months ``first..last``; nothing is written."""
        available = {**parameters, "month_from": first, "month_to": last}
        unknown = [name for name in model.parameters if name not in available]
        if unknown:
            raise WarehouseError(f"{model.path.name} asks for parameters nobody sets: {unknown}")
        return self._frame(model.query, {name: available[name] for name in model.parameters})

    def months(self, name: str) -> list[date]:
        """Months the table has rows of, in order."""
        table_named(name)
        rows = self.execute(f"SELECT DISTINCT month FROM {name} ORDER BY month")
        return [row[0] for row in rows]

    def count(self, name: str) -> int:
        """Rows of the table."""
        table_named(name)
        return int(self.execute(f"SELECT count(*) FROM {name}")[0][0])

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
        """Remember what a run id stands for; known ones stay as first seen."""
        known = self.execute("SELECT count(*) FROM meta.runs WHERE run_id = ?", [run_id])
        if known[0][0]:
            return
        named = ("code_version", "settings", "seeds", "packages", "source", "source_kind", "source_version")
        with self.transaction():
            self.execute(
                "INSERT INTO meta.runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [run_id, *(facts[name] for name in named), _now()],
            )

    def latest_run(self) -> dict[str, Any]:
        """The run that wrote last: run_id, code_version, settings (JSON), packages (by name), source, source_kind.

        Raises WarehouseError when nothing was ever run.
        """
        found = self.runs()
        if not found:
            raise WarehouseError(f"{self.path} holds no finished run; `rotation run` makes one")
        return {**found[0], "packages": json.loads(found[0]["packages"])}

    def runs(self) -> list[dict[str, Any]]:
        """Every run that wrote something, the latest first."""
        return self.query(
            "SELECT r.*, max(e.finished_at) AS finished_at FROM meta.runs AS r JOIN meta.executions AS e USING (run_id) "
            "GROUP BY ALL ORDER BY finished_at DESC"
        ).to_dicts()

    def record_inputs(self, run_id: str, months: Sequence[date]) -> None:
        """Fingerprints of the raw partitions a run read."""
        with self.transaction():
            self.execute(
                "DELETE FROM meta.run_inputs WHERE run_id = ? AND month BETWEEN ? AND ?",
                [run_id, months[0], months[-1]],
            )
            self.execute(
                "INSERT INTO meta.run_inputs SELECT ?, table_name, month, sha256 FROM raw.ingestions WHERE month BETWEEN ? AND ?",
                [run_id, months[0], months[-1]],
            )

    def record_execution(
        self, run_id: str, stage: str, written: Mapping[str, int], months: Sequence[date], started: float
    ) -> None:
        """Log one stage's work."""
        if not months or not written:
            return
        seconds = time.monotonic() - started
        with self.transaction():
            self.connection.executemany(
                "INSERT INTO meta.executions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [[run_id, stage, name, months[0], months[-1], rows, seconds, _now()] for name, rows in written.items()],
            )


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
