"""A small index market with known regimes."""

from __future__ import annotations

import numpy as np
import pandas as pd

NAMES = ("slow_bull", "bear", "range")
DRIFT = np.array([0.012, -0.025, 0.0])
"""Expected return a month."""
VOLATILITY = np.array([0.16, 0.32, 0.15])
"""A year."""


def simulate_index(seed: int, months: int = 145, tails: float | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """True regime of each month from 2012-01 on, and intermediate.index_daily; regimes last 6 to 18 months."""
    rng = np.random.default_rng(seed)
    labels: list[int] = []
    state = int(rng.integers(3))
    while len(labels) < months:
        labels += [state] * int(rng.integers(6, 19))
        state = (state + int(rng.integers(1, 3))) % 3
    truth = np.array(labels[:months])
    month = np.repeat(np.arange(months), rng.integers(18, 23, months))
    noise = rng.standard_normal(month.size)
    if tails is not None:
        noise = rng.standard_t(tails, month.size) * np.sqrt((tails - 2.0) / tails)
    ret = DRIFT[truth[month]] / (244 / 12) + VOLATILITY[truth[month]] / np.sqrt(244.0) * noise
    starts = np.datetime64("2012-01", "M") + month
    first = np.searchsorted(month, np.arange(months))
    day = starts.astype("datetime64[D]") + (np.arange(month.size) - first[month])
    frame = pd.DataFrame(
        {
            "month": starts.astype("datetime64[ns]"),
            "day": day.astype("datetime64[ns]"),
            "close": 1000.0 * np.cumprod(1.0 + ret),
            "ret": np.where(np.arange(ret.size) == 0, np.nan, ret),
            "amount": 1e10 * np.exp(0.2 * rng.standard_normal(month.size)),
        }
    )
    return truth, frame


def months_from(start: str, count: int) -> list[pd.Timestamp]:
    """Month starts."""
    return list(pd.date_range(start, periods=count, freq="MS"))


def balanced_accuracy(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean over the true regimes of the share found."""
    return float(np.mean([(found[truth == k] == k).mean() for k in range(3) if (truth == k).any()]))
