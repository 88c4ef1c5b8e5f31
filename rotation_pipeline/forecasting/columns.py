"""Statistics of columns with gaps: T × K arrays, NaN where unknown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
MIN_ERRORS = 6
"""Past errors before a standard error is reported: half a year."""


def root_mean_square(errors: FloatArray) -> FloatArray:
    """Column-wise root mean square of what is known; NaN where fewer than six errors are."""
    counts = (~np.isnan(errors)).sum(axis=0)
    total = np.where(np.isnan(errors), 0.0, errors**2).sum(axis=0)
    return np.where(counts >= MIN_ERRORS, np.sqrt(total / np.maximum(counts, 1)), np.nan)


def column_means(values: FloatArray) -> FloatArray:
    """Column-wise mean of what is known; NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis=0)
    total = np.where(np.isnan(values), 0.0, values).sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def expanding_means(values: FloatArray) -> FloatArray:
    """Row t: column-wise mean of what is known in rows 0 … t; NaN where nothing is."""
    counts = np.cumsum(~np.isnan(values), axis=0)
    totals = np.cumsum(np.where(np.isnan(values), 0.0, values), axis=0)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def pooled_slope(signals: FloatArray, outcomes: FloatArray, prior_months: float) -> float:
    """One slope through the origin for all columns, b = Σ s y / (Σ s² · (1 + prior / n)), shrunk to zero by
    ``prior_months`` prior observations; n is the number of months (rows) with a pair. 0 with fewer than six."""
    good = np.isfinite(signals) & np.isfinite(outcomes)
    months = int(good.any(axis=1).sum())
    if months < MIN_ERRORS:
        return 0.0
    x, y = np.where(good, signals, 0.0), np.where(good, outcomes, 0.0)
    power = float((x * x).sum()) * (1.0 + prior_months / months)
    return float((x * y).sum()) / power if power > 0.0 else 0.0
