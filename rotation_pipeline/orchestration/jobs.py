"""Jobs and the monthly schedule."""

from __future__ import annotations

import dagster as dg

from rotation_pipeline.orchestration.assets import POOL

EXECUTOR = dg.in_process_executor
"""A process per step costs seconds of start-up for each of twenty small steps, and DuckDB admits one writer anyway."""
RESEARCH_GROUPS = ("factors", "regimes", "forecasts", "allocation", "backtest", "narratives")


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """Ingest, research, report, and all three as one."""
    groups = {
        "ingest": (dg.AssetSelection.groups("market_data"), "Fetch, check and prepare market data for the months"),
        "research": (dg.AssetSelection.groups(*RESEARCH_GROUPS), "Exposures to narratives for the months"),
        "report": (dg.AssetSelection.groups("report"), "Write the HTML report as of the last month"),
        "rotation": (dg.AssetSelection.all(), "The whole graph, from raw prices to the report"),
    }
    return [
        dg.define_asset_job(
            name,
            selection=selection,
            description=text,
            executor_def=EXECUTOR,
            tags={"dagster/max_retries": "1", "pool": POOL},
        )
        for name, (selection, text) in groups.items()
    ]


def build_restatement_job(checks: dg.AssetChecksDefinition) -> dg.UnresolvedAssetJobDefinition:
    """The checks alone that name months made of rows restated since; nothing is materialized."""
    return dg.define_asset_job(
        "staleness",
        selection=dg.AssetSelection.checks(checks),
        description="Name the months computed from raw rows their source has restated since",
        executor_def=EXECUTOR,
        tags={"pool": POOL},
    )


def build_schedule(job: dg.UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """The month just ended, on the 4th at 06:00 Shanghai: vendors need a few days to settle the last session."""

    @dg.schedule(
        job=job,
        name="month_just_ended",
        cron_schedule="0 6 4 * *",
        execution_timezone="Asia/Shanghai",
        description="Materialize the month just ended, a few days later.",
    )
    def month_just_ended(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        from rotation_pipeline.market.calendar import add_months, month_start

        month = add_months(month_start(context.scheduled_execution_time.date()), -1)
        return dg.RunRequest(run_key=month.isoformat(), partition_key=month.isoformat())

    return month_just_ended
