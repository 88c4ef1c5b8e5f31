"""Compiled float32 kernels of the GRU between two matrix products; conventions of
:mod:`~rotation_pipeline.forecasting.cells` (flat arrays, windows fastest, no fast-math)."""

from __future__ import annotations

import numpy as np
from numba import njit

from rotation_pipeline.forecasting.cells import Floats, fast_tanh

_HALF, _ONE = np.float32(0.5), np.float32(1.0)


@njit(cache=True, error_model="numpy")
def gru_gates(
    g: Floats,
    candidate: Floats,
    added: Floats,
    inner: Floats,
    step: int,
    length: int,
    seeds: int,
    hidden: int,
    n: int,
) -> None:
    """Gates r and z in place (rows 0 … 2·hidden of seeds × 3·hidden × n), q = W_hn h + b_hn in the last third, and the
    candidate tanh(x part + r q).

    ``added`` is seeds × 3·hidden × ``length``, the input part with its biases, of which window j uses column ``step +
    j``; ``inner`` is b_hn, seeds × hidden.
    """
    rows = 3 * hidden
    for s in range(seeds):
        for r in range(2 * hidden):
            start, first = (s * rows + r) * n, (s * rows + r) * length + step
            row, part = g[start : start + n], added[first : first + n]
            for j in range(n):
                row[j] += part[j]
            for j in range(n):
                row[j] = _HALF + _HALF * fast_tanh(_HALF * row[j])
        for r in range(hidden):
            reset = g[(s * rows + r) * n : (s * rows + r + 1) * n]
            start, first = (s * rows + 2 * hidden + r) * n, (s * rows + 2 * hidden + r) * length + step
            q, part = g[start : start + n], added[first : first + n]
            out = candidate[(s * hidden + r) * n : (s * hidden + r + 1) * n]
            bias = inner[s * hidden + r]
            for j in range(n):
                q[j] += bias
            for j in range(n):
                out[j] = reset[j] * q[j]
            for j in range(n):
                out[j] += part[j]
            for j in range(n):
                out[j] = fast_tanh(out[j])


@njit(cache=True, error_model="numpy")
def gru_state(g: Floats, candidate: Floats, before: Floats, after: Floats, seeds: int, hidden: int, n: int) -> None:
    """h' = n + z (h − n), each seeds × hidden × n."""
    q = hidden * n
    for s in range(seeds):
        k, z = s * q, (3 * s + 1) * q
        for j in range(q):
            after[k + j] = before[k + j] - candidate[k + j]
        for j in range(q):
            after[k + j] *= g[z + j]
        for j in range(q):
            after[k + j] += candidate[k + j]


@njit(cache=True, error_model="numpy")
def gru_backward(
    g: Floats,
    candidate: Floats,
    before: Floats,
    dh: Floats,
    inputs: Floats,
    work: Floats,
    seeds: int,
    hidden: int,
    n: int,
) -> None:
    """Turn the gates into the gradient of the hidden part before activation, in place; write that of the input part to
    ``inputs`` (both seeds × 3·hidden × n) and leave in ``dh`` what passes straight to the state before, dh · z."""
    q = hidden * n
    for s in range(seeds):
        r, z, m, k = 3 * s * q, (3 * s + 1) * q, (3 * s + 2) * q, s * q
        for j in range(q):  # work = gradient of n before its tanh
            u = candidate[k + j]
            work[j] = dh[k + j] * (_ONE - g[z + j]) * (_ONE - u * u)
        for j in range(q):
            inputs[m + j] = work[j]
        for j in range(q):  # z
            u = g[z + j]
            inputs[z + j] = dh[k + j] * (before[k + j] - candidate[k + j]) * (u * (_ONE - u))
        for j in range(q):
            dh[k + j] *= g[z + j]
        for j in range(q):
            g[z + j] = inputs[z + j]
        for j in range(q):  # r, while the last third still holds q
            u = g[r + j]
            inputs[r + j] = work[j] * g[m + j] * (u * (_ONE - u))
        for j in range(q):
            g[m + j] = work[j] * g[r + j]
        for j in range(q):
            g[r + j] = inputs[r + j]
