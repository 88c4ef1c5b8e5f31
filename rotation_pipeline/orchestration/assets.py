"""Stages as Dagster assets: one asset a table, with schema, lineage, row counts, a small plot and quality checks."""

# No postponed annotations here: Dagster reads the types of an asset's parameters.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from rotation_pipeline.market.schema import Column, Table
from rotation_pipeline.orchestration.graph import sources_of, stages
from rotation_pipeline.orchestration.pages import broken_text, check_metadata, known_failure, newest_rows
from rotation_pipeline.orchestration.partitions import months_of
from rotation_pipeline.orchestration.plots import plot_markdown, plotted
from rotation_pipeline.orchestration.resources import RotationResource
from rotation_pipeline.orchestration.runner import require_inputs
from rotation_pipeline.orchestration.stages import Outcome, Stage, Work, first_month, run_stage
from rotation_pipeline.settings import Settings
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.errors import DatabaseLocked, PartitionInvalid
from rotation_pipeline.warehouse.lineage import direct_sources
from rotation_pipeline.warehouse.quality import Quality

POOL = "duckdb"
OWNERS = ["team:research"]
CHECK = "definition"
REPORT_KEY = dg.AssetKey(["report", "html"])


def asset_key(table: str) -> dg.AssetKey:
    """``schema.table`` → the asset's key."""
    return dg.AssetKey(table.split("."))


def _column_text(column: Column) -> str:
    null = f"; null: {column.null}" if column.nullable else ""
    return f"{column.meaning} [{column.unit}]{null}"


def column_schema(table: Table) -> dg.TableSchema:
    """Columns with type, unit, meaning and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                "INTEGER key, VARCHAR" if column.type == "ASSET" else column.type,
                description=_column_text(column),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.key == (column.name,)),
            )
            for column in table.columns
        ]
    )


def column_lineage(table: Table) -> dg.TableColumnLineage:
    """For every column the columns it was computed from, one step back."""
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for column in table.columns:
        sources = direct_sources(f"{table.full_name}.{column.name}")
        deps[column.name] = [
            dg.TableColumnDep(asset_key(source.rpartition(".")[0]), source.rpartition(".")[2]) for source in sources
        ]
    return dg.TableColumnLineage(deps_by_column={name: found for name, found in deps.items() if found})


def _spec(stage: Stage, name: str, settings: Settings) -> dg.AssetSpec:
    """Every table of a stage depends on all the stage reads: they are computed together, and were their dependencies to
    differ, a backfill would take them at different depths of the graph and split a range into several runs."""
    table = table_named(name)
    metadata: dict[str, Any] = {
        "dagster/column_schema": column_schema(table),
        "dagster/table_name": name,
        "key": ", ".join(table.key),
        "first month": first_month(settings, stage.begins).strftime("%Y-%m"),
    }
    return dg.AssetSpec(
        asset_key(name),
        deps=[asset_key(source) for source in sources_of(stage)],
        description=f"{table.meaning[:1].upper()}{table.meaning[1:]}.\n\nStage `{stage.name}`: {stage.description}.\n\n"
        f"To look at its rows: `rotation show {name}`; where a column comes from: `rotation lineage {name}.COLUMN`.",
        group_name=stage.group,
        owners=OWNERS,
        kinds=set(stage.kinds),
        metadata=metadata,
    )


def _check_result(name: str, quality: Quality) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=quality.passed,
        asset_key=asset_key(name),
        check_name=CHECK,
        metadata=check_metadata(quality),
        description=broken_text(quality),
        severity=dg.AssetCheckSeverity.ERROR,
    )


def _materialization(name: str, outcome: Outcome) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What every month of the run remembers of it; kept small, because a range stores it once a month."""
    months = outcome.months
    metadata: dict[str, Any] = {}
    if not months:
        metadata["note"] = "the stage has no rows of these months: it begins later"
    else:
        metadata["months"] = f"{months[0]:%Y-%m} … {months[-1]:%Y-%m} ({len(months)})"
        metadata["seconds"] = round(outcome.seconds, 3)
        if not table_named(name).view:
            metadata["rows"] = outcome.rows[name]
    return dg.MaterializeResult(asset_key=asset_key(name), metadata=metadata)


