"""The long-half / short-half book: every name of the cross-section held, the better half long, the worse half short."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rotation_pipeline.factors.preprocess import neutralise
from rotation_pipeline.factors.statistics import Floats


def half_book(
    score: ArrayLike,
    asset_key: ArrayLike,
    tradable: ArrayLike,
    industry: ArrayLike | None = None,
    log_size: ArrayLike | None = None,
) -> Floats:
    """Weights of the top half long and the bottom half short, neutral by industry and size.

    The score's residual on industry dummies and log size (with intercept) is ranked inside each industry, ties by
    asset_key. The upper half of an industry is long, the lower half short, in equal amounts, so every industry nets
    to exactly 0; the middle name of an odd industry and the only name of a small one have weight 0. Size is taken out
    of the score, so the book has no size tilt beyond what the halving itself brings; it is not forced to exactly 0.

    Args:
        score: shape (n,), NaN for none. asset_key: shape (n,). tradable: mask of names that may be held, shape (n,).
        industry: number from 0, −1 unknown (not held); None treats all names as one industry.
        log_size: ln market value, NaN unknown (not held); None leaves size in.

    Returns:
        Weights, shape (n,): longs sum to 1, shorts to −1; all 0 if no industry has two names.
    """
    values = np.asarray(score, dtype=np.float64)
    keys, held = np.asarray(asset_key), np.asarray(tradable, dtype=np.bool_)
    if industry is not None or log_size is not None:
        values = neutralise(values, industry, log_size, estimation=held)
    group: NDArray[np.int64] = (
        np.zeros(values.size, np.int64) if industry is None else np.asarray(industry, dtype=np.int64)
    )
    weights = np.zeros(values.size)
    usable = held & ~np.isnan(values) & (group >= 0)
    for number in np.unique(group[usable]):
        names = np.flatnonzero(usable & np.equal(group, number))
        order = names[np.lexsort((keys[names], values[names]))]
        half = order.size // 2
        weights[order[:half]] = -1.0
        weights[order[order.size - half :]] = 1.0
    longs = int(np.count_nonzero(weights > 0.0))
    return weights / longs if longs else weights
