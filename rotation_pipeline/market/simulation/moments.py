"""Moments of a market's canonical tables, to hold the simulated one against the real one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from rotation_pipeline.market.reused_codes import with_company
from rotation_pipeline.market.simulation.prices import SESSIONS_A_YEAR

_NEAR_LIMIT = 0.002


def moments(tables: Mapping[str, pl.DataFrame], index_id: str = "000016.SH") -> pl.DataFrame:
    """Moments of ``index_bars``, ``daily_bars``, ``daily_valuation`` and ``index_members`` in canonical columns.

    Stocks are taken while they are members of ``index_id``; the span is that of the bars, from
    which days without a complete list of members must have been taken out. Where ``listings`` are there too, the companies
    a code was given to one after the other count as so many stocks. Returns columns ``moment`` (text), ``unit`` and ``value``, one row per moment. Returns are close / prev_close − 1 on
    trading days; kurtosis is in excess of the normal's 3; the limit-hit rate counts closes within 0.2 points of ±10 %
    or ±5 % under special treatment, main board only.
    """
    bars = _of_members(tables["daily_bars"], tables["index_members"], index_id)
    index = tables["index_bars"].filter(pl.col("index_id") == index_id).sort("day")
    index = index.filter(pl.col("day").is_between(bars["day"].min(), bars["day"].max()))
    move = index["close"].to_numpy()[1:] / index["close"].to_numpy()[:-1] - 1.0
    key = "asset_key" if "asset_key" in bars.columns else "asset_id"
    trading = bars.filter(~pl.col("is_suspended")).with_columns(
        (pl.col("close") / pl.col("prev_close") - 1.0).alias("change")
    )
    none = pl.DataFrame(schema={key: bars.schema[key], "listed_on": pl.Date})
    trading = with_company(trading, tables.get("listings", none), key, "day")
    stocks = _by_stock(trading.sort("company", "day"))
    valuation = tables["daily_valuation"].join(bars.select(key, "day"), on=[key, "day"], how="semi")
    turnover = valuation.filter(pl.col("turnover_rate") > 0)["turnover_rate"].cast(pl.Float64)
    size = valuation.filter(pl.col("total_market_value") > 0).group_by("day").agg(
        pl.col("total_market_value").cast(pl.Float64).log().std().alias("spread")
    )  # fmt: skip
    main = trading.filter(pl.col("board") == "main")
    limit = pl.when(pl.col("is_st")).then(0.05).otherwise(0.10)
    hit = main.select(
        ((pl.col("change").abs() > limit - _NEAR_LIMIT) & (pl.col("change").abs() < limit + 0.006)).mean()
    ).item()
    span = trading.select((pl.col("high") / pl.col("low") - 1.0).median()).item()
    gap = trading.select((pl.col("open") / pl.col("prev_close") - 1.0).abs().median()).item()
    rows: list[tuple[str, str, float]] = [
        ("index volatility", "fraction a year", float(move.std(ddof=1) * np.sqrt(SESSIONS_A_YEAR))),
        ("index kurtosis", "excess", _kurtosis(move)),
        ("index autocorrelation of squared returns, lag 1", "correlation", _autocorrelation(move**2)),
        ("stock volatility, median", "fraction a year", float(np.median(stocks["volatility"]))),
        (
            "stock volatility, 10th to 90th percentile",
            "fraction a year",
            float(np.subtract(*np.quantile(stocks["volatility"], [0.9, 0.1]))),
        ),
        ("stock kurtosis, median", "excess", float(np.median(stocks["kurtosis"]))),
        ("stock autocorrelation of returns, lag 1, median", "correlation", float(np.median(stocks["autocorrelation"]))),
        (
            "stock autocorrelation of squared returns, lag 1, median",
            "correlation",
            float(np.median(stocks["clustering"])),
        ),
        ("mean pairwise correlation", "correlation", _mean_correlation(trading)),
        ("daily range high / low − 1, median", "fraction", float(span)),
        ("opening gap, absolute, median", "fraction", float(gap)),
        ("turnover rate, mean", "fraction a day", float(turnover.mean())),  # pyright: ignore[reportArgumentType]
        ("turnover rate, median", "fraction a day", float(turnover.median())),  # pyright: ignore[reportArgumentType]
        ("spread of ln market value", "ln CNY", float(size["spread"].mean())),  # pyright: ignore[reportArgumentType]
        ("median pb", "ratio", _median(valuation, "pb")),
        ("median earnings yield", "fraction", 1.0 / _median(valuation, "pe_ttm")),
        ("share of losses", "fraction of stock-days", float(valuation.select((pl.col("pe_ttm") < 0).mean()).item())),
        ("median dividend yield", "fraction", _median(valuation, "dividend_yield_ttm")),
        ("limit-hit rate", "fraction of trading days", float(hit)),
        ("suspension rate", "fraction of stock-days", float(bars["is_suspended"].mean())),  # pyright: ignore[reportArgumentType]
    ]
    return pl.DataFrame(rows, schema={"moment": pl.String(), "unit": pl.String(), "value": pl.Float64()}, orient="row")


def _of_members(bars: pl.DataFrame, members: pl.DataFrame, index_id: str) -> pl.DataFrame:
    """Bars of days on which the stock was a member."""
    key = "asset_key" if "asset_key" in bars.columns else "asset_id"
    spells = members.filter(pl.col("index_id") == index_id).select(key, "valid_from", "valid_to")
    joined = bars.join(spells, on=key, how="inner")
    inside = (pl.col("day") >= pl.col("valid_from")) & (
        pl.col("valid_to").is_null() | (pl.col("day") < pl.col("valid_to"))
    )
    return joined.filter(inside).drop("valid_from", "valid_to").sort(key, "day")


def _by_stock(trading: pl.DataFrame) -> dict[str, list[float]]:
    """Moments of every stock with two years of member days or more."""
    found: dict[str, list[float]] = {"volatility": [], "kurtosis": [], "autocorrelation": [], "clustering": []}
    for part in trading.partition_by("company", maintain_order=True):
        change = part["change"].to_numpy()
        if change.size < 2 * SESSIONS_A_YEAR:
            continue
        found["volatility"].append(float(change.std(ddof=1) * np.sqrt(SESSIONS_A_YEAR)))
        found["kurtosis"].append(_kurtosis(change))
        found["autocorrelation"].append(_autocorrelation(change))
        found["clustering"].append(_autocorrelation(change**2))
    return found


def _kurtosis(values: np.ndarray) -> float:
    gap = values - values.mean()
    return float((gap**4).mean() / (gap**2).mean() ** 2 - 3.0)


def _autocorrelation(values: np.ndarray) -> float:
    return float(np.corrcoef(values[1:], values[:-1])[0, 1])


def _mean_correlation(trading: pl.DataFrame) -> float:
    """Mean over pairs of stocks with two common years of member days."""
    wide = trading.pivot(on="company", index="day", values="change").drop("day").to_numpy().astype(np.float64)
    present = np.isfinite(wide).astype(np.float64)
    filled = np.nan_to_num(wide)
    count = present.T @ present
    enough = np.triu(count >= 2 * SESSIONS_A_YEAR, 1)
    count = np.maximum(count, 1.0)
    sums, squares = filled.T @ present, (filled**2).T @ present
    spread = squares - sums**2 / count
    common = filled.T @ filled - sums * sums.T / count
    return float(np.mean(common[enough] / np.sqrt(spread * spread.T)[enough]))


def _median(frame: pl.DataFrame, name: str) -> float:
    return float(frame[name].cast(pl.Float64).median())  # pyright: ignore[reportArgumentType]
