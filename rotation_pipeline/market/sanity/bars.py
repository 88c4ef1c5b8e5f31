"""Rules 1, 2, 5, 6 and 7 on daily bars.

A row is judged against its predecessor only where the predecessor is itself sound, so that one wrong row does not
condemn the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import month_last_day, session_array, sessions_since
from rotation_pipeline.market.conventions import PRICE_LIMITS, limit_prices, limit_rates
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.reused_codes import another_company
from rotation_pipeline.market.sanity.findings import FINDING_SCHEMA, HIT_SCHEMA, ROW, absences, hits, number
from rotation_pipeline.market.sanity.windows import previous, windows, with_listing
from rotation_pipeline.market.schema import Table

PRICE_EPSILON = 1e-6
"""CNY; far below a tick, far above the error of a binary fraction."""
FIRST_RULES = {board: rules[0].effective_from for board, rules in PRICE_LIMITS.items()}
"""Day of each board's first recorded price limit: no board but the main one is older."""


def traded() -> pl.Expr:
    """A day with trade."""
    return ~pl.col("is_suspended")


def amount_outside_range(options: SanityOptions) -> pl.Expr:
    """Rule 1: the average price paid leaves the day's range."""
    average, slack = pl.col("amount") / pl.col("volume"), options.average_price_slack
    outside = (average < pl.col("low") * (1 - slack)) | (average > pl.col("high") * (1 + slack))
    return traded() & (pl.col("volume") > 0) & outside


def prices_out_of_order() -> pl.Expr:
    """Rule 2: 0 < low ≤ open, close ≤ high and a volume on a trading day; no volume and a price on a suspended one."""
    prices = ("open", "high", "low", "close", "prev_close")
    positive = pl.all_horizontal(pl.col(name) > 0 for name in prices)
    inside = (pl.col("low") <= pl.min_horizontal("open", "close") + PRICE_EPSILON) & (
        pl.max_horizontal("open", "close") <= pl.col("high") + PRICE_EPSILON
    )
    trading_day = positive & inside & (pl.col("volume") > 0)
    suspended_day = (pl.col("volume") == 0) & (pl.col("amount") == 0) & (pl.col("close") > 0)
    return ~pl.when(traded()).then(trading_day).otherwise(suspended_day)


def locally_sound(bars: pl.DataFrame, options: SanityOptions) -> pl.DataFrame:
    """Bars that pass the rules which need no neighbour (1 and 2)."""
    return bars.filter(~(amount_outside_range(options) | prices_out_of_order()).fill_null(value=True))


def row_hits(frame: pl.DataFrame, options: SanityOptions) -> pl.DataFrame:
    """Rules 1 and 2."""
    averaged = frame.with_columns((pl.col("amount") / pl.col("volume")).alias("_average"))
    detail = pl.format(
        "amount / volume = {} CNY, the day's range is {} to {}", number("_average", 4), number("low", 4), number("high", 4)
    )  # fmt: skip
    first = hits(averaged, "1_amount_per_share", "quarantined", amount_outside_range(options), detail)
    detail = pl.format(
        "open {}, high {}, low {}, close {}, prev_close {}, volume {}, amount {}, suspended {}",
        *(number(name, 4) for name in ("open", "high", "low", "close", "prev_close", "volume", "amount")),
        pl.col("is_suspended"),
    )
    return pl.concat([first, hits(frame, "2_price_order", "quarantined", prices_out_of_order(), detail)])


def neighbour_hits(
    frame: pl.DataFrame, months: Sequence[date], listings: pl.DataFrame | None, options: SanityOptions
) -> pl.DataFrame:
    """Rules 5 and 6 on rows of ``months``; ``frame`` holds them and the lookback rows, one per key, ``_row`` null on the latter."""
    if frame.is_empty():
        return HIT_SCHEMA.to_frame()
    flagged = (amount_outside_range(options) | prices_out_of_order()).fill_null(value=True)
    based = _with_previous_session(frame.with_columns(flagged.alias("_broken")).sort("asset_key", "day"))
    found: list[pl.DataFrame] = []
    for _, window in windows(based, "day", months, options.lookback_days):
        judged = _judge(_with_limits(window, listings), options).filter(pl.col("own"))
        detail = pl.format(
            "close {} outside {} to {} (prev_close {})",
            number("close", 4), number("_lowest", 4), number("_highest", 4), number("prev_close", 4),
        )  # fmt: skip
        found.append(hits(judged, "5_price_limit", "quarantined", pl.col("_breach"), detail))
        detail = pl.format("board {} did not exist on {}", "board", "day")
        found.append(hits(judged, "5_price_limit", "quarantined", pl.col("_no_board"), detail))
        detail = pl.format("adj_factor {} after {}", number("adj_factor", 8), number("_factor", 8))
        found.append(hits(judged, "6_factor_decrease", "quarantined", pl.col("_fall"), detail))
        detail = pl.format(
            "adjusted return {}, close / prev_close − 1 = {}", number("_adjusted", 6), number("_stated", 6)
        )
        found.append(hits(judged, "6_adjusted_return", "quarantined", pl.col("_disagrees"), detail))
    return pl.concat([HIT_SCHEMA.to_frame(), *found])


