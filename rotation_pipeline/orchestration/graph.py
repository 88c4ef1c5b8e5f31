"""The graph: every stage in order, and how each is wired: read, call one domain function, return rows.

No arithmetic lives here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache

from rotation_pipeline.market import tables as raw
from rotation_pipeline.orchestration import research
from rotation_pipeline.orchestration.stages import Begins, Frame, Group, Stage, Work
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.lineage import table_sources
from rotation_pipeline.warehouse.models import SqlModel, sql_models

_SQL_BEGINS: dict[str, Begins] = {
    "intermediate.universe": "exposures",
    "intermediate.stock_snapshot": "exposures",
    "intermediate.fundamentals_as_of": "exposures",
}
_GROUPS: dict[str, Group] = {"staging": "market_data", "intermediate": "market_data"}


def _run_sql(model: SqlModel) -> Stage:
    name = model.table.full_name

    def compute(work: Work) -> Mapping[str, Frame]:
        parameters = {"index_id": work.settings.universe.index_id}
        return {name: work.warehouse.run_model(model, work.first, work.last, parameters)}

    return Stage(
        name=model.table.name,
        group="market_data",
        description=model.table.meaning,
        begins=_SQL_BEGINS.get(name, "history"),
        tables=(name,),
        compute=compute,
        kinds=("sql", "duckdb"),
    )


def _views(schema: str, group: Group, description: str, name: str) -> Stage | None:
    tables = tuple(model.table.full_name for model in sql_models() if model.is_view and model.table.schema == schema)
    if not tables:
        return None
    return Stage(name, group, description, "history", tables, lambda _work: {}, kinds=("sql", "duckdb"))


@cache
def stages() -> tuple[Stage, ...]:
    """All stages, each after those it reads."""
    found: list[Stage] = [
        Stage(
            "raw_market_data",
            "market_data",
            "Fetch the months from the source, hold every row against the sanity rules, quarantine what fails",
            "history",
            tuple(table.full_name for table in raw.TABLES),
            research.ingest,
            kinds=("python",),
        ),
    ]
    staging = _views(
        "staging", "market_data", "Canonical, typed views of the raw tables with readable identifiers", "staging"
    )
    if staging is not None:
        found.append(staging)
    found += [_run_sql(model) for model in sql_models() if not model.is_view]
    found += research.STAGES
    marts = _views("marts", "report", "Views people query: one line per month over all stages", "overview")
    if marts is not None:
        found.append(marts)
    found.append(research.REPORT)
    return tuple(found)


def stage_named(name: str) -> Stage:
    """The stage called ``name``; KeyError lists them."""
    by_name = {stage.name: stage for stage in stages()}
    if name not in by_name:
        raise KeyError(f"there is no stage {name!r}; stages are {', '.join(by_name)}")
    return by_name[name]


def sources_of(stage: Stage) -> tuple[str, ...]:
    """Tables a stage reads, its own left out."""
    found = {source for name in stage.tables for source in table_sources(name)} | set(stage.reads)
    return tuple(sorted(found - set(stage.tables)))


def missing_inputs(stage: Stage, work: Work) -> Iterator[tuple[str, Sequence[date]]]:
    """Tables a stage reads that lack months it is asked for, with those months."""
    settings = work.settings
    producers = {name: other for other in stages() for name in other.tables}
    for name in sources_of(stage):
        table = table_named(name)
        producer = producers.get(name)
        if producer is None or table.view or table.minimum_rows == 0:
            continue
        have = set(work.warehouse.months(name))
        lacking = [
            month for month in producer.months(settings, stage.months(settings, work.months)) if month not in have
        ]
        if lacking:
            yield name, lacking
