"""The anchored book: equal weight plus κ × tilt.

Where forecasts say nothing, the tilt is zero and the book is equal weight, so that being wrong costs trading and little else.
"""

from __future__ import annotations

import numpy as np

from rotation_pipeline.allocation.limits import project_to_bounds
from rotation_pipeline.allocation.scores import Floats


def interval_shrinkage(mean: Floats, standard_error: Floats, q: float) -> Floats:
    """max(0, 1 − q·se/|r̂|) per style, in [0, 1]: how much of a tilt survives the forecast's uncertainty.

    ``mean`` and ``standard_error`` (K,), fraction per month; ``q`` in standard errors. A forecast of 0 keeps nothing;
    q = 0 keeps everything (of a forecast other than 0). NaN in, 0 out: no forecast, no tilt.
    """
    size = np.abs(mean)
    share = np.ones(mean.shape)
    np.divide(q * standard_error, size, out=share, where=size > 0.0)
    kept = np.maximum(0.0, 1.0 - share)
    return np.where(np.isnan(kept), 0.0, kept)


def anchored_target(
    scores: Floats, shrinkage: Floats, tilt_scale: float, tilt_cap: float, floor: float = 0.0, cap: float = 1.0
) -> Floats:
    """1/K + tilt with tilt_i = κ · shrinkage_i · score_i, demeaned and at most ``tilt_cap`` in size, summing to 1.

    ``scores`` (K,) standardised, 0 = no view; ``shrinkage`` (K,) in [0, 1]. Demeaning and capping happen together, by the
    projection on {Σ w = 1, |w_i − 1/K| ≤ tilt cap, floor ≤ w_i ≤ cap}: doing one after the other breaks the first.
    """
    count = scores.size
    anchor = 1.0 / count
    tilts = tilt_scale * shrinkage * scores
    if not tilts.any() and floor <= anchor <= cap:
        return np.full(count, anchor)
    return project_to_bounds(anchor + tilts, max(floor, anchor - tilt_cap), min(cap, anchor + tilt_cap))


def hold_within_band(held: Floats, target: Floats, band: float) -> Floats:
    """``held`` if every style is within ``band`` of its ``target`` (K,), else ``target``.

    The band is a trigger for the whole book: holding single styles would leave the others to finance them, and a style that
    is alone outside its band could then never trade.
    """
    return held if float(np.abs(target - held).max()) <= band else target
