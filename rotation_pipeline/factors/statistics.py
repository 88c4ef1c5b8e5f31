"""Statistics of short series and cross-sections, summed in a fixed order.

NumPy adds in blocks whose layout may change with length and memory; replay equality wants the same bits for the same
numbers, whatever else was asked for. Every sum here runs from first to last in float64. NaN is missing everywhere: it
is left out, and a result that cannot be computed is NaN.

References
----------
Newey, W. and West, K. (1987), A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
covariance matrix, Econometrica 55; (1994), Automatic lag selection, Review of Economic Studies 61.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
CONSTANT = 1e-13
"""A spread below this share of the largest absolute value is rounding, not variation."""


def present(x: ArrayLike) -> Floats:
    """The numbers of ``x`` in order, as contiguous float64, without NaN."""
    values = np.asarray(x, dtype=np.float64).ravel()
    return np.ascontiguousarray(values[~np.isnan(values)])


@njit(cache=True)
def _mean(x: Floats) -> float:
    total = 0.0
    for value in x:
        total += value
    return total / x.size if x.size else np.nan


@njit(cache=True)
def _is_constant(x: Floats) -> bool:
    if x.size == 0:
        return True
    low, high, largest = x[0], x[0], 0.0
    for value in x:
        low, high, largest = min(low, value), max(high, value), max(largest, abs(value))
    return high - low <= CONSTANT * largest


@njit(cache=True)
def _standard_deviation(x: Floats) -> float:
    if x.size < 2:
        return np.nan
    centre, total = _mean(x), 0.0
    for value in x:
        total += (value - centre) ** 2
    return math.sqrt(total / (x.size - 1))


@njit(cache=True)
def _long_run_t(x: Floats, lags: int) -> float:
    n = x.size
    centre = _mean(x)
    variance = 0.0
    for lag in range(lags + 1):
        covariance = 0.0
        for t in range(lag, n):
            covariance += (x[t] - centre) * (x[t - lag] - centre)
        weight = 1.0 if lag == 0 else 2.0 * (1.0 - lag / (lags + 1.0))
        variance += weight * covariance / n
    if variance <= 0.0:
        return np.nan
    return centre / math.sqrt(variance / n)


@njit(cache=True)
def pearson_of(x: Floats, y: Floats) -> float:
    """Compiled body of :func:`pearson`, for pairs without NaN."""
    n = x.size
    if n < 3:
        return np.nan
    low_x, high_x, low_y, high_y, mx, my = x[0], x[0], y[0], y[0], 0.0, 0.0
    for i in range(n):
        low_x, high_x, low_y, high_y = min(low_x, x[i]), max(high_x, x[i]), min(low_y, y[i]), max(high_y, y[i])
        mx += x[i]
        my += y[i]
    # as in _is_constant: the largest absolute value is that of the lowest or the highest
    if high_x - low_x <= CONSTANT * max(abs(low_x), abs(high_x)) or high_y - low_y <= CONSTANT * max(
        abs(low_y), abs(high_y)
    ):
        return np.nan
    mx, my = mx / n, my / n
    sxy = sxx = syy = 0.0
    for i in range(n):
        dx, dy = x[i] - mx, y[i] - my
        sxy += dx * dy
        sxx += dx * dx
        syy += dy * dy
    if sxx <= 0.0 or syy <= 0.0:
        return np.nan
    return max(-1.0, min(1.0, sxy / (math.sqrt(sxx) * math.sqrt(syy))))


def _ranks(x: Floats) -> Floats:
    """Average ranks of numbers; NumPy's sort is several times faster than a compiled merge sort."""
    return _ranks_in_order(x, np.argsort(x))


@njit(cache=True)
def _ranks_in_order(x: Floats, order: NDArray[np.int64]) -> Floats:
    ranks = np.empty(x.size, np.float64)
    i = 0
    while i < x.size:
        j = i
        while j + 1 < x.size and x[order[j + 1]] == x[order[i]]:
            j += 1
        for k in range(i, j + 1):
            ranks[order[k]] = 0.5 * (i + j) + 1.0
        i = j + 1
    return ranks


@njit(cache=True)
def _drawdown(x: Floats) -> float:
    wealth, peak, worst = 1.0, 1.0, 0.0
    for value in x:
        wealth *= 1.0 + value
        if wealth <= 0.0:
            return -1.0
        peak = max(peak, wealth)
        worst = min(worst, wealth / peak - 1.0)
    return worst


class Description(NamedTuple):
    """What a tear sheet says about one series; NaN where it can't be said (see the functions of the same names)."""

    n: int
    mean: float
    newey_west_t: float
    ratio: float
    share_above_zero: float
    max_drawdown: float


@njit(cache=True)
def _describe(x: Floats, lags: int) -> tuple[float, float, float, float, float]:
    if x.size == 0:
        return np.nan, np.nan, np.nan, np.nan, np.nan
    above = 0
    for value in x:
        above += value > 0.0
    t, ratio, centre = np.nan, np.nan, _mean(x)
    if x.size > 2 and not _is_constant(x):
        t, ratio = _long_run_t(x, lags), centre / _standard_deviation(x)
    return centre, t, ratio, above / x.size, _drawdown(x)


