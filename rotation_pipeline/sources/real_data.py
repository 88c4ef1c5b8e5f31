"""Checks of real A-share data against what is published of it: closes, memberships, index moves, factors, known defects.

Each takes frames as a source delivers them (``asset_id`` text, canonical columns) and returns what was expected, what was
found and whether it holds. None is fitted: every expectation stands in the data's own lists or in a publication.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import last_session, month_last_day, months_between
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.reused_codes import with_company
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.ingest import Ingestion, ingest_months

MOUTAI = {
    date(2014, 1, 2): 125.98,
    date(2018, 1, 2): 703.85,
    date(2020, 1, 2): 1130.00,
    date(2021, 2, 10): 2601.00,
}
"""Closes of 600519.SH as the exchange published them, CNY."""
MARKET_AT_LEAST, SIZE_AT_LEAST = 0.99, 0.95
"""Correlations an all-A market return and a crude size factor must reach with Liu, Stambaugh and Yuan (2019)."""
INDEX_GAP = 5e-4
"""Largest difference allowed between an index's move and its members': weights are recovered to 0.0003 each."""
TOLERANT = 0.05
"""Share of a month's rows that may be kept out here, so that every defect is counted and none stops the load."""
JUMP = 0.2


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    data: str
    check: str
    expected: str
    found: str
    holds: bool
    note: str = ""


def close_checks(bars: pl.DataFrame) -> list[Check]:
    """Closes of Moutai on four days."""
    found = dict(bars.filter(pl.col("asset_id") == "600519.SH").select("day", "close").iter_rows())
    return [
        Check(
            "", f"600519.SH close {day}", f"{close:.2f}", f"{found.get(day, float('nan')):.2f}", found.get(day) == close
        )
        for day, close in MOUTAI.items()
    ]


def member_check(members: pl.DataFrame, index_id: str, count: int, first: date, last: date) -> Check:
    """Members at every month's last close from ``first`` to ``last``."""
    months = months_between(first, last)
    mine = members.filter(pl.col("index_id") == index_id)
    counts = [_members_on(mine, last_session(month)).len() for month in months]
    right = sum(number == count for number in counts)
    return Check(
        "",
        f"members of {index_id} at month ends",
        f"{count} in {len(months)} months",
        f"in {right} months",
        right == len(months),
    )


def _members_on(members: pl.DataFrame, day: date) -> pl.Series:
    inside = (pl.col("valid_from") <= day) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > day))
    return members.filter(inside)["asset_id"]


