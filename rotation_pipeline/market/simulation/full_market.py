"""Moments of a whole market by months, to hold thousands of simulated stocks against every stock of the real one.

Daily rows of a whole real market are not at hand, monthly ones are; so both are brought to the same monthly panel first.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import month_sessions

PANEL = ("asset", "month", "ret", "size", "turnover", "daily_volatility", "largest", "traded", "is_st")
"""Columns of a panel: return of the month and of its largest day (fractions), total market value at its end (CNY), money
traded / float value, standard deviation of daily returns, sessions traded, special treatment at its end."""
FEWEST = 60
"""Months a stock must have to count in moments over time: five years."""
SEASONING = 3
"""Months after its first one in which a stock's returns do not count."""
_LIMIT = 0.098
_RIGID = 1e-9
"""Sum of squared deviations of monthly returns below which a stock did not move: its price was held at one fen."""
_LARGE = 0.1


def monthly_panel(bars: pl.DataFrame, valuation: pl.DataFrame) -> pl.DataFrame:
    """The panel of daily canonical rows (``asset_key``, day …), sorted by asset and month.

    A month without a traded day, or the first of a stock, has no return.
    """
    month = pl.col("day").dt.month_start().alias("month")
    daily = bars.lazy().select(
        "asset_key", "day", month, "close", "adj_factor", "amount", "is_suspended", "is_st",
        pl.when(~pl.col("is_suspended")).then(pl.col("close") / pl.col("prev_close") - 1.0).alias("change"),
    )  # fmt: skip
    months = daily.group_by("asset_key", "month").agg(
        (pl.col("close") * pl.col("adj_factor")).sort_by("day").last().alias("adjusted"),
        pl.col("amount").sum(),
        pl.col("change").std().alias("daily_volatility"),
        pl.col("change").max().alias("largest"),
        (~pl.col("is_suspended")).sum().alias("traded"),
        pl.col("is_st").sort_by("day").last(),
    )
    sizes = valuation.lazy().select("asset_key", "day", month, "total_market_value", "float_market_value")
    ends = sizes.group_by("asset_key", "month").agg(
        pl.col("total_market_value", "float_market_value").sort_by("day").last()
    )
    joined = months.join(ends, on=["asset_key", "month"]).sort("asset_key", "month")
    return joined.select(
        pl.col("asset_key").alias("asset"),
        "month",
        (pl.col("adjusted") / pl.col("adjusted").shift(1).over("asset_key") - 1.0).alias("ret"),
        pl.col("total_market_value").alias("size"),
        (pl.col("amount") / pl.col("float_market_value")).alias("turnover"),
        "daily_volatility",
        "largest",
        "traded",
        "is_st",
    ).collect()