def describe(x: ArrayLike) -> Description:
    """Mean, Newey-West t, mean / deviation, share above 0 and drawdown of one series in one pass over Python."""
    values = present(x)
    return Description(values.size, *_describe(values, newey_west_lags(values.size)))


@njit(cache=True)
def column_means(table: Floats) -> Floats:
    """Mean of the numbers in each column, shape (columns,); NaN for a column without any."""
    out = np.full(table.shape[1], np.nan)
    for j in range(table.shape[1]):
        total, count = 0.0, 0
        for i in range(table.shape[0]):
            if not np.isnan(table[i, j]):
                total += table[i, j]
                count += 1
        if count:
            out[j] = total / count
    return out


def mean(x: ArrayLike) -> float:
    """Arithmetic mean of the numbers in ``x``; NaN if there is none."""
    return float(_mean(present(x)))


def standard_deviation(x: ArrayLike) -> float:
    """Sample standard deviation (ddof = 1); NaN below two numbers, exactly 0 for a constant series."""
    values = present(x)
    return 0.0 if values.size > 1 and _is_constant(values) else float(_standard_deviation(values))


def newey_west_lags(n: int) -> int:
    """Lags of the Bartlett kernel for ``n`` observations: ⌊4 (n/100)^(2/9)⌋, at most n − 1 (Newey and West 1994)."""
    return max(0, min(math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0)), n - 1))


def newey_west_t(x: ArrayLike, lags: int | None = None) -> float:
    """t statistic of the mean with a heteroskedasticity and autocorrelation consistent variance.

    Variance of the mean = (γ₀ + 2 Σ_{l=1..L} (1 − l/(L+1)) γ_l) / n with γ_l = Σ e_t e_{t−l} / n (Newey and West 1987,
    eq. 5); no small-sample correction. The same as a regression on a constant in statsmodels with ``cov_type="HAC"``.

    Args:
        x: series in time order; NaN is left out and its neighbours become adjacent.
        lags: L; None takes :func:`newey_west_lags` of the number of observations. 0 gives White's (1980) variance.

    Returns:
        t; NaN for fewer than three observations or a constant series.

    Raises:
        ValueError: lags negative or not below the number of observations.
    """
    values = present(x)
    if lags is not None and not 0 <= lags < max(values.size, 1):
        raise ValueError(
            f"newey_west_t: lags = {lags} must lie in 0 … {values.size - 1} for {values.size} observations"
        )
    if values.size < 3 or _is_constant(values):
        return math.nan
    return float(_long_run_t(values, newey_west_lags(values.size) if lags is None else lags))


def ratio_of_mean_to_deviation(x: ArrayLike) -> float:
    """Mean / sample standard deviation, per period (the ICIR of a series of ICs).

    NaN for fewer than three observations or a constant series.
    """
    values = present(x)
    if values.size < 3 or _is_constant(values):
        return math.nan
    return float(_mean(values) / _standard_deviation(values))


def sharpe(x: ArrayLike, periods_per_year: float = 12.0) -> float:
    """Annualised Sharpe ratio of excess (or long-short) returns: √periods × mean / sample deviation (Sharpe 1994).

    NaN for fewer than three observations or a constant series.
    """
    return ratio_of_mean_to_deviation(x) * math.sqrt(periods_per_year)


def share_above_zero(x: ArrayLike) -> float:
    """Share of the numbers in ``x`` that are above 0; NaN if there is none."""
    values = present(x)
    return float(np.count_nonzero(values > 0.0)) / values.size if values.size else math.nan


def max_drawdown(x: ArrayLike) -> float:
    """Largest fall of compounded returns from their highest value so far, the start of 1 included; ≤ 0.

    A return at or below −1 ends the series at −1. NaN if there is no return.
    """
    values = present(x)
    return float(_drawdown(values)) if values.size else math.nan


def average_ranks(x: ArrayLike) -> Floats:
    """Ranks from 1, ties sharing the mean of their places; NaN stays NaN and moves no other rank.

    Args:
        x: values, shape (n,).

    Returns:
        Ranks, shape (n,).
    """
    values = np.asarray(x, dtype=np.float64)
    ranks = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    ranks[known] = _ranks(np.ascontiguousarray(values[known]))
    return ranks


def _pairs(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"a correlation needs two series of one length, got shapes {a.shape} and {b.shape}")
    both = ~(np.isnan(a) | np.isnan(b))
    return np.ascontiguousarray(a[both]), np.ascontiguousarray(b[both])


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson correlation over the pairs where both are there; NaN below three pairs or if either is constant."""
    a, b = _pairs(x, y)
    return float(pearson_of(a, b))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman correlation (Pearson of average ranks among the pairs); NaN as in :func:`pearson`."""
    a, b = _pairs(x, y)
    return float(pearson_of(_ranks(a), _ranks(b)))
