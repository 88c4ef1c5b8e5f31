"""What the commands share: the application, its options, its two consoles, settings and the stored database."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from rotation_pipeline.settings import Settings
    from rotation_pipeline.warehouse.store import Warehouse

app = typer.Typer(
    name="rotation",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Style rotation for Chinese equities: raw prices to verified narratives, stored by month in DuckDB.",
)
PIPE_WIDTH = 200
"""Columns of a line where nobody's window bounds it."""
out = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
err = Console(stderr=True)

SourceOption = Annotated[
    str | None, typer.Option("--source", help="Data source: simulated, files, tushare, baostock, akshare or tinysoft.")
]
PathOption = Annotated[
    Path | None, typer.Option("--path", help="Folder of the files source; with a vendor, of the tables it can't serve.")
]
FromOption = Annotated[str | None, typer.Option("--from", help="First month of the sample, as 2014-01.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Last month of the sample, as 2024-01.")]
DatabaseOption = Annotated[
    Path | None, typer.Option("--database", help="DuckDB file; by default one per source under data/.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, as allocation.temperature=0.5; may be repeated.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


class Language(StrEnum):
    """Languages of narratives and reports."""

    EN = "en"
    ZH = "zh"


def fail(message: str, code: int) -> None:
    err.print(f"[bold red]error[/] {escaped(message)}", highlight=False, soft_wrap=True)
    sys.exit(code)


def escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def overrides(
    source: str | None,
    path: Path | None,
    first: str | None,
    last: str | None,
    database: Path | None,
    pairs: Sequence[str] | None,
) -> dict[str, Any]:
    given: dict[str, Any] = {}

    def put(name: str, value: object) -> None:
        if value is None:
            return
        *groups, leaf = name.split(".")
        here: dict[str, Any] = given
        for depth, group in enumerate(groups):
            inner: object = here.setdefault(group, {})
            if not isinstance(inner, dict):
                raise typer.BadParameter(f"{'.'.join(groups[: depth + 1])} is given twice: as a value and as a group")
            here = cast(dict[str, Any], inner)
        if isinstance(here.get(leaf), dict) and not isinstance(value, dict):
            raise typer.BadParameter(f"{name} is given twice: as a value and as a group")
        here[leaf] = value

    put("source.name", source)
    put("source.path", path)
    put("sample.start", first)
    put("sample.end", last)
    put("database", database)
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign:
            raise typer.BadParameter(f"--set {pair}: expected NAME=VALUE, as allocation.temperature=0.5")
        try:
            put(name, json.loads(value))
        except json.JSONDecodeError:
            put(name, value)
    return given


def month_of(text: str, option: str) -> date:
    from rotation_pipeline.market.calendar import CalendarError, parse_month

    try:
        return parse_month(text)
    except CalendarError as error:
        raise typer.BadParameter(f"{option}: {error}") from error


def settings_of(
    source: str | None = None,
    path: Path | None = None,
    first: str | None = None,
    last: str | None = None,
    database: Path | None = None,
    pairs: Sequence[str] | None = None,
) -> Settings:
    from rotation_pipeline.settings import load_settings

    return load_settings(**overrides(source, path, first, last, database, pairs))


@contextmanager
def recorded(settings: Settings) -> Generator[tuple[Warehouse, Settings]]:
    """The stored database, read-only, with the settings of the run that last wrote it."""
    from rotation_pipeline.settings import stored_settings
    from rotation_pipeline.warehouse.errors import WarehouseError
    from rotation_pipeline.warehouse.store import open_warehouse

    path = settings.database_path
    if not path.exists():
        others = sorted(str(found) for found in path.parent.glob("*.duckdb"))
        hint = f"; there are {', '.join(others)} (--database FILE)" if others else ""
        raise WarehouseError(f"there is no database at {path}; make one with `rotation run`{hint}")
    with open_warehouse(path, read_only=True, threads=settings.threads) as warehouse:
        yield warehouse, stored_settings(warehouse.latest_run()["settings"], database=path, output=settings.output)


TEXT_COLUMNS = frozenset({"strategy", "book", "role", "stage", "table", "source", "note"})
SPARED_FIRST = ("months", "role", "cost", "volatility", "turnover", "max_drawdown", "cost_drag", "annualised_return")
"""Columns a narrow window does without, in this order; the report has them all."""


def plain_key(key: str) -> str:
    """The key of a row, JSON, as a screen shows it: ``600519.SH 2014-01-02``."""
    return " ".join(map(str, json.loads(key).values()))


def short_value(text: str | None) -> str | None:
    """A stored value, written out, as a screen shows it: a number to nine digits and at least to cents."""
    try:
        value = None if text is None else float(text)
    except ValueError:
        return text
    if value is None or value.is_integer():
        return text
    return f"{value:.9g}" if abs(value) < 1e7 else f"{value:.2f}"


def rich_table(rows: Sequence[dict[str, Any]]) -> RichTable:
    """Rows as a table that fits the window: columns are left out rather than folded into ribbons."""
    names = list(rows[0]) if rows else []

    def width() -> int:
        return sum(max(len(name), *(len(str(row[name])) for row in rows)) + 2 for name in names)

    for name in SPARED_FIRST:
        if rows and name in names and width() > out.width:
            names.remove(name)
    table = RichTable(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name in TEXT_COLUMNS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*("" if row[name] is None else escaped(str(row[name])) for name in names))
    return table
