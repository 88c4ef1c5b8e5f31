"""Scores of styles from forecasts and risk, on one scale.

A score answers "how much better than the other styles", so it is standardised across styles: τ and κ then mean the
same for every score form and every month. A style without forecast or (where the form needs it) volatility has no score
(NaN) and is held neutral.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ScoreForm = Literal["ratio", "penalty", "raw"]
_NOISE = 1e-12
"""Spread relative to the largest score below which scores are equal but for rounding."""


def raw_scores(mean: Floats, volatility: Floats, form: ScoreForm, risk_penalty: float) -> Floats:
    """Score of each style before standardising.

    ``mean`` (K,): forecast of next month's return, fraction per month, NaN = none. ``volatility`` (K,): fraction per
    month, NaN = too little history. Returns (K,): r̂/σ (``ratio``), r̂ − λσ (``penalty``) or r̂ (``raw``); NaN where an
    input the form needs is NaN or the ratio's volatility is 0. ValueError for another form.
    """
    if form == "raw":
        return mean.astype(np.float64, copy=True)
    if form == "penalty":
        return mean - risk_penalty * volatility
    if form == "ratio":
        out = np.full(mean.shape, np.nan)
        return np.divide(mean, volatility, out=out, where=volatility > 0.0)
    raise ValueError(f"score form {form!r} is none of ratio, penalty, raw")


def standardise(scores: Floats) -> Floats:
    """Scores minus their mean over their (population) standard deviation across styles.

    ``scores`` (K,), NaN = no score, which stays NaN. Fewer than two scores, or equal ones, become zeros: no style is
    preferred, so every allocator returns to equal weight. ValueError for infinite scores.
    """
    if np.isinf(scores).any():
        raise ValueError(f"scores must be finite or NaN, got {scores.tolist()}")
    known = ~np.isnan(scores)
    out = np.full(scores.shape, np.nan)
    values = scores[known]
    if values.size == 0:
        return out
    largest = float(np.abs(values).max())
    if largest == 0.0:
        out[known] = 0.0
        return out
    centred = values / largest
    centred = centred - centred.mean()
    spread = float(np.sqrt(np.mean(centred * centred)))
    out[known] = 0.0 if spread <= _NOISE else centred / spread
    return out


def neutral(scores: Floats) -> Floats:
    """Standardised scores with 0, the cross-section's mean, for styles that have none."""
    return np.where(np.isnan(scores), 0.0, scores)
