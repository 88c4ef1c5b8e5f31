"""Compiled float32 kernels of the networks: everything between two matrix products, for all seeds at once.

Arrays are flat and contiguous with the windows in the fastest axis, so that every loop runs over neighbours. Loops are
kept to a few arrays each because the compiler vectorises only what it can prove not to overlap. No fast-math: the order
of every addition is written here, and equal inputs give equal bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Rational approximation of tanh on ±9 as in Eigen's generic_fast_tanh_float: within a few units in the last place
_A1, _A3, _A5, _A7 = (
    np.float32(v) for v in (4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08)
)
_A9, _A11, _A13 = (np.float32(v) for v in (-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16))
_B0, _B2, _B4, _B6 = (
    np.float32(v) for v in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)
_LIMIT, _HALF, _ONE = np.float32(9.0), np.float32(0.5), np.float32(1.0)
NORM_BLOCK = 64
"""Parameters are padded to a multiple of this, the lanes of the norm's partial sums."""


@njit(cache=True, error_model="numpy", inline="always")
def fast_tanh(x: np.float32) -> np.float32:
    """tanh in float32, absolute error below 1e-6."""
    x = min(max(x, -_LIMIT), _LIMIT)
    y = x * x
    p = _A13 * y + _A11
    p = p * y + _A9
    p = p * y + _A7
    p = p * y + _A5
    p = p * y + _A3
    p = p * y + _A1
    q = ((_B6 * y + _B4) * y + _B2) * y + _B0
    return x * p / q


@njit(cache=True, error_model="numpy")
def _activate(row: Floats, is_tanh: bool) -> None:
    if is_tanh:
        for j in range(row.size):
            row[j] = fast_tanh(row[j])
    else:
        for j in range(row.size):
            row[j] = _HALF + _HALF * fast_tanh(_HALF * row[j])


@njit(cache=True, error_model="numpy")
def lstm_gates(g: Floats, added: Floats, step: int, length: int, seeds: int, hidden: int, n: int) -> None:
    """Add the input part to the gates (seeds × 4·hidden × n, order i f g o) and activate them in place.

    ``added`` is seeds × 4·hidden × ``length``: with ``length`` 1 a bias, else the projection of every month, of which
    window j at this step uses month ``step + j``.
    """
    rows = 4 * hidden
    for s in range(seeds):
        for r in range(rows):
            start, first = (s * rows + r) * n, (s * rows + r) * length
            row = g[start : start + n]
            if length == 1:
                bias = added[first]
                for j in range(n):
                    row[j] += bias
            else:
                part = added[first + step : first + step + n]
                for j in range(n):
                    row[j] += part[j]
            _activate(row, 2 * hidden <= r < 3 * hidden)


@njit(cache=True, error_model="numpy")
def lstm_state(
    g: Floats,
    c_before: Floats,
    c: Floats,
    tanh_c: Floats,
    out: Floats,
    out_rows: int,
    out_first: int,
    seeds: int,
    hidden: int,
    n: int,
) -> None:
    """c = f c' + i g and h = o tanh(c); h goes to rows ``out_first…`` of ``out`` (seeds × out_rows × n)."""
    q = hidden * n
    for s in range(seeds):
        i, f, a, o = 4 * s * q, (4 * s + 1) * q, (4 * s + 2) * q, (4 * s + 3) * q
        k = s * q
        z = (s * out_rows + out_first) * n
        for j in range(q):
            c[k + j] = g[i + j] * g[a + j]
        for j in range(q):
            tanh_c[k + j] = g[f + j] * c_before[k + j]
        for j in range(q):
            c[k + j] += tanh_c[k + j]
        for j in range(q):
            tanh_c[k + j] = fast_tanh(c[k + j])
        for j in range(q):
            out[z + j] = g[o + j] * tanh_c[k + j]


@njit(cache=True, error_model="numpy")
def masked_copy(source: Floats, mask: Floats, out: Floats, out_rows: int, seeds: int, hidden: int, n: int) -> None:
    """First ``hidden`` rows of ``out`` (seeds × out_rows × n) = source × mask (both seeds × hidden × n)."""
    q = hidden * n
    for s in range(seeds):
        k, z = s * q, s * out_rows * n
        for j in range(q):
            out[z + j] = source[k + j] * mask[k + j]


