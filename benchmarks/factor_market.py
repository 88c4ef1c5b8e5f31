"""The market the factor benchmarks run on: made up, stored in DuckDB by the warehouse, as a run would store it.

Random walks on a common index, about 12 % of the stocks listed late, halts of a few days to months, one delisting in a
hundred. Monthly figures are drawn independently. The file is made once and kept under ``.benchmarks/``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import month_start, sessions
from rotation_pipeline.warehouse.errors import LayoutMismatch
from rotation_pipeline.warehouse.store import open_warehouse

FIRST = date(2014, 1, 1)
FOLDER = Path(__file__).resolve().parents[1] / ".benchmarks"
VERSION = 4
"""Raise it when the market changes: files of another version are not used."""
INDUSTRIES = 28
FIGURES = ("pb", "pe_ttm", "dividend_yield", "roe_ttm", "net_profit_ttm", "net_profit_ttm_year_ago")


@dataclass(frozen=True)
class Size:
    """Stocks and sessions of a market."""

    assets: int = 5000
    sessions: int = 2430

    @property
    def path(self) -> Path:
        """File the market is stored in."""
        return FOLDER / f"market-{VERSION}-{self.assets}x{self.sessions}.duckdb"

    def days(self) -> np.ndarray:
        """Sessions, rising, datetime64[D]."""
        days = np.array(sessions(FIRST, date(2024, 12, 31))[: self.sessions], dtype="datetime64[D]")
        if days.size < self.sessions:
            raise SystemExit(f"at most {days.size} sessions")
        return days

    def months(self) -> list[date]:
        """Every month the sessions touch."""
        return sorted({month_start(day) for day in self.days().tolist()})


def _prices(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Index returns (sessions,), adjusted closes, halted and listed flags, each (assets, sessions)."""
    n, t = size.assets, size.sessions
    index = 0.0002 + 0.011 * rng.standard_normal(t)
    halted, listed = np.zeros((n, t), np.bool_), np.ones((n, t), np.bool_)
    for a in range(n):
        first = int(rng.integers(0, t - 250)) if rng.random() < 0.25 else 0
        last = int(rng.integers(first + 200, t)) if rng.random() < 0.01 else t
        listed[a, :first], listed[a, last:] = False, False
        for _ in range(rng.poisson(2.0)):
            begin, length = int(rng.integers(first + 1, t)), int(min(1 + rng.exponential(8.0), 150))
            halted[a, begin : begin + length] = True
        halted[a, first] = False
    price = np.empty((n, t))
    for a in range(n):
        step = 0.0001 + rng.uniform(0.4, 1.6) * index + 0.02 * rng.standard_normal(t)
        # a halted stock keeps its last close; what it missed comes on the day it trades again, in part
        price[a] = 10.0 * np.cumprod(1.0 + np.clip(np.where(halted[a], 0.0, step), -0.1, 0.1))
    return index, price, halted, listed


