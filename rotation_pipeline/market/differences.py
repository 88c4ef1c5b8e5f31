"""Two versions of the same months of a table: rows added, removed and changed, and the largest changes by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from rotation_pipeline.market.identifiers import with_asset_id
from rotation_pipeline.market.schema import Table

COUNT_SCHEMA = pl.Schema({"month": pl.Date(), "added": pl.Int64(), "removed": pl.Int64(), "changed": pl.Int64()})
CELL_SCHEMA = pl.Schema(
    {
        "month": pl.Date(), "column": pl.String(), "rows": pl.Int64(), "row_key": pl.String(),
        "before": pl.String(), "now": pl.String(), "size": pl.Float64(),
    }
)  # fmt: skip
LARGEST = 3
"""Cells shown of each month and column."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs between two versions of a table's months.

    ``counts``: :data:`COUNT_SCHEMA`, months with differences. ``cells``: :data:`CELL_SCHEMA`; of each month and column
    the largest changes first, with the rows changed in it (``rows``), the row's key as JSON and both values as text.
    ``size``: |now − before| of numbers, days of dates; null where one of them is null, or for text and flags. Those come
    first, for a value that appears or goes is no small change. ``keys``: stored key columns of every row that differs.
    """

    counts: pl.DataFrame
    cells: pl.DataFrame
    keys: pl.DataFrame

    @property
    def equal(self) -> bool:
        """Bit for bit the same rows."""
        return self.counts.is_empty()


def differences(
    table: Table, before: pl.DataFrame, now: pl.DataFrame, *, largest: int = LARGEST, ignored: Sequence[str] = ()
) -> Differences:
    """Hold two versions against each other: stored columns of ``table`` with ``month``, unique keys, any order.

    Values are compared as they are: any other bit of a number is a change (−0 and 0 are equal), and so is null against a
    value. ``ignored``: columns left out. Raises ValueError for a key that appears twice in one version.
    """
    keys = list(dict.fromkeys(["month", *("asset_key" if name == "asset_id" else name for name in table.key)]))
    values = [name for name in table.stored_names if name not in keys and name not in ignored]
    for frame, which in ((before, "before"), (now, "now")):
        if frame.select(keys).is_duplicated().any():
            raise ValueError(
                f"{table.full_name}: the rows {which} hold a key twice; ({', '.join(keys)}) must be unique"
            )
    mark = pl.lit(True)
    both = before.select(*keys, *values, mark.alias("_before")).join(
        now.select(*keys, *values, mark.alias("_now")),
        on=keys,
        how="full",
        coalesce=True,
        suffix="|now",
        nulls_equal=True,
    )
    removed, added = pl.col("_now").is_null(), pl.col("_before").is_null()
    inside = ~removed & ~added
    differs = [pl.col(name).ne_missing(pl.col(f"{name}|now")) & inside for name in values]
    changed = pl.any_horizontal(differs) if differs else pl.lit(False)
    different = both.filter(removed | added | changed)
    counts = (
        different.group_by("month")
        .agg(
            added.sum().cast(pl.Int64).alias("added"),
            removed.sum().cast(pl.Int64).alias("removed"),
            inside.sum().cast(pl.Int64).alias("changed"),
        )
        .sort("month")
    )
    common = different.filter(inside)
    cells = [_cells(table, common, keys, name, largest) for name in values] if common.height else []
    return Differences(
        counts.select(pl.col(name).cast(kind) for name, kind in COUNT_SCHEMA.items()),
        pl.concat([CELL_SCHEMA.to_frame(), *cells]).sort("month", "column", maintain_order=True),
        different.select(keys).sort(keys),
    )


def _cells(table: Table, common: pl.DataFrame, keys: Sequence[str], name: str, largest: int) -> pl.DataFrame:
    """The largest changes of one column in each month."""
    before, now = pl.col(name), pl.col(f"{name}|now")
    changed = common.filter(before.ne_missing(now)).rechunk()
    if changed.is_empty():
        return CELL_SCHEMA.to_frame()
    kind = changed.schema[name]
    size = pl.lit(None, dtype=pl.Float64)
    if kind.is_numeric():
        size = (now.cast(pl.Float64) - before.cast(pl.Float64)).abs()
    elif kind.is_temporal():
        size = (now - before).dt.total_days().abs().cast(pl.Float64)
    shown = changed.with_columns(size.alias("size"), pl.len().over("month").cast(pl.Int64).alias("rows"))
    shown = shown.sort(
        ["month", "size", *keys[1:]], descending=[False, True] + [False] * (len(keys) - 1), nulls_last=False
    )
    shown = shown.group_by("month", maintain_order=True).head(largest).rechunk()
    readable = with_asset_id(shown) if "asset_key" in shown.columns else shown
    named = [name for name in table.key if name != "month"]
    return readable.select(
        "month",
        pl.lit(name).alias("column"),
        "rows",
        (pl.struct(named).struct.json_encode() if named else pl.lit("{}")).alias("row_key"),
        before.cast(pl.String).alias("before"),
        now.cast(pl.String).alias("now"),
        "size",
    )
