"""The simulated market looks like the real one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.market.simulation import SimulationOptions, simulate
from rotation_pipeline.market.simulation.moments import moments

REAL = Path(__file__).resolve().parents[2] / "../shared/data/sse50"
FIRST, LAST = date(2013, 6, 1), date(2024, 1, 31)
TABLES = ("index_bars", "daily_bars", "daily_valuation", "index_members")
FACTOR = {
    "index volatility": 1.3,
    "index kurtosis": 2.0,
    "index autocorrelation of squared returns, lag 1": 2.0,
    "stock volatility, median": 1.25,
    "stock volatility, 10th to 90th percentile": 1.5,
    "stock kurtosis, median": 1.6,
    "stock autocorrelation of squared returns, lag 1, median": 1.5,
    "mean pairwise correlation": 1.3,
    "daily range high / low − 1, median": 1.3,
    "opening gap, absolute, median": 1.4,
    "turnover rate, mean": 1.8,
    "turnover rate, median": 1.6,
    "spread of ln market value": 1.4,
    "median pb": 2.0,
    "median earnings yield": 1.7,
    "median dividend yield": 1.6,
    "limit-hit rate": 2.0,
    "suspension rate": 1.6,
}
"""Largest ratio allowed between simulated and real."""


def simulated(seed: int | None = None) -> dict[str, float]:
    options = SimulationOptions() if seed is None else SimulationOptions(seed=seed)
    tables = dict(simulate(options, date(2024, 1, 1)).tables)
    tables["daily_bars"] = tables["daily_bars"].filter(pl.col("day") >= FIRST)
    return dict(moments(tables).select("moment", "value").iter_rows())


def test_moments_are_near_the_real_markets() -> None:
    if not REAL.exists():
        pytest.skip("the real SSE 50 data are not beside the project")
    tables = {name: pl.read_parquet(REAL / f"{name}.parquet") for name in TABLES}
    tables["daily_bars"] = tables["daily_bars"].filter(pl.col("day").is_between(FIRST, LAST))
    real = dict(moments(tables).select("moment", "value").iter_rows())
    mine = simulated()
    for name, factor in FACTOR.items():
        assert 1 / factor < mine[name] / real[name] < factor, (name, mine[name], real[name])
    assert abs(mine["stock autocorrelation of returns, lag 1, median"]) < 0.05


def test_stylised_facts_without_real_data() -> None:
    """Heavy tails, clustering, no autocorrelation of returns (Cont 2001)."""
    mine = simulated(seed=8)
    assert mine["index kurtosis"] > 1.0
    assert mine["stock kurtosis, median"] > 1.5
    assert mine["stock autocorrelation of squared returns, lag 1, median"] > 0.08
    assert mine["index autocorrelation of squared returns, lag 1"] > 0.08
    assert abs(mine["stock autocorrelation of returns, lag 1, median"]) < 0.05
    assert 0.002 < mine["limit-hit rate"] < 0.02
    assert 0.005 < mine["suspension rate"] < 0.03


def test_moments_of_a_small_market_by_hand() -> None:
    days = [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 6)]
    closes = [10.0, 11.0, 9.9]
    bars = pl.DataFrame(
        {
            "asset_key": [1] * 3, "day": days, "open": [10.0, 10.5, 11.0], "high": [10.2, 11.0, 11.0],
            "low": [9.8, 10.4, 9.9], "close": closes, "prev_close": [10.0, 10.0, 11.0],
            "is_suspended": [False] * 3, "is_st": [False] * 3, "board": ["main"] * 3,
        }
    )  # fmt: skip
    many = pl.concat([bars.with_columns(day=pl.col("day").dt.offset_by(f"{28 * i}d")) for i in range(400)])
    two = pl.concat([many, many.with_columns(asset_key=pl.lit(2, dtype=pl.Int64))])
    valuation = two.select(
        "asset_key", "day", pl.lit(8.0).alias("pe_ttm"), pl.lit(1.5).alias("pb"), pl.lit(0.02).alias("dividend_yield_ttm"),
        pl.lit(0.01).alias("turnover_rate"), pl.when(pl.col("asset_key") == 1).then(1e10).otherwise(1e11).alias("total_market_value"),
    )  # fmt: skip
    members = pl.DataFrame(
        {
            "index_id": ["000016.SH"] * 2,
            "asset_key": [1, 2],
            "valid_from": [date(2019, 1, 1)] * 2,
            "valid_to": [None, None],
        }
    )
    index = many.select(pl.lit("000016.SH").alias("index_id"), "day", "close")
    found = dict(
        moments(
            {
                "daily_bars": two,
                "daily_valuation": valuation,
                "index_members": members.cast({"valid_to": pl.Date()}),
                "index_bars": index,
            }
        )
        .select("moment", "value")
        .iter_rows()
    )
    change = np.array([0.0, 0.1, -0.1] * 400)
    assert found["stock volatility, median"] == pytest.approx(change.std(ddof=1) * np.sqrt(244))
    assert found["mean pairwise correlation"] == pytest.approx(1.0)
    assert found["limit-hit rate"] == pytest.approx(2 / 3)
    assert found["spread of ln market value"] == pytest.approx(np.log(10) / np.sqrt(2))
    assert found["median earnings yield"] == pytest.approx(1 / 8)
    assert found["suspension rate"] == 0.0


def test_the_companies_of_one_code_are_two_stocks() -> None:
    """The same moments as under two codes: a calm company, and a wild one that is given its code."""
    rng, days, begins = np.random.default_rng(3), sessions(date(2015, 1, 5), date(2019, 12, 31)), date(2017, 6, 1)
    parts: list[pl.DataFrame] = []
    for code, own, spread in (
        ("a", [day for day in days if day < date(2017, 5, 2)], 0.01),
        ("b", [day for day in days if day >= begins], 0.03),
        ("c", days, 0.02),
    ):
        change = 1.0 + rng.normal(0.0, spread, len(own))
        close = 10.0 * np.cumprod(change)
        parts.append(pl.DataFrame({"asset_id": code, "day": own, "close": close, "prev_close": close / change}))
    fixed = {"is_suspended": False, "is_st": False, "board": "main", "pe_ttm": 8.0, "pb": 1.0, "turnover_rate": 0.01}
    bars = pl.concat(parts).with_columns(
        pl.col("close").alias("open"), pl.col("close").alias("high"), pl.col("close").alias("low"),
        *(pl.lit(value).alias(name) for name, value in fixed.items()),
        pl.lit(0.02).alias("dividend_yield_ttm"), pl.lit(1e10).alias("total_market_value"),
    )  # fmt: skip
    spells = pl.DataFrame({"index_id": "000016.SH", "asset_id": ["a", "b", "c"], "valid_from": [days[0], begins, days[0]], "valid_to": [begins, None, None]})  # fmt: skip
    index = pl.DataFrame({"index_id": "000016.SH", "day": days, "close": parts[2]["close"]})
    listings = pl.DataFrame({"asset_id": ["a", "b", "c"], "listed_on": [date(2001, 1, 2), begins, date(2001, 1, 2)]})

    def found(code: pl.Expr, *, known: bool) -> pl.DataFrame:
        rows, members = bars.with_columns(code), spells.with_columns(code)
        told = {"listings": listings.with_columns(code)} if known else {}
        return moments({"daily_bars": rows, "daily_valuation": rows, "index_members": members, "index_bars": index, **told})  # fmt: skip

    reused = pl.col("asset_id").replace("b", "a")
    assert found(reused, known=True).equals(found(pl.col("asset_id"), known=False))
    assert not found(reused, known=False).equals(found(pl.col("asset_id"), known=False))
