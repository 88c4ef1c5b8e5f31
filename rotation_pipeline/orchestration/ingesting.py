"""How market data comes in: fetched and judged, refused where the source says something else than before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

import polars as pl

from rotation_pipeline.market.calendar import add_months, month_last_day
from rotation_pipeline.orchestration.stages import Frame, Work
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import KnowsTruth, Source
from rotation_pipeline.sources.ingest import Ingestion

Outputs = Mapping[str, Frame]


HELD_AT_ONCE = 2
"""Of a stock-day an ingestion holds a bar and a valuation, as delivered and as judged: it counts for this many bars."""


def bars_to_come(work: Work, months: Sequence[date]) -> int:
    """About how many daily bars the source has of the months, as many in each as are stored of the month before, or as it
    has in the first; times :data:`HELD_AT_ONCE`.

    Raises SourceError for a request that none of the months should be fetched for (see ``check_request``).
    """
    from rotation_pipeline.sources.ingest import check_request

    check_request(work.source, months)
    before = add_months(months[0], -1)
    bars = work.warehouse.count("raw.daily_bars", before, before)
    bars = bars or work.source.fetch("daily_bars", months[0], month_last_day(months[0])).height
    return bars * len(months) * HELD_AT_ONCE


def judged(settings: Settings, source: Source, months: Sequence[date], fetched_at: datetime) -> Ingestion:
    """The months as the source delivers them, held against the sanity rules under ``settings``."""
    from rotation_pipeline.sources.ingest import ingest_months

    members = {**settings.sanity.members, settings.universe.index_id: settings.universe.members}
    return ingest_months(source, months, fetched_at=fetched_at, options=replace(settings.sanity, members=members))


def _restated(work: Work, fetched: pl.DataFrame) -> list[str]:
    """What to tell of months fetched before that come with other rows now, because they are judged otherwise.

    Raises RestatedSource where it is the source that says something else.
    """
    from rotation_pipeline.orchestration.consistency import other_judgement, span
    from rotation_pipeline.warehouse.errors import RestatedSource

    key = ["table_name", "month"]
    stored = work.table("raw.ingestions", back=0).select(*key, "sha256")
    both = stored.join(fetched.select(*key, pl.col("sha256").alias("now")), on=key, how="left")
    changed = both.filter(pl.col("sha256").ne_missing(pl.col("now"))).sort(key)
    if not changed.height:
        return []
    tables = changed.group_by("table_name", maintain_order=True).agg("month").iter_rows()
    named = "; ".join(f"raw.{name} of {span(months)}" for name, months in tables)
    other = other_judgement(work.warehouse, work.settings, changed["month"].unique().to_list())
    if other:
        return [
            f"other rows than those stored before: {named}; they are judged with other settings now, before with "
            f"{', '.join(other)}. The new rows replace them"
        ]
    raise RestatedSource(
        f"the source {work.source.name} delivers other rows than those stored: {named}. Nothing was changed in these months. "
        f"`rotation ingest --restated --database {work.warehouse.path}` shows what differs, with --accept it is taken "
        "over; `rotation run --stale` then computes again what was made of the old rows"
    )


def ingest(work: Work) -> Outputs:
    """Fetch and judge the months."""
    found = judged(work.settings, work.source, work.months, work.fetched_at)
    work.notices += _restated(work, found.ingestions)
    tables = {f"raw.{name}": frame for name, frame in found.tables.items()}
    if isinstance(work.source, KnowsTruth):
        # kept apart from everything the stages read or return: only tests and the recovery study look at it
        truth = {f"truth.{name}": frame for name, frame in work.source.truth(work.months).items()}
        work.warehouse.write(truth, work.months, work.run_id)
    return {**tables, "raw.quarantine": found.quarantine, "raw.ingestions": found.ingestions}
