"""What several vendors need: boards, legal deadlines, membership from snapshots, trailing sums of reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

from rotation_pipeline.market.calendar import month_sessions
from rotation_pipeline.sources.vendors.answers import Answer
from rotation_pipeline.sources.vendors.errors import BadAnswer

SHARE = 0.1
"""Largest share of an answer's expected rows that may be lacking before it counts as cut: true gaps are a few rows."""


def board(asset: str) -> pl.Expr:
    """Listing board from the number of a canonical identifier in column ``asset``: the exchanges assign numbers by board."""
    code = pl.col(asset)
    return (
        pl.when(code.str.ends_with(".BJ")).then(pl.lit("beijing"))
        .when(code.str.starts_with("68") & code.str.ends_with(".SH")).then(pl.lit("star"))
        .when(code.str.starts_with("30") & code.str.ends_with(".SZ")).then(pl.lit("chinext"))
        .otherwise(pl.lit("main"))
    )  # fmt: skip


def legal_deadline(period: date) -> date:
    """Last legal day of publication of the report for ``period``: 30 April, 31 August, 31 October, 30 April."""
    days = {3: (0, 4, 30), 6: (0, 8, 31), 9: (0, 10, 31), 12: (1, 4, 30)}
    if period.month not in days or (period + timedelta(days=1)).month == period.month:
        raise BadAnswer(f"{period} is no end of a quarter")
    years, month, day = days[period.month]
    return date(period.year + years, month, day)


def quarters_before(day: date, count: int) -> list[date]:
    """The last ``count`` quarter ends before ``day``, ascending."""
    found: list[date] = []
    year, quarter = day.year, (day.month - 1) // 3
    for _ in range(count):
        if quarter == 0:
            year, quarter = year - 1, 4
        found.append(date(year, 12, 31) if quarter == 4 else date(year, quarter * 3 + 1, 1) - timedelta(days=1))
        quarter -= 1
    return sorted(found)


def unique(frame: pl.DataFrame, key: list[str], answer: Answer) -> pl.DataFrame:
    """``frame`` if no key comes twice. Raises :class:`BadAnswer`: a page was sent twice, or two rows contradict."""
    double = frame.filter(frame.select(key).is_duplicated())
    if double.height:
        raise BadAnswer(f"{answer.call}: {double.height} rows share their key, as {double.row(0)}. Nothing was stored")
    return frame


def complete(days: list[date], month: date, answer: Answer) -> None:
    """Refuse a month of which sessions are lacking: it is stored as complete for ever."""
    lacking = sorted(set(month_sessions(month)) - set(days))
    if lacking:
        raise BadAnswer(
            f"{answer.call}: {len(lacking)} sessions of {month:%Y-%m} are lacking, as {lacking[0]}; the vendor sent half "
            "a month, or the month is not over. Nothing was stored; ask again later"
        )


def enough(found: int, expected: int, what: str, answer: Answer) -> None:
    """Refuse an answer that lacks more than :data:`SHARE` of what it should hold."""
    if found < expected * (1 - SHARE) or (expected and not found):
        raise BadAnswer(
            f"{answer.call}: {found} {what}, {expected} were expected; the vendor sent half an answer, or has not "
            "finished this month. Nothing was stored; ask again later"
        )


def intervals(snapshots: pl.DataFrame) -> pl.DataFrame:
    """Snapshots (index_id, asset_id, day) → membership intervals: valid_from the first day seen, valid_to the first day
    on which the index was seen without it, ``announced_on`` null. A member that comes back has two intervals.

    A change is thus dated on the first snapshot that shows it, never before.
    """
    days = snapshots.select("index_id", "day").unique().sort("index_id", "day")
    days = days.with_columns(
        pl.int_range(pl.len()).over("index_id").alias("at"), pl.col("day").shift(-1).over("index_id").alias("following")
    )
    seen = snapshots.select("index_id", "asset_id", "day").unique().join(days, on=["index_id", "day"])
    seen = seen.sort("index_id", "asset_id", "day")
    spell = (pl.col("at") != pl.col("at").shift(1) + 1).fill_null(value=True).cum_sum()
    return (
        seen.with_columns(spell.over("index_id", "asset_id").alias("spell"))
        .group_by("index_id", "asset_id", "spell", maintain_order=True)
        .agg(pl.col("day").first().alias("valid_from"), pl.col("following").last().alias("valid_to"))
        .select("index_id", "asset_id", "valid_from", "valid_to", pl.lit(None, dtype=pl.Date).alias("announced_on"))
    )


