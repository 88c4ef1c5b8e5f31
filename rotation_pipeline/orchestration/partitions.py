"""Monthly partitions: one definition for every table, so that a range over the whole graph is one run."""

from __future__ import annotations

from datetime import date

import dagster as dg

from rotation_pipeline.market.calendar import months_between, parse_month
from rotation_pipeline.settings import Settings


def monthly(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Months from the first market data on; a month exists once it has ended."""
    return dg.MonthlyPartitionsDefinition(start_date=settings.history_start.isoformat(), fmt="%Y-%m-%d")


def months_of(context: dg.AssetExecutionContext) -> list[date]:
    """The months a run asks for: one partition, or a range in one run."""
    keys = context.partition_key_range
    return months_between(parse_month(keys.start[:7]), parse_month(keys.end[:7]))