def full_market_moments(panel: pl.DataFrame) -> pl.DataFrame:
    """Moments of a monthly panel (:data:`PANEL`): ``moment``, ``unit`` and ``value``, one row each.

    Months in which a stock did not trade, and its first :data:`SEASONING`, count for suspension, treatment and size alone
    (a new listing rises by its limit for days). The market is weighted by the size at the
    end of the month before.
    """
    panel = panel.sort("asset", "month").with_columns(pl.col("size").shift(1).over("asset").alias("weight"))
    seasoned = pl.col("month") >= pl.col("month").min().over("asset").dt.offset_by(f"{SEASONING}mo")
    traded = panel.filter((pl.col("traded") > 0) & pl.col("ret").is_not_null() & seasoned)
    sessions = pl.DataFrame(
        {"month": panel["month"].unique().sort().to_list()}, schema={"month": pl.Date}
    ).with_columns(
        pl.col("month").map_elements(lambda when: len(month_sessions(when)), return_dtype=pl.Int64).alias("open")
    )
    open_days = panel.join(sessions, on="month")
    market = traded.drop_nulls("weight").group_by("month").agg(
        ((pl.col("ret") * pl.col("weight")).sum() / pl.col("weight").sum()).alias("ret")
    ).sort("month")["ret"].to_numpy()  # fmt: skip
    wide = (
        traded.pivot(on="asset", index="month", values="ret").sort("month").drop("month").to_numpy().astype(np.float64)
    )
    sizes = panel.filter(pl.col("size") > 0).with_columns(pl.col("size").cast(pl.Float64).log().alias("ln"))
    by_month = sizes.group_by("month").agg(
        pl.col("ln").std().alias("spread"),
        pl.col("ln").skew().alias("skew"),
        (
            pl.col("size").filter(pl.col("size") >= pl.col("size").quantile(1 - _LARGE)).sum() / pl.col("size").sum()
        ).alias("top"),
        pl.len().alias("names"),
    )
    volatility, kurtosis = _over_time(wide)
    rows: list[tuple[str, str, float]] = [
        ("names, mean", "count", _mean(by_month["names"])),
        ("market volatility", "fraction a year", float(market.std(ddof=1) * np.sqrt(12))),
        ("market kurtosis, monthly", "excess", _kurtosis(market)),
        ("market autocorrelation of squared returns, lag 1 month", "correlation", float(np.corrcoef(market[1:] ** 2, market[:-1] ** 2)[0, 1])),
        ("stock volatility of monthly returns, median", "fraction a year", float(np.median(volatility) * np.sqrt(12))),
        ("stock kurtosis of monthly returns, median", "excess", float(np.median(kurtosis))),
        ("stock volatility of daily returns within a month, median", "fraction a day", _median(traded["daily_volatility"])),
        ("dispersion of stocks within a month, mean", "fraction", _mean(traded.group_by("month").agg(pl.col("ret").std())["ret"])),
        ("mean pairwise correlation, monthly", "correlation", _pairwise(wide)),
        ("turnover, median", "fraction a month", _median(traded["turnover"])),
        ("spread of ln market value", "ln CNY", _mean(by_month["spread"])),
        ("skewness of ln market value", "1", _mean(by_month["skew"])),
        ("share of the largest tenth in market value", "fraction", _mean(by_month["top"])),
        ("months with a day up 9.8 % or more", "fraction of stock-months", _mean((traded["largest"] > _LIMIT).cast(pl.Float64))),
        ("suspension rate", "fraction of stock-days", 1.0 - float(open_days["traded"].sum()) / float(open_days["open"].sum())),
        ("special treatment", "fraction of stock-months", _mean(panel["is_st"].cast(pl.Float64))),
    ]  # fmt: skip
    return pl.DataFrame(rows, schema={"moment": pl.String(), "unit": pl.String(), "value": pl.Float64()}, orient="row")


def _over_time(wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation and excess kurtosis of every column with :data:`FEWEST` months or more."""
    chosen = wide[:, np.isfinite(wide).sum(axis=0) >= FEWEST]
    gap = chosen - np.nanmean(chosen, axis=0)
    variance = np.nanmean(gap**2, axis=0)
    return np.nanstd(chosen, axis=0, ddof=1), np.nanmean(gap**4, axis=0) / variance**2 - 3.0


def _pairwise(wide: np.ndarray) -> float:
    """Mean correlation of pairs with :data:`FEWEST` months in common, over at most 1,000 stocks spread over the list."""
    chosen = wide[:, np.isfinite(wide).sum(axis=0) >= FEWEST]
    chosen = chosen[:, :: max(1, chosen.shape[1] // 1000)]
    present = np.isfinite(chosen).astype(np.float64)
    filled = np.nan_to_num(chosen)
    count = present.T @ present
    enough = np.triu(count >= FEWEST, 1)
    count = np.maximum(count, 1.0)
    sums = filled.T @ present
    spread = (filled**2).T @ present - sums**2 / count
    enough &= np.minimum(spread, spread.T) > _RIGID
    common = filled.T @ filled - sums * sums.T / count
    return float(np.mean(common[enough] / np.sqrt(spread * spread.T)[enough]))


def _kurtosis(values: np.ndarray) -> float:
    gap = values - values.mean()
    return float((gap**4).mean() / (gap**2).mean() ** 2 - 3.0)


def _mean(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).mean())  # type: ignore[arg-type]  # never without rows


def _median(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).drop_nulls().median())  # type: ignore[arg-type]
