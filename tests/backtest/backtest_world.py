"""A small world for the backtest's tests: weights, style returns, index, regimes and trials."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.inertia import drift
from rotation_pipeline.allocation.tables import BASELINES, STRATEGIES, WEIGHTS
from rotation_pipeline.backtest.factor_level import run_backtest
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.factors.styles import STYLES

MONTHS = list(pd.date_range("2016-11-01", periods=50, freq="MS"))
FIRST = MONTHS[0]
SERIES = (*STRATEGIES, *BASELINES, "oracle", "index")
QUICK = BacktestOptions(resamples=200)
TRIAL_SETTINGS = {name: {"allocation": {"book": name}, "seed": 7} for name in STRATEGIES}


def longshort(seed: int = 5) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = []
    for i, month in enumerate(MONTHS):
        for j, style in enumerate(STYLES):
            missing = i == 0 or (i < 4 and j == 0)
            ret = np.nan if missing else float(random.standard_t(5) * 0.03 + 0.004 * (j - 1))
            rows.append((month, style, ret, np.nan if missing else 1.0 if i == 1 else float(random.uniform(0.1, 0.5))))
    frame = pd.DataFrame(rows, columns=["month", "factor", "long_short", "book_turnover"])
    raw = frame.assign(factor="mom_20")  # raw factors are in the table too and must be ignored
    return pd.concat([frame, raw.drop_duplicates("month")], ignore_index=True)


def weights(returns: pd.DataFrame, seed: int = 6) -> pd.DataFrame:
    """Random long-only books; equal weight and single styles are what they say."""
    random = np.random.default_rng(seed)
    wide = returns[returns["factor"].isin(STYLES)].pivot(index="month", columns="factor", values="long_short")[
        list(STYLES)
    ]
    rows = []
    for book in (*STRATEGIES, *BASELINES):
        held: np.ndarray | None = None
        for month in MONTHS:
            weight = np.full(5, 0.2)
            if book.startswith("only_"):
                weight = np.array([float(style == book[5:]) for style in STYLES])
            elif book != "equal_weight" and month != FIRST:
                weight = random.dirichlet(np.full(5, 20.0))
            drifted = np.full(5, np.nan) if held is None else drift(held, wide.loc[month].to_numpy())
            rows += [(month, book, s, np.nan, w, w, d) for s, w, d in zip(STYLES, weight, drifted, strict=True)]
            held = weight
    return pd.DataFrame(rows, columns=WEIGHTS.stored_names)


def index_returns(seed: int = 7) -> pd.DataFrame:
    return pd.DataFrame({"month": MONTHS, "ret": np.random.default_rng(seed).normal(0.005, 0.06, len(MONTHS))})


def regimes(seed: int = 8) -> pd.DataFrame:
    labels = np.random.default_rng(seed).choice(["slow_bull", "bear", "range"], len(MONTHS))
    return pd.DataFrame({"month": MONTHS, "regime": labels})


FORECAST_MONTHS = MONTHS[20:]


@lru_cache
def backtest(options: BacktestOptions = QUICK) -> pd.DataFrame:
    returns = longshort()
    return run_backtest(weights(returns), returns, index_returns(), MONTHS, FIRST, None, options)
