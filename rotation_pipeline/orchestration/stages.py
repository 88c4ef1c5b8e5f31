"""A stage of the graph: what it writes, from which month on, and the function that computes it.

Nothing here knows Dagster: the command line runs the same stages without a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
import polars as pl

from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import Source
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.quality import Quality, check
from rotation_pipeline.warehouse.store import Execution, Frame, Warehouse, as_stored

Begins = Literal["history", "exposures", "styles", "weights", "sample"]
Group = Literal["market_data", "factors", "regimes", "forecasts", "allocation", "backtest", "narratives", "report"]
Progress = Callable[[int, int], None]
ROWS_AT_ONCE = 2_000_000
"""Daily bars of the months a wide stage computes at once: memory follows the market and not the range. It decides nothing
else, because a month's rows are the same whatever is computed along with it. 50 stocks reach it after a century."""
ROWS_KEPT = 200_000
"""Rows of a table an outcome keeps of a stage that was computed in parts."""
Back = int | None | Callable[[Settings], int]
"""Months before the first one to compute: a number, one that settings decide, or None for all since a table begins."""


def first_month(settings: Settings, begins: Begins) -> date:
    """First month a stage has rows of: later stages need earlier ones to have begun."""
    return {
        "history": settings.history_start,
        "exposures": settings.exposures_start,
        "styles": add_months(settings.exposures_start, 1),
        "weights": add_months(settings.sample.first, -1),
        "sample": settings.sample.first,
    }[begins]


@dataclass
class Work:
    """What a stage may use: the warehouse, the settings, the months to compute, and a way to say how far it is."""

    warehouse: Warehouse
    settings: Settings
    source: Source
    run_id: str
    months: list[date]
    progress: Progress = field(default=lambda _done, _total: None)
    artifacts: list[Path] = field(default_factory=list[Path])
    notices: list[str] = field(default_factory=list[str])
    """What a stage did without fault that its reader should know."""
    fetched_at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(tzinfo=None))
    offline: bool = False
    """Repeat what was stored of language models and ask none: a replay must not depend on who answers today."""
    checked: bool = True
    """Hold every table against its definition before it is stored; a study of many like markets checks some of them."""

    @property
    def first(self) -> date:
        """First month to compute."""
        return self.months[0]

    @property
    def timestamps(self) -> list[pd.Timestamp]:
        """The months as pandas has them."""
        return [timestamp(month) for month in self.months]

    @property
    def last(self) -> date:
        """Last month to compute; nothing after it may be read."""
        return self.months[-1]

    def table(
        self, name: str, *, back: int | None = None, order: Sequence[str] | None = None, **equals: Any
    ) -> pl.DataFrame:
        """Rows up to the last month, all of them or those from ``back`` months before the first one on."""
        begin = add_months(self.first, -back) if back is not None else None
        return self.warehouse.read(name, first=begin, last=self.last, order=order, **equals)

    def pandas(self, name: str, *, back: int | None = None, **equals: Any) -> pd.DataFrame:
        """The same as a pandas frame, dates as datetime64[ns]."""
        return to_pandas(self.table(name, back=back, **equals))

    def previous(self, name: str, **equals: Any) -> pd.DataFrame | None:
        """Rows of the month before the first one; None if there are none."""
        month = add_months(self.first, -1)
        rows = self.warehouse.read(name, first=month, last=month, **equals)
        return to_pandas(rows) if rows.height else None


def timestamp(day: date) -> pd.Timestamp:
    """A date as pandas has it."""
    return cast("pd.Timestamp", pd.Timestamp(day))  # a date is never NaT


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Small tables cross as pandas: dates as datetime64[ns], nulls as NaN or None."""
    dates = [name for name, kind in frame.schema.items() if kind == pl.Date]
    return frame.with_columns(pl.col(dates).cast(pl.Datetime("ns"))).to_pandas()


def stored_bars(work: Work, months: Sequence[date]) -> int:
    """Daily bars of consecutive months in the warehouse."""
    return work.warehouse.count("raw.daily_bars", months[0], months[-1])


@dataclass(frozen=True)
class Stage:
    """One node of the graph."""

    name: str
    group: Group
    description: str
    begins: Begins
    tables: tuple[str, ...]
    compute: Callable[[Work], Mapping[str, Frame]]
    reads: tuple[str, ...] = ()
    """Tables read beside those its columns declare."""
    kinds: tuple[str, ...] = ("python",)
    back: Back = 0
    """How far before the first month it reads the tables of other stages."""
    own: int | None = 0
    """How far before the first month it reads its own tables."""
    options: tuple[str, ...] = ()
    """Groups of settings that shape its rows; ``sample`` always does."""
    backs: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])
    """Of stored tables it reads less far back than ``back``, how far: which months a restated one makes stale."""
    wide: bool = False
    """A row a security: in a large market a few months are computed and stored at a time (:data:`ROWS_AT_ONCE`)."""
    bars: Callable[[Work, Sequence[date]], int] = stored_bars
    """Of a wide stage: how many daily bars the months have; a guess will do."""
    fetches: bool = False
    """It reads the source: what that downloads is brought before, and for no other stage."""
    asks: bool = False
    """It asks a language model, where one is set: answers are no matter of code and settings alone."""
    resumes: str | None = None
    """Table of which it reads the month itself and each security's last row before it, however far back."""

    def reach(self, settings: Settings) -> int | None:
        """``back`` under these settings."""
        return self.back(settings) if callable(self.back) else self.back

    def looks_back(self, name: str, settings: Settings) -> int | None:
        """Months before each month it computes of which it reads the stored table ``name``; None: all.

        Of the table it ``resumes`` from 0: which later months read a row there depends on the rows.
        """
        if name == self.resumes:
            return 0
        return self.backs[name] if name in self.backs else self.reach(settings)

    def months(self, settings: Settings, months: Sequence[date]) -> list[date]:
        """The months of a request this stage has rows of."""
        begin = first_month(settings, self.begins)
        return [month for month in months if month >= begin]


