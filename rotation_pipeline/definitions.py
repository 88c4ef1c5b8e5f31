"""The single entry point for Dagster."""

from __future__ import annotations

import dagster as dg
from dagster_duckdb import DuckDBResource

from rotation_pipeline.orchestration.asset_checks import build_checks
from rotation_pipeline.orchestration.assets import build_assets
from rotation_pipeline.orchestration.jobs import EXECUTOR, build_jobs, build_restatement_job, build_schedule
from rotation_pipeline.orchestration.partitions import monthly
from rotation_pipeline.orchestration.resources import RotationResource
from rotation_pipeline.settings import Settings, load_settings


def build_definitions(settings: Settings) -> dg.Definitions:
    """The graph under ``settings``."""
    partitions = monthly(settings)
    jobs, checks = build_jobs(), build_checks()
    duckdb = DuckDBResource(
        database=str(settings.database_path.resolve()), connection_config={"threads": settings.threads}
    )
    return dg.Definitions(
        assets=build_assets(settings, partitions),
        asset_checks=[checks],
        jobs=[*jobs, build_restatement_job(checks)],
        schedules=[build_schedule(jobs[-1])],
        resources={"rotation": RotationResource(duckdb=duckdb, settings_json=settings.model_dump_json())},
        executor=EXECUTOR,
    )


defs = build_definitions(load_settings())
