"""What a sanity rule reports: hits on delivered rows, and absences of rows that ought to be there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from rotation_pipeline.market.identifiers import with_asset_id
from rotation_pipeline.market.schema import Table

Severity = Literal["quarantined", "warning"]
ROW = "_row"
"""Position of a delivered row; every hit refers to it."""
HIT_SCHEMA = pl.Schema({ROW: pl.UInt32(), "rule": pl.String(), "severity": pl.String(), "detail": pl.String()})
FINDING_SCHEMA = pl.Schema(
    {
        "month": pl.Date(), "table_name": pl.String(), "rule": pl.String(), "row_key": pl.String(),
        "severity": pl.String(), "detail": pl.String(), "row": pl.String(),
    }
)  # fmt: skip


class SanityError(ValueError):
    """A delivery that can't be judged or must not be stored."""


class PartitionRejected(SanityError):
    """Too many rows of one month of one table break a rule: the delivery is wrong, not a row.

    Attributes: ``table``, ``month``, ``rule`` (the one most rows broke), ``share`` (of rows kept out), ``findings``
    (all of that month).
    """

    def __init__(
        self, table: str, month: date, rule: str, share: float, allowed: float, findings: pl.DataFrame, remedy: str
    ) -> None:
        self.table, self.month, self.rule, self.share, self.findings = table, month, rule, share, findings
        first = findings.filter(pl.col("rule") == rule).head(3)
        rows = "; ".join(f"{key} {detail}" for key, detail in first.select("row_key", "detail").iter_rows())
        super().__init__(
            f"{table} {month:%Y-%m}: {share:.2%} of the rows fail the sanity rules (at most {allowed:.2%} may), "
            f"most by rule {rule}. First rows: {rows}. {remedy}"
        )


@dataclass(frozen=True, slots=True)
class SanityResult:
    """Judgement of one delivery of one table.

    ``accepted``: rows let in, columns as delivered, sorted by month and key. ``findings``: FINDING_SCHEMA, sorted.
    ``counts``: month, rows (delivered), quarantined (rows kept out), warnings (findings let in); one row per month judged.
    """

    accepted: pl.DataFrame
    findings: pl.DataFrame
    counts: pl.DataFrame


def hits(frame: pl.DataFrame, rule: str, severity: Severity, flag: pl.Expr, detail: pl.Expr) -> pl.DataFrame:
    """Rows of ``frame`` (with ``_row``) where ``flag`` is true, with the rule's name and what was found."""
    # one chunk: pl.format of polars 2.1 panics on columns whose first chunk is empty
    found = frame.filter(flag.fill_null(value=False)).rechunk()
    if found.is_empty():
        return HIT_SCHEMA.to_frame()
    return found.select(
        ROW, pl.lit(rule).alias("rule"), pl.lit(severity).alias("severity"), detail.cast(pl.String).alias("detail")
    )


def number(name: str, digits: int = 6) -> pl.Expr:
    """A number as text for a detail."""
    return pl.col(name).round(digits).cast(pl.String).fill_null("null")


def readable(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The table's columns as people read them (``asset_id`` text), in order."""
    text = with_asset_id(frame) if "asset_key" in frame.columns else frame
    return text.select(table.column_names)


def describe(table: Table, frame: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Hits → findings with the row's key and content as JSON; copies of one key become one finding with all of them."""
    if found.is_empty():
        return FINDING_SCHEMA.to_frame()
    rows = frame.filter(pl.col(ROW).is_in(found[ROW].unique().implode()))
    text = readable(table, rows)
    key = [name for name in table.key if name != "month"]
    packed = text.select(
        "month",
        pl.struct(key).struct.json_encode().alias("row_key"),
        pl.struct(table.column_names).struct.json_encode().alias("row"),
    ).with_columns(rows[ROW])
    joined = found.join(packed, on=ROW, how="left").sort("rule", "month", "row_key", "row")
    merged = (
        joined.group_by("month", "rule", "row_key", "severity", maintain_order=True)
        .agg(pl.col("detail").first(), pl.col("row"), pl.len().alias("copies"))
        .rechunk()
    )
    content = pl.when(pl.col("copies") == 1).then(pl.col("row").list.first()).otherwise(
        pl.concat_str(pl.lit("["), pl.col("row").list.join(", "), pl.lit("]"))
    )  # fmt: skip
    return merged.with_columns(content.alias("row"), pl.lit(table.name).alias("table_name")).select(
        list(FINDING_SCHEMA)
    )


def absences(
    table: Table, rule: str, severity: Severity, frame: pl.DataFrame, key: list[str], detail: pl.Expr
) -> pl.DataFrame:
    """Findings about rows that are not there: ``frame`` has month and the key columns (``asset_key`` for an asset)."""
    if frame.is_empty():
        return FINDING_SCHEMA.to_frame()
    text = (with_asset_id(frame) if "asset_key" in frame.columns else frame).rechunk()
    key = ["asset_id" if name == "asset_key" else name for name in key]
    return text.select(
        "month",
        pl.lit(table.name).alias("table_name"),
        pl.lit(rule).alias("rule"),
        pl.struct(key).struct.json_encode().alias("row_key"),
        pl.lit(severity).alias("severity"),
        detail.alias("detail"),
        pl.lit("null").alias("row"),
    )
