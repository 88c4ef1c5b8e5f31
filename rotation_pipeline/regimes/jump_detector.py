"""The statistical jump model as a regime detector: seeded restarts, a penalty chosen on past data, online prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.detectors import FromOptions, States, match
from rotation_pipeline.regimes.jump import JumpFit, Path, fit_jump, jump_loss, jump_path, online_path
from rotation_pipeline.regimes.kmeans import seeded_centres, spherical
from rotation_pipeline.regimes.statistics import generator

Array = NDArray[np.float64]


def best_jump_fit(x: Array, starts: Sequence[Array], penalty: float) -> JumpFit:
    """The least objective over coordinate descents from each of ``starts`` (K, F); ties go to the first."""
    return min((fit_jump(x, start, penalty) for start in starts), key=lambda fit: fit.value)


def _indicator(path: Path, count: int) -> Array:
    """1 for the state of each row, shape (T, count): the model has no probabilities."""
    out = np.zeros((path.size, count))
    out[np.arange(path.size), path] = 1.0
    return out


def _spells(path: Path) -> int:
    return 1 + int(np.count_nonzero(np.diff(path)))


@dataclass(frozen=True)
class JumpDetector(FromOptions):
    """Statistical jump model (Nystrup, Lindström and Madsen 2020).

    The penalty is the smallest of ``jump_penalties`` with which the labels fitted on the rows given last ``jump_spell``
    months on average; the largest if none does. Probabilities are 0 or 1.
    """

    name: str = "jump"

    def fit(self, x: Array, warm: States | None, centres: Array, seed: Sequence[int]) -> States:
        """Least objective over the warm start (or the archetypes) and ``jump_restarts`` k-means++ starts."""
        reference = centres if warm is None else warm.parameters.means
        count = centres.shape[0]
        draws = generator(seed).random((self.options.jump_restarts, count))
        starts = [reference, *(seeded_centres(x, count, row) for row in draws)]
        wanted = self.options.jump_spell * self.rows_per_month
        penalty, *larger = self.options.jump_penalties
        best = best_jump_fit(x, starts, penalty)
        while larger and x.shape[0] / _spells(best.path) < wanted:
            penalty, *larger = larger
            best = best_jump_fit(x, starts, penalty)
        squares = 2.0 * (best.value - penalty * (_spells(best.path) - 1))
        parameters = spherical(best.centres, squares / x.size)
        states = States(parameters, tuple(range(count)), None, best.converged, (penalty,))
        return states.reordered(match(best.centres, reference))

    def filter(self, x: Array, states: States) -> Array:
        """The end of the cheapest path through each row's past, 0 or 1, shape (T, K)."""
        loss = jump_loss(x, states.parameters.means)
        return _indicator(online_path(loss, states.constants[0]), loss.shape[1])

    def smooth(self, x: Array, states: States) -> Array:
        """The cheapest path through all rows, 0 or 1, shape (T, K); it sees all of ``x``."""
        loss = jump_loss(x, states.parameters.means)
        return _indicator(jump_path(loss, states.constants[0])[1], loss.shape[1])
