"""Market data for a notebook: a simulated market or a folder of files, as plain frames.

The relational steps that the pipeline writes in SQL (``dbt_like_sql/intermediate/``) are done here in memory; a test holds
both to the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.reused_codes import another_company, present_since, reused_codes
from rotation_pipeline.market.simulation import SimulationOptions
from rotation_pipeline.notebook.frames import NotebookError, checked, months_of, plain
from rotation_pipeline.sources.base import Source, SourceKind
from rotation_pipeline.sources.ingest import ingest_months


@dataclass(frozen=True, eq=False, repr=False)
class Market:
    """Market data of one index and its securities. ``repr`` is a line; the frames are plain pandas.

    Attributes:
        bars: one row per security and session: ``day``, ``asset_id`` (as 600519.SH), ``close`` (CNY, unadjusted),
            ``adj_close`` (CNY × cumulative factor), ``ret`` (fraction since the last own trading day; null when suspended
            and on the first row), ``is_suspended``, ``is_st``, ``volume`` (shares), ``amount`` (CNY), ``turnover_rate``
            (fraction, nullable).
        index: one row per session: ``day``, ``close`` (points), ``ret`` (fraction, null on the first), ``amount`` (CNY,
            nullable).
        universe: one row per month and member at its last close: ``month``, ``asset_id``, ``in_estimation``,
            ``in_tradable``, ``industry`` (nullable), ``is_st``, ``is_suspended``.
        figures: one row per month and security, as public at its last close: ``pb``, ``pe_ttm``, ``dividend_yield``,
            ``roe_ttm`` (fractions and ratios, nullable), ``net_profit_ttm``, ``net_profit_ttm_year_ago``,
            ``total_market_value``, ``float_market_value`` (CNY, nullable).
        listings: one row per month and security: ``month``, ``asset_id``, ``listed_on``, its first trading day as it was
            known in the month. They tell when a code stands for another company than before.
        quarantine, ingestions: what the sanity rules found, and what was fetched, by month and table.
        kind: ``simulated`` or ``real``; every report says it. name: the source. index_id: the benchmark index.
    """

    bars: pd.DataFrame
    index: pd.DataFrame
    universe: pd.DataFrame
    figures: pd.DataFrame
    listings: pd.DataFrame
    quarantine: pd.DataFrame
    ingestions: pd.DataFrame
    kind: SourceKind
    name: str
    index_id: str

    def __repr__(self) -> str:
        days = self.index["day"]
        return (
            f"Market({self.kind} data of {self.name}, {self.index_id}, {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}, "
            f"{self.bars['asset_id'].nunique()} securities)"
        )


def simulated_market(first: str | date, last: str | date, **options: Any) -> Market:
    """A seeded A-share market from month ``first`` to month ``last``, made of nothing: no file, no network.

    Args:
        first, last: months, as ``2011-05``. Prices begin with ``first``; equal arguments give equal frames, and a later
            ``last`` leaves earlier rows as they are.
        options: fields of :class:`SimulationOptions`: ``seed``, ``n_stocks`` and ``n_members`` (counts, 50), ``n_spare``
            (30), ``premium_strength`` (0: nothing to find; 1: style premia that change with the regime), …;
            ``start_month`` is ``first`` unless given.

    Raises:
        NotebookError: an option out of range, or months outside the recorded calendar.

    >>> import rotation_pipeline as rp
    >>> market = rp.simulated_market("2013-01", "2013-03", n_stocks=30, n_members=30, n_spare=20)
    >>> market
    Market(simulated data of simulated, 000016.SH, 2013-01-04 to 2013-03-29, 44 securities)
    >>> market.universe.groupby("month").size().tolist()
    [30, 30, 30]
    """
    from rotation_pipeline.sources.simulated import SimulatedSource

    months = _span(first, last)
    known = SimulationOptions.__dataclass_fields__
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise NotebookError(f"simulated_market: there is no option {unknown[0]!r}; there are {', '.join(known)}")
    given: dict[str, Any] = {"start_month": f"{months[0]:%Y-%m}", **options}
    chosen = checked(SimulationOptions(**given))
    return _market(SimulatedSource(chosen), months, chosen.index_id, chosen.members, None)


def read_market(
    folder: str | Path,
    first: str | date,
    last: str | date,
    *,
    index_id: str = "000016.SH",
    members: int = 50,
    industry_scheme: str | None = None,
) -> Market:
    """Your own data: a folder in the canonical layout (docs/real-data.md), ``mapping.toml`` in it if there is one.

    Args:
        folder: one CSV or Parquet file per canonical table. first, last: months, as ``2011-01``.
        index_id: the index whose members are the universe. members: how many it must have, else a finding.
        industry_scheme: classification to use; None: the one that classifies most members.

    Every row passes the sanity rules; what they keep out is in ``quarantine``. Nothing is written anywhere.

    Raises:
        SourceError, SanityError: a layout, a mapping or a delivery that is refused, by name.
    """
    from rotation_pipeline.sources.files import FilesSource

    return _market(FilesSource(Path(folder)), _span(first, last), index_id, members, industry_scheme)


def _span(first: str | date, last: str | date) -> list[date]:
    (begin,), (end,) = months_of([first], "first"), months_of([last], "last")
    if end < begin:
        raise NotebookError(f"last ({end:%Y-%m}) lies before first ({begin:%Y-%m})")
    return months_between(begin, end)


def _market(source: Source, months: list[date], index_id: str, members: int, scheme: str | None) -> Market:
    # the time of fetching is stored by the pipeline; here nothing is stored and it is left out again
    sanity = SanityOptions(members={**SanityOptions().members, index_id: members})
    found = ingest_months(source, months, fetched_at=datetime(1970, 1, 1), options=sanity)
    tables = found.tables
    ends = tables["trading_days"].group_by("month").agg(pl.col("day").max().alias("last_day")).sort("month")
    index = index_daily(tables["index_bars"], index_id)
    if not index.height:
        named = ", ".join(sorted(tables["index_bars"]["index_id"].unique().to_list()))
        raise NotebookError(f"index_id: source {source.name} has no bars of {index_id}; it has {named}")
    return Market(
        bars=plain(adjusted_bars(tables["daily_bars"], tables["daily_valuation"], tables["listings"])),
        index=plain(index),
        universe=plain(universe_of(tables, ends, index_id, scheme)),
        figures=plain(month_end_figures(tables, ends, found.ingestions)),
        listings=plain(tables["listings"].select("month", "asset_key", "listed_on").sort("month", "asset_key")),
        quarantine=plain(found.quarantine),
        ingestions=plain(found.ingestions.drop("fetched_at")),
        kind=source.kind,
        name=source.name,
        index_id=index_id,
    )


def index_daily(bars: pl.DataFrame, index_id: str) -> pl.DataFrame:
    """Close and return of one index; as intermediate.index_daily."""
    rows = bars.filter(pl.col("index_id") == index_id).sort("day")
    ret = (pl.col("close") / pl.col("close").shift(1) - 1.0).alias("ret")
    return rows.select("month", "day", "index_id", "close", ret, "amount")


def adjusted_bars(bars: pl.DataFrame, valuation: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """Adjusted closes and returns; as intermediate.adjusted_bars. A code's first bar since a listing has no return."""
    rows = bars.sort("asset_key", "day").with_columns((pl.col("close") * pl.col("adj_factor")).alias("adj_close"))
    # what was known in the month of the bar; a row of a later month says nothing of it
    known = listings.select("month", "asset_key", "listed_on")
    rows = rows.join(known, on=["month", "asset_key"], how="left", maintain_order="left")
    rows = rows.join(valuation.select("asset_key", "day", "turnover_rate"), on=["asset_key", "day"], how="left")

    def before(name: str) -> pl.Expr:
        return pl.col(name).shift(1).over("asset_key", order_by="day")

    first = another_company(before("day"))
    change = pl.col("adj_close") / before("adj_close") - 1.0
    return rows.with_columns(pl.when(~pl.col("is_suspended") & ~first).then(change).alias("ret")).select(
        "month", "day", "asset_key", "close", "adj_close", "ret", "is_suspended", "is_st", "volume", "amount",
        "turnover_rate",
    ).sort("day", "asset_key")  # fmt: skip


