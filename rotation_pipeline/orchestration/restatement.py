"""History a source restates: what differs from the rows stored, what that makes stale, and taking it over on command.

A run over months stored before refuses a source that delivers other rows for them (``RestatedSource``). ``compare``
shows what differs, ``accept`` takes it over in one transaction and marks every partition computed from it, by lineage
and look-back; ``run_stale`` computes exactly those again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from rotation_pipeline.market.calendar import add_months, consecutive
from rotation_pipeline.market.differences import CELL_SCHEMA, Differences, differences
from rotation_pipeline.market.tables import INGESTIONS, QUARANTINE, SOURCE_TABLES
from rotation_pipeline.orchestration.consistency import inspect_all, other_judgement, span
from rotation_pipeline.orchestration.graph import inputs_of, stage_named, stages
from rotation_pipeline.orchestration.ingesting import judged
from rotation_pipeline.orchestration.reports import require_report
from rotation_pipeline.orchestration.runner import Event, identify, prepare, refuse_another_sample, refuse_mixed_sources
from rotation_pipeline.orchestration.stages import Outcome, Stage, Work, run_stage
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import AsksAgain, Source, SourceError
from rotation_pipeline.sources.ingest import Ingestion
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.errors import MissingPartition, MixedSettings, StaleResults
from rotation_pipeline.warehouse.replaced import PARTITION_SCHEMA, TakeOver, later_month_of, stale_marks, take_over
from rotation_pipeline.warehouse.store import Execution, Warehouse

MONTHS_AT_ONCE = 12
"""Months fetched and judged together: rows of a month are the same alone and in a range, memory is bounded."""
INGEST = "raw_market_data"
_DATA = tuple(table.name for table in SOURCE_TABLES)


@dataclass(frozen=True)
class Restatement:
    """What a source delivers otherwise than what is stored.

    ``partitions``: :data:`PARTITION_SCHEMA`, raw tables and months with other content. ``cells``: ``table_name`` and
    :data:`rotation_pipeline.market.differences.CELL_SCHEMA`, the largest changes by table, month and column.
    ``findings``: (table_name, month) of which only what the sanity rules say differs. ``rows``: rows to take over, by
    full name of the table. ``securities``: by raw table and month the keys of securities with rows that differ.
    ``touched``: months with anything that differs.
    """

    months: tuple[date, ...]
    partitions: pl.DataFrame
    cells: pl.DataFrame
    findings: tuple[tuple[str, date], ...]
    rows: Mapping[str, pl.DataFrame]
    securities: Mapping[str, Mapping[date, Sequence[int]]]
    touched: tuple[date, ...]

    @property
    def none(self) -> bool:
        """The source still says what it said."""
        return self.partitions.is_empty() and not self.findings

    def changed(self) -> dict[str, list[date]]:
        """By full name of the raw table the months with other rows."""
        found: dict[str, list[date]] = {}
        for name, month in self.partitions.select("table_name", "month").iter_rows():
            found.setdefault(f"raw.{name}", []).append(month)
        return found


@dataclass(frozen=True)
class Answer:
    """A source that says what it says today, and since when it was asked (UTC without zone; None: it holds nothing back)."""

    source: Source
    asked_at: datetime | None = None


def asked_again(
    settings: Settings,
    source: Source,
    months: Sequence[date],
    listen: Callable[[int, int, str], None] = lambda _done, _total, _next: None,
    *,
    now: datetime,
    accept: bool = False,
    warn: Callable[[str], None] = lambda _text: None,
) -> Answer:
    """A source that says what it says today: a vendor's months are downloaded once more, beside those kept.

    Any other source says that anyway, and :func:`prepare` is called for its ``months``.

    Interrupted, the same call to a vendor goes on; what was downloaded is kept until it is adopted, or for
    ``source.vendor.answer_days``: an older answer is thrown away and asked for anew, which ``warn`` hears. With
    ``accept`` it is refused instead (SourceError): what is asked for anew nobody has looked at yet.
    """
    if not isinstance(source, AsksAgain) or not months:
        for run in consecutive(months):
            prepare(settings, source, run, listen)
        return Answer(source)
    fresh = source.again()
    assert isinstance(fresh, AsksAgain)
    asked_at = fresh.asked_at(now)
    limit = settings.source.vendor.answer_days
    if now - asked_at > timedelta(days=limit):
        old = f"what {source.name} answered is {age(asked_at, now)} old (asked on {asked_at:%Y-%m-%d}; source.vendor.answer_days = {limit:g})"
        if accept:
            raise SourceError(
                f"{old}, and it may say something else today. Nothing was taken over. `rotation ingest --restated` without "
                "--accept asks again and shows what differs"
            )
        warn(f"{old}; it is asked again")
        fresh.discard()
        asked_at = fresh.asked_at(now)
    for run in consecutive(months):
        prepare(settings, fresh, run, listen)
    return Answer(fresh, asked_at)


def age(asked_at: datetime, now: datetime) -> str:
    """How long ago, as people say it."""
    hours = (now - asked_at) / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 24 else f"{hours:.1f} hours"


def compare(
    warehouse: Warehouse,
    settings: Settings,
    source: Source,
    months: Sequence[date],
    listen: Callable[[int, int], None] = lambda _done, _total: None,
) -> Restatement:
    """Fetch ``months`` again, as they were fetched, and hold them against what is stored; nothing is written.

    Months never fetched are passed over. Raises WarehouseError for another source or sample, MixedSettings for settings
    that judge rows otherwise than those stored, and the errors of an ingestion.
    """
    refuse_mixed_sources(warehouse, source)
    refuse_another_sample(warehouse, settings)
    stored = set(warehouse.months("raw.ingestions"))
    wanted = [month for month in months if month in stored]
    other = other_judgement(warehouse, settings, wanted)
    if other:
        raise MixedSettings(
            f"the rows in {warehouse.path} were judged with {', '.join(other)}; what differs could be the settings' doing. "
            "Nothing was changed. Compare with the settings of the rows stored"
        )
    first, last = source.span()
    gone = [month for month in wanted if not first <= month <= last]
    if gone:
        raise SourceError(
            f"source {source.name} no longer serves {span(gone)}, which {warehouse.path} holds; it can't be compared. "
            "Give the source its months back, or name others (--from, --to)"
        )
    found = _Found()
    done = 0
    for run in consecutive(wanted):
        for start in range(0, len(run), MONTHS_AT_ONCE):
            part = run[start : start + MONTHS_AT_ONCE]
            listen(done, len(wanted))
            found.add(warehouse, part, judged(settings, source, part, datetime.now(UTC).replace(tzinfo=None)))
            done += len(part)
    listen(done, len(wanted))
    return found.result(wanted)


class _Found:
    """What was found so far."""

    def __init__(self) -> None:
        self.partitions: list[tuple[object, ...]] = []
        self.cells: list[pl.DataFrame] = []
        self.findings: list[tuple[str, date]] = []
        self.rows: dict[str, list[pl.DataFrame]] = {}
        self.securities: dict[str, dict[date, list[int]]] = {}
        self.touched: list[date] = []

    def add(self, warehouse: Warehouse, months: list[date], now: Ingestion) -> None:
        """Hold consecutive months against what is stored."""
        marks = _fingerprints(warehouse, months, now.ingestions)
        restated = marks.filter(pl.col("old_sha256").ne_missing(pl.col("new_sha256")))
        for (name,), part in restated.group_by("table_name", maintain_order=True):
            table, changed = table_named(f"raw.{name}"), part["month"].to_list()
            before = warehouse.read(f"raw.{name}", first=months[0], last=months[-1], order=())
            rows = now.tables[str(name)].filter(pl.col("month").is_in(changed))
            found = differences(table, before.filter(pl.col("month").is_in(changed)), rows)
            self._remember(str(name), part, found, rows)
        said = _findings(warehouse, months, now.quarantine)
        same = marks.filter(pl.col("old_sha256").eq_missing(pl.col("new_sha256"))).select("table_name", "month")
        self.findings += [key for key in same.iter_rows() if key in said]
        touched = {*restated.select("table_name", "month").iter_rows(), *self.findings}
        self._bookkeeping(warehouse, now, touched, months)

    def _remember(self, name: str, part: pl.DataFrame, found: Differences, rows: pl.DataFrame) -> None:
        counts = {month: (added, removed, changed) for month, added, removed, changed in found.counts.iter_rows()}
        for month, old, new in part.select("month", "old_sha256", "new_sha256").iter_rows():
            self.partitions.append((name, month, old, new, *counts.get(month, (0, 0, 0))))
        self.cells.append(found.cells.insert_column(0, pl.lit(name).alias("table_name")))
        self.rows.setdefault(f"raw.{name}", []).append(rows)
        if "asset_key" in found.keys.columns:
            keys = found.keys.group_by("month").agg(pl.col("asset_key").unique().sort())
            self.securities.setdefault(f"raw.{name}", {}).update(dict(keys.iter_rows()))

    def _bookkeeping(
        self, warehouse: Warehouse, now: Ingestion, touched: set[tuple[str, date]], months: list[date]
    ) -> None:
        """Of months with anything new the whole partitions of what ingestion says: new rows for what was touched."""
        whole = [month for month in months if any(when == month for _, when in touched)]
        if not whole:
            return
        self.touched += whole
        new = pl.DataFrame(sorted(touched), schema={"table_name": pl.String, "month": pl.Date}, orient="row")
        key = ["table_name", "month"]
        for table, fetched in ((QUARANTINE, now.quarantine), (INGESTIONS, now.ingestions)):
            before = warehouse.read(table.full_name, first=months[0], last=months[-1])
            before = before.filter(pl.col("month").is_in(whole)).join(new, on=key, how="anti")
            rows = pl.concat([before, fetched.join(new, on=key, how="semi").select(before.columns)])
            self.rows.setdefault(table.full_name, []).append(rows.sort(table.key))

    def result(self, months: list[date]) -> Restatement:
        """All of it."""
        empty = pl.DataFrame(schema={"table_name": pl.String, **CELL_SCHEMA})
        return Restatement(
            tuple(months),
            pl.DataFrame(self.partitions, schema=PARTITION_SCHEMA, orient="row").sort("table_name", "month"),
            pl.concat([empty, *self.cells]),
            tuple(sorted(self.findings)),
            {name: pl.concat(parts) for name, parts in self.rows.items()},
            self.securities,
            tuple(self.touched),
        )


def _fingerprints(warehouse: Warehouse, months: list[date], ingestions: pl.DataFrame) -> pl.DataFrame:
    """Fingerprint of every table and month, stored and now; null where one side has none."""
    key = ["table_name", "month"]
    stored = warehouse.read("raw.ingestions", first=months[0], last=months[-1])
    old, new = (
        frame.select(*key, pl.col("sha256").alias(name))
        for frame, name in ((stored, "old_sha256"), (ingestions, "new_sha256"))
    )
    both = old.join(new, on=key, how="full", coalesce=True).filter(pl.col("table_name").is_in(_DATA))
    lost = both.filter(pl.col("new_sha256").is_null())
    if lost.height:
        name, month = lost.sort(key).select(key).row(0)
        raise SourceError(
            f"the source no longer serves {name}, which is stored of {month:%Y-%m}; that is no restatement to take over. "
            "Give the source the table back, or compute all months in another file (--database FILE)"
        )
    return both.sort(key)


def _findings(warehouse: Warehouse, months: list[date], now: pl.DataFrame) -> set[tuple[str, date]]:
    """Tables and months of which the sanity rules say something else than what is stored."""
    columns = [name for name in QUARANTINE.stored_names if name not in ("ingestion", "source")]
    stored = warehouse.read("raw.quarantine", first=months[0], last=months[-1]).select(columns)
    fresh = now.select(columns)
    other = pl.concat(
        [
            stored.join(fresh, on=columns, how="anti", nulls_equal=True),
            fresh.join(stored, on=columns, how="anti", nulls_equal=True),
        ]
    )
    return set(other.select("table_name", "month").iter_rows())


# ---------------------------------------------------------------------- what becomes stale


def affected(warehouse: Warehouse, settings: Settings, found: Restatement) -> dict[str, list[date]]:
    """By computed table the stored months that were made of what ``found`` changes, at any distance: to be made again.

    A month of a stage is affected if a month of an input inside its look-back is, or one of its own inside ``own``. To be
    asked while the rows stored are the restated ones: a stage that reads a security's last row, however far back, is
    affected in the next month the security has rows of.
    """
    touched: dict[str, set[date]] = {name: set(months) for name, months in found.changed().items()}
    served = {name for name, old in found.partitions.select("table_name", "old_sha256").iter_rows() if old is None}
    if (
        served
    ):  # a table is served of months it was not served of: stages that ask whether it is read what ingestion says
        touched["raw.ingestions"] = set(found.partitions.filter(pl.col("table_name").is_in(served))["month"])
    ledger = warehouse.written()
    result: dict[str, list[date]] = {}
    for stage in stages():
        tables = [name for name in stage.tables if not table_named(name).view and table_named(name).schema != "raw"]
        if not tables:
            continue
        stored = sorted({month for name in tables for month in ledger.get(name, {})})
        hit = _hit(stage, settings, stored, touched, _resumed(warehouse, stage, found))
        for name in tables if hit else ():
            touched[name], result[name] = set(hit), hit
    return result


def _resumed(warehouse: Warehouse, stage: Stage, found: Restatement) -> set[date]:
    """Months in which securities have their next row after one that changed."""
    if stage.resumes is None:
        return set()
    months = found.securities.get(stage.resumes, {})
    return {
        later for month, assets in months.items() for later in later_month_of(warehouse, stage.resumes, month, assets)
    }


def _hit(
    stage: Stage, settings: Settings, stored: Sequence[date], touched: Mapping[str, set[date]], also: set[date]
) -> list[date]:
    """Of the ``stored`` months of a stage those that read something touched."""
    reach = {name: stage.looks_back(name, settings) for name in inputs_of(stage) if name in touched}
    hit: set[date] = set()
    for month in stored:
        read = any(
            any((back is None or add_months(month, -back) <= other) and other <= month for other in touched[name])
            for name, back in reach.items()
        )
        own = any(stage.own is None or add_months(month, -(stage.own or 0)) <= other for other in hit)
        if read or own or month in also:
            hit.add(month)
    return sorted(hit)


def accept(warehouse: Warehouse, settings: Settings, source: Source, found: Restatement) -> dict[str, list[date]]:
    """Take over what differs, in one transaction; returns the stale months by table.

    The partitions replaced are kept, those computed from them marked. Nothing changes if anything fails.
    """
    if found.none:
        return {}
    run_id, facts = identify(settings, source)
    content = json.dumps([found.partitions.rows(), list(found.findings), facts["source_version"]], default=str)
    said = {table.full_name: list(found.touched) for table in (QUARANTINE, INGESTIONS)}
    new = TakeOver(
        hashlib.sha256(content.encode()).hexdigest()[:16],
        found.partitions,
        found.rows,
        {**found.changed(), **said},
        affected(warehouse, settings, found),
    )
    with warehouse.transaction():
        warehouse.record_run(run_id, facts)
        take_over(warehouse, new, run_id, Execution(INGEST, min(found.touched), time.monotonic()))
    return {name: list(months) for name, months in new.stale.items()}


# ---------------------------------------------------------------------- computing again


def stale_work(warehouse: Warehouse) -> list[tuple[Stage, list[date]]]:
    """What is stale, as runs of months by stage, in the order of the graph."""
    marks = stale_marks(warehouse)
    found: list[tuple[Stage, list[date]]] = []
    for stage in stages():
        months = {month for name in stage.tables for month in marks.get(name, {})}
        found += [(stage, run) for run in consecutive(months)]
    return found


def run_stale(
    warehouse: Warehouse,
    settings: Settings,
    source: Source,
    *,
    listen: Callable[[Event], None] = lambda _event: None,
    warn: Callable[[str], None] = lambda _text: None,
) -> list[Outcome]:
    """Compute the stale partitions again, no others, and write the report of the last month if any of it was.

    Before the first one, all of it is held against the settings and what is stored. Interrupted, the same call goes on.
    """
    work = stale_work(warehouse)
    if not work:
        return []
    refuse_mixed_sources(warehouse, source)
    refuse_another_sample(warehouse, settings)
    run_id, facts = identify(settings, source)
    for notice in inspect_all(warehouse, settings, run_id, facts, work):
        warn(notice)
    warehouse.record_run(run_id, facts)
    outcomes: list[Outcome] = []
    for position, (stage, months) in enumerate(work):
        listen(Event(stage, position, len(work)))
        here = Work(warehouse, settings, source, run_id, list(months))
        outcomes.append(run_stage(stage, here))
        for notice in here.notices:
            warn(notice)
        listen(Event(stage, position, len(work), outcome=outcomes[-1]))
    return [*outcomes, *_reported(warehouse, settings, source, run_id, warn)]


def _reported(
    warehouse: Warehouse, settings: Settings, source: Source, run_id: str, warn: Callable[[str], None]
) -> list[Outcome]:
    """The report of the last month, where the results belong together otherwise."""
    months = warehouse.months("marts.backtest")
    if not months:
        return []
    try:
        require_report(warehouse, settings, months[-1])
    except (MissingPartition, StaleResults) as error:
        warn(str(error))
        return []
    return [run_stage(stage_named("html_report"), Work(warehouse, settings, source, run_id, months[-1:]))]
