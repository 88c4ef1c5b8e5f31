"""Limits on weights: floor and cap, turnover, volatility."""

from __future__ import annotations

import math

import numpy as np

from rotation_pipeline.allocation.scores import Floats


class InfeasibleLimitsError(ValueError):
    """No weights satisfy the limits together."""


def project_to_bounds(values: Floats, floor: float, cap: float, total: float = 1.0) -> Floats:
    """The weights nearest to ``values`` (Euclidean) with floor ≤ w_i ≤ cap and Σ w = ``total``.

    ``values`` (K,) finite. The solution is w_i = clip(v_i − θ, floor, cap) (Karush-Kuhn-Tucker; Duchi et al. 2008 for the
    simplex); the sum falls piecewise linearly in θ between the 2K points v_i − floor and v_i − cap, so θ is found
    exactly by looking at those points. Where no bound binds, it only takes the common excess off every weight, which is
    why it also demeans tilts. InfeasibleLimitsError when K·floor > total or K·cap < total.
    """
    count = values.size
    if not np.isfinite(values).all():
        raise ValueError(f"weights to be limited must be finite, got {values.tolist()}")
    if floor > cap or count * floor > total + 1e-12 or count * cap < total - 1e-12:
        raise InfeasibleLimitsError(
            f"{count} weights between floor {floor} and cap {cap} cannot sum to {total}: change the options floor, cap or tilt_cap"
        )
    points = np.sort(np.concatenate([values - cap, values - floor]))
    sums = np.array([np.clip(values - point, floor, cap).sum() for point in points])
    right = int(np.searchsorted(-sums, -total))  # first point whose sum is ≤ total
    if right == 0:
        theta = float(points[0])
    elif right == points.size:
        theta = float(points[-1])
    else:
        left_sum, right_sum = float(sums[right - 1]), float(sums[right])
        theta = float(points[right - 1])
        if left_sum > right_sum:
            theta += (left_sum - total) / (left_sum - right_sum) * float(points[right] - points[right - 1])
    weights = np.clip(values - theta, floor, cap)
    residual = total - math.fsum(weights.tolist())  # rounding only: put it where no bound is near
    room = np.minimum(weights - floor, cap - weights)
    widest = int(np.argmax(room))
    if room[widest] > abs(residual):
        weights[widest] += residual
    return weights


def limit_turnover(held: Floats, weights: Floats, turnover_cap: float | None) -> Floats:
    """The step from ``held`` to ``weights`` (K,), scaled so that ½ Σ|Δw| ≤ ``turnover_cap``; None is no cap.

    It comes after every other limit and wins over them: a book that drifted past its cap returns as fast as it may trade.
    """
    if turnover_cap is None:
        return weights
    step = weights - held
    turnover = 0.5 * float(np.abs(step).sum())
    return weights if turnover <= turnover_cap else held + step * (turnover_cap / turnover)


def volatility_scale(
    weights: Floats, covariance: Floats, target: float, leverage_cap: float, periods: float = 12.0
) -> float:
    """Scale that brings the book to ``target`` annual volatility, at most ``leverage_cap``.

    ``weights`` (K,), ``covariance`` (K, K) per month, ``target`` fraction per year, ``periods`` months per year. A book
    without any risk gets the cap.
    """
    variance = float(weights @ covariance @ weights) * periods
    if variance <= 0.0:
        return leverage_cap
    return min(leverage_cap, target / math.sqrt(variance))
