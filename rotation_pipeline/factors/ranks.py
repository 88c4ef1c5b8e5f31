"""Order of a cross-section found once, and every rank correlation made from it without sorting again.

A rank among some of the names is a walk through the order of all of them. Ranks are counted in halves, so that sums of
ranks, squares and products are sums of whole numbers: exact in whatever order, up to some hundred thousand names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.statistics import Flags, Floats, pearson_of

Ints = NDArray[np.int64]
Places = NDArray[np.int32]
_DIGIT = 11
_CELLS = 1 << _DIGIT
_PATIENCE = 16
"""Steps a name may be moved to its place before a cross-section counts as too uneven for the quick way."""


@njit(cache=True)
def _numbers(x: Floats, out: Places) -> tuple[int, float, float]:
    """Positions of the numbers of ``x``, how many, the lowest and the highest."""
    count, low, high = 0, np.inf, -np.inf
    for i in range(x.size):
        if not np.isnan(x[i]):
            out[count] = i
            count += 1
            low, high = min(low, x[i]), max(high, x[i])
    return count, low, high


@njit(cache=True)
def _by_image(x: Floats, chosen: Places, low: float, scale: float, image: Places, other: Places) -> None:
    """Sort ``chosen`` by ⌊(x − low) × scale⌋ of 22 bits, stable: two counting passes, through ``other`` and back."""
    small, large = np.zeros(_CELLS, np.int32), np.zeros(_CELLS, np.int32)
    for i in chosen:
        image[i] = np.int32((x[i] - low) * scale)
        small[image[i] & (_CELLS - 1)] += 1
        large[image[i] >> _DIGIT] += 1
    below, under = 0, 0
    for cell in range(_CELLS):
        below, small[cell] = below + small[cell], below
        under, large[cell] = under + large[cell], under
    for i in chosen:
        cell = image[i] & (_CELLS - 1)
        other[small[cell]] = i
        small[cell] += 1
    for k in range(chosen.size):
        i = other[k]
        cell = image[i] >> _DIGIT
        chosen[large[cell]] = i
        large[cell] += 1


@njit(cache=True)
def _settle(x: Floats, chosen: Places) -> bool:
    """Insertion sort of what is nearly sorted, stable; False, with the work undone in part, if it is far from it."""
    moves = 0
    for k in range(1, chosen.size):
        i = chosen[k]
        j = k
        while j > 0 and x[chosen[j - 1]] > x[i]:
            chosen[j] = chosen[j - 1]
            j -= 1
        chosen[j] = i
        moves += k - j
        if moves > _PATIENCE * chosen.size:
            return False
    return True


@dataclass(frozen=True)
class Order:
    """Each row of some numbers (series, n) in rising order.

    Attributes:
        position: positions of the numbers, equals in order of position, of which the first ``count`` are filled,
            (series, n). NaN is left out.
        tied: whether the number is equal to the one before it in that order, shape (series, n).
        count: numbers of each row, shape (series,).
    """

    position: Places
    tied: Flags
    count: Ints


@njit(cache=True)
def _orders(values: Floats, position: Places, tied: Flags, counts: Ints) -> None:
    n = values.shape[1]
    image, other = np.empty(n, np.int32), np.empty(n, np.int32)
    for s in range(values.shape[0]):
        x = values[s]
        count, low, high = _numbers(x, position[s])
        counts[s], chosen = count, position[s, :count]
        scale = ((1 << 2 * _DIGIT) - 1) / (high - low) if high > low else 0.0
        if 0.0 < scale < np.inf:  # else all are equal, or too far apart or too close for an image
            _by_image(x, chosen, low, scale, image, other)
        if not _settle(x, chosen):
            _numbers(x, chosen)
            chosen[:] = chosen[np.argsort(x[chosen], kind="mergesort")]
        for k in range(1, count):
            tied[s, k] = x[chosen[k]] == x[chosen[k - 1]]


def rising_orders(values: Floats) -> Order:
    """The order of each row of ``values`` (series, n), which a stable sort of its numbers would give."""
    shape = values.shape
    found = Order(np.zeros(shape, np.int32), np.zeros(shape, np.bool_), np.zeros(shape[0], np.int64))
    _orders(np.ascontiguousarray(values), found.position, found.tied, found.count)
    return found


@njit(cache=True)
def _walk(position: Places, tied: Flags, place: Places, use: Places, held: Places, ranks: Places) -> tuple[int, int]:
    """Twice the average rank of each name among those of ``use``, at its place; how many they are, and Σ(t³ − t) of ties.

    Args:
        position, tied: one row of an :class:`Order`, as far as it is filled.
        place: where each name's rank is written, −1 for nowhere. use: by place, 0 for a name left out.
        held: scratch. ranks: filled with 0 for a name left out.
    """
    ranks[:] = 0
    count, first, ties = 0, 0, 0
    for k in range(position.size):
        if not tied[k]:
            if count - first > 1:
                ties += _share(held, first, count, ranks)
            first = count
        at = place[position[k]]
        if at >= 0 and use[at] != 0:
            held[count] = at
            count += 1
            ranks[at] = 2 * count
    if count - first > 1:
        ties += _share(held, first, count, ranks)
    return count, ties


@njit(cache=True)
def _share(held: Places, first: int, after: int, ranks: Places) -> int:
    """Give names that are equal their average rank; t³ − t of their number."""
    for k in range(first, after):
        ranks[held[k]] = first + after + 1
    t = after - first
    return t * t * t - t


@njit(cache=True)
def _correlation(a: Places, b: Places, count: int, ties_a: int, ties_b: int) -> float:
    """Pearson correlation of ``count`` doubled ranks, 0 elsewhere; NaN below three or if either is all ties."""
    xy, n = np.int64(0), np.int64(count)
    for i in range(a.size):
        xy += np.int64(a[i]) * np.int64(b[i])
    # Σ(r − mean)² of ranks is (n³ − n)/12 without ties; the ties take away their part (Kendall 1945)
    spread = n * n * n - n
    if count < 3 or ties_a == spread or ties_b == spread:
        return np.nan
    sxy = 0.25 * (xy - n * (n + 1) * (n + 1))
    sxx, syy = (spread - ties_a) / 12.0, (spread - ties_b) / 12.0
    return max(-1.0, min(1.0, sxy / (math.sqrt(sxx) * math.sqrt(syy))))


@njit(cache=True)
def _rank_correlations(
    x: Floats, x_position: Places, x_tied: Flags, x_count: Ints, y: Floats, y_position: Places, y_tied: Flags, y_count: Ints,
    match: Ints, use: Flags,
) -> Floats:  # fmt: skip
    (series, n), one = x.shape, y.shape[0] == 1
    here, back = np.arange(n).astype(np.int32), np.full(y.shape[1], -1, np.int32)
    could, paired = np.empty(n, np.int32), np.empty(n, np.int32)
    held, a, b = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    for i in range(n):
        could[i] = use[i] and match[i] >= 0
        if match[i] >= 0:
            back[match[i]] = i
    out, known, ties_b = np.empty(series), -1, 0
    for s in range(series):
        t = 0 if one else s
        if s == 0 or not one:
            whole = y_count[t] == y.shape[1]
            for i in range(n):
                paired[i] = could[i] != 0 and (whole or not np.isnan(y[t, match[i]]))
        count, ties_a = _walk(x_position[s, : x_count[s]], x_tied[s], here, paired, held, a)
        # the ranks of the only row of y stay as they are while every name that can be paired is
        if not (one and known == count):
            _, ties_b = _walk(y_position[t, : y_count[t]], y_tied[t], back, a, held, b)
            known = count if count == paired.sum() else -1
        out[s] = _correlation(a, b, count, ties_a, ties_b)
    return out


def rank_correlations(x: Floats, x_order: Order, y: Floats, y_order: Order, match: Ints, use: Flags) -> Floats:
    """Spearman correlation of each row of ``x`` with the same row of ``y``, or with its only one, shape (series,).

    Pairs are the names of ``use`` that have both numbers. NaN below three pairs or if either is constant among them; the
    same number as :func:`~rotation_pipeline.factors.statistics.spearman` of the pairs.

    Args:
        x: shape (series, n). y: shape (series or 1, m). x_order, y_order: their :func:`rising_orders`.
        match: place of each name of x among those of y, −1 if it is not there, shape (n,). use: shape (n,).
    """
    a, b = x_order, y_order
    found = _rank_correlations(x, a.position, a.tied, a.count, y, b.position, b.tied, b.count, match, use)
    return np.asarray(found)


@njit(cache=True)
def correlations(x: Floats, y: Floats, match: Ints, use: Flags) -> Floats:
    """Pearson correlation of each row of ``x`` (series, n) with ``y`` (m,) over the pairs of ``use``, shape (series,).

    ``match`` and ``use`` as in :func:`rank_correlations`; summed in the order of x. NaN as there.
    """
    a, b, out = np.empty(x.shape[1]), np.empty(x.shape[1]), np.empty(x.shape[0])
    for s in range(x.shape[0]):
        count = 0
        for i in range(x.shape[1]):
            if use[i] and match[i] >= 0 and not np.isnan(x[s, i]) and not np.isnan(y[match[i]]):
                a[count], b[count] = x[s, i], y[match[i]]
                count += 1
        out[s] = pearson_of(a[:count], b[:count])
    return out


@njit(cache=True)
def places(known: Places, keys: Places) -> Ints:
    """Place of each key in ``known``, which rises, −1 for none, shape (keys,)."""
    out, j = np.full(keys.size, -1, np.int64), 0
    for i in range(keys.size):
        if i > 0 and keys[i] < keys[i - 1]:
            j = np.searchsorted(known, keys[i])
        while j < known.size and known[j] < keys[i]:
            j += 1
        if j < known.size and known[j] == keys[i]:
            out[i] = j
    return out
