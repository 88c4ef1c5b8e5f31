"""From which columns a column comes: parsed from the SQL models, declared by the tables computed in Python.

Both meet here, so that a fact in a narrative can be followed to the raw columns it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from sqlglot import exp
from sqlglot.lineage import lineage as sql_lineage

from rotation_pipeline.market.schema import Table, stored_name
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.models import sql_models


@dataclass(frozen=True, slots=True)
class Dependency:
    """One step of lineage: ``column`` (schema.table.column) was computed from ``source``."""

    column: str
    source: str


def _stored_columns() -> dict[str, dict[str, dict[str, str]]]:
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for table in catalog().values():
        columns = {stored_name(column): "INT" if column.type == "ASSET" else column.type for column in table.columns}
        if any(column.type == "ASSET" for column in table.columns):
            columns["asset_id"] = "VARCHAR"
        schema.setdefault(table.schema, {})[table.name] = columns
    return schema


def _qualified(table: Table, column: str) -> str:
    return f"{table.full_name}.{'asset_id' if column == 'asset_key' else column}"


@cache
def _from_sql() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    schema = _stored_columns()
    for model in sql_models():
        # all columns at once: parsing and qualifying the query costs far more than following a column through it
        nodes = sql_lineage(None, model.query, schema=schema, dialect="duckdb", trim_selects=False)
        for column in model.table.columns:
            sources: list[str] = []
            for leaf in nodes[stored_name(column)].walk():
                if leaf.downstream or not isinstance(leaf.expression, exp.Table):
                    continue
                origin = leaf.expression
                name = leaf.name.split(".")[-1].strip('"')
                sources.append(_qualified(table_named(f"{origin.db}.{origin.name}"), name))
            found[f"{model.table.full_name}.{column.name}"] = tuple(sorted(set(sources)))
    return found


@cache
def direct_sources(column: str) -> tuple[str, ...]:
    """Columns ``schema.table.column`` was computed from, one step back; empty for a raw column.

    Raises :class:`WarehouseError` for an unknown table and KeyError for an unknown column.
    """
    table_name, _, name = column.rpartition(".")
    table = table_named(table_name)
    found = table.column(name)
    if table.schema in {"raw", "truth"}:
        return ()
    if f"{table_name}.{found.name}" in _from_sql():
        return _from_sql()[f"{table_name}.{found.name}"]
    return found.reads


def table_sources(name: str) -> tuple[str, ...]:
    """Tables a table is computed from, one step back, itself left out."""
    table = table_named(name)
    for model in sql_models():
        if model.table.full_name == name:
            return model.reads
    sources = {source.rpartition(".")[0] for column in table.columns for source in column.reads}
    return tuple(sorted(sources - {name}))


def upstream(column: str) -> Iterator[Dependency]:
    """Every step from ``column`` back to raw columns, nearest first, each once."""
    table_name, _, name = column.rpartition(".")
    start = f"{table_name}.{table_named(table_name).column(name).name}"
    queue, seen = [start], {start}
    while queue:
        current = queue.pop(0)
        for source in direct_sources(current):
            yield Dependency(current, source)
            if source not in seen:
                seen.add(source)
                queue.append(source)


def check_lineage() -> None:
    """Raise :class:`WarehouseError` if a declared source does not exist or a computed column never reaches a raw one."""
    for table in catalog().values():
        if table.schema in {"raw", "truth"}:
            continue
        for column in table.columns:
            for source in column.reads:
                owner, _, name = source.rpartition(".")
                try:
                    table_named(owner).column(name)
                except (KeyError, WarehouseError) as error:
                    raise WarehouseError(
                        f"{table.full_name}.{column.name} reads {source}, which does not exist"
                    ) from error
