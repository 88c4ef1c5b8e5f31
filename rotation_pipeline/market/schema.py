"""One typed definition of a table: it makes the DuckDB table, the documentation, the quality checks and the lineage.

A table is partitioned by ``month`` (the first calendar day of the month, always the first column).
Stage folders declare what they produce with these classes in their own ``tables.py``; relational models declare the
same facts in the head of their SQL file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal["ASSET", "VARCHAR", "DATE", "TIMESTAMP", "DOUBLE", "BIGINT", "INTEGER", "BOOLEAN"]

ASSET_ID_FROM_KEY = (
    "lpad(CAST(asset_key // 4 AS VARCHAR), 6, '0') || "
    "CASE asset_key % 4 WHEN 0 THEN '.BJ' WHEN 1 THEN '.SH' ELSE '.SZ' END"
)
"""The SQL twin of :func:`rotation_pipeline.market.identifiers.asset_id`; a test holds the two together."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type, unit, meaning, what null means, its legal range, and what it was computed from.

    ``type="ASSET"`` is stored as the integer ``asset_key`` with a readable virtual ``asset_id`` beside it.
    ``reads`` names the columns (``schema.table.column``) a Python stage computed this one from; relational models
    leave it empty because their lineage is parsed from the SQL.
    ``volatile`` marks what may differ between two equal runs (clock readings, how a service was asked) and is left out of comparisons.
    """

    name: str
    type: ColumnType
    unit: str
    meaning: str
    null: str = ""
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    volatile: bool = False

    @property
    def nullable(self) -> bool:
        """A column may be null exactly when it says what null means."""
        return bool(self.null)


@dataclass(frozen=True, slots=True)
class Table:
    """A partitioned table: its key (unique within and across partitions), columns and meaning."""

    schema: str
    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    tracked: bool = True
    """Rows carry the ``run_id`` of the configuration that made them."""
    minimum_rows: int = 0
    """Fewest rows a written month may have."""
    view: bool = False
    scope: tuple[str, ...] = ()
    """Columns that, with the month, bound what a write replaces: rows with other values stay (a registry of trials)."""
    _index: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.columns[0].name != "month":
            raise ValueError(f"{self.full_name}: the first column must be month")
        self._index.update({column.name: column for column in self.columns})
        if len(self._index) != len(self.columns):
            raise ValueError(f"{self.full_name}: a column is declared twice")
        missing = [name for name in self.key if name not in self._index]
        if missing:
            raise ValueError(f"{self.full_name}: the key names unknown columns {missing}")

    @property
    def full_name(self) -> str:
        """``schema.name``."""
        return f"{self.schema}.{self.name}"

    @property
    def column_names(self) -> list[str]:
        """Names as people read them (``asset_id``), in order."""
        return [column.name for column in self.columns]

    @property
    def stored_names(self) -> list[str]:
        """Names as stored (``asset_key`` for an asset), in order, without the run id."""
        return [stored_name(column) for column in self.columns]

    def column(self, name: str) -> Column:
        """The column called ``name`` (``asset_key`` and ``asset_id`` are the same one); KeyError names the table."""
        wanted = "asset_id" if name == "asset_key" else name
        if wanted not in self._index:
            raise KeyError(f"{self.full_name} has no column {name!r}; it has {', '.join(self._index)}")
        return self._index[wanted]


MONTH = Column("month", "DATE", "date", "partition: first calendar day of the month the row belongs to")
ASSET = Column("asset_id", "ASSET", "identifier", "security, as 600519.SH")


def stored_name(column: Column) -> str:
    """Physical name of a column."""
    return "asset_key" if column.type == "ASSET" else column.name


def reading(columns: Iterable[Column], *sources: str) -> tuple[Column, ...]:
    """The same columns, those without ``reads`` of their own declared as computed from ``sources``."""
    return tuple(
        column
        if column.reads
        else Column(
            column.name,
            column.type,
            column.unit,
            column.meaning,
            column.null,
            column.minimum,
            column.maximum,
            column.allowed,
            tuple(sources),
            column.volatile,
        )
        for column in columns
    )
