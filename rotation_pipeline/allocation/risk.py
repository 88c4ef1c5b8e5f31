"""Covariance of style returns and the weights that equalise risk contributions."""

from __future__ import annotations

import numpy as np

from rotation_pipeline.allocation.scores import Floats


class RiskParityError(ValueError):
    """No weights with equal risk contributions could be found."""


def sample_covariance(returns: Floats) -> Floats:
    """Sample covariance (ddof 1) of ``returns`` (T, K), per period, as a (K, K) matrix that is symmetric to the bit.

    Simple returns, complete rows only; ValueError for fewer than 2 rows or a NaN.
    """
    if returns.ndim != 2 or returns.shape[0] < 2:
        raise ValueError(f"a covariance needs at least 2 rows of returns, got shape {returns.shape}")
    if not np.isfinite(returns).all():
        raise ValueError("a covariance needs complete rows: drop the months in which a series has no return")
    centred = returns - returns.mean(axis=0)
    count = returns.shape[1]
    covariance = np.empty((count, count))
    for i in range(count):
        for j in range(i + 1):  # element by element: a matrix product's blocking may differ between machines
            covariance[i, j] = covariance[j, i] = np.sum(centred[:, i] * centred[:, j]) / (returns.shape[0] - 1)
    return covariance


def ledoit_wolf_covariance(returns: Floats) -> Floats:
    """Covariance of ``returns`` (T, K) shrunk to a multiple of the identity, per period, (K, K) symmetric to the bit.

    (1 − δ) S + δ m I with S = X'X / T of the centred returns, m = tr S / K and the δ in [0, 1] that minimises the expected
    squared error: δ = min(1, b²/d²), d² = ‖S − m I‖², b² = Σ_t ‖x_t x_t' − S‖² / T² (Ledoit & Wolf 2004, Journal of
    Multivariate Analysis 88, section 3.2). Errors as in :func:`sample_covariance`.
    """
    count, width = returns.shape[0], returns.shape[1] if returns.ndim == 2 else 0
    sample = sample_covariance(returns) * ((count - 1) / count)
    centred = returns - returns.mean(axis=0)
    level = float(np.trace(sample)) / width
    target = level * np.eye(width)
    distance = float(np.sum((sample - target) ** 2))
    error = sum(float(np.sum((np.outer(row, row) - sample) ** 2)) for row in centred) / count**2
    share = min(1.0, error / distance) if distance > 0.0 else 1.0
    return (1.0 - share) * sample + share * target


def inverse_volatility_weights(covariance: Floats) -> Floats:
    """Weights proportional to 1/σ_i, (K,) summing to 1. RiskParityError for a series without variance."""
    variances = np.diag(covariance)
    if not np.isfinite(variances).all() or (variances <= 0.0).any():
        raise RiskParityError(f"inverse volatility needs a positive variance of every series, got {variances.tolist()}")
    inverse = 1.0 / np.sqrt(variances)
    return inverse / inverse.sum()


def complete_rows(returns: Floats, window: int | None) -> Floats:
    """The last ``window`` (None: all) rows of ``returns`` (T, K) in which every style has a return."""
    rows = returns[~np.isnan(returns).any(axis=1)]
    return np.ascontiguousarray(rows if window is None else rows[-window:])


def risk_parity_weights(covariance: Floats, tolerance: float = 1e-12, iterations: int = 10_000) -> Floats:
    """Long-only weights, summing to 1, whose contributions w_i (Σw)_i to the variance are all equal.

    ``covariance`` (K, K), positive definite. Cyclical coordinate descent on ½ w'Σw − (1/K) Σ ln w_i (Spinu 2013;
    Griveau-Billion, Richard & Roncalli 2013): each coordinate solves its own quadratic, and the unique minimum,
    normalised, is the portfolio of Maillard, Roncalli & Teïletche (2010). For two assets w_1 = σ_2/(σ_1 + σ_2).
    RiskParityError for a series without variance or when contributions do not agree to ``tolerance`` (relative).
    """
    count = covariance.shape[0]
    variances = np.diag(covariance)
    if not np.isfinite(covariance).all() or (variances <= 0.0).any():
        raise RiskParityError(f"risk parity needs a positive variance of every series, got {variances.tolist()}")
    scale = float(variances.mean())
    scaled = covariance / scale
    budget = 1.0 / count
    weights = 1.0 / np.sqrt(count * np.diag(scaled))
    for _ in range(iterations):
        for i in range(count):
            own = scaled[i, i]
            others = float(np.sum(scaled[i] * weights) - own * weights[i])
            weights[i] = (-others + np.sqrt(others * others + 4.0 * own * budget)) / (2.0 * own)
        # where series nearly cancel, coordinates alone creep towards the common scale, which is known: w'Σw = 1
        weights /= np.sqrt(float(np.sum(weights * np.array([np.sum(row * weights) for row in scaled]))))
        contributions = weights * np.array([np.sum(row * weights) for row in scaled])
        if float(np.abs(contributions - budget).max()) <= tolerance * budget * 10.0:
            return weights / weights.sum()
    raise RiskParityError(
        f"risk contributions still differ after {iterations} sweeps: the covariance is close to singular; use more months"
    )
