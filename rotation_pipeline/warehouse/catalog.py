"""Every table of the warehouse, from the stages' definitions and the heads of the SQL models."""

from __future__ import annotations

from functools import cache

from rotation_pipeline.allocation import tables as allocation
from rotation_pipeline.backtest import tables as backtest
from rotation_pipeline.factors import tables as factors
from rotation_pipeline.forecasting import tables as forecasting
from rotation_pipeline.market import tables as market
from rotation_pipeline.market.schema import Table
from rotation_pipeline.narratives import tables as narratives
from rotation_pipeline.regimes import tables as regimes
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.models import sql_models

STAGE_TABLES: tuple[Table, ...] = (
    *factors.TABLES,
    *regimes.TABLES,
    *forecasting.TABLES,
    *allocation.TABLES,
    *backtest.TABLES,
    *narratives.TABLES,
)
"""Tables computed in Python."""


@cache
def catalog() -> dict[str, Table]:
    """Every table and view by full name, raw first. Raises if two definitions share a name."""
    tables = (*market.TABLES, *market.TRUTH_TABLES, *(model.table for model in sql_models()), *STAGE_TABLES)
    found: dict[str, Table] = {}
    for table in tables:
        if table.full_name in found:
            raise WarehouseError(f"{table.full_name} is defined twice")
        found[table.full_name] = table
    return found


def table_named(name: str) -> Table:
    """The table called ``schema.name``. Raises :class:`WarehouseError` with the nearest names."""
    tables = catalog()
    if name not in tables:
        import difflib

        near = difflib.get_close_matches(name, tables, n=3) or sorted(tables)
        raise WarehouseError(f"there is no table {name!r}; did you mean {', '.join(near[:3])}?")
    return tables[name]
