"""Compiled float32 kernels of the Transformer between two matrix products; conventions of
:mod:`~rotation_pipeline.forecasting.cells` (flat arrays, windows fastest, no fast-math).

A column is one step of one window: column ``t · n + j`` is step t of window j. Features are rows, so every sum over
features, keys or heads runs down columns that lie side by side.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.forecasting.cells import Floats

TILE = 128
"""Columns that go through all rows together: 32 rows of so many stay in the first cache."""
_EPSILON = np.float32(1e-5)
"""Added to the variance under a norm's root, as in torch."""
_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_LOG2E, _LN2_HIGH, _LN2_LOW = np.float32(1.442695041), np.float32(0.693359375), np.float32(-2.12194440e-4)
_LEAST = np.float32(-87.0)
# Cephes expf (Moshier): relative error below 2e-7 on the reduced range
_P0, _P1, _P2 = (np.float32(v) for v in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3))
_P3, _P4, _P5 = (np.float32(v) for v in (4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1))


@njit(cache=True, error_model="numpy")
def _exponentials(row: Floats, powers: NDArray[np.int32], count: int) -> None:
    """exp of row[:count] in place, values at most 0; ``powers`` int32 holds the exponents' bits on the way."""
    for j in range(count):
        x = max(row[j], _LEAST)
        whole = np.floor(x * _LOG2E + _HALF)
        x = x - whole * _LN2_HIGH
        x = x - whole * _LN2_LOW
        y = _P0 * x + _P1
        y = y * x + _P2
        y = y * x + _P3
        y = y * x + _P4
        y = y * x + _P5
        row[j] = y * (x * x) + x + _ONE
        powers[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    scale = powers.view(np.float32)
    for j in range(count):
        row[j] *= scale[j]


@njit(cache=True, error_model="numpy")
def place(
    embedded: Floats, position: Floats, x: Floats, seeds: int, hidden: int, months: int, steps: int, n: int
) -> None:
    """x[:, t · n + j] = embedded[:, t + j] + position[t]: seeds × hidden × (steps · n) from seeds × hidden × months."""
    for s in range(seeds):
        for d in range(hidden):
            source, target = (s * hidden + d) * months, (s * hidden + d) * steps * n
            for t in range(steps):
                shift = position[(s * steps + t) * hidden + d]
                part, row = embedded[source + t : source + t + n], x[target + t * n : target + (t + 1) * n]
                for j in range(n):
                    row[j] = part[j] + shift


@njit(cache=True, error_model="numpy")
def gather(dx: Floats, dembedded: Floats, seeds: int, hidden: int, months: int, steps: int, n: int) -> None:
    """dembedded[:, t + j] += dx[:, t · n + j]."""
    for r in range(seeds * hidden):
        for t in range(steps):
            total = dembedded[r * months + t : r * months + t + n]
            part = dx[(r * steps + t) * n : (r * steps + t + 1) * n]
            for j in range(n):
                total[j] += part[j]


@njit(cache=True, error_model="numpy")
def where_positive(values: Floats, slopes: Floats) -> None:
    """Zero ``slopes`` where ``values`` are 0: the gradient of relu."""
    for j in range(values.size):
        slopes[j] = slopes[j] if values[j] > _ZERO else _ZERO


@njit(cache=True, error_model="numpy", inline="always")
def _tile(values: Floats, row: int, columns: int, first: int, count: int) -> Floats:
    """``count`` columns from ``first`` on of a row of ``columns``."""
    start = row * columns + first
    return values[start : start + count]


@njit(cache=True, error_model="numpy")
def norm(
    x: Floats,
    gain: Floats,
    shift: Floats,
    unit: Floats,
    scale: Floats,
    out: Floats,
    seeds: int,
    hidden: int,
    columns: int,
) -> None:
    """Layer norm of each column (seeds × hidden × columns): ``unit`` = (x − mean) · ``scale``, out = unit · gain + shift."""
    mean, square = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    share = np.float32(1.0 / hidden)
    for s in range(seeds):
        for first in range(0, columns, TILE):
            count = min(TILE, columns - first)
            mean[:] = _ZERO
            square[:] = _ZERO
            for r in range(s * hidden, (s + 1) * hidden):
                row = _tile(x, r, columns, first, count)
                for j in range(count):
                    mean[j] += row[j]
            for j in range(count):
                mean[j] *= share
            for r in range(s * hidden, (s + 1) * hidden):
                row = _tile(x, r, columns, first, count)
                for j in range(count):
                    gap = row[j] - mean[j]
                    square[j] += gap * gap
            rate = _tile(scale, s, columns, first, count)
            for j in range(count):
                rate[j] = _ONE / np.sqrt(square[j] * share + _EPSILON)
            for r in range(s * hidden, (s + 1) * hidden):
                row, centred = _tile(x, r, columns, first, count), _tile(unit, r, columns, first, count)
                to, g, b = _tile(out, r, columns, first, count), gain[r], shift[r]
                for j in range(count):
                    centred[j] = (row[j] - mean[j]) * rate[j]
                for j in range(count):
                    to[j] = centred[j] * g + b


@njit(cache=True, error_model="numpy")
def norm_backward(
    dout: Floats, gain: Floats, unit: Floats, scale: Floats, dx: Floats, seeds: int, hidden: int, columns: int
) -> None:
    """dx += gradient of :func:`norm` with respect to x."""
    mean, along = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    share = np.float32(1.0 / hidden)
    for s in range(seeds):
        for first in range(0, columns, TILE):
            count = min(TILE, columns - first)
            mean[:] = _ZERO
            along[:] = _ZERO
            for r in range(s * hidden, (s + 1) * hidden):
                slope, centred = _tile(dout, r, columns, first, count), _tile(unit, r, columns, first, count)
                g = gain[r] * share
                for j in range(count):
                    mean[j] += slope[j] * g
                for j in range(count):
                    along[j] += slope[j] * g * centred[j]
            rate = _tile(scale, s, columns, first, count)
            for r in range(s * hidden, (s + 1) * hidden):
                slope, centred = _tile(dout, r, columns, first, count), _tile(unit, r, columns, first, count)
                to, g = _tile(dx, r, columns, first, count), gain[r]
                for j in range(count):
                    to[j] += (slope[j] * g - mean[j] - centred[j] * along[j]) * rate[j]


@njit(cache=True, error_model="numpy")
def attend(
    query: Floats,
    pairs: Floats,
    weights: Floats,
    out: Floats,
    layout: tuple[int, int, int, int],
    seeds: int,
    hidden: int,
    heads: int,
    asking: int,
    steps: int,
    n: int,
) -> None:
    """out = softmax(q · k / √d) v of every window and head.

    ``layout``: rows a seed of ``query`` and of ``pairs``, and the first row of the keys and of the values in ``pairs``;
    queries are the first ``hidden`` rows of ``query``. Columns: ``asking`` · n of queries, ``steps`` · n of pairs;
    ``weights`` is seeds × heads × asking × steps × n, out seeds × hidden × (asking · n).
    """
    query_rows, pair_rows, first_key, first_value = layout
    size = hidden // heads
    root = np.float32(1.0 / np.sqrt(size))
    top, total, powers = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    for s in range(seeds):
        for h in range(heads):
            for i in range(asking):
                at = ((s * heads + h) * asking + i) * steps * n
                for t in range(steps):
                    score = weights[at + t * n : at + (t + 1) * n]
                    score[:] = _ZERO
                    for d in range(size):
                        q = ((s * query_rows + h * size + d) * asking + i) * n
                        k = ((s * pair_rows + first_key + h * size + d) * steps + t) * n
                        a, b = query[q : q + n], pairs[k : k + n]
                        for j in range(n):
                            score[j] += a[j] * b[j]
                    for j in range(n):
                        score[j] *= root
                top[:] = weights[at : at + n]
                for t in range(1, steps):
                    score = weights[at + t * n : at + (t + 1) * n]
                    for j in range(n):
                        top[j] = max(top[j], score[j])
                total[:] = _ZERO
                for t in range(steps):
                    score = weights[at + t * n : at + (t + 1) * n]
                    for j in range(n):
                        score[j] -= top[j]
                    _exponentials(score, powers, n)
                    for j in range(n):
                        total[j] += score[j]
                for j in range(n):
                    total[j] = _ONE / total[j]
                for t in range(steps):
                    score = weights[at + t * n : at + (t + 1) * n]
                    for j in range(n):
                        score[j] *= total[j]
                for d in range(size):
                    o = ((s * hidden + h * size + d) * asking + i) * n
                    to = out[o : o + n]
                    to[:] = _ZERO
                    for t in range(steps):
                        v = ((s * pair_rows + first_value + h * size + d) * steps + t) * n
                        score, value = weights[at + t * n : at + (t + 1) * n], pairs[v : v + n]
                        for j in range(n):
                            to[j] += score[j] * value[j]


@njit(cache=True, error_model="numpy")
def attend_backward(
    dout: Floats,
    query: Floats,
    pairs: Floats,
    weights: Floats,
    dquery: Floats,
    dpairs: Floats,
    layout: tuple[int, int, int, int],
    seeds: int,
    hidden: int,
    heads: int,
    asking: int,
    steps: int,
    n: int,
) -> None:
    """Gradients of :func:`attend`: dquery (first ``hidden`` rows) and the keys' and values' rows of dpairs are added to."""
    query_rows, pair_rows, first_key, first_value = layout
    size = hidden // heads
    root = np.float32(1.0 / np.sqrt(size))
    slopes, along = np.empty(steps * n, np.float32), np.empty(n, np.float32)
    for s in range(seeds):
        for h in range(heads):
            for i in range(asking):
                at = ((s * heads + h) * asking + i) * steps * n
                along[:] = _ZERO
                for t in range(steps):
                    weight, slope = weights[at + t * n : at + (t + 1) * n], slopes[t * n : (t + 1) * n]
                    slope[:] = _ZERO
                    for d in range(size):
                        o = ((s * hidden + h * size + d) * asking + i) * n
                        v = ((s * pair_rows + first_value + h * size + d) * steps + t) * n
                        given, value, dvalue = dout[o : o + n], pairs[v : v + n], dpairs[v : v + n]
                        for j in range(n):
                            slope[j] += given[j] * value[j]
                        for j in range(n):
                            dvalue[j] += weight[j] * given[j]
                    for j in range(n):
                        along[j] += slope[j] * weight[j]
                for t in range(steps):
                    weight, slope = weights[at + t * n : at + (t + 1) * n], slopes[t * n : (t + 1) * n]
                    for j in range(n):
                        slope[j] = (slope[j] - along[j]) * weight[j] * root
                    for d in range(size):
                        q = ((s * query_rows + h * size + d) * asking + i) * n
                        k = ((s * pair_rows + first_key + h * size + d) * steps + t) * n
                        a, b, da, db = query[q : q + n], pairs[k : k + n], dquery[q : q + n], dpairs[k : k + n]
                        for j in range(n):
                            da[j] += slope[j] * b[j]
                        for j in range(n):
                            db[j] += slope[j] * a[j]
