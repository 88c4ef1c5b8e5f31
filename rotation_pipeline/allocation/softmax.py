"""Softmax weights: w_i = exp(s_i/τ) / Σ_j exp(s_j/τ)."""

from __future__ import annotations

import math

import numpy as np

from rotation_pipeline.allocation.scores import Floats


def softmax_weights(scores: Floats, temperature: float) -> Floats:
    """Weights that grow with the score, positive or zero and summing to 1.

    ``scores`` (K,), finite. ``temperature`` τ > 0, infinity allowed. Stable for any finite scores: the largest is taken
    off first, so that no exponent is positive and the denominator is at least 1. τ → 0 shares the weight among the best
    scores, τ → ∞ gives equal weight. ValueError for an empty, non-finite or non-positive input.
    """
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"softmax needs at least one score and finite ones, got {scores.tolist()}")
    if math.isnan(temperature) or temperature <= 0.0:
        raise ValueError(f"softmax temperature must be above 0, got {temperature}")
    with np.errstate(over="ignore", under="ignore"):  # a huge gap is −∞ and its weight 0, which is the limit
        exponents = (scores - scores.max()) / temperature
        raised = np.exp(exponents)
    return raised / raised.sum()