def _holds(start: str, end: str) -> pl.Expr:
    """The interval holds at the month's last close."""
    last = pl.col("last_day")
    return (pl.col(start) <= last) & (pl.col(end).is_null() | (pl.col(end) > last))


def universe_of(tables: dict[str, pl.DataFrame], ends: pl.DataFrame, index_id: str, scheme: str | None) -> pl.DataFrame:
    """Members at each month's last close; as intermediate.universe."""
    members = (
        tables["index_members"]
        .filter(pl.col("index_id") == index_id)
        .join(ends, on="month")
        .filter(_holds("valid_from", "valid_to"))
        .select("month", "last_day", "asset_key")
        .unique()
    )
    industries = tables["industries"] if scheme is None else tables["industries"].filter(pl.col("scheme") == scheme)
    if scheme is not None and not industries.height:
        known = sorted(tables["industries"]["scheme"].unique().to_list())
        raise NotebookError(f"industry_scheme: no industry of the scheme {scheme!r}; there are {known}")
    classified = (
        members.join(industries, on=["month", "asset_key"])
        .filter(_holds("valid_from", "valid_to"))
        .sort("valid_from")
        .group_by("month", "asset_key", "scheme")
        .agg(pl.col("industry").last())
    )
    counted = classified.group_by("month", "scheme").agg(pl.len().alias("classified"))
    chosen = counted.sort("classified", "scheme", descending=[True, False]).unique("month", keep="first")
    industry = classified.join(chosen.select("month", "scheme"), on=["month", "scheme"]).drop("scheme")
    bars = tables["daily_bars"].select("asset_key", pl.col("day").alias("last_day"), "is_suspended", "is_st")
    rows = members.join(bars, on=["asset_key", "last_day"], how="left").join(
        industry, on=["month", "asset_key"], how="left"
    )
    has_bar = pl.col("is_suspended").is_not_null()
    return rows.select(
        "month", "asset_key", has_bar.alias("in_estimation"),
        (has_bar & ~pl.col("is_suspended").fill_null(True)).alias("in_tradable"), "industry",
        pl.col("is_st").fill_null(False), pl.col("is_suspended").fill_null(False),
    ).sort("month", "asset_key")  # fmt: skip