def index_moves(
    weights: pl.DataFrame, bars: pl.DataFrame, index: pl.DataFrame, dividends: pl.DataFrame
) -> pl.DataFrame:
    """The index's move between weight days of the same members, and that of its members: from, to, members, index.

    A price index holds Σ units × price, so its move is Σ weight × price ratio; bonus shares multiply the units, cash is
    not reinvested. ``index``: day and close of that index.
    """
    days = weights["day"].unique().sort().to_list()
    levels = dict(index.select("day", "close").iter_rows())
    rows: list[tuple[date, date, float, float]] = []
    for start, end in pairwise(days):
        before, after = (weights.filter(pl.col("day") == day) for day in (start, end))
        if (end - start).days > 45 or set(before["asset_id"]) != set(after["asset_id"]):
            continue
        paid = dividends.filter((pl.col("ex_day") > start) & (pl.col("ex_day") <= end))
        bonus = paid.group_by("asset_id").agg((1 + pl.col("shares_per_share")).product().alias("units"))
        first, last = (bars.filter(pl.col("day") == day).select("asset_id", "close") for day in (start, end))
        joined = before.join(first, on="asset_id").join(last, on="asset_id", suffix="_last")
        joined = joined.join(bonus, on="asset_id", how="left").with_columns(pl.col("units").fill_null(1.0))
        move = (
            joined.select((pl.col("weight") * pl.col("close_last") * pl.col("units") / pl.col("close")).sum()).item()
            - 1
        )
        rows.append((start, end, move, levels[end] / levels[start] - 1))
    schema = {"from": pl.Date, "to": pl.Date, "members": pl.Float64, "index": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def index_check(moves: pl.DataFrame) -> Check:
    """Largest difference of the two moves."""
    gap = (moves["members"] - moves["index"]).abs()
    largest = float(gap.max() or 0.0)  # type: ignore[arg-type]  # a number
    median = float(gap.median() or 0.0)  # type: ignore[arg-type]
    return Check(
        "", "index moves from member prices and weights", f"≤ {INDEX_GAP:g}", f"largest {largest:.2g}", bool(moves.height) and largest <= INDEX_GAP,
        f"{moves.height} intervals between weight days of equal members; median {median:.1g}, correlation {_correlation(moves['members'], moves['index']):.6f}",
    )  # fmt: skip


def factor_checks(stocks: pl.DataFrame, published: pl.DataFrame, listings: pl.DataFrame) -> list[Check]:
    """All-A market and crude size factor against Liu, Stambaugh and Yuan (2019, JFE 134).

    ``stocks``: code (sh.600519), month, ret, total_mv_wan, float_mv_wan of every stock and month. ``published``: date,
    rf_mon, mktrf, SMB in percent. ``listings``: asset_id and listed_on as far as known; a company that was given another
    one's code is a stock of its own. Market: returns weighted by last month's float value, less the riskless rate. Size:
    of stocks listed six months, value-weighted return of those below the median of last month's total value less that of
    those above; unlike the publication neither the smallest 30 % are left out nor value is held equal, hence crude.
    """
    numbers = [pl.col(name).cast(pl.Float64) for name in ("ret", "total_mv_wan", "float_mv_wan")]
    panel = stocks.sort("code", "month").select("code", "month", pl.col("month").dt.month_end().alias("end"), *numbers)
    vendor_code = pl.col("asset_id").str.slice(7).str.to_lowercase() + "." + pl.col("asset_id").str.slice(0, 6)
    panel = with_company(panel, listings.select(vendor_code.alias("code"), "listed_on"), "code", "end")
    panel = panel.with_columns(
        *(
            pl.col(name).shift(1).over("company").alias(f"last_{name}")
            for name in ("month", "total_mv_wan", "float_mv_wan")
        ),
        pl.col("month").min().over("company").alias("first"),
    ).filter(pl.col("last_month") == pl.col("month").dt.offset_by("-1mo"))
    panel = panel.drop_nulls(["ret", "last_total_mv_wan", "last_float_mv_wan"])
    series = published.with_columns(pl.col("date").dt.month_start().alias("month"))
    seasoned = panel.filter(pl.col("month") >= pl.col("first").dt.offset_by("6mo"))
    market = (
        seasoned.group_by("month")
        .agg(_weighted("last_float_mv_wan").alias("market"))
        .join(series, on="month")
        .sort("month")
    )
    small = pl.col("last_total_mv_wan") <= pl.col("last_total_mv_wan").median().over("month")
    halves = (
        seasoned.with_columns(small.alias("small"))
        .group_by("month", "small")
        .agg(_weighted("last_total_mv_wan").alias("ret"))
    )
    size = halves.group_by("month").agg(
        (pl.col("ret").filter(pl.col("small")).first() - pl.col("ret").filter(~pl.col("small")).first()).alias("size")
    )
    size = size.join(series, on="month").sort("month")
    found = (
        ("all-A market return", _correlation(market["market"] - market["rf_mon"] / 100, market["mktrf"]), MARKET_AT_LEAST, market.height),
        ("crude size factor (small − large)", _correlation(size["size"], size["SMB"]), SIZE_AT_LEAST, size.height),
    )  # fmt: skip
    return [
        Check("references", f"{name} against the China three-factor series", f"correlation > {least}", f"{value:.4f}", value > least, f"{months} months")
        for name, value, least, months in found
    ]  # fmt: skip


def _weighted(weight: str) -> pl.Expr:
    return (pl.col("ret") * pl.col(weight)).sum() / pl.col(weight).sum()


def _correlation(one: pl.Series, other: pl.Series) -> float:
    if one.len() < 2:
        return float("nan")
    return float(np.corrcoef(one.to_numpy(), other.to_numpy())[0, 1])


# ---------------------------------------------------------------------- the known defects


def loaded(source: FilesSource, *, fetched_at: datetime) -> Ingestion:
    """Every whole month of a folder, with the share that may be kept out raised to :data:`TOLERANT`."""
    options = SanityOptions(maximum_quarantined=TOLERANT)
    return ingest_months(source, months_between(*source.span()), fetched_at=fetched_at, options=options)


def defect_checks(found: Ingestion, listed: pl.DataFrame, last: date) -> list[Check]:
    """What the rules find against the data's own list of violations (rule, asset_id, day, detail), up to month ``last``."""
    listed = listed.filter(pl.col("day").cast(pl.String) <= month_last_day(last).isoformat())
    ends = f"listed days after {last:%Y-%m} lie in no whole month"
    ratio = pl.col("detail").str.extract(r"x ([0-9.]+),").cast(pl.Float64)
    bonus = pl.col("detail").str.extract(r"bonus ([0-9.]+)").cast(pl.Float64)
    jumps = listed.filter(pl.col("rule") == "3 share jump").with_columns((ratio / (1 + bonus)).alias("ratio"))
    beyond = _pairs(jumps.filter((pl.col("ratio") - 1).abs() > JUMP))
    reported, glitches = _keys(found, "3_share_count_jump"), _keys(found, "3_share_count_glitch")
    near = _pairs(jumps.filter(((pl.col("ratio") - 1).abs() - JUMP).abs() < 1e-5))
    stops = set(listed.filter(pl.col("rule") == "7d coverage ends")["asset_id"])
    gone = {asset for asset, _ in _keys(found, "7_missing_session")}
    floats = _pairs(listed.filter(pl.col("rule") == "3 float above total"))
    falls = _pairs(listed.filter(pl.col("rule") == "6a adj_factor decreases"))
    return [
        _equal("float above total (rule 3)", floats, _keys(found, "3_float_above_total"), ends),
        Check(
            "", f"share count moves of more than {JUMP:.0%} (rule 3)", f"{len(beyond)} listed",
            f"{len(beyond & (reported | glitches))}",
            beyond - near <= reported | glitches and reported - near <= beyond,
            f"{len(reported)} stay (warnings), {len(glitches)} rows come back within 30 days (kept out)",
        ),
        _equal("adj_factor falls (rule 6)", falls, _keys(found, "6_factor_decrease"), ""),
        _equal("names whose rows stop early (rule 7)", stops, gone, ""),
        *(_equal(text, set(), _keys(found, rule), "") for text, rule in _NONE),
    ]  # fmt: skip


_NONE = (
    ("amount ÷ volume outside the day's range (rule 1)", "1_amount_per_share"),
    ("prices out of order (rule 2)", "2_price_order"),
    ("weights that do not sum to 1 (rule 4)", "4_weight_sum"),
    ("closes beyond the limit (rule 5)", "5_price_limit"),
    ("returns that disagree with prev_close (rule 6)", "6_adjusted_return"),
    ("duplicate keys (rule 7)", "7_duplicate_key"),
)
"""Rules of which the data's lists say that nothing breaks them."""


def _pairs(rows: pl.DataFrame) -> set[tuple[str, str]]:
    return {(asset, str(day)) for asset, day in rows.select("asset_id", "day").iter_rows()}


def _keys(found: Ingestion, rule: str) -> set[tuple[str, str]]:
    keys = [json.loads(text) for text in found.quarantine.filter(pl.col("rule") == rule)["row_key"]]
    return {(str(key.get("asset_id", key.get("index_id"))), str(key.get("day"))) for key in keys}


def _equal(
    text: str, listed: set[object] | set[tuple[str, str]] | set[str], found: set[tuple[str, str]] | set[str], note: str
) -> Check:
    return Check("", text, f"{len(listed)} listed", f"{len(found)}", set(listed) == set(found), note)


# ---------------------------------------------------------------------- all of them


def check_folder(
    folder: Path, index_id: str, count: int, first: date, last: date, *, fetched_at: datetime
) -> list[Check]:
    """Every check of one canonical folder with its ``sanity_violations.csv``; membership from ``first`` to ``last``."""
    source = FilesSource(folder)
    begin, end = source.span()
    bars = source.fetch("daily_bars", begin, month_last_day(end))
    members = source.fetch("index_members", begin, month_last_day(end))
    found = loaded(source, fetched_at=fetched_at)
    rows = found.tables["daily_bars"].height
    kept_out = found.quarantine.filter(pl.col("severity") == "quarantined").height
    checks = [
        Check("", f"loads, {begin:%Y-%m} to {end:%Y-%m}", "", f"{rows:,} bars", rows > 0, f"{kept_out} rows of all tables kept out"),
        _refused(found),
        *close_checks(bars),
        member_check(members, index_id, count, first, last),
    ]  # fmt: skip
    if source.serves("index_weights"):
        weights = source.fetch("index_weights", begin, month_last_day(end)).filter(pl.col("index_id") == index_id)
        index = source.fetch("index_bars", begin, month_last_day(end)).filter(pl.col("index_id") == index_id)
        paid = source.fetch("dividends", begin, month_last_day(end))
        checks.append(index_check(index_moves(weights, bars, index, paid)))
    listed = pl.read_csv(folder / "sanity_violations.csv", infer_schema_length=None)
    checks += defect_checks(found, listed, end)
    return [_of(folder.name, check) for check in checks]


def _refused(found: Ingestion) -> Check:
    """Months a load with the default threshold would refuse: told, not judged."""
    usual = SanityOptions().maximum_quarantined
    stored = found.ingestions.filter(pl.col("rows") > 0)
    share = pl.col("quarantined") / (pl.col("rows") + pl.col("quarantined"))
    months = sorted(set(stored.filter(share > usual)["month"]))
    text = f"from {months[0]:%Y-%m}" if months else ""
    return Check("", f"months with more than {usual:.0%} of a table kept out", "", str(len(months)), True, text)


def _of(data: str, check: Check) -> Check:
    return Check(data, check.check, check.expected, check.found, check.holds, check.note)
