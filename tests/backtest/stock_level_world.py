"""Five months of a small market as stored rows: bars, dividends, listings, exposures, weights, index."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

import numpy as np
import polars as pl

from rotation_pipeline.backtest.stock_level.engine import StockInputs, StockResult, run_stock_level
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.backtest.stock_level.tables import STOCK_STRATEGIES
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.market.calendar import add_months, month_sessions, months_between

FIRST = date(2023, 7, 1)
"""First month of the backtest: stamp duty changes in the second."""
MONTHS = months_between(FIRST, date(2023, 10, 1))
STORED = [add_months(FIRST, -1), *MONTHS]
OPTIONS = StockLevelOptions(capital=3_000_000.0, participation=0.05)
KEYS = np.array([(600_000 + i) * 4 + 1 for i in range(14)] + [688_001 * 4 + 1], dtype=np.int64)
DELISTED = (int(KEYS[3]), date(2023, 9, 14))


def _bars(random: np.random.Generator) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    bars: list[tuple[object, ...]] = []
    dividends: list[tuple[object, ...]] = []
    days = [(month, day) for month in STORED for day in month_sessions(month)]
    for key in KEYS.tolist():
        last = float(random.integers(500, 4000)) / 100
        for month, day in days:
            if key == DELISTED[0] and day >= DELISTED[1]:
                break
            cash = bonus = 0.0
            if random.random() < 0.02:
                cash, bonus = float(random.choice([0.0, 0.21])), float(random.choice([0.0, 0.4]))
                dividends.append((month, key, day, cash, bonus))
            base = round((last - cash) / (1 + bonus), 2)
            idle = bool(random.random() < 0.03) and base == last
            prices = [last] * 4 if idle else np.round(base * (1 + random.uniform(-0.06, 0.06, 4)), 2).tolist()
            volume = 0.0 if idle else float(random.integers(50_000, 2_000_000))
            board = "star" if key // 4 == 688_001 else "main"
            bars.append((month, key, day, prices[0], max(prices), min(prices), prices[3], base, volume,
                         volume * sum(prices) / 4, idle, False, board))  # fmt: skip
            last = prices[3]
    return bars, dividends


@lru_cache
def inputs(seed: int = 3) -> StockInputs:
    random = np.random.default_rng(seed)
    bars, dividends = _bars(random)
    key = {"month": pl.Date, "asset_key": pl.Int32}
    exposures = [
        (month, asset, style, float(random.normal()) if random.random() > 0.05 else None, bool(random.random() > 0.05))
        for month in STORED for asset in KEYS.tolist() for style in STYLES
    ]  # fmt: skip
    frame = pl.DataFrame(
        exposures, orient="row", schema={**key, "factor": pl.String, "score": pl.Float64, "in_tradable": pl.Boolean}
    ).with_columns(pl.col("in_tradable").first().over("month", "asset_key"))
    weights = [
        (month, strategy, style, 0.2 if strategy == "equal_weight" else float(weight))
        for month in STORED for strategy in STOCK_STRATEGIES
        for style, weight in zip(STYLES, random.dirichlet(np.ones(len(STYLES))), strict=True)
    ]  # fmt: skip
    return StockInputs(
        weights=pl.DataFrame(
            weights, orient="row", schema={"month": pl.Date, "strategy": pl.String, "style": pl.String, "weight": pl.Float64}
        ),
        exposures=frame,
        snapshot=pl.DataFrame(
            [(month, asset, float(random.uniform(1e9, 9e10))) for month in STORED for asset in KEYS.tolist()],
            orient="row", schema={**key, "float_market_value": pl.Float64},
        ),
        daily_bars=pl.DataFrame(
            bars, orient="row",
            schema={**key, "day": pl.Date, **dict.fromkeys(("open", "high", "low", "close", "prev_close", "volume", "amount"), pl.Float64),
                    "is_suspended": pl.Boolean, "is_st": pl.Boolean, "board": pl.String},
        ),
        dividends=pl.DataFrame(
            dividends, orient="row", schema={**key, "ex_day": pl.Date, "cash_per_share": pl.Float64, "shares_per_share": pl.Float64}
        ),
        listings=pl.DataFrame(
            [(month, asset, date(2001, 1, 5), DELISTED[1] if (asset, month) == (DELISTED[0], date(2023, 9, 1)) else None)
             for month in STORED for asset in KEYS.tolist() if asset != DELISTED[0] or month <= date(2023, 9, 1)],
            orient="row", schema={**key, "listed_on": pl.Date, "delisted_on": pl.Date},
        ),
        trading_days=pl.DataFrame([(month, day) for month in STORED for day in month_sessions(month)], orient="row",
                                  schema={"month": pl.Date, "day": pl.Date}),
    )  # fmt: skip


@lru_cache
def result() -> StockResult:
    return run_stock_level(inputs(), MONTHS, FIRST, None, OPTIONS)


def index_returns() -> pl.DataFrame:
    returns = np.random.default_rng(9).normal(0.004, 0.05, len(STORED))
    return pl.DataFrame({"month": STORED, "ret": returns}, schema={"month": pl.Date, "ret": pl.Float64})
