"""Is the best of many strategies better than the benchmark, the search for it counted?

References: White (2000, Econometrica 68), the reality check; Hansen (2005, Journal of Business & Economic Statistics 23),
the test for superior predictive ability, whose studentised statistic and sample-dependent null lose less power to poor
alternatives. Both resample all strategies' months together by the stationary bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rotation_pipeline.backtest.resampling import resampled_sums

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Snooping:
    """Statistic and one-sided p values; H0: no strategy has a positive mean excess.

    ``lower`` recentres every loser on the null, ``consistent`` (Hansen's choice) those within the law of the iterated
    logarithm, ``upper`` all of them: lower ≤ consistent ≤ upper. The reality check has one p, ``upper``'s without
    studentisation, given three times.
    """

    statistic: float
    best: int
    lower: float
    consistent: float
    upper: float


def stationary_variance(excess: Floats, mean_block: float) -> Floats:
    """Long-run variance of √n times the mean of each column of ``excess`` (n, N) under the stationary bootstrap: (N,).

    Politis and Romano (1994, lemma 1): γ₀ + 2 Σ κ_i γ_i with κ_i = (n − i)/n (1 − q)^i + i/n (1 − q)^(n − i), q = 1/block.
    """
    n = excess.shape[0]
    keep = 1.0 - 1.0 / mean_block
    centred = excess - excess.mean(axis=0)
    variance = np.sum(centred * centred, axis=0) / n
    for lag in range(1, n):
        weight = (n - lag) / n * keep**lag + lag / n * keep ** (n - lag)
        if weight > 0.0:
            variance = variance + 2.0 * weight * np.sum(centred[lag:] * centred[:-lag], axis=0) / n
    return variance


def _checked(excess: npt.ArrayLike, indices: Indices) -> Floats:
    values = np.ascontiguousarray(excess, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 1 or not np.isfinite(values).all():
        raise ValueError(f"excess must be (n, N) without gaps, n at least 2, got shape {values.shape}")
    if indices.ndim != 2 or indices.shape[1] != values.shape[0]:
        raise ValueError(f"indices must be (B, {values.shape[0]}), got {indices.shape}")
    return values


def superior_predictive_ability(excess: npt.ArrayLike, indices: Indices, mean_block: float) -> Snooping:
    """Hansen's SPA test of ``excess`` (n, N), each strategy's return over the benchmark's.

    ``indices`` (B, n): positions resampled by the stationary bootstrap with ``mean_block``. Strategies whose excess does
    not vary (clones of the benchmark) take no part. All NaN where none varies. p = share of resamples whose statistic
    exceeds the observed one. Raises ValueError for gaps or indices of another length.
    """
    values = _checked(excess, indices)
    n = values.shape[0]
    means = values.mean(axis=0)
    variance = stationary_variance(values, mean_block)
    floor = 1e-24 * np.maximum(np.mean(values * values, axis=0), 1e-300)
    varying = np.flatnonzero((variance > floor) & (values.var(axis=0) > floor))
    if varying.size == 0:
        return Snooping(math.nan, -1, math.nan, math.nan, math.nan)
    deviation, mean = np.sqrt(variance[varying]), means[varying]
    ratios = math.sqrt(n) * mean / deviation
    statistic = max(float(ratios.max()), 0.0)
    threshold = -deviation * math.sqrt(2.0 * max(math.log(math.log(n)), 0.0) / n)
    # what is subtracted from a resampled mean: under the null its expectation is the mean less this
    centres = np.stack([np.maximum(mean, 0.0), np.where(mean >= threshold, mean, 0.0), mean])
    resampled = resampled_sums(np.ascontiguousarray(values[:, varying]), indices)[0] / n
    exceed = [
        float(np.mean(np.maximum((math.sqrt(n) * (resampled - centre) / deviation).max(axis=1), 0.0) > statistic))
        for centre in centres
    ]
    return Snooping(statistic, int(varying[int(np.argmax(ratios))]), *exceed)


def reality_check(excess: npt.ArrayLike, indices: Indices) -> Snooping:
    """White's reality check of ``excess`` (n, N): the largest √n mean against resamples centred on every mean.

    ``indices`` as in :func:`superior_predictive_ability`. Raises ValueError likewise.
    """
    values = _checked(excess, indices)
    root = math.sqrt(values.shape[0])
    means = values.mean(axis=0)
    statistic = root * float(means.max())
    draws = (root * (resampled_sums(values, indices)[0] / values.shape[0] - means)).max(axis=1)
    p_value = float(np.mean(draws > statistic))
    return Snooping(statistic, int(np.argmax(means)), p_value, p_value, p_value)