def _with_limits(frame: pl.DataFrame, listings: pl.DataFrame | None) -> pl.DataFrame:
    """Add ``listed_on`` (:func:`with_listing`) and the day's price limits; an unknown listing counts as seasoned.

    The first day has none: its previous close is an issue price or, after a merger, no price at all. Nor have days before
    the board's first recorded rule; of another board than the main one there is no such day (``_no_board``).
    """
    frame = with_listing(frame, listings)
    day = frame["day"].to_numpy().astype("datetime64[D]")
    listed = frame["listed_on"].to_numpy().astype("datetime64[D]")
    # a null flag or an unknown board is a hit of its own; here it must only not break the look-up
    special = frame["is_st"].fill_null(value=False).to_numpy()
    board = frame["board"].replace_strict({name: name for name in FIRST_RULES}, default="main")
    begins = board.replace_strict(FIRST_RULES, return_dtype=pl.Date).to_numpy().astype("datetime64[D]")
    before = day < begins
    down, up = limit_rates(board, np.maximum(day, begins), special, sessions_since(listed, day))
    lowest, highest = limit_prices(frame["prev_close"].to_numpy().astype(np.float64), down, up)
    free = (listed == day) | before
    return frame.with_columns(
        pl.Series("_lowest", np.where(free, -np.inf, lowest)), pl.Series("_highest", np.where(free, np.inf, highest)),
        pl.Series("_no_board", before & (board != "main").to_numpy()),
    )  # fmt: skip


