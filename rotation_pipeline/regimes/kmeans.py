"""k-means on the index features: a detector without dynamics, the yardstick of the hidden Markov model.

References: Lloyd (1982, IEEE Trans. Information Theory 28); Arthur and Vassilvitskii (2007, SODA) for the seeding.
Probabilities are those of the mixture whose hard limit k-means is: equal weights, one spherical variance, that of the
observations about their centres. So they use the current month alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.regimes.detectors import FromOptions, States, match
from rotation_pipeline.regimes.hmm import HMMParameters, forward_filter, log_emissions
from rotation_pipeline.regimes.statistics import generator

Array = NDArray[np.float64]
_MAX_ITER = 300
_LEAST_VARIANCE = 1e-4
"""Variance of scaled features below which distances would turn into certainty (standard deviation 0.01)."""


@njit(cache=True)
def _lloyd(x: Array, centres: Array, max_iter: int) -> tuple[float, bool]:
    """Moves ``centres`` (K, F) in place until no point changes cluster; returns the inertia and whether it settled."""
    n, size = x.shape
    count = centres.shape[0]
    labels = np.full(n, -1, dtype=np.int64)
    sums = np.empty((count, size))
    members = np.empty(count)
    inertia = 0.0
    for _ in range(max_iter):
        moved = False
        inertia = 0.0
        sums[:] = 0.0
        members[:] = 0.0
        for t in range(n):
            nearest = 0
            least = np.inf
            for k in range(count):
                distance = 0.0
                for i in range(size):
                    distance += (x[t, i] - centres[k, i]) ** 2
                if distance < least:
                    least = distance
                    nearest = k
            inertia += least
            if labels[t] != nearest:
                labels[t] = nearest
                moved = True
            members[nearest] += 1.0
            for i in range(size):
                sums[nearest, i] += x[t, i]
        if not moved:
            return inertia, True
        for k in range(count):
            # a centre that lost all its points stays: it may win some back
            if members[k] > 0.0:
                for i in range(size):
                    centres[k, i] = sums[k, i] / members[k]
    return inertia, False


@njit(cache=True)
def _plus_plus(x: Array, draws: Array, centres: Array) -> None:
    """k-means++ seeding from uniform ``draws`` (K,): each centre is a point drawn by squared distance to the others."""
    n, size = x.shape
    distance = np.full(n, 1.0)
    for k in range(draws.shape[0]):
        total = 0.0
        for t in range(n):
            total += distance[t]
        target = draws[k] * total
        chosen = n - 1
        reached = 0.0
        for t in range(n):
            reached += distance[t]
            if reached > target:
                chosen = t
                break
        for t in range(n):
            gap = 0.0
            for i in range(size):
                gap += (x[t, i] - x[chosen, i]) ** 2
            distance[t] = gap if k == 0 else min(distance[t], gap)
        for i in range(size):
            centres[k, i] = x[chosen, i]


def seeded_centres(x: Array, n_states: int, draws: Array) -> Array:
    """k-means++ centres (n_states, F) of ``x`` (T, F) for uniform ``draws`` (n_states,) in [0, 1)."""
    centres = np.empty((n_states, x.shape[1]))
    _plus_plus(x, draws, centres)
    return centres


def lloyd(x: Array, centres: Array, max_iter: int = _MAX_ITER) -> tuple[Array, float, bool]:
    """Lloyd's iteration from ``centres`` (K, F) on ``x`` (T, F): final centres, inertia, whether it settled."""
    moved = centres.copy()
    inertia, settled = _lloyd(x, moved, max_iter)
    return moved, float(inertia), bool(settled)


def spherical(centres: Array, variance: float) -> HMMParameters:
    """States at ``centres`` (K, F), all equally likely at any time, each with the same spherical variance."""
    count, size = centres.shape
    return HMMParameters(
        start=np.full((count,), 1.0 / count),
        transition=np.full((count, count), 1.0 / count),
        means=centres,
        covariances=np.stack([max(variance, _LEAST_VARIANCE) * np.eye(size)] * count),
    )


@dataclass(frozen=True)
class KMeansDetector(FromOptions):
    """k-means with seeded restarts; the least inertia is kept."""

    name: str = "kmeans"

    def fit(self, x: Array, warm: States | None, centres: Array, seed: Sequence[int]) -> States:
        """Least inertia over the warm start (or the archetypes) and ``kmeans_restarts`` k-means++ starts."""
        reference = centres if warm is None else warm.parameters.means
        n_states = centres.shape[0]
        best, least, settled = lloyd(x, reference)
        for draws in generator(seed).random((self.options.kmeans_restarts, n_states)):
            found, inertia, done = lloyd(x, seeded_centres(x, n_states, draws))
            if inertia < least:
                best, least, settled = found, inertia, done
        parameters = spherical(best, least / x.size)
        states = States(parameters, tuple(range(n_states)), None, settled)
        return states.reordered(match(best, reference))

    def filter(self, x: Array, states: States) -> Array:
        """Probabilities by distance to the centres, shape (T, K); each row depends on that row only."""
        parameters = states.parameters
        return forward_filter(log_emissions(x, parameters), parameters.start, parameters.transition)[0]

    def smooth(self, x: Array, states: States) -> Array:
        """The same as :meth:`filter`: without dynamics the future says nothing about today."""
        return self.filter(x, states)
