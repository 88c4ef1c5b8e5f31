"""A small made-up market and the slow, obvious version of everything the factor stage computes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl

from rotation_pipeline.factors.styles import RAW_FACTORS
from rotation_pipeline.market.calendar import add_months, months_between, sessions

SIGN = {factor.name: factor.sign for factor in RAW_FACTORS}


@dataclass(frozen=True)
class Market:
    bars: pl.DataFrame
    index_daily: pl.DataFrame
    snapshot: pl.DataFrame
    universe: pl.DataFrame
    sessions: np.ndarray
    months: list[date]


def key_of(number: int) -> int:
    """Asset keys as the project makes them: six digits × 4 + exchange."""
    return (600000 + number) * 4 + 1


def make_market(seed: int, n_assets: int = 40, first: date = date(2018, 1, 1), n_months: int = 36) -> Market:
    """Random walks with suspensions, late listings and a delisting; figures with gaps; industries with gaps."""
    rng = np.random.default_rng(seed)
    months = months_between(first, add_months(first, n_months - 1))
    days = sessions(first, add_months(first, n_months))
    days = [day for day in days if day < add_months(first, n_months)]
    n_days = len(days)
    index = 0.012 * rng.standard_normal(n_days)
    frames: list[pl.DataFrame] = []
    for a in range(n_assets):
        listed = int(rng.integers(0, n_days // 2)) if a % 7 == 3 else 0
        gone = int(n_days * 0.8) if a == 5 else n_days
        ret = 0.0003 + rng.uniform(0.4, 1.6) * index + 0.015 * rng.standard_normal(n_days)
        suspended = rng.random(n_days) < (0.05 if a % 5 == 0 else 0.0)
        if a % 10 == 4:
            begin = int(rng.integers(0, n_days - 60))
            suspended[begin : begin + int(rng.integers(5, 160))] = True
        suspended[listed] = False
        price = 10.0 * np.exp(np.cumsum(np.where(suspended, 0.0, ret)))
        rows = np.arange(listed, gone)
        before = np.concatenate(([np.nan], price[rows][:-1]))
        daily = np.where(suspended[rows], np.nan, price[rows] / before - 1.0)
        frames.append(
            pl.DataFrame({
                "day": [days[i] for i in rows], "asset_key": np.full(rows.size, key_of(a), np.int32), "close": price[rows],
                "adj_close": price[rows], "ret": daily, "is_suspended": suspended[rows],
            }).with_columns(pl.col("ret").fill_nan(None))
        )  # fmt: skip
    bars = pl.concat(frames).with_columns(pl.col("day").dt.month_start().alias("month")).sort("asset_key", "day")
    index_daily = pl.DataFrame({"day": days, "ret": index}).with_columns(
        pl.col("day").dt.month_start().alias("month"), pl.lit("000016.SH").alias("index_id"), pl.lit(1.0).alias("close")
    )
    ends = (
        bars.group_by("month", "asset_key")
        .agg(pl.col("day").max(), pl.col("is_suspended").last())
        .sort("month", "asset_key")
    )
    n = ends.height

    def gappy(values: np.ndarray) -> pl.Series:
        return pl.Series([None if gap else float(v) for v, gap in zip(values, rng.random(n) < 0.04, strict=True)])

    snapshot = ends.select("month", "asset_key").with_columns(
        gappy(rng.uniform(0.5, 8.0, n)).alias("pb"),
        gappy(rng.uniform(-50.0, 80.0, n)).alias("pe_ttm"),
        gappy(np.maximum(rng.normal(0.01, 0.02, n), 0.0)).alias("dividend_yield"),
        gappy(rng.normal(0.1, 0.1, n)).alias("roe_ttm"),
        gappy(rng.normal(5e9, 5e9, n)).alias("net_profit_ttm"),
        gappy(rng.normal(5e9, 5e9, n)).alias("net_profit_ttm_year_ago"),
        gappy(np.exp(rng.normal(25.0, 1.0, n))).alias("total_market_value"),
    )
    industry = np.array(["bank", "energy", "tech", "food", "metal", ""])[np.arange(n_assets) % 6]
    names = {key_of(a): industry[a] or None for a in range(n_assets)}
    universe = ends.with_columns(
        pl.col("asset_key").replace_strict(names, return_dtype=pl.String).alias("industry"),
        (pl.Series(rng.random(n)) > 0.03).alias("in_estimation"),
        (~pl.col("is_suspended")).alias("in_tradable"),
        pl.lit(False).alias("is_st"),
    ).drop("day")
    return Market(bars, index_daily, snapshot, universe, np.array(days, dtype="datetime64[D]"), months)


def slow_price_factors(market: Market, asset_key: int, month: date, lookback: int = 504) -> dict[str, float]:
    """The five price factors of one asset at one month end, from their definitions."""
    nan = dict.fromkeys(("mom_20", "mom_120", "rsi_14", "volatility_60", "beta_252"), math.nan)
    days = market.sessions[market.sessions < np.datetime64(add_months(month, 1))][-lookback:].tolist()
    index = {row["day"]: row["ret"] for row in market.index_daily.iter_rows(named=True)}
    rows = [
        row
        for row in market.bars.filter(pl.col("asset_key") == asset_key).iter_rows(named=True)
        if days[0] <= row["day"] <= days[-1] and not row["is_suspended"]
    ]
    if not rows:
        return nan
    price = np.array([row["adj_close"] for row in rows])
    steps = min(20, price.size - 1)
    if steps >= 16:
        nan["mom_20"] = price[-1] / price[-1 - steps] - 1
    steps = min(120, price.size - 1)
    if steps >= 96:
        nan["mom_120"] = price[-1] / price[-1 - steps] - 1
    nan["rsi_14"] = slow_rsi(price)
    pairs = []
    for before, now in pairwise(rows):
        span = [index[day] for day in days if before["day"] < day <= now["day"]]
        pairs.append((float(np.prod([1 + value for value in span]) - 1), now["ret"]))
    own = np.array([y for _, y in pairs[-60:]])
    if own.size >= 48:
        nan["volatility_60"] = float(np.std(own, ddof=1) * math.sqrt(244))
    x, y = np.array(pairs[-252:]).reshape(-1, 2).T
    if x.size >= 120:
        nan["beta_252"] = float(np.cov(x, y, ddof=1)[0, 1] / np.var(x, ddof=1))
    return nan


def slow_rsi(price: np.ndarray) -> float:
    """Wilder (1978): first averages are simple means of 14 changes, then each is (13 × last + new) / 14."""
    change = np.diff(price)
    if change.size < 12:
        return math.nan
    seed = min(14, change.size)
    up, down = float(np.clip(change[:seed], 0, None).mean()), float(np.clip(-change[:seed], 0, None).mean())
    for value in change[seed:]:
        up, down = (13 * up + max(value, 0.0)) / 14, (13 * down + max(-value, 0.0)) / 14
    return 100 - 100 / (1 + up / down) if down > 0 else (100.0 if up > 0 else math.nan)


def slow_scores(values: pd.DataFrame, estimation: np.ndarray, limit: float = 5.0) -> pd.DataFrame:
    """Winsorised, standardised, signed factors of one month; columns are the raw factors, no neutralisation."""
    out = {}
    for name in values:
        sample = values[name][estimation].dropna()
        centre = sample.median()
        scale = 1.4826 * (sample - centre).abs().median()
        clipped = values[name].clip(centre - limit * scale, centre + limit * scale)
        inside = clipped[estimation].dropna()
        out[name] = SIGN[str(name)] * (clipped - inside.mean()) / inside.std(ddof=1)
    return pd.DataFrame(out)