def _own(rows: pl.DataFrame, dated: str, listings: pl.DataFrame, months: int) -> pl.DataFrame:
    """``rows`` (month, last_day, asset_key, …) without those dated before the code came to its present company."""
    reused = reused_codes(listings)
    if reused.is_empty():
        return rows
    since = present_since(reused, rows.select("month", "last_day"), months)
    kept = rows.join(since, on=["month", "asset_key"], how="left", maintain_order="left")
    return kept.filter(pl.col("since").is_null() | (pl.col(dated) >= pl.col("since"))).drop("since")


def _as_public(fundamentals: pl.DataFrame, ends: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """Latest period and version of each item public at each close; as intermediate.fundamentals_as_of."""
    public = ends.join(fundamentals.drop("month"), how="cross").filter(
        (pl.col("announced_on") <= pl.col("last_day"))
        & (pl.col("announced_on") > pl.col("last_day").dt.offset_by("-30mo"))
    )
    public = _own(public, "announced_on", listings, 30).sort("announced_on")
    seen = public.unique(["month", "asset_key", "item", "report_period"], keep="last")
    latest = seen.sort("report_period").unique(["month", "asset_key", "item"], keep="last")
    key = ["month", "asset_key", "item"]
    year_before = pl.col("report_period").dt.offset_by("-12mo").dt.month_end().alias("year_before")
    earlier = seen.select(*key, pl.col("report_period").alias("year_before"), pl.col("value").alias("value_year_ago"))
    return latest.with_columns(year_before).join(earlier, on=[*key, "year_before"], how="left")


def _cash(dividends: pl.DataFrame, ends: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
    """Cash of twelve months per share held at each close, restated for later bonus shares."""
    last = pl.col("last_day")
    paid = ends.join(dividends.drop("month"), how="cross").filter(
        (pl.col("ex_day") <= last) & (pl.col("ex_day") > last.dt.offset_by("-12mo"))
    )
    paid = _own(paid, "ex_day", listings, 12).sort("ex_day", descending=True)
    since = (1.0 + pl.col("shares_per_share")).cum_prod().over("month", "asset_key").alias("shares_since")
    per_share = pl.col("cash_per_share") / pl.col("shares_since")
    return paid.with_columns(since).sort("ex_day").group_by("month", "asset_key").agg(per_share.sum().alias("cash"))


def _with_twelve_months_of_dividends(ends: pl.DataFrame, ingestions: pl.DataFrame) -> list[date]:
    """Months for which the source served dividends over the whole year before, if only to say that there were none."""
    served = set(ingestions.filter(pl.col("table_name") == "dividends")["month"].to_list())
    begin = pl.col("last_day").dt.offset_by("-12mo").dt.offset_by("1d").dt.truncate("1mo")
    spans = ends.select("month", begin.alias("begin")).iter_rows()
    return [month for month, first in spans if served.issuperset(months_between(first, month))]


def month_end_figures(tables: dict[str, pl.DataFrame], ends: pl.DataFrame, ingestions: pl.DataFrame) -> pl.DataFrame:
    """What monthly factors need of a stock, as public at each close; as intermediate.stock_snapshot."""
    bars = tables["daily_bars"].select("month", "asset_key", "close", pl.col("day").alias("last_day"))
    rows = ends.join(bars, on=["month", "last_day"])
    valuation = tables["daily_valuation"].drop("month").rename({"day": "last_day"})
    rows = rows.join(valuation, on=["asset_key", "last_day"], how="left")
    rows = rows.join(_cash(tables["dividends"], ends, tables["listings"]), on=["month", "asset_key"], how="left")
    public = _as_public(tables["fundamentals"], ends, tables["listings"])
    for item, names in (
        ("roe_ttm", {"value": "roe_ttm"}),
        ("net_profit_ttm", {"value": "net_profit_ttm", "value_year_ago": "net_profit_ttm_year_ago"}),
    ):
        own = public.filter(pl.col("item") == item).select("month", "asset_key", *names).rename(names)
        rows = rows.join(own, on=["month", "asset_key"], how="left")
    whole = pl.col("month").is_in(_with_twelve_months_of_dividends(ends, ingestions))
    paid = pl.col("cash").fill_null(0.0) / pl.col("close")
    return rows.select(
        "month", "asset_key", "close", "pb", "pe_ttm",
        pl.when(whole).then(paid).otherwise(pl.col("dividend_yield_ttm")).alias("dividend_yield"),
        "roe_ttm", "net_profit_ttm", "net_profit_ttm_year_ago", "total_market_value", "float_market_value",
    ).sort("month", "asset_key")  # fmt: skip
