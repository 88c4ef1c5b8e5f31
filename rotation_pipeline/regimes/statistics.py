"""Resampling, tests between groups and multiple testing for dependent monthly series.

References: Politis and Romano (1994, JASA 89) for the stationary bootstrap; Benjamini and Hochberg (1995, JRSS B 57)
for the false discovery rate; Kruskal and Wallis (1952, JASA 47); Hubert and Arabie (1985, J. Classification 2) for the
adjusted Rand index.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from rotation_pipeline.factors.statistics import average_ranks


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


@njit(cache=True)
def _rank_sums(ranks: NDArray[np.float64], codes: NDArray[np.int64], groups: int) -> float:
    """Σ over groups of (rank sum)² / size: Kruskal-Wallis' H but for constants."""
    sums = np.zeros(groups)
    sizes = np.zeros(groups)
    for t in range(ranks.shape[0]):
        sums[codes[t]] += ranks[t]
        sizes[codes[t]] += 1.0
    total = 0.0
    for k in range(groups):
        if sizes[k] > 0.0:
            total += sums[k] * sums[k] / sizes[k]
    return total


@njit(cache=True)
def _count_as_extreme(
    ranks: NDArray[np.float64],
    codes: NDArray[np.int64],
    groups: int,
    begins: NDArray[np.int64],
    orders: NDArray[np.int64],
    shifts: NDArray[np.int64],
    extreme: NDArray[np.int64],
) -> None:
    """Counts, for each row of ``ranks`` (S, n), the permutations of spells whose statistic reaches the observed one."""
    n, spells = codes.shape[0], begins.shape[0]
    observed = np.empty(ranks.shape[0])
    for s in range(ranks.shape[0]):
        observed[s] = _rank_sums(ranks[s], codes, groups)
        extreme[s] = 0
    shuffled = np.empty(n, dtype=np.int64)
    for r in range(orders.shape[0]):
        place = shifts[r]
        for spell in orders[r]:
            end = begins[spell + 1] if spell + 1 < spells else n
            for t in range(begins[spell], end):
                shuffled[place] = codes[t]
                place = place + 1 if place + 1 < n else 0
        for s in range(ranks.shape[0]):
            if _rank_sums(ranks[s], shuffled, groups) >= observed[s] * (1.0 - 1e-12):
                extreme[s] += 1


def kruskal_wallis(values: ArrayLike, codes: ArrayLike) -> tuple[float, float]:
    """H and its χ² p value (Kruskal and Wallis 1952), corrected for ties.

    ``values``: (n,) without gaps; ``codes``: (n,) group numbers from 0, at least two of them present.
    NaN, NaN when all values are equal. Raises StatisticsError for unequal lengths or fewer than two groups.
    """
    x, groups = _grouped(values, codes)
    ranks = average_ranks(x)
    n = x.size
    counts = np.unique(x, return_counts=True)[1].astype(np.float64)
    ties = 1.0 - float((counts**3 - counts).sum()) / (n**3 - n)
    if ties <= 0.0:
        return float("nan"), float("nan")
    between = _rank_sums(ranks, groups, int(groups.max()) + 1)
    h = max((12.0 / (n * (n + 1)) * between - 3.0 * (n + 1)) / ties, 0.0)
    return h, float(chdtrc(np.unique(groups).size - 1, h))


def spell_permutation_p(
    values: ArrayLike, codes: ArrayLike, permutations: int, seed: Sequence[int]
) -> NDArray[np.float64]:
    """p values of the Kruskal-Wallis statistic under permutations of whole spells.

    The labels' spells (runs of one group) are put in random order on the circle of months and turned by a random
    number of months, the values stay: run lengths and group sizes are kept, save that a spell may be cut at the end
    of the sample and that two of one group may meet. Permuting single months instead would call persistent labels
    significant too often when the values are persistent too. p = (1 + as extreme) / (1 + permutations).

    ``values``: (S, n), S series without gaps, all tested against the same permutations; ``codes``: (n,) group numbers
    from 0, at least two of them present. Returns (S,), NaN where all values of a series are equal.
    Raises StatisticsError as :func:`kruskal_wallis`.
    """
    table = np.ascontiguousarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise StatisticsError(f"values must have shape (series, months), got {table.shape}")
    ranks = np.ascontiguousarray(np.stack([average_ranks(_grouped(row, codes)[0]) for row in table]))
    groups = _grouped(table[0], codes)[1]
    begins = np.concatenate([[0], np.flatnonzero(np.diff(groups)) + 1]).astype(np.int64)
    rng = generator(seed)
    orders = rng.permuted(np.tile(np.arange(begins.size, dtype=np.int64), (permutations, 1)), axis=1)
    shifts = rng.integers(0, groups.size, size=permutations, dtype=np.int64)
    extreme = np.zeros((table.shape[0],), dtype=np.int64)
    _count_as_extreme(ranks, groups, int(groups.max()) + 1, begins, orders, shifts, extreme)
    varies = table.min(axis=1) < table.max(axis=1)
    return np.where(varies, (1.0 + extreme) / (1.0 + permutations), np.nan)


def _grouped(values: ArrayLike, codes: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    x = np.ascontiguousarray(values, dtype=np.float64)
    groups = np.ascontiguousarray(codes, dtype=np.int64)
    if x.ndim != 1 or x.shape != groups.shape:
        raise StatisticsError(f"values and codes must be one-dimensional and equally long: {x.shape}, {groups.shape}")
    if np.unique(groups).size < 2 or groups.min() < 0:
        raise StatisticsError("a comparison needs at least two groups, numbered from 0")
    return x, groups


def adjusted_rand(first: Sequence[str], second: Sequence[str]) -> float:
    """Adjusted Rand index of two labellings of the same items (Hubert and Arabie 1985, eq. 5).

    1: the same partition; about 0: no more agreement than by chance. Two labellings that both put everything in one
    group, or everything apart, agree: 1.

    Raises StatisticsError for unequal lengths or fewer than two items.
    """
    if len(first) != len(second) or len(first) < 2:
        raise StatisticsError(f"two labellings of at least two items are needed, got {len(first)} and {len(second)}")
    rows = np.unique(np.asarray(first), return_inverse=True)[1]
    columns = np.unique(np.asarray(second), return_inverse=True)[1]
    table = np.zeros((int(rows.max()) + 1, int(columns.max()) + 1))
    np.add.at(table, (rows, columns), 1.0)

    def pairs(counts: NDArray[np.float64]) -> float:
        return float((counts * (counts - 1.0) / 2.0).sum())

    both, by_row, by_column = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = by_row * by_column / (len(first) * (len(first) - 1) / 2.0)
    largest = (by_row + by_column) / 2.0
    return 1.0 if largest == expected else (both - expected) / (largest - expected)
