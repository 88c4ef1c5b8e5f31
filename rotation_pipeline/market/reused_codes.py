"""Codes given to another company after a delisting: two companies, and no window of prices may reach from one into the other.

An identifier says nothing of which company it meant on a day; the listings do. Wherever rows of one code are strung
together over time, each company gets a key of its own for as long.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from rotation_pipeline.market.identifiers import asset_id

COMPANIES = 4
"""Companies one code may have had within the rows strung together; the n-th one's key is that of the code × this + n, in the
order of the codes."""


def reused_codes(listings: pl.DataFrame) -> pl.DataFrame:
    """Each company that was given a code another one had had before; the rows of staging.reused_codes.

    ``listings``: rows of raw.listings (``month``, ``asset_key``, ``listed_on``), each as it was known in its month. A day
    corrected by later rows makes no other company: what counts is a listing known in the month it began in.

    Returns:
        ``month`` it was listed in, ``asset_key``, ``listed_on`` (its first day) and ``earlier_month``, the latest month before
        in which the code stood for a company listed earlier; sorted by month and code, empty where no code was reused.
    """
    named = listings.select("month", "asset_key", "listed_on").drop_nulls()
    began = pl.col("listed_on") >= pl.col("month")  # a month stands for its first day
    begun = named.filter(began & (pl.col("listed_on") <= pl.col("month").dt.month_end()))  # an announced day may move
    before = named.select("asset_key", pl.col("listed_on").alias("earlier"), pl.col("month").alias("earlier_month"))
    # rows of later months say nothing of what was known when the company began, and a month alone must find the same
    past = (pl.col("earlier") < pl.col("listed_on")) & (pl.col("earlier_month") < pl.col("month"))
    key = ["month", "asset_key", "listed_on"]
    later = begun.join(before, on="asset_key").filter(past).group_by(key).agg(pl.col("earlier_month").max())
    return later.select(*key, "earlier_month").sort("month", "asset_key")


def later_companies(listings: pl.DataFrame) -> pl.DataFrame:
    """``asset_key`` and ``listed_on`` of :func:`reused_codes`, each once, sorted."""
    return reused_codes(listings).select("asset_key", "listed_on").unique().sort("asset_key", "listed_on")


def present_since(reused: pl.DataFrame, ends: pl.DataFrame, months: int) -> pl.DataFrame:
    """First day of the company that has a code at the end of a month, where another one had it within ``months`` before.

    As ``taken_over`` in the SQL models. ``reused``: :func:`reused_codes`. ``ends``: ``month`` and ``last_day``, its last
    session. Returns ``month``, ``asset_key``, ``since``, sorted.
    """
    known = reused.rename({"month": "known_in"}).join(ends.select("month", "last_day").unique(), how="cross")
    known = known.filter(
        (pl.col("known_in") <= pl.col("month"))
        & (pl.col("listed_on") <= pl.col("last_day"))
        & (pl.col("earlier_month") >= pl.col("month").dt.offset_by(f"-{months}mo"))
    )
    since = known.group_by("month", "asset_key").agg(pl.col("listed_on").max().alias("since"))
    return since.sort("month", "asset_key")


def handed_over(listings: pl.DataFrame, month: date, last_day: date) -> pl.DataFrame:
    """Companies of ``month`` that were given a code another one had at the close of ``last_day``, the last session before it.

    ``listings``: rows of raw.listings of the month and of the one before. Returns ``asset_key``, ``listed_on``.
    """
    own = listings.filter((pl.col("month") == month) & (pl.col("listed_on") > last_day))
    own = own.select("asset_key", "listed_on")
    # one listed between two months had no session before this one: whoever held the code held another company
    between = own.filter(pl.col("listed_on") < month)
    begun = own.join(later_companies(listings), on=["asset_key", "listed_on"], how="semi", maintain_order="left")
    return pl.concat([between, begun.filter(pl.col("listed_on") >= month)]).sort("asset_key")


def another_company(before: pl.Expr, listed_on: str = "listed_on") -> pl.Expr:
    """The row is the first of a company listed after the day ``before`` of the row before it.

    Needs ``day`` and the column ``listed_on``, as known in the month that looks; false where either is unknown.
    """
    return pl.col(listed_on).is_between(before, pl.col("day"), closed="right").fill_null(value=False)


def rows_before(frame: pl.DataFrame, later: pl.DataFrame, dated: str) -> pl.DataFrame:
    """``frame``, its rows in order, without those of the companies ``later`` (``asset_key``, ``listed_on``, each code once).

    ``dated``: the column that says of which day a row is; a row of the first day is of the later company.
    """
    if later.is_empty():
        return frame
    joined = frame.join(later.select("asset_key", "listed_on"), on="asset_key", how="left", maintain_order="left")
    return joined.filter(pl.col("listed_on").is_null() | (pl.col(dated) < pl.col("listed_on"))).drop("listed_on")


def by_company(frame: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """``frame``, its rows in order, with a key for each company in place of ``asset_key``; as it is where no code was reused.

    Rows are dated by ``day`` or else stand for the end of ``month``. Raises ValueError for a code with more than
    :data:`COMPANIES` companies.
    """
    if later.is_empty():
        return frame
    most = later.group_by("asset_key").len().filter(pl.col("len") >= COMPANIES)
    if most.height:
        raise ValueError(
            f"raw.listings: {asset_id(most['asset_key'][0])} was given to {most['len'][0] + 1} companies, and {COMPANIES} "
            "are the most a code may have; correct listed_on, which should name the first day of a company"
        )
    key = pl.col("asset_key").cast(pl.Int32)
    which = pl.lit(0, dtype=pl.Int32)
    for code, first in later.select("asset_key", "listed_on").iter_rows():
        reached = pl.col("day") >= first if "day" in frame.columns else pl.col("month").dt.month_end() >= first
        which = which + ((key == code) & reached).cast(pl.Int32)
    return frame.with_columns((key * COMPANIES + which).cast(pl.Int32).alias("asset_key"))


def with_company(frame: pl.DataFrame, listings: pl.DataFrame, code: str, dated: str) -> pl.DataFrame:
    """``frame``, its rows in order, with ``company``: one text a company, as a table of listings tells them apart.

    ``listings``: a row a company, ``code`` and ``listed_on``, all of them known beforehand: for looking back on a whole
    history, never for what a month could know. Rows dated before a later company's first day are those of the one before.
    """
    known = listings.select(code, "listed_on").drop_nulls().unique()
    later = known.filter(pl.col("listed_on") > pl.col("listed_on").min().over(code)).sort("listed_on")
    placed = frame.with_row_index("_row").sort(dated).join_asof(
        later, left_on=dated, right_on="listed_on", by=code, strategy="backward", check_sortedness=False
    ).sort("_row")  # fmt: skip
    both = pl.concat_str(pl.col(code, "listed_on").cast(pl.String), separator=" ", ignore_nulls=True)
    return placed.with_columns(both.alias("company")).drop("_row", "listed_on")


def by_code(frame: pl.DataFrame) -> pl.DataFrame:
    """The inverse of :func:`by_company` where some code was reused."""
    return frame.with_columns((pl.col("asset_key") // COMPANIES).cast(pl.Int32))
