"""The graph: every stage in order, and how each is wired: read, call one domain function, return rows.

No arithmetic lives here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from rotation_pipeline.market import tables as raw
from rotation_pipeline.orchestration import research
from rotation_pipeline.orchestration.ingesting import bars_to_come, ingest
from rotation_pipeline.orchestration.stages import Begins, Frame, Group, Stage, Work
from rotation_pipeline.warehouse.lineage import table_sources
from rotation_pipeline.warehouse.models import SqlModel, sql_models

_SQL_BEGINS: dict[str, Begins] = {
    "intermediate.universe": "exposures",
    "intermediate.stock_snapshot": "exposures",
    "intermediate.fundamentals_as_of": "exposures",
}
_RESUMES = {"intermediate.adjusted_bars": "raw.daily_bars"}
"""Models that read each security's last row before the month, wherever it lies, and of which table."""
_GROUPS: dict[str, Group] = {"staging": "market_data", "intermediate": "market_data"}


def _run_sql(model: SqlModel) -> Stage:
    name = model.table.full_name

    def compute(work: Work) -> Mapping[str, Frame]:
        universe = work.settings.universe
        parameters = {
            "index_id": universe.index_id,
            "industry_scheme": universe.industry_scheme,
            "maximum_absent": universe.maximum_absent,
        }
        return {name: work.warehouse.run_model(model, work.first, work.last, parameters)}

    return Stage(
        name=model.table.name,
        group="market_data",
        description=model.table.meaning,
        begins=_SQL_BEGINS.get(name, "history"),
        tables=(name,),
        compute=compute,
        kinds=("sql", "duckdb"),
        back=model.back,
        options=("universe",),
        backs=_backs(model),
        wide=True,
        resumes=_RESUMES.get(name),
    )


def _backs(model: SqlModel) -> dict[str, int | None]:
    """How far back a model reads each stored table, views resolved."""
    found: dict[str, int | None] = {}
    for source, months in model.backs.items():
        for name in base_tables(source):
            before = found.get(name, 0)
            found[name] = None if months is None or before is None else max(months, before)
    return found


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
            ingest,
            kinds=("python",),
            options=("source", "universe", "simulation", "sanity"),
            wide=True,
            bars=bars_to_come,
            fetches=True,
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


@cache
def producers() -> Mapping[str, Stage]:
    """The stage that writes each table."""
    return {name: stage for stage in stages() for name in stage.tables}


def base_tables(name: str) -> tuple[str, ...]:
    """The tables a view is made of, a table itself: what must be stored for ``name`` to have rows of a month."""
    for model in sql_models():
        if model.is_view and model.table.full_name == name:
            return tuple(sorted({table for source in model.reads for table in base_tables(source)}))
    return (name,)


def inputs_of(stage: Stage) -> tuple[str, ...]:
    """Stored tables a stage reads, views resolved, its own left out."""
    found = {table for source in sources_of(stage) for table in base_tables(source)}
    return tuple(sorted(found - set(stage.tables)))


@cache
def shaped_by(name: str) -> frozenset[str]:
    """Groups of settings that shape the rows of a table: those of its stage and of every stage before it."""
    stage = producers()[name]
    return frozenset({"sample", *stage.options}).union(*(shaped_by(source) for source in inputs_of(stage)))