def versions(reports: pl.DataFrame) -> pl.DataFrame:
    """Reports (asset_id, report_period, announced_on or null, flag, value) → what was public when.

    Without an announcement day the legal deadline stands in and ``announcement_is_deadline`` says so. Of rows with one
    day the one with the lowest ``flag`` counts: vendors stamp a later correction with the day of the original, and to
    use it from then on would be look-ahead. A later row is a revision if its value differs.
    """
    deadline = pl.col("report_period").map_elements(legal_deadline, return_dtype=pl.Date)
    key = ["asset_id", "report_period"]
    dated = reports.filter(pl.col("value").is_not_null()).with_columns(
        pl.col("announced_on").is_null().alias("announcement_is_deadline"),
        pl.coalesce("announced_on", deadline).alias("announced_on"),
    )
    first = dated.sort(*key, "announced_on", "flag", "value").unique(
        [*key, "announced_on"], keep="first", maintain_order=True
    )
    changed = (pl.col("value") != pl.col("value").shift(1).over(key)).fill_null(value=True)
    return first.filter(changed).with_columns(
        (pl.int_range(pl.len()).over(key) > 0).alias("is_revision")
    ).select(*key, "announced_on", "value", "is_revision", "announcement_is_deadline")  # fmt: skip


def trailing(cumulative: pl.DataFrame) -> pl.DataFrame:
    """Year-to-date values (as :func:`versions` gives them) → trailing twelve months, known on each announcement.

    Sum of period p = value(p) + whole year before − same period a year before, each as last announced by that day; the
    whole year itself for its last quarter. Nothing where one of them is not known.
    """
    annual, same = pl.col("report_period").dt.year() - 1, pl.col("report_period").dt.offset_by("-1y").dt.month_end()
    rows = cumulative.with_columns(pl.date(annual, 12, 31).alias("annual"), same.alias("same")).sort("announced_on")
    known = cumulative.select("asset_id", "report_period", "announced_on", "value").sort("announced_on")
    for name in ("annual", "same"):
        other = known.rename({"report_period": name, "value": f"{name}_value"})
        rows = rows.join_asof(
            other, on="announced_on", by=["asset_id", name], strategy="backward", check_sortedness=False
        )
    whole_year = pl.col("report_period").dt.month() == 12
    total = pl.col("value") + pl.col("annual_value") - pl.col("same_value")
    return rows.with_columns(pl.when(whole_year).then(pl.col("value")).otherwise(total).alias("value")).filter(
        pl.col("value").is_not_null()
    ).select(cumulative.columns)  # fmt: skip


def profitability(profit: pl.DataFrame, equity: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Items from year-to-date profit and period-end equity, both as :func:`versions` gives them.

    ``net_profit_ttm``; ``book_equity``; ``roe_ttm`` = trailing profit over equity at the period's end as known on the
    day the profit became public, nothing where equity is not above zero.
    """
    ttm = trailing(profit)
    known = equity.select("asset_id", "report_period", "announced_on", pl.col("value").alias("equity"))
    both = ttm.sort("announced_on").join_asof(
        known.sort("announced_on"), on="announced_on", by=["asset_id", "report_period"], strategy="backward",
        check_sortedness=False,
    )  # fmt: skip
    roe = both.filter(pl.col("equity") > 0).with_columns(pl.col("value") / pl.col("equity"))
    return {"net_profit_ttm": ttm, "book_equity": equity, "roe_ttm": roe}


def fundamentals(items: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows of the table of that name from its items, each as :func:`versions` gives them; sorted by key."""
    key = ["asset_id", "report_period", "announced_on", "item"]
    names = [*key, "value", "is_revision", "announcement_is_deadline"]
    rows = [found.with_columns(pl.lit(item).alias("item")).select(names) for item, found in items.items()]
    return pl.concat(rows).sort(key)
