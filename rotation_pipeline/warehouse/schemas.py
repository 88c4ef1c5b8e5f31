"""From table definitions to DuckDB tables, and the check that a file was made with the same definitions."""

from __future__ import annotations

import json

import polars as pl

from rotation_pipeline.market.schema import ASSET_ID_FROM_KEY, Column, Table, stored_name

_POLARS: dict[str, pl.DataType] = {
    "ASSET": pl.Int32(),
    "VARCHAR": pl.String(),
    "DATE": pl.Date(),
    "TIMESTAMP": pl.Datetime("us"),
    "DOUBLE": pl.Float64(),
    "BIGINT": pl.Int64(),
    "INTEGER": pl.Int32(),
    "BOOLEAN": pl.Boolean(),
}
RUN_ID = "run_id"


def polars_type(column: Column) -> pl.DataType:
    """The polars type a column is read and written as."""
    return _POLARS[column.type]


def polars_schema(table: Table) -> dict[str, pl.DataType]:
    """Stored column names and polars types, without the run id."""
    return {stored_name(column): polars_type(column) for column in table.columns}


def create_statement(table: Table) -> str:
    """DDL of a table. No primary key: the checks guard uniqueness at a tenth of its cost."""
    parts: list[str] = []
    for column in table.columns:
        kind = "INTEGER" if column.type == "ASSET" else column.type
        null = "" if column.nullable else " NOT NULL"
        parts.append(f"{stored_name(column)} {kind}{null}")
    if table.tracked:
        parts.append(f"{RUN_ID} VARCHAR NOT NULL")
    if any(column.type == "ASSET" for column in table.columns):
        parts.append(f"asset_id VARCHAR GENERATED ALWAYS AS ({ASSET_ID_FROM_KEY}) VIRTUAL")
    return f"CREATE TABLE IF NOT EXISTS {table.full_name} ({', '.join(parts)})"


def definition(table: Table) -> str:
    """What must be equal for a file to be usable: names and types of the stored columns."""
    columns = [[stored_name(column), column.type, column.nullable] for column in table.columns]
    return json.dumps({"columns": columns, "tracked": table.tracked})
