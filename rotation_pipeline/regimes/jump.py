"""Statistical jump model: clusters whose labels pay a penalty for every change.

Minimises Σ_t ½‖x_t − μ_{s_t}‖² + λ · (number of t with s_t ≠ s_{t−1}) over centres μ and path s by turns: the best path
for given centres by dynamic programming, the centres of its states as their means (coordinate descent). λ = 0 is
k-means. Online, the state of t is the end of the best path through x_1…x_t only.

References: Bemporad, Breschi, Piga and Boyd (2018, Automatica 96), eq. 6; Nystrup, Lindström and Madsen (2020, Expert
Systems with Applications 150); Shu, Yu and Mulvey (2024, Journal of Asset Management 25) for online prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.regimes.errors import RegimeInputError

Array = NDArray[np.float64]
Path = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class JumpFit:
    """Objective, centres (K, F), path (T,) and whether the descent ended by itself."""

    value: float
    centres: Array
    path: Path
    converged: bool


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


@njit(cache=True)
def _loss(x: Array, centres: Array, loss: Array) -> None:
    for t in range(x.shape[0]):
        for k in range(centres.shape[0]):
            total = 0.0
            for i in range(x.shape[1]):
                total += (x[t, i] - centres[k, i]) ** 2
            loss[t, k] = 0.5 * total


@njit(cache=True)
def _descend(x: Array, centres: Array, penalty: float, max_iter: int, path: Path) -> tuple[float, bool]:
    """Coordinate descent, ``centres`` and ``path`` in place, until the path stays or the objective stops falling."""
    n, size = x.shape
    states = centres.shape[0]
    loss = np.empty((n, states))
    sums = np.empty((states, size))
    members = np.empty(states)
    _loss(x, centres, loss)
    value = _jump_path(loss, penalty, path)
    before = path.copy()
    for _ in range(max_iter):
        sums[:] = 0.0
        members[:] = 0.0
        for t in range(n):
            members[path[t]] += 1.0
            for i in range(size):
                sums[path[t], i] += x[t, i]
        for k in range(states):
            # a centre that lost all its points stays: it may win some back
            if members[k] > 0.0:
                for i in range(size):
                    centres[k, i] = sums[k, i] / members[k]
        before[:] = path
        _loss(x, centres, loss)
        last = value
        value = _jump_path(loss, penalty, path)
        if (before == path).all() or not last - value > 1e-12 * (1.0 + abs(last)):
            return value, True
    return value, False


def jump_loss(x: Array, centres: Array) -> Array:
    """½ squared distance of each row of ``x`` (T, F) to each of ``centres`` (K, F): (T, K)."""
    out = np.empty((x.shape[0], centres.shape[0]))
    _loss(np.ascontiguousarray(x), np.ascontiguousarray(centres), out)
    return out


def fit_jump(x: Array, centres: Array, penalty: float, max_iter: int = 1000) -> JumpFit:
    """Coordinate descent from ``centres`` (K, F) on ``x`` (T, F).

    Every step lowers the objective; the value is that of the returned path and centres. Converged: the path stayed the
    same or the objective fell by less than its rounding. Raises RegimeInputError for gaps or a negative penalty.
    """
    values = np.ascontiguousarray(x, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all() or not penalty >= 0.0:
        raise RegimeInputError(
            f"fit_jump: x must be a finite (T, F) matrix and the penalty at least 0, got {values.shape} and {penalty}"
        )
    moved = np.array(centres, dtype=np.float64)
    path = np.empty(values.shape[0], dtype=np.int64)
    value, converged = _descend(values, moved, float(penalty), max_iter, path)
    return JumpFit(float(value), moved, path, bool(converged))


@njit(cache=True)
def _online(loss: Array, penalty: float, path: Path) -> None:
    value = loss[0].copy()
    path[0] = np.argmin(value)
    for t in range(1, loss.shape[0]):
        ceiling = value.min() + penalty
        for k in range(loss.shape[1]):
            value[k] = min(value[k], ceiling) + loss[t, k]
        path[t] = np.argmin(value)


def online_path(loss: Array, penalty: float) -> Path:
    """For each t the last state of the cheapest path through rows 0…t of ``loss`` (T, K): (T,), past only."""
    path = np.empty(loss.shape[0], dtype=np.int64)
    _online(np.ascontiguousarray(loss), float(penalty), path)
    return path
