"""Cross-sectional preprocessing of one factor in one month: clip, neutralise, score; and two signal transforms.

Every function takes one cross-section and a mask of the names its statistics are estimated on; the result is given for
every name that has a value, so a name outside the estimation universe is measured with the others' yardstick.
NaN is missing: it stays NaN and touches nothing else.

References
----------
Iglewicz, B. and Hoaglin, D. (1993), How to detect and handle outliers, ASQC.
Frisch, R. and Waugh, F. (1933), Partial time regressions, Econometrica 1; Lovell, M. (1963), JASA 58.
Blom, G. (1958), Statistical estimates and transformed beta-variables, Wiley.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from rotation_pipeline.factors.statistics import CONSTANT, Flags, Floats, average_ranks

MAD_TO_DEVIATION = 1.4826
"""1 / Φ⁻¹(3/4): a normal sample's standard deviation over its median absolute deviation."""
MEAN_AD_TO_DEVIATION = 1.253314
"""√(π/2): the same for the mean absolute deviation."""


@njit(cache=True)
def _estimated(x: Floats, estimation: Flags) -> Floats:
    """The values statistics are taken from, in order."""
    count = 0
    for i in range(x.size):
        if estimation[i] and not np.isnan(x[i]):
            count += 1
    out = np.empty(count, np.float64)
    k = 0
    for i in range(x.size):
        if estimation[i] and not np.isnan(x[i]):
            out[k] = x[i]
            k += 1
    return out


@njit(cache=True)
def extent(x: Floats, estimation: Flags) -> tuple[int, float, float]:
    """How many values statistics are taken from, the lowest and the highest (infinite if there is none)."""
    count, low, high = 0, np.inf, -np.inf
    for i in range(x.size):
        if estimation[i] and not np.isnan(x[i]):
            count += 1
            low, high = min(low, x[i]), max(high, x[i])
    return count, low, high


@njit(cache=True)
def _clip(x: Floats, low: float, high: float) -> Floats:
    out = x.copy()
    for i in range(x.size):
        if not np.isnan(x[i]):
            out[i] = min(max(x[i], low), high)
    return out


def _median(x: Floats) -> float:
    """Median of ``x``, which is reordered; NumPy's selection is several times faster than a compiled one."""
    half = x.size // 2
    x.partition(half)
    return float(x[half]) if x.size % 2 else 0.5 * (float(x[:half].max()) + float(x[half]))


@njit(cache=True)
def _distances(x: Floats, centre: float) -> tuple[Floats, float]:
    """Absolute distances from ``centre`` and their sum, first to last."""
    out, total = np.empty(x.size), 0.0
    for i in range(x.size):
        out[i] = abs(x[i] - centre)
        total += out[i]
    return out, total


def mad_clip(x: Floats, estimation: Flags, limit: float) -> Floats:
    """Body of :func:`winsorise_mad`."""
    sample = _estimated(x, estimation)
    if sample.size == 0:
        return x.copy()
    centre = _median(sample.copy())
    distances, total = _distances(sample, centre)
    scale = MAD_TO_DEVIATION * _median(distances)
    if scale == 0.0:
        scale = MEAN_AD_TO_DEVIATION * total / sample.size
    return _clip(x, centre - limit * scale, centre + limit * scale)


