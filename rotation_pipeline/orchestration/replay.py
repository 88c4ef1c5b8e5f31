"""Replay equality: what was computed for month t with everything at hand must be computed again, row by row, by a
database that was cut off at t.

For each month t a second database receives the raw partitions up to t and everything the stages wrote before t; then
every stage computes t anew, the ingestion included, and the rows are compared. By induction over months this covers
the whole history: a stage that reads past t gives other rows at t when there is nothing past t to read.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl

from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.schema import Table, stored_name
from rotation_pipeline.market.tables import TABLES as RAW_TABLES
from rotation_pipeline.narratives.options import LlmOptions
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.runner import make_source, record
from rotation_pipeline.orchestration.stages import Frame, Stage, Work, run_stage
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import Source
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.drafts import copy_drafts
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

INGEST = "raw_market_data"


EXEMPT: dict[str, str] = {
    "truth.regimes": "the simulator's truth, which no stage reads",
    "truth.premia": "the simulator's truth, which no stage reads",
    "truth.betas": "the simulator's truth, which no stage reads",
    "marts.sensitivity": "written by a study and not by a stage, as of one month; the study recomputes the stored months and refuses any "
    "difference before its first cell",
}
"""Stored tables that are not replayed, and why."""


@dataclass(frozen=True)
class Comparison:
    """One table at one month: rows in the full and in the cut database, and how many differ."""

    month: date
    stage: str
    table: str
    rows: int
    replayed_rows: int
    different: int
    example: str

    @property
    def equal(self) -> bool:
        """Row by row the same."""
        return self.different == 0 and self.rows == self.replayed_rows


def spread(months: Sequence[date], count: int) -> list[date]:
    """``count`` months spread evenly over the sample, its last included (all of them if it is shorter)."""
    if count < 1:
        raise ValueError("at least one month must be replayed")
    if count >= len(months):
        return list(months)
    return [months[round((position + 1) * len(months) / count) - 1] for position in range(count)]


def compare(table: Table, full: pl.DataFrame, replayed: pl.DataFrame) -> tuple[int, str]:
    """Rows that differ in anything but volatile columns, bit for bit; and one of them in words."""
    steady = [stored_name(column) for column in table.columns if not column.volatile]
    keys = [stored_name(table.column(key)) for key in table.key]
    left, right = full.select(steady).sort(keys), replayed.select(steady).sort(keys)
    if left.equals(right, null_equal=True):
        return 0, ""
    only_left = left.join(right, on=steady, how="anti", nulls_equal=True)
    only_right = right.join(left, on=steady, how="anti", nulls_equal=True)
    shown = only_left if only_left.height else only_right
    side = "full" if only_left.height else "cut"
    return max(only_left.height, only_right.height, 1), f"only in the {side} database: {shown.head(1).to_dicts()[:1]}"


def cut(full: Warehouse, into: Warehouse, month: date, produced: Collection[str]) -> None:
    """Fill an empty database with what was known when ``month`` was computed.

    Tables the replayed stages produce end before ``month``; the others, their inputs, end with it. So do tables that
    collect configurations (with a scope): those of other configurations are inputs, and the stage replaces its own.
    """
    for name, table in catalog().items():
        if table.view or table.schema == "truth":
            continue
        computed = name in produced and not table.scope
        rows = full.read(name, last=add_months(month, -1) if computed else month)
        if rows.height:
            into.write({name: rows}, _span(rows), "replay")
    copy_drafts(full, into)


def _span(rows: pl.DataFrame) -> list[date]:
    months = rows["month"].unique().sort().to_list()
    return [months[0], months[-1]]


def with_writer_of(full: Warehouse, settings: Settings, month: date) -> Settings:
    """The settings with the language model, or none, of the run that wrote the narratives of ``month``.

    Months told by different models, or by the template, may stand side by side: each row says who wrote it.
    """
    run_id = full.written().get("marts.narratives", {}).get(month)
    recorded = next((json.loads(run["settings"]) for run in full.runs() if run["run_id"] == run_id), {})
    known = {item.name for item in fields(LlmOptions)}
    used = {name: value for name, value in recorded.get("llm", {}).items() if name in known}
    return settings.model_copy(update={"llm": LlmOptions(**used)})


def replay_month(
    full: Warehouse, settings: Settings, source: Source, month: date, graph: Sequence[Stage]
) -> list[Comparison]:
    """Compute ``month`` again in a database cut off before it, and compare every table of every stage."""
    found: list[Comparison] = []
    settings = with_writer_of(full, settings, month)
    with tempfile.TemporaryDirectory(prefix="rotation-replay-") as folder:
        path = Path(folder) / "cut.duckdb"
        with open_warehouse(path, threads=settings.threads) as small:
            cut(full, small, month, {name for stage in graph for name in stage.tables})
            run_id = record(small, settings, source)
            for stage in graph:
                if not stage.months(settings, [month]) or all(table_named(name).view for name in stage.tables):
                    continue
                run_stage(stage, Work(small, settings, source, run_id, [month], offline=True))
                for name in stage.tables:
                    table = table_named(name)
                    if table.view:
                        continue
                    expected = full.read(name, first=month, last=month)
                    again = small.read(name, first=month, last=month)
                    different, example = compare(table, expected, again)
                    found.append(Comparison(month, stage.name, name, expected.height, again.height, different, example))
    return found


def verify_replay(
    full: Warehouse,
    settings: Settings,
    months: Sequence[date],
    *,
    graph: Sequence[Stage] | None = None,
    listen: Callable[[date, list[Comparison]], None] = lambda _month, _found: None,
) -> list[Comparison]:
    """Replay every month in ``months``; all comparisons, in order."""
    source = make_source(settings)
    chosen = tuple(graph) if graph is not None else stages()
    found: list[Comparison] = []
    for month in months:
        here = replay_month(full, settings, source, month, chosen)
        listen(month, here)
        found += here
    return found


# ---------------------------------------------------------------------- the proof that the proof can fail


def _smoothed(stage: Stage) -> Stage:
    """The regime stage with a leak: labels taken from probabilities smoothed over all data in the database."""

    def compute(work: Work) -> Mapping[str, Frame]:
        from rotation_pipeline.regimes.walk_forward import smoothed_regimes

        honest = dict(stage.compute(work))
        features = work.warehouse.read("intermediate.index_features").to_pandas()
        features = features.assign(month=pd.to_datetime(features["month"]), day=pd.to_datetime(features["day"]))
        regimes = honest["marts.regimes"]
        models = honest["marts.regime_models"]
        if not isinstance(regimes, pd.DataFrame) or not isinstance(models, pd.DataFrame):
            raise WarehouseError("the regime stage must return pandas frames")
        honest["marts.regimes"] = smoothed_regimes(features, models, regimes, work.settings.regimes)
        return honest

    return replace(stage, compute=compute)


def verify_leak_is_caught(full: Warehouse, settings: Settings, months: Sequence[date]) -> list[Comparison]:
    """Replay a regime stage that looks ahead (smoothed probabilities): at least one month must differ.

    The leaking stage first fills a copy of the full database, as a careless pipeline would have.
    """
    source = make_source(settings)
    honest = next(stage for stage in stages() if "marts.regimes" in stage.tables)
    leaking = _smoothed(honest)
    found: list[Comparison] = []
    with (
        tempfile.TemporaryDirectory(prefix="rotation-leak-") as folder,
        open_warehouse(Path(folder) / "leaking.duckdb", threads=settings.threads) as copy,
    ):
        names = {"intermediate.index_features", *leaking.tables, *(table.full_name for table in RAW_TABLES[:1])}
        last = full.months("marts.regimes")[-1]
        for name in sorted(names):
            rows = full.read(name)
            if rows.height:
                copy.write({name: rows}, _span(rows), "replay")
        run_id = record(copy, settings, source)
        for month in months:
            run_stage(leaking, Work(copy, settings, source, run_id, [month]))
        for month in months:
            if month < last:
                found += replay_month(copy, settings, source, month, [leaking])
    return found
