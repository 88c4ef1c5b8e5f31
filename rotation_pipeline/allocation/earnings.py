"""What a book's weights earned over the month after, net of both kinds of costs: what selection and training look at.

The same arithmetic as the factor-level backtest, which charges every book at its own cost.
"""

from __future__ import annotations

import numpy as np

from rotation_pipeline.allocation.scores import Floats


def earned(weights: Floats, drifted: Floats | None, returns: Floats, turnover: Floats) -> tuple[float, float]:
    """Gross return Σ w LS, fraction per month, and what was traded: ½ Σ|w − w⁺| + Σ|w| × turnover inside the styles' books.

    ``weights`` (K,) as set at t−1, ``drifted`` what they were traded from (None: entering, charged as the books' own first
    turnover); ``returns`` and ``turnover`` (K,) of t, NaN = no book, which earns and costs nothing. ValueError for a return
    without a turnover.
    """
    absent = np.isnan(returns)
    if np.isnan(turnover[~absent]).any():
        raise ValueError("a style has a return but no book_turnover: pass style_turnover with every month's turnover")
    gross = float(np.sum(weights * np.where(absent, 0.0, returns)))
    moved = 0.0 if drifted is None else 0.5 * float(np.abs(weights - drifted).sum())
    inside = float(np.sum(np.abs(weights) * np.where(absent, 0.0, turnover)))
    return gross, moved + inside