@njit(cache=True, error_model="numpy")
def lstm_state_backward(
    g: Floats,
    c_before: Floats,
    tanh_c: Floats,
    dh: Floats,
    dc: Floats,
    work: Floats,
    seeds: int,
    hidden: int,
    n: int,
) -> None:
    """Turn the gates into the gradient before activation, in place, and ``dc`` into the one for the step before."""
    q = hidden * n
    for s in range(seeds):
        i, f, a, o = 4 * s * q, (4 * s + 1) * q, (4 * s + 2) * q, (4 * s + 3) * q
        k = s * q
        for j in range(q):
            t = tanh_c[k + j]
            work[j] = g[o + j] * (_ONE - t * t)
        for j in range(q):
            dc[k + j] += dh[k + j] * work[j]
        for j in range(q):
            u = g[o + j]
            g[o + j] = u * (_ONE - u) * dh[k + j]
        for j in range(q):
            g[o + j] *= tanh_c[k + j]
        for j in range(q):
            u = g[a + j]
            work[j] = (_ONE - u * u) * g[i + j]
        for j in range(q):
            u = g[i + j]
            g[i + j] = u * (_ONE - u) * dc[k + j]
        for j in range(q):
            g[i + j] *= g[a + j]
        for j in range(q):
            g[a + j] = work[j] * dc[k + j]
        for j in range(q):
            work[j] = g[f + j] * dc[k + j]
        for j in range(q):
            u = g[f + j]
            g[f + j] = u * (_ONE - u) * dc[k + j]
        for j in range(q):
            g[f + j] *= c_before[k + j]
        for j in range(q):
            dc[k + j] = work[j]


@njit(cache=True, error_model="numpy")
def add_shifted(total: Floats, g: Floats, step: int, length: int, rows: int, n: int) -> None:
    """total[:, step + j] += g[:, j]: gradients of the months' projections (rows × length) from those of the windows."""
    for r in range(rows):
        to, start = r * length + step, r * n
        for j in range(n):
            total[to + j] += g[start + j]


@njit(cache=True, error_model="numpy")
def add_masked(dh: Floats, dz: Floats, mask: Floats, dz_rows: int, seeds: int, hidden: int, n: int) -> None:
    """dh += first ``hidden`` rows of dz × mask."""
    q = hidden * n
    for s in range(seeds):
        k, z = s * q, s * dz_rows * n
        for j in range(q):
            dh[k + j] += dz[z + j] * mask[k + j]


@njit(cache=True, error_model="numpy")
def clip_scales(gradient: Floats, largest: np.float32) -> Floats:
    """Factor per row that limits its norm to ``largest`` as torch's clip_grad_norm_ does; rows of multiples of 64."""
    rows, size = gradient.shape
    out = np.empty(rows, np.float32)
    sums = np.empty(NORM_BLOCK, np.float32)
    for s in range(rows):
        row = gradient[s]
        sums[:] = np.float32(0.0)
        for first in range(0, size, NORM_BLOCK):
            for j in range(NORM_BLOCK):
                sums[j] += row[first + j] * row[first + j]
        total = np.float32(0.0)
        for j in range(NORM_BLOCK):
            total += sums[j]
        out[s] = min(_ONE, largest / (np.float32(np.sqrt(total)) + np.float32(1e-6)))
    return out


@njit(cache=True, error_model="numpy")
def adamw(
    parameters: Floats,
    gradient: Floats,
    first: Floats,
    second: Floats,
    scales: Floats,
    epoch: int,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """One AdamW step (Loshchilov & Hutter 2019) with torch's defaults β = (0.9, 0.999), ε = 1e-8; rows are networks."""
    rows, size = parameters.shape
    beta1, beta2 = np.float32(0.9), np.float32(0.999)
    kept1, kept2 = np.float32(0.1), np.float32(0.001)
    step = np.float32(learning_rate / (1.0 - 0.9**epoch))
    root = np.float32(1.0 / np.sqrt(1.0 - 0.999**epoch))
    decay = np.float32(1.0 - learning_rate * weight_decay)
    epsilon = np.float32(1e-8)
    for s in range(rows):
        p, d, m, v, scale = parameters[s], gradient[s], first[s], second[s], scales[s]
        for j in range(size):
            m[j] = beta1 * m[j] + kept1 * (scale * d[j])
        for j in range(size):
            u = scale * d[j]
            v[j] = beta2 * v[j] + kept2 * (u * u)
        for j in range(size):
            p[j] = decay * p[j] - step * m[j] / (np.float32(np.sqrt(v[j])) * root + epsilon)
