"""Optimal state path under a jump penalty.

References: Bemporad, Breschi, Piga and Boyd (2018, Automatica 96), eq. 6; Nystrup, Lindström and Madsen (2020, Expert
Systems with Applications 150).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.regimes.errors import RegimeInputError


@njit(cache=True)
def _jump_path(loss: NDArray[np.float64], penalty: float, path: NDArray[np.int64]) -> float:
    n, states = loss.shape
    value = loss[0].copy()
    came_from = np.empty((n, states), dtype=np.int64)
    for t in range(1, n):
        cheapest = np.argmin(value)
        ceiling = value[cheapest] + penalty
        for k in range(states):
            # staying wins ties: never jump for nothing
            if value[k] <= ceiling:
                came_from[t, k] = k
            else:
                came_from[t, k] = cheapest
                value[k] = ceiling
            value[k] += loss[t, k]
    path[n - 1] = np.argmin(value)
    for t in range(n - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return float(value[path[n - 1]])


def jump_path(loss: NDArray[np.float64], penalty: float) -> tuple[float, NDArray[np.int64]]:
    """Minimises Σ_t loss[t, s_t] + penalty · (number of t with s_t ≠ s_{t−1}) by dynamic programming, O(T K).

    Args:
        loss: cost of each state at each time, shape (T, K), T ≥ 1, K ≥ 1, finite.
        penalty: cost of a jump, ≥ 0.

    Returns:
        The smallest value and a path (T,) that attains it; among equals it stays rather than jumps.

    Raises:
        RegimeInputError: an empty or non-finite loss, or a negative penalty.
    """
    values = np.ascontiguousarray(loss, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise RegimeInputError(f"jump_path: loss must be a finite (T, K) matrix, got shape {values.shape}")
    if not penalty >= 0.0:
        raise RegimeInputError(f"jump_path: penalty must be at least 0, got {penalty}")
    path = np.empty(values.shape[0], dtype=np.int64)
    value = _jump_path(values, float(penalty), path)
    return value, path