@dataclass(frozen=True)
class Outcome:
    """What running a stage did; ``frames``: what was stored, of a table too large to hold only the last months; ``kept``:
    months it left as they were stored before."""

    stage: str
    months: tuple[date, ...]
    rows: Mapping[str, int]
    quality: Mapping[str, Quality]
    frames: Mapping[str, pl.DataFrame]
    seconds: float
    artifacts: tuple[Path, ...] = ()
    kept: int = 0


def run_stage(stage: Stage, work: Work) -> Outcome:
    """Compute, check, then store a stage's months in one transaction, those of a wide stage a few at a time.

    Bad rows raise before anything of their transaction is stored.
    """
    started = time.monotonic()
    work.months = stage.months(work.settings, work.months)
    if not work.months:
        return Outcome(stage.name, (), dict.fromkeys(stage.tables, 0), {}, {}, 0.0)
    parts: list[Outcome] = []
    done = 0
    for months in _at_once(stage, work):
        part = work if len(months) == len(work.months) else _part(work, months, done)
        parts.append(_run_months(stage, part))
        done += len(months)
        if part is not work:
            work.progress(done, len(work.months))
            _let_go(parts)
    rows = {name: sum(part.rows.get(name, 0) for part in parts) for name in stage.tables}
    return Outcome(
        stage.name,
        tuple(work.months),
        rows,
        {name: _together([part.quality[name] for part in parts]) for name in parts[0].quality},
        {name: pl.concat([part.frames[name] for part in parts if name in part.frames]) for name in parts[-1].frames},
        time.monotonic() - started,
        tuple(work.artifacts),
    )


def _at_once(stage: Stage, work: Work) -> Iterator[list[date]]:
    """The months in runs that are computed together; how long the next one is, is asked when it begins."""
    rest = work.months
    while rest:
        few = len(rest)
        if stage.wide and few > 1:
            few = max(ROWS_AT_ONCE * few // max(stage.bars(work, rest), 1), 1)
        yield rest[:few]
        rest = rest[few:]


def _part(work: Work, months: list[date], before: int) -> Work:
    """The work of some of its months, ``before`` months being done: how far it is, is said of all months."""

    def onward(done: int, total: int) -> None:
        work.progress(before + len(months) * done // max(total, 1), len(work.months))

    return replace(work, months=months, progress=onward)


def _let_go(parts: list[Outcome]) -> None:
    """Of each table keep the last rows only, the last month in any case: memory follows the market, not the range."""
    rows: dict[str, int] = {}
    for at in range(len(parts) - 1, -1, -1):
        held: dict[str, pl.DataFrame] = {}
        for name, frame in parts[at].frames.items():
            rows[name] = rows.get(name, 0) + frame.height
            if rows[name] <= ROWS_KEPT:
                held[name] = frame
            elif at == len(parts) - 1:
                held[name] = frame.filter(frame["month"] == parts[at].months[-1])
        parts[at] = replace(parts[at], frames=held)


def _together(found: Sequence[Quality]) -> Quality:
    return replace(found[0], rows=sum(one.rows for one in found))


def _run_months(stage: Stage, work: Work) -> Outcome:
    """One transaction."""
    started = time.monotonic()
    computed = stage.compute(work)
    frames: dict[str, pl.DataFrame] = {}
    quality: dict[str, Quality] = {}
    for name in stage.tables:
        table = table_named(name)
        if table.view:
            continue
        frames[name] = as_stored(table, computed[name], work.months)
        if work.checked:
            quality[name] = check(table, frames[name], work.months)
            quality[name].raise_if_failed()
    reach = stage.reach(work.settings)
    reads_from = add_months(work.first, -reach) if reach is not None else work.settings.history_start
    execution = Execution(stage.name, reads_from, started)
    written = work.warehouse.write(frames, work.months, work.run_id, execution)
    return Outcome(stage.name, tuple(work.months), written, quality, frames, time.monotonic() - started)
