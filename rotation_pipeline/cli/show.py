"""`rotation show TABLE`: rows of a table or view, as they are or as they stood at the close of a day."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

if TYPE_CHECKING:
    import polars as pl

    from rotation_pipeline.settings import Settings
    from rotation_pipeline.warehouse.store import Warehouse

Stored = Callable[[str | None, Path | None, Path | None], AbstractContextManager["tuple[Warehouse, Settings]"]]
"""From source, path and database to the stored database, read-only, with the settings of the run that wrote it."""
SCREEN_ROWS = 20
"""Rows a screen shows unless told otherwise; ``--json`` and ``--csv`` give all."""


def register(app: typer.Typer, stored: Stored, console: Console) -> None:
    """Add the command ``show`` to ``app``; people read it on ``console``."""

    @app.command()
    def show(  # pyright: ignore[reportUnusedFunction]  # typer calls it
        table: Annotated[str, typer.Argument(help="Table or view, as raw.fundamentals or marts.weights.")],
        as_of: Annotated[
            str | None, typer.Option("--as-of", help="As the database stood at the close of this day, as 2015-06-30.")
        ] = None,
        month: Annotated[str | None, typer.Option("--month", help="Only this month, as 2015-06.")] = None,
        asset: Annotated[
            list[str] | None, typer.Option("--asset", help="Only this security, as 600519.SH; may be repeated.")
        ] = None,
        limit: Annotated[
            int | None, typer.Option("--limit", min=1, help="At most so many rows; 20 on a screen by default.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated output.")] = False,
        source: Annotated[str | None, typer.Option("--source", help="Data source of the database.")] = None,
        path: Annotated[Path | None, typer.Option("--path", help="Folder of the files source.")] = None,
        database: Annotated[Path | None, typer.Option("--database", help="DuckDB file.")] = None,
    ) -> None:
        """Print rows of a table, also as they stood on a day. Example: rotation show raw.fundamentals --as-of 2015-06-30 --asset 600519.SH"""
        if as_json and as_csv:
            raise typer.BadParameter("choose one of --json and --csv")
        day = None if as_of is None else parse_day(as_of)
        screen = not (as_json or as_csv)
        most = limit if limit is not None or not screen else SCREEN_ROWS
        with stored(source, path, database) as (warehouse, _settings):
            rows = table_rows(warehouse, table, day, month, asset or (), None if most is None else most + 1)
            kind = str(warehouse.latest_run()["source_kind"])
        more = most is not None and rows.height > most
        rows = rows.head(most) if most is not None else rows
        if as_json:
            facts = {"table": table, "as_of": day, "source_kind": kind, "complete": not more, "rows": rows.to_dicts()}
            sys.stdout.write(json.dumps(facts, ensure_ascii=False, default=str) + "\n")
        elif as_csv:
            sys.stdout.write(rows.write_csv())
        else:
            print_rows(console, table, rows, day, kind, more=more)


def parse_day(text: str) -> date:
    """``2015-06-30``. Raises typer.BadParameter for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--as-of: {text!r} is no day; write it as 2015-06-30") from error


def table_rows(
    warehouse: Warehouse,
    name: str,
    day: date | None,
    month: str | None,
    assets: list[str] | tuple[()],
    most: int | None,
) -> pl.DataFrame:
    """Rows of the table ordered by its key, with readable identifiers; as of ``day`` if given.

    Raises typer.BadParameter for a month or security that is none, or a table without securities, and WarehouseError
    for an unknown table.
    """
    from rotation_pipeline.market.calendar import CalendarError, parse_month
    from rotation_pipeline.market.identifiers import IdentifierError, asset_key, with_asset_id
    from rotation_pipeline.warehouse.catalog import table_named

    keyed = "asset_id" in table_named(name).column_names
    try:
        when = None if month is None else parse_month(month)
        keys = [asset_key(item) for item in assets]
    except (CalendarError, IdentifierError) as error:
        raise typer.BadParameter(str(error)) from error
    if keys and not keyed:
        raise typer.BadParameter(f"--asset: {name} has no column asset_id")
    chosen: dict[str, Any] = {"asset_key": keys} if keys else {}
    rows = warehouse.read(name, first=when, last=when, as_of=day, limit=most, **chosen)
    return with_asset_id(rows) if keyed else rows


def print_rows(console: Console, name: str, rows: pl.DataFrame, day: date | None, kind: str, *, more: bool) -> None:
    """Rows as a table with its meaning above and what is left out below."""
    from rotation_pipeline.warehouse.catalog import table_named

    stood = "" if day is None else f", as it stood at the close of {day}"
    console.print(f"[bold]{name}[/]: {escape(table_named(name).meaning)}{stood}; {kind} data", highlight=False)
    if not rows.height:
        console.print("no rows", highlight=False)
        return
    shown = RichTable(box=None, pad_edge=False)
    for column, kind_of in rows.schema.items():
        shown.add_column(column, justify="right" if kind_of.is_numeric() else "left", overflow="fold")
    for row in rows.iter_rows():
        shown.add_row(*(escape(_cell(value)) for value in row))
    console.print(shown, highlight=False)
    if more:
        console.print(f"the first {rows.height} rows; --limit N for more, --csv for all", highlight=False)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