def make(size: Size) -> Path:
    """The stored market, made if it is not there."""
    if size.path.exists():
        try:
            with open_warehouse(size.path):  # a newer warehouse adds its tables
                return size.path
        except LayoutMismatch:  # and if it has other columns in some, the market is made again
            size.path.unlink()
            shutil.rmtree(size.path.with_suffix(".panel"), ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    days, months = size.days(), size.months()
    index, price, halted, listed = _prices(size, rng)
    ret = np.full(price.shape, np.nan)
    ret[:, 1:] = np.where(halted[:, 1:] | ~listed[:, :-1], np.nan, price[:, 1:] / price[:, :-1] - 1.0)
    key = ((600000 + np.arange(size.assets)) * 4 + 1).astype(np.int32)
    industry = np.array([f"industry {i:02d}" for i in range(INDUSTRIES)])[rng.integers(0, INDUSTRIES, size.assets)]
    month_of = days.astype("datetime64[M]")
    building = size.path.with_suffix(".building")
    building.unlink(missing_ok=True)
    _remember_windows(size, listed & ~halted, key)
    with open_warehouse(building) as warehouse:
        for month in months:
            at = np.flatnonzero(month_of == np.datetime64(month, "M"))
            day, asset = np.nonzero(listed[:, at].T)
            where = (asset, at[day])
            n = asset.size
            bars = pl.DataFrame({
                "month": np.full(n, np.datetime64(month, "D")), "day": days[at[day]], "asset_key": key[asset],
                "close": price[where], "adj_close": price[where], "ret": ret[where], "is_suspended": halted[where],
                "is_st": np.zeros(n, np.bool_), "volume": 1e6 * rng.random(n), "amount": 1e7 * rng.random(n),
                "turnover_rate": 0.02 * rng.random(n),
            })  # fmt: skip
            here = np.flatnonzero(listed[:, at[-1]])
            snapshot = pl.DataFrame({"month": np.full(here.size, np.datetime64(month, "D")), "asset_key": key[here]})
            warehouse.write(
                {
                    "intermediate.adjusted_bars": bars,
                    "intermediate.index_daily": _index_rows(month, days[at], index[at]),
                    "intermediate.stock_snapshot": _snapshot(snapshot, rng),
                    "intermediate.universe": _universe(snapshot, industry[here], halted[here, at[-1]]),
                },
                [month],
                "benchmark",
            )
        warehouse.execute("CHECKPOINT")
    building.rename(size.path)
    return size.path


def _remember_windows(size: Size, own: np.ndarray, key: np.ndarray) -> None:
    """Which windows every way of computing sees alike: traded on the month's last session, on 400 of the last 504
    sessions (so that all RSI seeds have faded); and those of them that traded on each of the 504 sessions."""
    days, months = size.days(), size.months()
    last = np.searchsorted(days.astype("datetime64[M]"), np.array(months, dtype="datetime64[M]"), side="right") - 1
    days_before = np.concatenate((np.zeros((len(own), 1), np.int32), np.cumsum(own, axis=1, dtype=np.int32)), axis=1)
    count = days_before[:, last + 1] - days_before[:, np.maximum(last - 503, 0)]
    traded = own[:, last]
    np.savez(
        size.path.with_suffix(".npz"), asset_key=key, month=np.array(months, dtype="datetime64[D]"), alike=traded & (count >= 400),
        whole=traded & (count >= 504),
    )  # fmt: skip


def _fill(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The columns of a table that no factor reads, null or zero."""
    from rotation_pipeline.warehouse.catalog import table_named
    from rotation_pipeline.warehouse.schemas import polars_schema

    schema = polars_schema(table_named(name))
    zero = {pl.Boolean(): False, pl.String(): "", pl.Date(): FIRST}
    extra = [pl.lit(zero.get(kind, 0), kind).alias(c) for c, kind in schema.items() if c not in frame.columns]
    return frame.with_columns(extra).select(list(schema))


def _index_rows(month: date, days: np.ndarray, ret: np.ndarray) -> pl.DataFrame:
    frame = pl.DataFrame({"month": np.full(days.size, np.datetime64(month, "D")), "day": days, "ret": ret})
    return _fill(frame.with_columns(pl.lit("000985.SH").alias("index_id")), "intermediate.index_daily")


def _snapshot(members: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    n = members.height
    size = pl.Series("total_market_value", np.exp(rng.normal(23.0, 1.2, n)))
    figures = [pl.Series(name, rng.normal(3.0, 2.0, n)) for name in FIGURES]
    return _fill(members.with_columns(size, *figures), "intermediate.stock_snapshot")


def _universe(members: pl.DataFrame, industry: np.ndarray, halted: np.ndarray) -> pl.DataFrame:
    rows = members.with_columns(
        pl.Series("industry", industry), pl.lit(True).alias("in_estimation"), pl.Series("in_tradable", ~halted)
    )  # fmt: skip
    return _fill(rows, "intermediate.universe")
