"""What Dagster's pages tell of a run: quality with the failing rows, the newest rows, failures with their remedy first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg
import polars as pl

from rotation_pipeline.market.schema import Table
from rotation_pipeline.orchestration.stages import Stage
from rotation_pipeline.warehouse.errors import PartitionInvalid
from rotation_pipeline.warehouse.quality import Quality

PACKAGE = "rotation_pipeline."
NEWEST_ROWS = 5
"""Rows of the last month an asset's page shows."""
HELP = "rotation doctor looks for the usual causes; rotation status says what is stored"


def check_metadata(quality: Quality) -> dict[str, Any]:
    """Rows and expectations counted; where some are broken, which ones, and the first rows that break them."""
    metadata: dict[str, Any] = {"rows": quality.rows, "expectations": quality.expectations}
    if quality.passed:
        return metadata
    broken = [
        {"column": failure.column, "expectation": failure.expectation, "rows": failure.rows}
        for failure in quality.failures
    ]
    metadata["broken expectations"] = _table(broken)
    failing = [
        {"broken": f"{failure.column}: {failure.expectation}", **row}
        for failure in quality.failures
        for row in failure.examples
    ]
    if failing:
        metadata["failing rows"] = _table(failing)
    return metadata


def broken_text(quality: Quality) -> str | None:
    """What is broken and by how many rows, in a line; None where nothing is."""
    told = [
        f"{failure.column}: {failure.expectation} broken by {failure.rows} rows of {quality.rows}"
        for failure in quality.failures
    ]
    return "; ".join(told) or None


def newest_rows(table: Table, frame: pl.DataFrame, month: date) -> dg.TableMetadataValue | None:
    """The first rows, in the order of the key, of the table's rows of ``month``; None where it has none."""
    own = frame.filter(pl.col("month") == month)
    keys = [name for name in table.key if name in own.columns]
    rows = own.sort(keys).head(NEWEST_ROWS).to_dicts()
    short = [
        {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]
    return _table(short) if short else None


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows as Dagster shows them; a column some rows lack is empty there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    records = [dg.TableRecord({name: _cell(row.get(name)) for name in names}) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in names]))


def _cell(value: object) -> str | int | float | bool:
    """A value Dagster can store; months and days as ISO text, null as nothing."""
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if value is None:
        return ""
    return value.isoformat()[:10] if isinstance(value, date | datetime) else str(value)


def _broken_rows(error: PartitionInvalid) -> str:
    told = "\n".join(f"{name}: {broken_text(quality)}" for name, quality in error.quality.items())
    return (
        f"rows break their table's definition; they were not stored.\n{told}\nThe check of the asset shows the rows, and "
        "`rotation lineage TABLE.COLUMN` names the raw columns behind them. Mend those at their source and materialize the "
        "months again, raw_market_data first"
    )


def known_failure(error: Exception, stage: Stage, months: Sequence[date]) -> dg.Failure | None:
    """A failure that says what is wrong and what to do, for an error of the project's own kinds; None for any other.

    The project's errors name table, row or setting and the remedy. Another error is a fault of the program: its trace
    is what helps, and Dagster shows that.
    """
    kind = type(error)
    if not kind.__module__.startswith(PACKAGE):
        return None
    text = _broken_rows(error) if isinstance(error, PartitionInvalid) and error.quality else str(error)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower().removesuffix(" error")
    return dg.Failure(
        description=text,
        metadata={
            "kind": words,
            "stage": stage.name,
            "months": f"{months[0]:%Y-%m} … {months[-1]:%Y-%m}",
            "more": HELP,
        },
        allow_retries=False,
    )
