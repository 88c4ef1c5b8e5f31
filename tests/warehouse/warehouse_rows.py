"""Rows of raw tables for the tests of SQL models: what is not said has a plausible value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from rotation_pipeline.market.calendar import month_start, sessions
from rotation_pipeline.market.identifiers import asset_key
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.models import sql_models
from rotation_pipeline.warehouse.schemas import polars_schema
from rotation_pipeline.warehouse.store import Warehouse

USUAL: dict[str, Any] = {
    "open": 10.0, "high": 10.0, "low": 10.0, "close": 10.0, "prev_close": 10.0, "volume": 1e6, "amount": 1e7,
    "adj_factor": 1.0, "is_suspended": False, "is_st": False, "board": "main", "name": "name", "valid_to": None,
    "index_id": "000016.SH", "valid_from": date(2010, 1, 4), "listed_on": date(2010, 1, 4), "source": "memory",
    "fetched_at": datetime(2016, 1, 1), "rows": 0, "quarantined": 0, "warnings": 0, "sha256": "", "source_kind": "simulated",
    "source_version": "1", "cash_per_share": 0.0, "shares_per_share": 0.0, "is_month_end": False,
}  # fmt: skip


def rows(name: str, records: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Stored rows of a raw table; ``asset_id`` becomes its key and ``month`` that of the day if not given."""
    schema = polars_schema(table_named(name))
    found: list[dict[str, Any]] = []
    for record in records:
        given = dict(record)
        if "asset_id" in given:
            given["asset_key"] = asset_key(given.pop("asset_id"))
        if "month" not in given:
            given["month"] = month_start(given.get("day") or given["ex_day"])
        found.append({column: given.get(column, USUAL.get(column)) for column in schema})
    return pl.DataFrame(found, schema=schema)


def put(warehouse: Warehouse, name: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Store ``records`` as the whole content of a raw table."""
    frame = rows(name, records)
    warehouse.execute(f"DELETE FROM {name}")
    if frame.height:
        months = frame["month"].unique().sort().to_list()
        warehouse.write({name: frame}, [months[0], months[-1]], "test")


def put_sessions(warehouse: Warehouse, first: date, last: date) -> list[date]:
    """Store the sessions from ``first`` to ``last`` and return them."""
    days = sessions(first, last)
    put(warehouse, "raw.trading_days", [{"day": day} for day in days])
    return days


def model_rows(warehouse: Warehouse, name: str, first: date, last: date, **parameters: object) -> pl.DataFrame:
    """What a relational model gives for the months ``first..last``."""
    model = next(model for model in sql_models() if model.table.full_name == name)
    given = {"index_id": "000016.SH", "industry_scheme": None, "maximum_absent": 1.0, **parameters}
    return warehouse.run_model(model, first, last, given)
