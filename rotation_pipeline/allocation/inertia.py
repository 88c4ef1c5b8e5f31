"""What last month's weights have become, and how far to move away from them."""

from __future__ import annotations

import numpy as np

from rotation_pipeline.allocation.scores import Floats


class TotalLossError(ValueError):
    """A book lost its whole value, so that its weights no longer mean anything."""


def drift(weights: Floats, returns: Floats, book: str = "book") -> Floats:
    """Weights after a month: w⁺_i = w_i (1 + LS_i) / (1 + Σ_j w_j LS_j).

    ``weights`` (K,) as set at t−1, any sign; ``returns`` (K,) long-short returns of t, fraction per month, NaN = the style's
    book could not be formed: its weight stayed in cash and earned 0. Returns (K,). The money put behind a long-short book
    is taken to grow with it, as a fund of that style would. TotalLossError when the book's value is 0 or less after the month.
    """
    earned = np.where(np.isnan(returns), 0.0, returns)
    value = 1.0 + float(np.sum(weights * earned))
    if value <= 0.0:
        raise TotalLossError(
            f"{book} lost {1.0 - value:.1%} in a month, all it had: its weights cannot drift. "
            "Check the style returns of that month, or scale the book down (volatility_target)"
        )
    return weights * (1.0 + earned) / value


def with_inertia(held: Floats, target: Floats, inertia: float) -> Floats:
    """w = α w⁺ + (1 − α) w̃, (K,) each; ``inertia`` α in [0, 1)."""
    if not 0.0 <= inertia < 1.0:
        raise ValueError(f"inertia must be in [0, 1), got {inertia}")
    return inertia * held + (1.0 - inertia) * target
