"""Weights of the books a strategy is judged against. Every function uses what was known at the close of t only."""

from __future__ import annotations

import numpy as np

from rotation_pipeline.allocation.risk import complete_rows, risk_parity_weights, sample_covariance
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.factors.styles import STYLES


def equal_weight(count: int) -> Floats:
    """1/K each, restored every month."""
    return np.full(count, 1.0 / count)


def only(style: str) -> Floats:
    """Everything in one style."""
    weights = np.zeros(len(STYLES))
    weights[STYLES.index(style)] = 1.0
    return weights


def in_top_tercile(history: Floats, minimum_months: int) -> bool:
    """Is the last value of ``history`` (T,) above two thirds of its own past, itself included?

    NaN in the past is left out. False while fewer than ``minimum_months`` values are known, or the last one is not.
    """
    known = history[~np.isnan(history)]
    if history.size == 0 or np.isnan(history[-1]) or known.size < minimum_months:
        return False
    return bool(known[-1] > np.quantile(known, 2.0 / 3.0))


def rule_based(trend: float, volatility: Floats, index_return: float, tilt: float, minimum_months: int) -> Floats:
    """The classic rule of thumb, first match wins.

    ``trend``: index close / its 12-month average − 1; above 0 → momentum + ``tilt``. Else ``volatility`` (T,), month ends up
    to t, in its top tercile and ``index_return`` (21 sessions) below 0 → value and low volatility + ``tilt`` each. Else
    equal weight. The other styles pay in equal parts. NaN (too little history) meets no condition.
    """
    if trend > 0.0:
        preferred = ("MOM",)
    elif in_top_tercile(volatility, minimum_months) and index_return < 0.0:
        preferred = ("VAL", "VOL")
    else:
        return equal_weight(len(STYLES))
    count = len(STYLES)
    weights = np.full(count, 1.0 / count - tilt * len(preferred) / (count - len(preferred)))
    for style in preferred:
        weights[STYLES.index(style)] = 1.0 / count + tilt
    return weights


def risk_parity(returns: Floats, window: int | None, minimum_months: int) -> Floats:
    """Equal risk contributions from the covariance of ``returns`` (T, K) up to t.

    "Static" in that it knows risks only, no forecasts. Months in which a style has no return are left out; with fewer than
    ``minimum_months`` complete months it is equal weight. RiskParityError when a style has no variance.
    """
    rows = complete_rows(returns, window)
    if rows.shape[0] < minimum_months:
        return equal_weight(returns.shape[1])
    return risk_parity_weights(sample_covariance(rows))


def factor_momentum(returns: Floats, months: int) -> Floats:
    """Weights proportional to the mean of the last ``months`` returns, sign and size, Σ|w| = 1 (may be short).

    ``returns`` (T, K) up to t; a style without all of those months gets 0. Equal weight while no style has them or every
    mean is 0. After Ehsani & Linnainmaa (2022), Gupta & Kelly (2019).
    """
    count = returns.shape[1]
    if returns.shape[0] < months:
        return equal_weight(count)
    recent = returns[-months:]
    means = np.array([0.0 if np.isnan(recent[:, i]).any() else np.sum(recent[:, i]) / months for i in range(count)])
    gross = float(np.abs(means).sum())
    return equal_weight(count) if gross == 0.0 else means / gross
