"""A stage of the graph: what it writes, from which month on, and the function that computes it.

Nothing here knows Dagster: the command line runs the same stages without a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

    def reach(self, settings: Settings) -> int | None:
        """``back`` under these settings."""
        return self.back(settings) if callable(self.back) else self.back

    def months(self, settings: Settings, months: Sequence[date]) -> list[date]:
        """The months of a request this stage has rows of."""
        begin = first_month(settings, self.begins)
        return [month for month in months if month >= begin]


@dataclass(frozen=True)
class Outcome:
    """What running a stage did."""

    stage: str
    months: tuple[date, ...]
    rows: Mapping[str, int]
    quality: Mapping[str, Quality]
    frames: Mapping[str, pl.DataFrame]
    seconds: float
    artifacts: tuple[Path, ...] = ()


def run_stage(stage: Stage, work: Work) -> Outcome:
    """Compute, check, then store a stage's months in one transaction. Bad rows raise before anything is stored."""
    started = time.monotonic()
    work.months = stage.months(work.settings, work.months)
    if not work.months:
        return Outcome(stage.name, (), dict.fromkeys(stage.tables, 0), {}, {}, 0.0)
    computed = stage.compute(work)
    frames: dict[str, pl.DataFrame] = {}
    quality: dict[str, Quality] = {}
    for name in stage.tables:
        table = table_named(name)
        if table.view:
            continue
        frames[name] = as_stored(table, computed[name], work.months)
        quality[name] = check(table, frames[name], work.months)
        quality[name].raise_if_failed()
    reach = stage.reach(work.settings)
    reads_from = add_months(work.first, -reach) if reach is not None else work.settings.history_start
    execution = Execution(stage.name, reads_from, started)
    written = work.warehouse.write(frames, work.months, work.run_id, execution)
    return Outcome(
        stage.name, tuple(work.months), written, quality, frames, time.monotonic() - started, tuple(work.artifacts)
    )