def _with_previous_session(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the session before each row's day."""
    low, high = frame["day"].min(), frame["day"].max()
    assert isinstance(low, date)
    assert isinstance(high, date)
    days = session_array(low - timedelta(days=30), high)
    table = pl.DataFrame(
        {"day": days[1:], "_session_before": days[:-1]}, schema_overrides={"day": pl.Date, "_session_before": pl.Date}
    )
    return frame.join(table, on="day", how="left", maintain_order="left")


def _judge(window: pl.DataFrame, options: SanityOptions) -> pl.DataFrame:
    """Flags of rules 5 and 6 on a window sorted by judged month, asset and day."""
    window = window.with_columns(
        previous("day").alias("_day"),
        previous("is_suspended").alias("_suspended"),
        previous("adj_factor").alias("_factor"),
        (pl.col("close") / pl.col("prev_close") - 1).alias("_stated"),
        (pl.col("close") * pl.col("adj_factor") / (previous("close") * previous("adj_factor")) - 1).alias("_adjusted"),
    ).with_columns(
        # a row before the listing is another company's of the same code: nothing is compared with it
        ((pl.col("_day") == pl.col("_session_before")) & ~another_company(pl.col("_day"))).alias("_adjacent")
    )
    resumed = (pl.col("_suspended") | ~pl.col("_adjacent")).fill_null(value=False)
    beyond = (pl.col("close") < pl.col("_lowest") - PRICE_EPSILON) | (
        pl.col("close") > pl.col("_highest") + PRICE_EPSILON
    )
    window = window.with_columns(
        (traded() & ~resumed & beyond & ~pl.col("_broken")).fill_null(value=False).alias("_breach")
    )
    window = window.with_columns((pl.col("_broken") | pl.col("_breach")).alias("_unsound"))
    sound_before = pl.col("_adjacent") & ~previous("_unsound") & ~pl.col("_unsound")
    fall = pl.col("adj_factor") < pl.col("_factor") * (1 - options.factor_decrease)
    differs = traded() & ((pl.col("_adjusted") - pl.col("_stated")).abs() > options.adjustment)
    window = window.with_columns(
        (sound_before & fall).fill_null(value=False).alias("_fall"),
        (sound_before & differs).fill_null(value=False).alias("_disagrees"),
    ).with_columns((pl.col("_fall") | pl.col("_disagrees")).alias("_suspect"))
    # the row after a single wrong factor: measured over both days it agrees, so the fault is the earlier row's
    two_days = (1 + pl.col("_stated")) * (1 + previous("_stated")) * previous("prev_close") / previous("close", 2)
    own = pl.col("close") * pl.col("adj_factor") / (previous("close", 2) * previous("adj_factor", 2))
    innocent = (previous("_suspect") & ((own / two_days - 1).abs() <= 2 * options.adjustment)).fill_null(value=False)
    return window.with_columns(
        (pl.col("_fall") & ~innocent).alias("_fall"), (pl.col("_disagrees") & ~innocent).alias("_disagrees")
    )


def gaps(table: Table, frame: pl.DataFrame, months: Sequence[date], listings: pl.DataFrame | None) -> pl.DataFrame:
    """Rule 7: sessions on which a listed security has no row; one finding per security and month.

    ``listings``: asset_key, listed_on, delisted_on and month (the snapshot of each month).
    """
    if listings is None:
        return FINDING_SCHEMA.to_frame()
    days = pl.DataFrame(
        {"day": session_array(min(months), month_last_day(max(months)))}, schema_overrides={"day": pl.Date}
    ).with_columns(pl.col("day").dt.month_start().alias("month"))
    listed = listings.select("month", "asset_key", "listed_on", "delisted_on").join(days, on="month")
    listed = listed.filter(
        (pl.col("day") >= pl.col("listed_on")) & (pl.col("day") < pl.col("delisted_on").fill_null(date.max))
    )
    absent = listed.join(frame.select("asset_key", "day").unique(), on=["asset_key", "day"], how="anti")
    summed = absent.group_by("month", "asset_key").agg(
        pl.col("day").min(), pl.col("day").max().alias("_last"), pl.len().alias("_days")
    ).sort("month", "asset_key")  # fmt: skip
    detail = pl.format("listed, but {} sessions from {} to {} have no row", "_days", "day", "_last")
    return absences(table, "7_missing_session", "warning", summed, ["asset_key", "day"], detail)


def unlisted_hits(frame: pl.DataFrame, listings: pl.DataFrame | None) -> pl.DataFrame:
    """Rows of a security on a day outside its listing; a warning, since the listing may be what is wrong."""
    if listings is None:
        return HIT_SCHEMA.to_frame()
    spells = listings.select("month", "asset_key", "listed_on", "delisted_on")
    known = spells.unique(["month", "asset_key"], keep="first")
    joined = frame.join(known, on=["month", "asset_key"], how="left", maintain_order="left")
    outside = (
        pl.col("listed_on").is_null() | (pl.col("day") < pl.col("listed_on")) | (pl.col("day") >= pl.col("delisted_on"))
    )
    detail = pl.format(
        "not listed that day (listed on {}, delisted on {})",
        pl.col("listed_on").cast(pl.String).fill_null("unknown"), pl.col("delisted_on").cast(pl.String).fill_null("open"),
    )  # fmt: skip
    odd = joined.filter(outside.fill_null(value=False))
    other = odd.drop("listed_on", "delisted_on").join(spells, on=["month", "asset_key"])  # two companies of one code
    odd = odd.join(other.filter(~outside.fill_null(value=False)), on=ROW, how="anti")
    first = odd.sort("month", "asset_key", "day", ROW).unique(
        ["month", "asset_key"], keep="first", maintain_order=True
    )  # fmt: skip
    return hits(first, "7_not_listed", "warning", pl.lit(value=True), detail)


UNITS = (
    (100.0, 'the volume looks like lots of 100 shares: write volume = { column = "...", factor = 100 } in the mapping'),
    (0.001, 'the amount looks like thousand CNY: write amount = { column = "...", factor = 1000 } in the mapping'),
    (0.1, "the volume looks like lots of 100 shares and the amount like thousand CNY: "
          "write factor = 100 for volume and factor = 1000 for amount in the mapping"),
    (0.0001, 'the amount looks like 10,000 CNY: write amount = { column = "...", factor = 10000 } in the mapping'),
)  # fmt: skip
"""What amount / volume / close is when a vendor's units were taken for the canonical ones."""


def unit_hint(frame: pl.DataFrame) -> str:
    """Remedy for rule 1 when the average price is off by a common unit on most days; empty text otherwise."""
    trading = frame.filter(traded() & (pl.col("volume") > 0) & (pl.col("close") > 0))
    ratio = (trading["amount"] / trading["volume"] / trading["close"]).median()
    for factor, text in UNITS:
        if isinstance(ratio, float) and abs(ratio / factor - 1) < 0.05:
            return f"amount / volume is {ratio:.4g} × the price on half of the days or more: {text}."
    return ""
