"""Bootstrap of many series at once: compiled moments of resampled months."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.regimes.statistics import stationary_bootstrap_indices

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@njit(cache=True)
def resampled_sums(values: Floats, indices: Indices) -> tuple[Floats, Floats]:
    """Σ and Σ of squares of ``values`` (n, C) over the rows in each row of ``indices`` (B, m): two (B, C) arrays."""
    resamples, length = indices.shape
    columns = values.shape[1]
    sums = np.zeros((resamples, columns))
    squares = np.zeros((resamples, columns))
    for r in range(resamples):
        for i in range(length):
            row = values[indices[r, i]]
            for c in range(columns):
                sums[r, c] += row[c]
                squares[r, c] += row[c] * row[c]
    return sums, squares


def resampled_moments(values: Floats, indices: Indices) -> tuple[Floats, Floats]:
    """Mean and sample standard deviation (ddof 1) of each column of ``values`` (n, C) in each resample: (B, C) each.

    Columns are centred on their own mean first, so that the difference of squares loses no digits.
    """
    centre = values.mean(axis=0)
    sums, squares = resampled_sums(np.ascontiguousarray(values - centre), indices)
    length = indices.shape[1]
    variance = np.maximum(squares - sums * sums / length, 0.0) / (length - 1)
    return centre + sums / length, np.sqrt(variance)


def percentile_interval(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Equal-tailed percentile interval of ``draws`` (B, C) for each column; NaN where a draw is NaN."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)


def stationary_months(count: int, month: pd.Timestamp, options: BacktestOptions) -> Indices:
    """(B, count) resampled positions for statistics as of ``month``: the same draws wherever the same months are resampled."""
    seed = (options.seed, month.year, month.month, count)
    return stationary_bootstrap_indices(count, options.mean_block, options.resamples, seed)