@njit(cache=True)
def _percentile(ordered: Floats, share: float) -> float:
    position = share * (ordered.size - 1)
    below = min(math.floor(position), ordered.size - 1)
    above = min(below + 1, ordered.size - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@njit(cache=True)
def quantile_clip(x: Floats, estimation: Flags, low: float, high: float) -> Floats:
    """Compiled body of :func:`winsorise_quantile`."""
    sample = np.sort(_estimated(x, estimation))
    if sample.size == 0:
        return x.copy()
    return _clip(x, _percentile(sample, low), _percentile(sample, high))


@njit(cache=True)
def standardise(x: Floats, estimation: Flags, noise: float) -> Floats:
    """Compiled body of :func:`zscore`; a deviation at or below ``noise`` counts as none."""
    out = np.full(x.size, np.nan)
    sample = _estimated(x, estimation)
    if sample.size < 2:
        return out
    total, largest = 0.0, 0.0
    for value in sample:
        total += value
        largest = max(largest, abs(value))
    centre, squares = total / sample.size, 0.0
    for value in sample:
        squares += (value - centre) ** 2
    deviation = math.sqrt(squares / (sample.size - 1))
    if deviation <= max(noise, CONSTANT * largest):
        return out
    for i in range(x.size):
        out[i] = (x[i] - centre) / deviation
    return out


@njit(cache=True)
def residual(
    x: Floats, estimation: Flags, group: NDArray[np.int64], size: Floats, use_size: bool, weight: Floats
) -> Floats:
    """Compiled body of :func:`neutralise`: group means removed from both sides, then one slope (Frisch and Waugh)."""
    n, groups = x.size, (group.max() + 1 if x.size else 0)
    mass, mean_x, mean_s = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    usable, fitted = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for i in range(n):
        known = not np.isnan(x[i]) and group[i] >= 0
        usable[i] = known and not (use_size and np.isnan(size[i]))
        fitted[i] = usable[i] and estimation[i] and weight[i] > 0.0
        if fitted[i]:
            mass[group[i]] += weight[i]
            mean_x[group[i]] += weight[i] * x[i]
            if use_size:
                mean_s[group[i]] += weight[i] * size[i]
    for g in range(groups):
        if mass[g] > 0.0:
            mean_x[g] /= mass[g]
            mean_s[g] /= mass[g]
    slope = 0.0
    if use_size:
        sxs, sss = 0.0, 0.0
        for i in range(n):
            if fitted[i]:
                ds = size[i] - mean_s[group[i]]
                sxs += weight[i] * ds * (x[i] - mean_x[group[i]])
                sss += weight[i] * ds * ds
        slope = sxs / sss if sss > 0.0 else 0.0
    out = np.full(n, np.nan)
    for i in range(n):
        if usable[i] and mass[group[i]] > 0.0:
            out[i] = x[i] - mean_x[group[i]]
            if use_size:
                out[i] -= slope * (size[i] - mean_s[group[i]])
    return out


def _cross_section(x: ArrayLike, estimation: ArrayLike | None) -> tuple[Floats, Flags]:
    values = np.ascontiguousarray(x, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"a cross-section is one-dimensional, got shape {values.shape}")
    if estimation is None:
        return values, np.ones(values.size, np.bool_)
    mask = np.ascontiguousarray(estimation, dtype=np.bool_)
    if mask.shape != values.shape:
        raise ValueError(f"{values.size} values need as many estimation flags, got shape {mask.shape}")
    return values, mask


def winsorise_mad(x: ArrayLike, estimation: ArrayLike | None = None, limit: float = 5.0) -> Floats:
    """Clip at median ± ``limit`` × 1.4826 × median absolute deviation of the estimation names.

    Where more than half the names share one value the MAD is 0 and would erase the rest; then 1.2533 × the mean
    absolute deviation stands in (Iglewicz and Hoaglin 1993, p. 12).

    Args:
        x: values, shape (n,). estimation: mask, shape (n,); None takes all. limit: robust standard deviations.
    """
    values, mask = _cross_section(x, estimation)
    return np.asarray(mad_clip(values, mask, limit))


def winsorise_quantile(
    x: ArrayLike, estimation: ArrayLike | None = None, low: float = 0.01, high: float = 0.99
) -> Floats:
    """Clip at two quantiles (fractions) of the estimation names, linearly interpolated between order statistics."""
    if not 0.0 <= low < high <= 1.0:
        raise ValueError(f"winsorise_quantile: 0 ≤ low < high ≤ 1 is needed, got low = {low}, high = {high}")
    values, mask = _cross_section(x, estimation)
    return np.asarray(quantile_clip(values, mask, low, high))


def zscore(x: ArrayLike, estimation: ArrayLike | None = None) -> Floats:
    """(x − mean) / standard deviation (ddof = 1) of the estimation names; all NaN without spread or below two names."""
    values, mask = _cross_section(x, estimation)
    return np.asarray(standardise(values, mask, 0.0))


def neutralise(
    x: ArrayLike,
    industry: ArrayLike | None = None,
    size: ArrayLike | None = None,
    estimation: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Floats:
    """Residual of a weighted least-squares regression with intercept on industry dummies and / or a size variable.

    Solved by removing weighted group means from both sides and fitting one slope (Frisch and Waugh 1933), which spans
    the intercept exactly and needs no matrix.

    Args:
        x: values, shape (n,).
        industry: group number of each name from 0, −1 where unknown; None leaves the dummies out.
        size: size variable (log market value), NaN where unknown; None leaves it out.
        estimation: names the coefficients are fitted on; None takes all.
        weights: regression weights, > 0 (√market value, say); names without one are not fitted on. None is equal.

    Returns:
        Residuals, shape (n,); NaN where a value or regressor is missing or no fitted name shares the industry.
    """
    values, mask = _cross_section(x, estimation)
    n = values.size
    group = np.zeros(n, np.int64) if industry is None else np.ascontiguousarray(industry, dtype=np.int64)
    regressor = np.zeros(n) if size is None else np.ascontiguousarray(size, dtype=np.float64)
    mass = np.ones(n) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    if not group.shape == regressor.shape == mass.shape == values.shape:
        raise ValueError(
            f"neutralise: {n} values need as many industries {group.shape}, sizes {regressor.shape} and weights {mass.shape}"
        )
    return np.asarray(residual(values, mask, group, regressor, size is not None, mass))


def rank_normal(x: ArrayLike) -> Floats:
    """Normal scores Φ⁻¹((rank − 3/8) / (n + 1/4)) of the average ranks (Blom 1958); NaN stays NaN."""
    ranks = average_ranks(x)
    n = int(np.count_nonzero(~np.isnan(ranks)))
    normal = NormalDist()
    scores = [math.nan if math.isnan(rank) else normal.inv_cdf((rank - 0.375) / (n + 0.25)) for rank in ranks]
    return np.array(scores, dtype=np.float64)


def power_rank(x: ArrayLike, power: float = 2.0) -> Floats:
    """Signed power of centred ranks: u = 2 (rank − ½)/n − 1 in (−1, 1), then sign(u) |u|^power.

    A power above 1 puts weight on the ends of the ranking, below 1 on its middle, 1 is the plain centred rank.

    Raises:
        ValueError: power not positive.
    """
    if not power > 0.0:
        raise ValueError(f"power_rank: power must be positive, got {power}")
    ranks = average_ranks(x)
    n = int(np.count_nonzero(~np.isnan(ranks)))
    centred = 2.0 * (ranks - 0.5) / max(n, 1) - 1.0
    return np.sign(centred) * np.abs(centred) ** power
