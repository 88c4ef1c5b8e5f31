"""Table expectations: what a table's definition promises, checked by Great Expectations before anything is stored.

The expectations are derived from the definition (nulls, ranges, allowed values, unique key, rows per month), so that
schema, documentation and checks cannot drift apart.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import polars as pl

from rotation_pipeline.market.schema import Table, stored_name
from rotation_pipeline.warehouse.errors import PartitionInvalid

ROUNDING = 1e-9
"""A correlation of 1 may come out as 1 + 2e-16; nobody errs by this little."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One broken expectation: what was expected, of which column, how many rows break it, and some of them."""

    expectation: str
    column: str
    rows: int
    examples: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        shown = "; ".join(str(row) for row in self.examples[:3])
        return f"{self.column}: {self.expectation} broken by {self.rows} rows" + (f", such as {shown}" if shown else "")


@dataclass(frozen=True, slots=True)
class Quality:
    """Outcome of all expectations of one table."""

    table: str
    rows: int
    expectations: int
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Every expectation holds."""
        return not self.failures

    def raise_if_failed(self) -> None:
        """Raise :class:`PartitionInvalid` naming table, column and rows."""
        if self.failures:
            found = "\n  ".join(str(failure) for failure in self.failures)
            raise PartitionInvalid(
                f"{self.table} breaks its definition; these rows were not stored:\n  {found}", {self.table: self}
            )


@cache
def _source() -> Any:  # Great Expectations' data source, imported late: it takes seconds
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        # a dependency imports sre_constants, deprecated since Python 3.11
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context.data_sources.add_pandas("stages")


def _expectation_classes() -> Any:
    return importlib.import_module("great_expectations.expectations")


def _expectations(table: Table) -> list[Any]:
    expect = _expectation_classes()

    found: list[Any] = []
    for column in table.columns:
        name = stored_name(column)
        if not column.nullable:
            found.append(expect.ExpectColumnValuesToNotBeNull(column=name))
        if column.minimum is not None or column.maximum is not None:
            low = None if column.minimum is None else column.minimum - ROUNDING * max(1.0, abs(column.minimum))
            high = None if column.maximum is None else column.maximum + ROUNDING * max(1.0, abs(column.maximum))
            found.append(expect.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
        if column.allowed:
            found.append(expect.ExpectColumnValuesToBeInSet(column=name, value_set=list(column.allowed)))
    keys = [stored_name(table.column(name)) for name in table.key]
    found.append(
        expect.ExpectColumnValuesToBeUnique(column=keys[0])
        if len(keys) == 1
        else expect.ExpectCompoundColumnsToBeUnique(column_list=keys)
    )
    return found


def _validate(name: str, frame: pl.DataFrame, expectations: list[Any]) -> list[Failure]:
    import great_expectations as gx

    data = frame.to_pandas()
    source = _source()
    if name in {asset.name for asset in source.assets}:
        source.delete_asset(name)
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all").get_batch({"dataframe": data})
    suite = gx.ExpectationSuite(name=name, expectations=expectations)
    outcome = batch.validate(suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": 3})
    failures: list[Failure] = []
    for result in outcome.results:
        if result.success:
            continue
        config = result.expectation_config
        raised = [str(item.get("exception_message", item)) for item in _exceptions(result.exception_info)]
        if raised:
            raise PartitionInvalid(f"{name}: the expectation {config.type} could not be evaluated: {raised[0]}")
        kwargs = {
            key: value for key, value in config.kwargs.items() if key not in {"batch_id", "column", "column_list"}
        }
        column = config.kwargs.get("column") or ", ".join(config.kwargs.get("column_list", ()))
        rows = [data.iloc[index].to_dict() for index in result.result.get("partial_unexpected_index_list") or []]
        detail = config.type.removeprefix("expect_").replace("_", " ")
        bounds = ", ".join(f"{key}={value}" for key, value in kwargs.items() if value is not None)
        failures.append(
            Failure(
                f"{detail} ({bounds})" if bounds else detail,
                column,
                int(result.result.get("unexpected_count") or 0),
                tuple(rows),
            )
        )
    return failures


def _exceptions(info: Any) -> list[dict[str, Any]]:  # one record, or records by metric
    if not info:
        return []
    records = [info] if "raised_exception" in info else list(info.values())
    return [record for record in records if record.get("raised_exception")]


def check(table: Table, frame: pl.DataFrame, months: Sequence[date]) -> Quality:
    """Hold ``frame`` (stored columns, rows of ``months``) against the definition of ``table``."""
    _source()
    expectations = _expectations(table)
    failures = _validate(table.full_name, frame, expectations) if frame.height else []
    checked = len(expectations)
    if table.minimum_rows and months:
        expect = _expectation_classes()

        wanted = pl.DataFrame({"month": list(months)}, schema={"month": pl.Date})
        counts = wanted.join(frame.group_by("month").len("rows"), on="month", how="left").with_columns(
            pl.col("rows").fill_null(0).cast(pl.Int64)
        )
        failures += _validate(
            f"{table.full_name} rows per month",
            counts,
            [expect.ExpectColumnValuesToBeBetween(column="rows", min_value=table.minimum_rows)],
        )
        checked += 1
    return Quality(table.full_name, frame.height, checked, tuple(failures))