def _details(name: str, outcome: Outcome, work: Work) -> dict[str, Any]:
    """What the asset's page shows of its latest month: lineage of the columns, rows of that month, a small plot.

    The plot is of the months of the run or, for a month alone, of what is stored up to it. Rows of a run computed in parts
    that are no longer in memory are read again, their plotted columns only.
    """
    table = table_named(name)
    metadata: dict[str, Any] = {"dagster/column_lineage": column_lineage(table)}
    if not outcome.months:
        metadata["dagster/partition_row_count"] = 0
    elif not table.view:
        frame = outcome.frames[name]
        metadata["dagster/partition_row_count"] = frame.filter(frame["month"] == outcome.months[-1]).height
        alone, let_go = len(outcome.months) == 1, frame.height < outcome.rows[name]
        stored = (
            work.table(name, back=None if alone else 0, columns=plotted(table), order=()) if alone or let_go else frame
        )
        plot = plot_markdown(table, stored)
        if plot is not None:
            metadata["plot"] = dg.MetadataValue.md(plot)
        newest = newest_rows(table, frame, outcome.months[-1])
        if newest is not None:
            metadata["newest rows"] = newest
    return metadata


def build_asset(stage: Stage, settings: Settings, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The Dagster asset (one key a table) of a stage."""
    tables = stage.tables
    specs = [_spec(stage, name, settings) for name in tables]
    stored = [name for name in tables if not table_named(name).view]
    if not tables:
        specs = [
            dg.AssetSpec(
                REPORT_KEY,
                deps=[asset_key(source) for source in sources_of(stage)],
                description=stage.description,
                group_name=stage.group,
                owners=OWNERS,
                kinds=set(stage.kinds),
            )
        ]

    @dg.multi_asset(
        name=stage.name,
        specs=specs,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=asset_key(name),
                blocking=True,
                description="Nulls, ranges, allowed values, unique key and rows per month, "
                "derived from the table's definition; checked before anything is stored.",
            )
            for name in stored
        ],
        pool=POOL,
    )
    def compute(context: dg.AssetExecutionContext, rotation: RotationResource) -> Iterator[Any]:
        months = months_of(context)
        try:
            with rotation.work(months, fetches=stage.fetches) as work:
                for notice in require_inputs(stage, work):
                    context.log.warning(notice)
                outcome = run_stage(stage, work)
                for notice in work.notices:
                    context.log.warning(notice)
                details = {name: _details(name, outcome, work) for name in tables}
        except DatabaseLocked as error:
            raise dg.RetryRequested(max_retries=3, seconds_to_wait=20) from error
        except Exception as error:
            for name, quality in error.quality.items() if isinstance(error, PartitionInvalid) else ():
                yield _check_result(name, quality)
            failure = known_failure(error, stage, months)
            if failure is None:
                raise
            raise failure from error
        context.log.info("%s: %s rows in %.2f s", stage.name, dict(outcome.rows), outcome.seconds)
        for name in tables:
            context.add_asset_metadata(details[name], asset_key(name), months[-1].isoformat())
            yield _materialization(name, outcome)
        for name in stored:
            yield _check_result(name, outcome.quality.get(name, Quality(name, 0, 0, ())))
        if not tables:
            yield dg.MaterializeResult(
                asset_key=REPORT_KEY,
                metadata={path.name: dg.MetadataValue.path(str(path)) for path in outcome.artifacts},
            )

    return compute


def build_assets(settings: Settings, partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """All assets of the graph."""
    return [build_asset(stage, settings, partitions) for stage in stages()]
