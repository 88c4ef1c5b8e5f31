"""The eleven raw factors at month ends as users of pandas, polars and DuckDB write them, from the stored tables.

Each computes the factor on every day with the tool's own rolling functions and keeps the month ends. They count own
trading days like ours; RSI is smoothed from the first day on.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import polars as pl

NAMES = (
    "mom_20", "mom_120", "rsi_14", "book_to_price", "earnings_yield", "dividend_yield", "roe_ttm", "profit_growth",
    "volatility_60", "beta_252", "log_market_value",
)  # fmt: skip
BARS = """
    SELECT b.asset_key, b.day, b.adj_close, b.ret, i.level
    FROM intermediate.adjusted_bars AS b
    JOIN (SELECT day, exp(sum(ln(1 + ret)) OVER (ORDER BY day)) AS level FROM intermediate.index_daily) AS i USING (day)
    WHERE NOT b.is_suspended
"""
FIGURES = """
    SELECT u.month, u.asset_key, s.pb, s.pe_ttm, s.dividend_yield, s.roe_ttm, s.net_profit_ttm, s.net_profit_ttm_year_ago,
        s.total_market_value, (SELECT max(day) FROM intermediate.index_daily AS d WHERE d.month = u.month) AS day
    FROM intermediate.universe AS u JOIN intermediate.stock_snapshot AS s USING (month, asset_key)
"""
SQL = f"""
    WITH own AS (
        SELECT asset_key, day, adj_close, ret,
            level / lag(level) OVER w - 1 AS x, adj_close - lag(adj_close) OVER w AS change, row_number() OVER w AS n
        FROM ({BARS}) WINDOW w AS (PARTITION BY asset_key ORDER BY day)
    ),
    rolled AS (
        SELECT asset_key, day,
            adj_close / lag(adj_close, 20) OVER w - 1 AS mom_20,
            adj_close / lag(adj_close, 120) OVER w - 1 AS mom_120,
            -- Wilder's recursion as a sum with growing weights
            100 * sum(greatest(change, 0) * pow(14.0 / 13.0, n)) OVER w / sum(abs(change) * pow(14.0 / 13.0, n)) OVER w AS rsi_14,
            sqrt(244) * stddev_samp(ret) OVER (PARTITION BY asset_key ORDER BY day ROWS 59 PRECEDING) AS volatility_60,
            regr_slope(ret, x) OVER (PARTITION BY asset_key ORDER BY day ROWS 251 PRECEDING) AS beta_252
        FROM own WINDOW w AS (PARTITION BY asset_key ORDER BY day)
    )
    SELECT f.month, f.asset_key, r.mom_20, r.mom_120, r.rsi_14,
        1 / nullif(f.pb, 0) AS book_to_price, 1 / nullif(f.pe_ttm, 0) AS earnings_yield, f.dividend_yield, f.roe_ttm,
        (f.net_profit_ttm - f.net_profit_ttm_year_ago) / nullif(abs(f.net_profit_ttm_year_ago), 0) AS profit_growth,
        r.volatility_60, r.beta_252, ln(f.total_market_value) AS log_market_value
    FROM ({FIGURES}) AS f LEFT JOIN rolled AS r ON r.asset_key = f.asset_key AND r.day = f.day
    ORDER BY f.month, f.asset_key
"""


def by_duckdb(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One query of window functions."""
    return connection.sql(SQL).pl()


def by_pandas(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Group-by rolling."""
    frame = connection.sql(BARS + " ORDER BY b.asset_key, b.day").df()
    key = frame["asset_key"]
    by = frame.groupby("asset_key", sort=False)
    change = by["adj_close"].diff()
    out = frame[["asset_key", "day"]].copy()
    out["mom_20"] = by["adj_close"].pct_change(20)
    out["mom_120"] = by["adj_close"].pct_change(120)
    up, moved = (
        side.groupby(key, sort=False).ewm(alpha=1 / 14, adjust=False).mean().droplevel(0)
        for side in (change.clip(lower=0), change.abs())
    )
    out["rsi_14"] = 100 * up / moved
    out["volatility_60"] = by["ret"].rolling(60, min_periods=48).std().droplevel(0) * np.sqrt(244)
    pair = pd.DataFrame({"y": frame["ret"], "x": by["level"].pct_change()})
    pair["xy"], pair["xx"] = pair["x"] * pair["y"], pair["x"] ** 2
    mean = pair.groupby(key, sort=False).rolling(252, min_periods=120).mean().droplevel(0)
    out["beta_252"] = (mean["xy"] - mean["x"] * mean["y"]) / (mean["xx"] - mean["x"] ** 2)
    f = connection.sql(FIGURES + " ORDER BY u.month, u.asset_key").df()
    out = f.merge(out[out["day"].isin(f["day"].unique())], how="left", on=["asset_key", "day"])
    out["book_to_price"], out["earnings_yield"] = 1 / out["pb"], 1 / out["pe_ttm"]
    before = out["net_profit_ttm_year_ago"]
    out["profit_growth"] = (out["net_profit_ttm"] - before) / before.abs()
    out["log_market_value"] = np.log(out["total_market_value"])
    return pl.from_pandas(out[["month", "asset_key", *NAMES]])


def by_polars(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Rolling expressions over the security."""
    own = "asset_key"
    price, ret = pl.col("adj_close"), pl.col("ret")
    change = price.diff().over(own)
    frame = connection.sql(BARS + " ORDER BY b.asset_key, b.day").pl().lazy()
    x, y = pl.col("x"), pl.col("ret")

    def mean(e: pl.Expr) -> pl.Expr:
        return e.rolling_mean(252, min_samples=120)

    rolled = (
        frame.with_columns(change.alias("change"), pl.col("level").pct_change().over(own).alias("x"))
        .with_columns(
            price.pct_change(20).over(own).alias("mom_20"),
            price.pct_change(120).over(own).alias("mom_120"),
            (
                100 * pl.col("change").clip(lower_bound=0).ewm_mean(alpha=1 / 14, adjust=False).over(own)
                / pl.col("change").abs().ewm_mean(alpha=1 / 14, adjust=False).over(own)
            ).alias("rsi_14"),
            (ret.rolling_std(60, min_samples=48) * 244**0.5).over(own).alias("volatility_60"),
            ((mean(x * y) - mean(x) * mean(y)) / (mean(x * x) - mean(x) ** 2)).over(own).alias("beta_252"),
        )
    )  # fmt: skip
    figures = connection.sql(FIGURES).pl().lazy().sort("month", "asset_key")
    before = pl.col("net_profit_ttm_year_ago")
    return (
        figures.join(rolled, on=["asset_key", "day"], how="left", maintain_order="left")
        .with_columns(
            (1 / pl.col("pb")).alias("book_to_price"), (1 / pl.col("pe_ttm")).alias("earnings_yield"),
            ((pl.col("net_profit_ttm") - before) / before.abs()).alias("profit_growth"),
            pl.col("total_market_value").log().alias("log_market_value"),
        )
        .select("month", "asset_key", *NAMES)
        .collect()
    )  # fmt: skip


PEERS = {"pandas": by_pandas, "polars": by_polars, "duckdb": by_duckdb}
