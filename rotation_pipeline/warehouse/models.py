"""Relational models: one SQL file is one table or view, its facts stand in a YAML comment at its head.

A materialised model names its window with ``$month_from`` and ``$month_to`` and is run for whole months only.
What it reads, and from which column each of its columns comes, is parsed from the SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import sqlglot
import yaml
from sqlglot import exp

from rotation_pipeline.market.schema import Column, ColumnType, Table

LAYERS = ("staging", "intermediate", "marts")
_HEAD = re.compile(r"\A\s*/\*(.*?)\*/", re.DOTALL)
_COLUMN_KEYS = {"type", "unit", "meaning", "missing", "minimum", "maximum", "allowed", "volatile"}


class ModelError(ValueError):
    """A SQL file that is no valid model."""


@dataclass(frozen=True)
class SqlModel:
    """One SQL file: the table it defines, its query, and the tables it reads."""

    table: Table
    query: str
    path: Path
    reads: tuple[str, ...]
    parameters: tuple[str, ...]
    back: int | None = 0
    """Months before ``$month_from`` the query reads, parsed from its ``$month_from - INTERVAL n MONTH``; None: all."""
    backs: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])
    """The same by table, each from the SELECTs that read it."""

    @property
    def is_view(self) -> bool:
        """Views hold no rows of their own."""
        return self.table.view


def models_folder() -> Path:
    """Folder of the SQL layers: beside the package in a checkout, inside it in an installed wheel."""
    beside = Path(__file__).resolve().parents[2] / "dbt_like_sql"
    inside = Path(__file__).resolve().parents[1] / "dbt_like_sql"
    for folder in (beside, inside):
        if folder.is_dir():
            return folder
    raise ModelError(f"the folder of SQL models is neither at {beside} nor at {inside}; reinstall the project")


def _column(path: Path, name: str, facts: object) -> Column:
    if not isinstance(facts, dict):
        raise ModelError(f"{path.name}: column {name} needs type, unit and meaning")
    values = cast("dict[str, Any]", facts)
    unknown = set(values) - _COLUMN_KEYS
    missing = {"type", "unit", "meaning"} - set(values)
    if unknown or missing:
        raise ModelError(f"{path.name}: column {name}: unknown {sorted(unknown)}, missing {sorted(missing)}")
    return Column(
        name,
        cast("ColumnType", values["type"]),
        str(values["unit"]),
        str(values["meaning"]),
        str(values.get("missing", "")),
        values.get("minimum"),
        values.get("maximum"),
        tuple(str(item) for item in values.get("allowed", ())),
        volatile=bool(values.get("volatile", False)),
    )


def read_model(path: Path) -> SqlModel:
    """Parse one SQL file. Raises :class:`ModelError` naming the file and what is wrong with it."""
    text = path.read_text(encoding="utf-8")
    head = _HEAD.match(text)
    if head is None:
        raise ModelError(f"{path.name}: the file must begin with a YAML comment /* description: … */")
    facts = cast("dict[str, Any]", yaml.safe_load(head.group(1)))
    table = Table(
        schema=path.parent.name,
        name=path.stem,
        meaning=str(facts["description"]),
        key=tuple(str(name) for name in facts["key"]),
        columns=tuple(_column(path, name, column) for name, column in facts["columns"].items()),
        tracked=facts["materialized"] == "table",
        minimum_rows=int(facts.get("minimum_rows", 0)),
        view=facts["materialized"] == "view",
    )
    query = text[head.end() :].strip().rstrip(";")
    tree = sqlglot.parse_one(query, dialect="duckdb")
    local = {cte.alias for cte in tree.find_all(exp.CTE)}
    reads = sorted({f"{node.db}.{node.name}" for node in tree.find_all(exp.Table) if node.name not in local or node.db})
    parameters = sorted(
        {node.name for node in tree.find_all(exp.Parameter)}
        | {node.name for node in tree.find_all(exp.Placeholder) if node.name}
    )
    selected = tree.selects if isinstance(tree, exp.Query) else []
    names = [item.alias_or_name for item in selected]
    declared = (
        table.stored_names
        if not table.view
        else [
            name
            for column in table.columns
            for name in (("asset_key", "asset_id") if column.type == "ASSET" else (column.name,))
        ]
    )
    if names != declared:
        raise ModelError(f"{path.name}: the query selects {names}, the head declares {declared}")
    return SqlModel(
        table, query, path, tuple(reads), tuple(parameters), _months_back(path, tree), _backs(path, tree, reads)
    )


def _months_back(path: Path, tree: exp.Expr) -> int | None:
    """The largest n of ``$month_from - INTERVAL n MONTH``, 0 without one; None if rows before some month are read."""
    found = [0]
    for step in tree.find_all(exp.Sub):
        if not _has_month_from(step.this):
            continue
        months = step.expression
        if not isinstance(months, exp.Interval) or str(months.unit).upper() not in {"MONTH", "MONTHS"}:
            raise ModelError(f"{path.name}: write months before the first one as $month_from - INTERVAL n MONTH")
        found.append(int(months.this.name))
    before = [comparison.expression for comparison in tree.find_all(exp.LT, exp.LTE)]
    before += [comparison.this for comparison in tree.find_all(exp.GT, exp.GTE)]
    return None if any(_has_month_from(bound) for bound in before) else max(found)


def _backs(path: Path, tree: exp.Expr, reads: Sequence[str]) -> dict[str, int | None]:
    """Months back by table read: of each SELECT with the table in its own FROM or JOIN, what that SELECT itself says.

    A SELECT that names no window of its own is joined on a month of another that does, and reads no month before it.
    """
    found: dict[str, int | None] = dict.fromkeys(reads, 0)
    for node in tree.find_all(exp.Table):
        select, name = node.find_ancestor(exp.Select), f"{node.db}.{node.name}"
        if select is None or name not in found:
            continue
        said = select.copy()
        for inner in list(said.find_all(exp.Subquery, exp.With)):
            inner.pop()  # it speaks for itself
        months, before = _months_back(path, said), found[name]
        found[name] = None if months is None or before is None else max(months, before)
    return found


def _has_month_from(tree: exp.Expr) -> bool:
    return any(node.name == "month_from" for node in tree.find_all(exp.Parameter, exp.Placeholder))


@cache
def sql_models() -> tuple[SqlModel, ...]:
    """All models, each after those it reads. Raises :class:`ModelError` on a cycle or an unknown layer."""
    found = [read_model(path) for layer in LAYERS for path in sorted((models_folder() / layer).glob("*.sql"))]
    by_name = {model.table.full_name: model for model in found}
    ordered: dict[str, SqlModel] = {}

    def visit(model: SqlModel, trail: tuple[str, ...]) -> None:
        name = model.table.full_name
        if name in trail:
            raise ModelError(f"models read each other in a circle: {' → '.join((*trail, name))}")
        if name in ordered:
            return
        for source in model.reads:
            if source in by_name:
                visit(by_name[source], (*trail, name))
        ordered[name] = model

    for model in found:
        visit(model, ())
    return tuple(ordered.values())
