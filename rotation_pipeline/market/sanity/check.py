"""The gate every delivered row passes: which rules a table has, what is kept out, and when a delivery is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from rotation_pipeline.market.calendar import month_sessions
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.sanity import bars, indices, shape, valuation
from rotation_pipeline.market.sanity.findings import (
    FINDING_SCHEMA,
    ROW,
    PartitionRejected,
    SanityError,
    SanityResult,
    describe,
)
from rotation_pipeline.market.schema import Table

_REMEDIES = {
    "1_amount_per_share": "Check the units of volume (shares) and amount (CNY).",
    "2_price_order": "Check that prices are unadjusted and that suspended days carry volume 0.",
    "3_float_above_total": "Check that both market values are in CNY and of the same day.",
    "3_share_count_glitch": "Check the total market value at the source.",
    "4_weight_sum": "Check that weights are fractions, not percent, and that no member is missing.",
    "5_price_limit": "Check prev_close, the board, the ST flag and the listing day.",
    "6_factor_decrease": "Check that adj_factor is cumulative and backward (adjusted = close × adj_factor).",
    "6_adjusted_return": "Check adj_factor against prev_close, the exchange's ex-rights previous close.",
    "7_duplicate_key": "Remove the copies at the source.",
    "7_not_a_session": "Remove rows of days on which the exchange was closed.",
    "7_missing_session": "Add the missing sessions; every other table is read by this calendar.",
}


@dataclass(frozen=True, slots=True)
class SanityContext:
    """What the rules of one table need from its neighbours; frames keyed by ``asset_key``, as delivered.

    ``months``: the months judged. ``earlier``: rows of the same table in the lookback before the first of them (more
    does no harm: each month looks at ``options.lookback_days`` and no further). ``bars``: asset_key, day and prices, for
    the share counts, lookback included. ``dividends``: asset_key, ex_day, shares_per_share, lookback included.
    ``listings``: month, asset_key, listed_on, delisted_on. None = the source does not serve it, and rules that need it
    are not applied.
    """

    months: Sequence[date]
    options: SanityOptions = field(default_factory=SanityOptions)
    earlier: pl.DataFrame | None = None
    bars: pl.DataFrame | None = None
    dividends: pl.DataFrame | None = None
    listings: pl.DataFrame | None = None


def check_table(table: Table, frame: pl.DataFrame, context: SanityContext) -> SanityResult:
    """Judge the rows of ``frame`` (stored columns with ``month``) by the rules of market-data, "Sanity".

    A row of month t is judged by rows up to t's last day and ``options.lookback_days`` back, so the judgement is the
    same whatever else is delivered. Raises ``SchemaMismatch`` for a missing column or wrong type,
    :class:`SanityError` for rows of months that are not judged, and :class:`PartitionRejected` for the first month of
    which more than ``options.maximum_quarantined`` of the rows would be kept out.
    """
    rows = shape.conform(table, frame).with_row_index(ROW)
    months = sorted(set(context.months))
    strangers = rows.filter(~pl.col("month").is_in(months))
    if strangers.height:
        raise SanityError(f"{table.full_name}: {strangers.height} rows of {strangers['month'][0]}, a month not judged")
    if not months:
        raise SanityError(f"{table.full_name}: no month to judge")
    generic = pl.concat(
        [
            shape.value_hits(table, rows),
            shape.duplicate_hits(table, rows),
            shape.month_hits(table, rows),
            shape.session_hits(table, rows, months),
            shape.interval_hits(table, rows),
            shape.announcement_hits(table, rows),
        ]
    )
    condemned = generic.filter(pl.col("severity") == "quarantined")[ROW].unique()
    clean = rows.filter(~pl.col(ROW).is_in(condemned.implode()))
    found, absent = _market_rules(table, clean, rows, months, context)
    found = pl.concat([generic, found])
    findings = pl.concat([describe(table, rows, found), absent]).sort("month", "rule", "row_key")
    return _verdict(table, rows, found, findings, months, context.options)


def _market_rules(
    table: Table, clean: pl.DataFrame, delivered: pl.DataFrame, months: list[date], context: SanityContext
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hits on ``clean`` rows and absences, by the table's own rules."""
    options, none, nothing = context.options, pl.DataFrame(schema=shape.HIT_SCHEMA), FINDING_SCHEMA.to_frame()
    if table.name == "trading_days":
        return shape.month_end_hits(clean, months), shape.missing_sessions(table, delivered, months)
    if table.name == "index_bars":
        return indices.level_hits(clean), shape.missing_sessions(table, delivered, months)
    if table.name == "index_weights":
        return indices.weight_hits(clean, options), indices.weight_counts(table, delivered, options)
    if table.name == "index_members":
        return none, indices.member_counts(table, delivered, months, options)
    if table.name == "daily_valuation":
        found = [valuation.float_hits(clean, options)]
        if context.bars is not None:
            close = bars.locally_sound(context.bars, options)
            window = _with_earlier(table, clean, context.earlier)
            found.append(
                valuation.share_count_hits(window, months, close, context.dividends, context.listings, options)
            )
        return pl.concat(found), nothing
    if table.name == "daily_bars":
        window = _with_earlier(table, clean, context.earlier)
        found = [
            bars.row_hits(clean, options),
            bars.neighbour_hits(window, months, context.listings, options),
            bars.unlisted_hits(clean, context.listings),
        ]
        return pl.concat(found), bars.gaps(table, delivered, months, context.listings)
    return none, nothing


