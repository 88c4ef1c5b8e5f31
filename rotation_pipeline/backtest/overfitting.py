"""Probability of backtest overfitting by combinatorially symmetric cross-validation.

Reference: Bailey, Borwein, López de Prado and Zhu (2017, Journal of Computational Finance 20, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Result over all splits: the share in which the best half's winner is below the median of the other half.

    ``logits`` (S,): log(ω / (1 − ω)) of the winner's relative rank ω = rank/(N + 1) out of sample, rank N the best.
    ``loss_probability``: share of splits in which the winner's measure out of sample is negative.
    ``slope``: of the winner's measure out of sample on that in sample (least squares); NaN where the latter does not vary.
    """

    probability: float
    logits: Floats
    loss_probability: float
    slope: float


def _ratios(count: int, total: Floats, squares: Floats) -> Floats:
    """Sharpe ratios (ddof 1) of ``count`` rows with the given sums (N,); 0 without variance and mean, else ±∞."""
    mean = total / count
    variance = np.maximum(squares - count * mean * mean, 0.0) / (count - 1)
    tiny = variance <= 1e-24 * np.maximum(squares / count, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mean / np.sqrt(variance)
    return np.where(tiny, np.where(mean == 0.0, 0.0, np.copysign(np.inf, mean)), ratio)


def backtest_overfitting(returns: npt.ArrayLike, parts: int) -> Overfitting:
    """CSCV over every choice of half of ``parts`` consecutive blocks of the months, measured by Sharpe ratios.

    Args:
        returns: (T, N) returns of N ≥ 2 configurations in the same months, without gaps. The first T mod ``parts``
            months are left out, so that blocks are equally long.
        parts: even number of blocks, at least 2, each of at least 2 months.

    Ties of the in-sample best go to the first configuration; equal ratios out of sample share their average rank.
    A winner exactly at the median (ω = ½) counts as overfit, as in the paper (logit ≤ 0).

    Raises:
        ValueError: fewer than 2 configurations, gaps, or an impossible number of parts.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
        raise ValueError(f"returns must be (T, N) with N of at least 2 and no gaps, got shape {values.shape}")
    length = values.shape[0] // parts if parts > 0 else 0
    if parts < 2 or parts % 2 or length < 2:
        raise ValueError(f"parts must be even with at least 2 months each, got {parts} for {values.shape[0]} months")
    blocks = values[values.shape[0] - length * parts :].reshape(parts, length, -1)
    sums, squares = blocks.sum(axis=1), (blocks * blocks).sum(axis=1)
    number = values.shape[1]
    half = length * (parts // 2)
    chosen = np.array(list(combinations(range(parts), parts // 2)), dtype=np.int64)
    mask = np.zeros((chosen.shape[0], parts), dtype=np.bool_)
    np.put_along_axis(mask, chosen, values=True, axis=1)
    train, test = (
        _ratios(half, *(np.where(kept[:, :, np.newaxis], part, 0.0).sum(axis=1) for part in (sums, squares)))
        for kept in (mask, ~mask)
    )
    best = np.argmax(train, axis=1)
    rows = np.arange(chosen.shape[0])
    first, second = train[rows, best], test[rows, best]
    ties = np.count_nonzero(test == second[:, np.newaxis], axis=1)
    share = (np.count_nonzero(test < second[:, np.newaxis], axis=1) + (ties + 1.0) / 2.0) / (number + 1)
    found = np.log(share / (1.0 - share))
    slope = math.nan
    if np.isfinite(first).all() and np.isfinite(second).all():
        spread = first - first.mean()
        power = float(np.sum(spread * spread))
        slope = float(np.sum(spread * (second - second.mean()))) / power if power > 0.0 else math.nan
    return Overfitting(float(np.mean(found <= 0.0)), found, float(np.mean(second < 0.0)), slope)
