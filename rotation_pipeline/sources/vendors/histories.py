"""Bars of vendors that answer security by security with the whole history: previous closes, factors, suspended days.

A history is one security's traded days, ascending: day, open, high, low, close, prev_close, volume, amount. What follows
from it for a month is the same whatever later days it holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import date

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import (
    FIRST_SESSION,
    month_last_day,
    month_sessions,
    months_between,
    sessions,
)
from rotation_pipeline.market.identifiers import IdentifierError, asset_key
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.vendors.conversions import SHARE, board
from rotation_pipeline.sources.vendors.errors import BadAnswer
from rotation_pipeline.sources.vendors.source import covering
from rotation_pipeline.sources.vendors.store import VendorStore

PRICES = ("open", "high", "low", "close")
NAMES = ["asset_id", "day", *PRICES, "prev_close", "volume", "amount", "adj_factor", "is_suspended", "is_st", "board"]


def group(assets: Iterable[str]) -> str:
    """A short name of a set of securities: what is stored for all of them at once is not taken for another set."""
    return hashlib.sha256(",".join(sorted(assets)).encode()).hexdigest()[:8]


def named(vendor: str, assets: Sequence[str]) -> tuple[str, ...]:
    """The securities asked for, sorted. Raises :class:`SourceError` for none and for a text that is no identifier."""
    if not assets:
        raise SourceError(
            f"source {vendor} has securities one by one: name them in source.vendor.assets, all that were ever members, or "
            "give a folder that holds index_members (--path FOLDER)"
        )
    try:
        return tuple(sorted(set(assets), key=asset_key))
    except IdentifierError as error:
        raise SourceError(f"source {vendor}, source.vendor.assets: {error}") from error


def previous_closes(bars: pl.DataFrame, factors: pl.DataFrame) -> pl.DataFrame:
    """Add ``prev_close`` to a history from cumulative factors (day, adj_factor; in force from their day on).

    prev_close = last close × factor then / factor now, rounded half up to the cent as the exchange does; the last close
    itself while the factor stands. Null on the first day. No factor before the first counts as 1.
    """
    rows = bars.sort("day").join_asof(factors.sort("day"), on="day", strategy="backward", check_sortedness=False)
    factor = pl.col("adj_factor").fill_null(1.0)
    moved = factor != factor.shift(1)
    # 1e-9 lifts what binary fractions put just below half a cent
    cents = (pl.col("close").shift(1) * factor.shift(1) / factor * 100 + 0.5 + 1e-9).floor() / 100
    return rows.with_columns(pl.when(moved).then(cents).otherwise(pl.col("close").shift(1)).alias("prev_close")).drop("adj_factor")  # fmt: skip


def chained(history: pl.DataFrame) -> pl.DataFrame:
    """Add ``adj_factor``: the product of last close ÷ ``prev_close`` over all days so far, 1 on the first.

    It changes on the day trading goes on without the right, which is the ex-day unless that day was suspended, and by
    construction agrees with ``prev_close``.
    """
    close, before = history["close"].to_numpy(), history["prev_close"].to_numpy()
    ratios = np.ones(history.height)
    ratios[1:] = close[:-1] / before[1:]
    return history.with_columns(pl.Series("adj_factor", np.cumprod(ratios)))


def due(listed_on: date, delisted_on: date | None, first: date, last: date) -> list[date]:
    """Sessions of [first, last] on which the security was listed."""
    low = max(first, listed_on, FIRST_SESSION)
    return [day for day in sessions(low, last) if delisted_on is None or day < delisted_on] if low <= last else []


def silent(history: pl.DataFrame, days: Collection[date]) -> list[date]:
    """Those of ``days`` without a bar."""
    return sorted(set(days) - set(history["day"]))


def reaches(code: str, history: pl.DataFrame, listed_on: date, vendor: str) -> None:
    """Refuse a history that does not begin with the listing: the vendor sent the end of it only."""
    start = max(listed_on, FIRST_SESSION)
    lacking = len(sessions(start, history["day"][0])) - 1 if history["day"][0] > start else 0
    if lacking > 10:
        raise BadAnswer(
            f"{vendor}: the bars of {code} begin on {history['day'][0]}, it was listed on {listed_on}; the vendor sent "
            "part of its history. Nothing was stored; ask again later"
        )


def canonical(code: str, history: pl.DataFrame, days: Sequence[date], halted: Collection[date]) -> pl.DataFrame:
    """Canonical bars of one security on ``days``, without ``is_st``.

    A day in ``halted`` without a bar repeats the last close with nothing traded; one that is in neither is a gap and has
    no row.
    """
    whole = chained(history)
    rows = pl.DataFrame({"day": days}, schema={"day": pl.Date}).join(whole, on="day", how="left").sort("day")
    last = whole.select("day", pl.col("close").alias("last"), pl.col("adj_factor").alias("known"))
    rows = rows.join_asof(last.sort("day"), on="day", strategy="backward", check_sortedness=False)
    idle = pl.col("close").is_null()
    rows = rows.filter(~idle | (pl.col("day").is_in(list(halted)) & pl.col("last").is_not_null()))
    return rows.with_columns(
        *(pl.when(idle).then(pl.col("last")).otherwise(pl.col(name)).alias(name) for name in (*PRICES, "prev_close")),
        *(pl.when(idle).then(0.0).otherwise(pl.col(name)).alias(name) for name in ("volume", "amount")),
        pl.col("known").alias("adj_factor"), idle.alias("is_suspended"), pl.lit(code).alias("asset_id"),
    ).with_columns(board("asset_id").alias("board")).drop("last", "known")  # fmt: skip


def explained(month: date, expected: int, found: int, vendor: str, store: VendorStore) -> None:
    """Refuse a month of which more than :data:`SHARE` of the expected days have neither bar nor suspension."""
    if found < expected * (1 - SHARE):
        raise BadAnswer(
            f"{vendor}: {found} bars and suspensions in {month:%Y-%m}, {expected} were expected; the vendor sent half a "
            f"month. Remove the bars of these securities from {store.folder / 'manifest.json'} and ask again later"
        )


def stretches(store: VendorStore, tables: Sequence[str], first: date, last: date) -> list[tuple[date, date]]:
    """Stretches of months in [first, last] that the same units of the whole ``tables`` cover: first and last month."""
    months = months_between(first, last)
    units = [[covering(store, table, month) for table in tables] for month in months]
    starts = [at for at in range(len(months)) if at == 0 or units[at] != units[at - 1]]
    return [(months[at], months[end - 1]) for at, end in zip(starts, [*starts[1:], len(months)], strict=True)]


def whole_month(month: date) -> tuple[date, date]:
    """First and last day of a month."""
    return month, month_last_day(month)


def month_end(month: date) -> date:
    """Its last session."""
    return month_sessions(month)[-1]
