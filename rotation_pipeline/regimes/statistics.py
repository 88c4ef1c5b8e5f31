"""Resampling and multiple testing for dependent monthly series.

References: Politis and Romano (1994, JASA 89) for the stationary bootstrap; Benjamini and Hochberg (1995, JRSS B 57)
for the false discovery rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray


class StatisticsError(ValueError):
    """An argument of a statistic is outside its domain; the message names the argument."""


def generator(seed: Sequence[int]) -> np.random.Generator:
    """A random generator that depends on the given non-negative integers and nothing else, e.g. (seed, year, month)."""
    if not seed or any(int(part) < 0 for part in seed):
        raise StatisticsError(f"seed must be one or more non-negative integers, got {list(seed)}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(part) for part in seed])))


@njit(cache=True)
def _chain_blocks(starts: NDArray[np.int64], restart: NDArray[np.float64], probability: float) -> None:
    """Turns independent start positions into blocks, in place: element i continues i − 1 unless it restarts."""
    resamples, n = starts.shape
    for r in range(resamples):
        for i in range(1, n):
            if restart[r, i] >= probability:
                following = starts[r, i - 1] + 1
                starts[r, i] = following if following < n else 0


def stationary_bootstrap_indices(n: int, mean_block: float, n_resamples: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Index matrix of the stationary bootstrap (Politis and Romano 1994).

    Blocks start uniformly on the circle 0…n−1 and have geometric lengths with mean ``mean_block`` (≥ 1, in
    observations; 1 gives the ordinary bootstrap). Returns shape (n_resamples, n): ``x[indices]`` are the resampled
    series. The result depends on the arguments only; ``seed`` is a sequence of non-negative integers such as
    (seed, year, month).

    Raises StatisticsError for n < 1, mean_block < 1, n_resamples < 1 or a negative seed.
    """
    if n < 1 or n_resamples < 1:
        raise StatisticsError(f"n and n_resamples must be at least 1, got n={n}, n_resamples={n_resamples}")
    if not mean_block >= 1.0:
        raise StatisticsError(f"mean_block must be at least 1 observation, got {mean_block}")
    rng = generator(seed)
    starts = rng.integers(0, n, size=(n_resamples, n), dtype=np.int64)
    restart = rng.random(size=(n_resamples, n))
    _chain_blocks(starts, restart, 1.0 / mean_block)
    return starts


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p values of Benjamini and Hochberg (1995): reject where the result is at most the wanted rate.

    ``p``: shape (n,), probabilities; NaN means the hypothesis was not tested: it stays NaN and is not counted.
    Returns shape (n,): min over j ≥ rank of p_(j) · m / j, capped at 1, with m the number of tested hypotheses.

    Raises StatisticsError when ``p`` is not one-dimensional or leaves [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise StatisticsError(f"p must be one-dimensional, got shape {values.shape}")
    tested = np.flatnonzero(~np.isnan(values))
    adjusted = np.full(values.shape, np.nan)
    if tested.size == 0:
        return adjusted
    known = values[tested]
    if known.min() < 0.0 or known.max() > 1.0:
        raise StatisticsError(f"p values must lie in [0, 1], got {known.min()} to {known.max()}")
    order = np.argsort(known, kind="stable")
    scaled = known[order] * known.size / np.arange(1, known.size + 1)
    capped = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    adjusted[tested[order]] = capped
    return adjusted