def _with_earlier(table: Table, clean: pl.DataFrame, earlier: pl.DataFrame | None) -> pl.DataFrame:
    """The rows judged and those before them, one per key; earlier rows have no ``_row``."""
    if earlier is None or earlier.is_empty():
        return clean
    before = shape.conform(table, earlier).with_columns(pl.lit(None, dtype=pl.UInt32).alias(ROW))
    key = ["asset_key" if name == "asset_id" else name for name in table.key]
    before = before.unique(key, keep="none", maintain_order=True).drop_nulls(key)
    return pl.concat([before.select(clean.columns), clean])


def _verdict(
    table: Table,
    rows: pl.DataFrame,
    found: pl.DataFrame,
    findings: pl.DataFrame,
    months: list[date],
    options: SanityOptions,
) -> SanityResult:
    """Split accepted from quarantined and refuse months with too many of the latter."""
    condemned = found.filter(pl.col("severity") == "quarantined")[ROW].unique()
    kept_out = pl.col(ROW).is_in(condemned.implode())
    counts = (
        pl.DataFrame({"month": months}, schema={"month": pl.Date})
        .join(rows.group_by("month").agg(pl.len().alias("rows"), kept_out.sum().alias("quarantined")), on="month", how="left")
        .join(
            findings.filter(pl.col("severity") == "warning").group_by("month").agg(pl.len().alias("warnings")),
            on="month", how="left",
        )
        .select("month", pl.col("rows", "quarantined", "warnings").fill_null(0).cast(pl.Int64))
        .sort("month")
    )  # fmt: skip
    for month, delivered, quarantined, _ in counts.iter_rows():
        share = quarantined / delivered if delivered else 0.0
        if share > options.maximum_quarantined:
            raise _rejection(table, month, share, rows, findings, options)
    if table.name == "trading_days":
        _refuse_incomplete_calendar(table, findings, options)
    key = ["asset_key" if name == "asset_id" else name for name in table.key if name != "month"]
    accepted = rows.filter(~kept_out).sort("month", *key).drop(ROW)
    return SanityResult(accepted, findings, counts)


def _refuse_incomplete_calendar(table: Table, findings: pl.DataFrame, options: SanityOptions) -> None:
    """A calendar with a hole is worse than none: every month-end would be looked up in it."""
    gaps = findings.filter(pl.col("rule") == "7_missing_session")
    if gaps.height:
        month = gaps["month"][0]
        holes = gaps.filter(pl.col("month") == month)
        remedy, share = _REMEDIES["7_missing_session"], holes.height / len(month_sessions(month))
        raise PartitionRejected(
            table.full_name, month, "7_missing_session", share, options.maximum_quarantined, holes, remedy
        )


def _rejection(
    table: Table, month: date, share: float, rows: pl.DataFrame, findings: pl.DataFrame, options: SanityOptions
) -> PartitionRejected:
    mine = findings.filter((pl.col("month") == month) & (pl.col("severity") == "quarantined"))
    rule = mine.group_by("rule").len().sort(["len", "rule"], descending=[True, False])["rule"][0]
    remedy = _REMEDIES.get(rule, "Check the delivered columns against the canonical layout.")
    if table.name == "daily_bars" and "1_amount_per_share" in set(mine["rule"]):
        hint = bars.unit_hint(rows.filter(pl.col("month") == month))
        if hint:
            rule, remedy = "1_amount_per_share", hint
    return PartitionRejected(table.full_name, month, rule, share, options.maximum_quarantined, mine, remedy)
