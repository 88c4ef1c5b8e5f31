"""Is one Sharpe ratio larger than another? Ledoit & Wolf (2008, Journal of Empirical Finance 15).

The difference Δ̂ of two Sharpe ratios is a smooth function of first and second moments. Its influence series
g_t = γ/σ³ (r_t − μ) − μ/(2σ³) (r_t² − γ), one per strategy, γ = E r², turns the delta method into the variance of a mean:
∇'Ψ∇ is the long-run variance of g¹ − g². The HAC test estimates it with the Parzen kernel and Andrews' (1991) automatic
bandwidth; the bootstrap resamples circular blocks of months and studentises each resample by its own blocks (their section
3.2.2), which keeps its size in samples of a hundred months with fat tails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from numba import njit

from rotation_pipeline.backtest.measures import clean, deviation

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SharpeTest:
    """A Sharpe ratio or a difference of two, per period: its standard error, interval and two-sided p; NaN = no test."""

    value: float
    standard_error: float
    low: float
    high: float
    p_value: float


@njit(cache=True)
def _influence(returns: Floats) -> tuple[float, Floats]:
    """Sharpe ratio (population deviation) of ``returns`` (n,) and its influence series (n,)."""
    n = returns.size
    mean = 0.0
    second = 0.0
    for r in returns:
        mean += r
        second += r * r
    mean /= n
    second /= n
    variance = 0.0
    for r in returns:
        variance += (r - mean) * (r - mean)
    variance /= n
    influence = np.zeros(n)
    if variance <= 0.0:
        return np.nan, influence
    deviation = np.sqrt(variance)
    cube = deviation * variance
    for i in range(n):
        r = returns[i]
        influence[i] = second / cube * (r - mean) - mean / (2.0 * cube) * (r * r - second)
    return mean / deviation, influence


@njit(cache=True)
def _studentised(first: Floats, second: Floats, paired: bool, difference: float, starts: Indices, block: int) -> Floats:
    """|Δ* − Δ̂| / se* of each resample made of circular blocks; infinite where a resample has no variance."""
    resamples, blocks = starts.shape
    n = first.size
    length = blocks * block
    out = np.empty(resamples)
    a = np.empty(length)
    b = np.empty(length)
    for r in range(resamples):
        for j in range(blocks):
            for k in range(block):
                position = (starts[r, j] + k) % n
                a[j * block + k] = first[position]
                b[j * block + k] = second[position]
        ratio, influence = _influence(a)
        if paired:
            other, against = _influence(b)
            ratio -= other
            influence = influence - against
        total = 0.0
        for j in range(blocks):
            inside = 0.0
            for k in range(block):
                inside += influence[j * block + k]
            total += inside * inside / block
        error = np.sqrt(total / blocks / length)
        gap = abs(ratio - difference)
        out[r] = gap / error if error > 0.0 else np.inf
    return out


def parzen(x: float) -> float:
    """Parzen kernel weight at lag/bandwidth ``x`` ≥ 0."""
    if x <= 0.5:
        return 1.0 - 6.0 * x * x + 6.0 * x**3
    return 2.0 * (1.0 - x) ** 3 if x <= 1.0 else 0.0


def long_run_variance(series: Floats) -> float:
    """Parzen-kernel long-run variance of a series (n,) with mean 0, Andrews' AR(1) plug-in bandwidth, n/(n − 4) correction.

    Bandwidth 2.6614 (α̂(2) n)^(1/5) with α̂(2) = 4ρ²/(1 − ρ)⁴ (Andrews 1991, eq. 6.2, 6.4); ρ is held below 0.97 in size as he advises.
    """
    n = series.size
    lagged, current = series[:-1], series[1:]
    power = float(np.sum(lagged * lagged))
    rho = float(np.sum(lagged * current)) / power if power > 0.0 else 0.0
    rho = min(max(rho, -0.97), 0.97)
    bandwidth = 2.6614 * (4.0 * rho * rho / (1.0 - rho) ** 4 * n) ** 0.2
    total = float(np.sum(series * series)) / n
    for lag in range(1, n):
        weight = parzen(lag / bandwidth) if bandwidth > 0.0 else 0.0
        if weight == 0.0:
            break
        total += 2.0 * weight * float(np.sum(series[lag:] * series[:-lag])) / n
    return total * n / (n - 4)


def sharpe_test_hac(returns: npt.ArrayLike, baseline: npt.ArrayLike | None, confidence: float) -> SharpeTest:
    """HAC test of the Sharpe ratio of ``returns`` (n,) against that of ``baseline`` (n,), or 0 if None; normal interval.

    Per period, complete pairs, n ≥ 5. All NaN where a series is constant or the two are proportional or equal (no variance).
    """
    first, second = _pair(returns, baseline)
    value, error = _estimate(first, second)
    if math.isnan(error):
        return SharpeTest(value, math.nan, math.nan, math.nan, math.nan)
    width = _NORMAL.inv_cdf(0.5 + confidence / 2.0) * error
    p_value = math.erfc(abs(value) / error / math.sqrt(2.0))
    return SharpeTest(value, error, value - width, value + width, p_value)


def sharpe_test_bootstrap(
    returns: npt.ArrayLike, baseline: npt.ArrayLike | None, confidence: float, starts: Indices, block: int
) -> SharpeTest:
    """The same with the studentised circular block bootstrap: symmetric interval and p = (1 + #{d* ≥ d}) / (1 + B).

    ``starts`` (B, n // ``block``): first positions of the blocks, 0 … n − 1.
    """
    first, second = _pair(returns, baseline)
    value, error = _estimate(first, second)
    if math.isnan(error):
        return SharpeTest(value, math.nan, math.nan, math.nan, math.nan)
    paired = second is not None
    scale = math.sqrt((first.size - 1) / first.size)
    draws = _studentised(first, second if second is not None else first, paired, value / scale, starts, block)
    p_value = (1.0 + float(np.count_nonzero(draws >= abs(value) / error))) / (1.0 + draws.size)
    critical = float(np.sort(draws)[math.ceil(confidence * draws.size) - 1])
    if math.isinf(critical):
        return SharpeTest(value, error, math.nan, math.nan, p_value)
    return SharpeTest(value, error, value - critical * error, value + critical * error, p_value)


def _pair(returns: npt.ArrayLike, baseline: npt.ArrayLike | None) -> tuple[Floats, Floats | None]:
    first = clean(returns)
    second = None if baseline is None else clean(baseline)
    if first.ndim != 1 or first.size < 5 or (second is not None and second.shape != first.shape):
        raise ValueError("a Sharpe test needs at least 5 returns, and as many of the baseline, without NaN")
    return first, second


def _estimate(first: Floats, second: Floats | None) -> tuple[float, float]:
    """Sample Sharpe ratio (difference), ddof 1, and its HAC standard error, NaN without variance."""
    scale = math.sqrt((first.size - 1) / first.size)
    if not bool(deviation(first) > 0.0) or (second is not None and not bool(deviation(second) > 0.0)):
        return math.nan, math.nan
    value, influence = _influence(first)
    largest = float(np.abs(influence).max())
    if second is not None:
        other, against = _influence(second)
        value -= other
        influence = influence - against
    if float(np.abs(influence).max()) <= 1e-10 * largest:
        return value * scale, math.nan
    variance = long_run_variance(influence)
    return value * scale, math.sqrt(variance / first.size) * scale if variance > 0.0 else math.nan
