"""The two sides of a reconciliation: a database, a folder of files, or a source by name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import get_args, get_type_hints

import polars as pl

from rotation_pipeline.market.calendar import add_months, consecutive, month_last_day, month_start, months_between
from rotation_pipeline.market.sanity import conform
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.orchestration.runner import make_source
from rotation_pipeline.settings import Settings, SettingsError, SourceSettings
from rotation_pipeline.sources.base import Downloads, Source, SourceError
from rotation_pipeline.sources.canonical import partitioned
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.reconciliation import Reconciler, Reconciliation, common
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

MONTHS_AT_ONCE = 12
EARLIER = timedelta(days=45)
"""Before the first month: the rows its first returns are measured from."""
Frames = Mapping[str, pl.DataFrame]
Listen = Callable[[int, int, str], None]
"""Units of a download done, in all, and what comes next."""
NAMES: tuple[str, ...] = get_args(get_type_hints(SourceSettings)["name"])


@dataclass(frozen=True)
class Side:
    """One side: what it is called, the months it has, and its rows of a span of months."""

    name: str
    first: date
    last: date
    frames: Callable[[date, date], Frames]
    """First and last month → stored columns by table; of bars also rows of the 45 days before."""
    prepare: Callable[[date, date, Listen], None] = lambda _first, _last, _listen: None
    """Download what the months lack; both sides do before rows are asked of either."""


@contextmanager
def side(text: str, settings: Settings) -> Generator[Side]:
    """``text``: a DuckDB file, a folder in the canonical layout (with its mapping), or the name of a source.

    A database is looked into for its months and held open from the first rows asked of it on: a download for the other
    side, which may take hours, keeps nobody from writing it. Raises SettingsError for anything else, and what opening it
    raises.
    """
    path = Path(text)
    if path.is_dir():
        files = settings.model_copy(update={"source": _named(settings.source, "files")})
        yield _of_source(FilesSource(path, cache=files.cache_path), str(path))
    elif path.is_file():
        with ExitStack() as held:
            yield _of_database(path, settings, held)
    elif text in NAMES:
        named = settings.model_copy(update={"source": _named(settings.source, text)})
        yield _of_source(make_source(named), text)
    else:
        raise SettingsError(
            f"{text} is neither a DuckDB file nor a folder nor a source ({', '.join(NAMES)}); give one of these"
        )


def _named(source: SourceSettings, name: str) -> SourceSettings:
    return replace(source, name=name)  # type: ignore[arg-type]  # one of the names


def _of_database(path: Path, settings: Settings, held: ExitStack) -> Side:
    with open_warehouse(path, read_only=True, threads=settings.threads) as warehouse:
        months = warehouse.months("raw.trading_days")
    if not months:
        raise SourceError(f"{path} holds no market data; `rotation ingest` fetches it")
    opened: list[Warehouse] = []

    def frames(first: date, last: date) -> Frames:
        if not opened:
            opened.append(held.enter_context(open_warehouse(path, read_only=True, threads=settings.threads)))
        read = {
            table.name: opened[0].read(table.full_name, first=add_months(first, -2), last=last, order=())
            for table in SOURCE_TABLES
        }
        return {name: rows for name, rows in read.items() if rows.height}

    return Side(str(path), months[0], months[-1], frames)


def _of_source(source: Source, name: str) -> Side:
    first, last = source.span()

    def prepare(low: date, high: date, listen: Listen) -> None:
        if isinstance(source, Downloads):
            source.prepare(low - EARLIER, high, listen)

    def frames(low: date, high: date) -> Frames:
        end = month_last_day(high)
        found: dict[str, pl.DataFrame] = {}
        for table in SOURCE_TABLES:
            if not source.serves(table.name):
                continue
            begin = low - EARLIER if table.name == "daily_bars" else low
            rows = conform(table, source.fetch(table.name, begin, end), month=False)
            found[table.name] = partitioned(table, rows, months_between(month_start(begin), high))
        return found

    return Side(name, first, last, frames, prepare)


def reconcile(
    a: Side,
    b: Side,
    settings: Settings,
    months: Sequence[date],
    *,
    only_common: bool = False,
    listen: Callable[[int, int], None] = lambda _done, _total: None,
    fetching: Listen = lambda _done, _total, _next: None,
) -> Reconciliation:
    """Hold two sides against each other over ``months``, a year at a time. Raises SourceError for months one lacks.

    ``only_common``: securities and indices of which both have bars in the year. ``fetching`` hears how a vendor's download
    goes on; all that is lacking is downloaded before the first rows are read.
    """
    for one in (a, b):
        outside = [month for month in months if not one.first <= month <= one.last]
        if outside:
            raise SourceError(
                f"{one.name} has {one.first:%Y-%m} to {one.last:%Y-%m}, not {outside[0]:%Y-%m}; choose months both have "
                "(--from, --to)"
            )
    for one in (a, b):
        for run in consecutive(months):
            one.prepare(run[0], run[-1], fetching)
    found, done = Reconciler(settings.reconcile), 0
    for run in consecutive(months):
        for start in range(0, len(run), MONTHS_AT_ONCE):
            part = run[start : start + MONTHS_AT_ONCE]
            left, right = a.frames(part[0], part[-1]), b.frames(part[0], part[-1])
            left, right = common(left, right) if only_common else (left, right)
            found.add(left, right, part)
            done += len(part)
            listen(done, len(months))
    result = found.result()
    bars = result.rows.filter(pl.col("table") == "daily_bars")
    counted = bars if only_common and bars.height else result.rows
    if counted.filter((pl.col("a") > 0) | (pl.col("b") > 0)).is_empty():  # agreement about nothing is none
        what = "security with bars" if only_common else "table with rows of these months"
        raise SourceError(
            f"nothing was compared: {a.name} and {b.name} have no {what} in common; choose other months (--from, --to) or "
            "other sides"
        )
    return result
