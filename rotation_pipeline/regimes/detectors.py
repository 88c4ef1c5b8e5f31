"""What every regime detector offers, and what their states have in common: archetypes and matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.hmm import HMMParameters

Array = NDArray[np.float64]

_NAMED: dict[str, tuple[float, float, float, float]] = {
    # slow bull, bear, range, volatile rise
    "index_return": (0.3, -1.0, -0.1, 0.8),
    "volatility": (-0.5, 1.5, -0.5, 1.0),
    "downside_deviation": (-0.5, 1.3, -0.3, 0.3),
    "turnover_ratio": (0.3, 0.0, -0.3, 1.2),
    "drawdown": (0.6, -1.2, 0.0, 0.3),
    "trend": (0.8, -1.0, -0.3, 1.2),
    "half_year_trend": (0.8, -1.0, -0.3, 1.2),
}
"""Where a regime stands by the meaning of its name, in standard deviations of the feature from its mean. Rough on
purpose: as the centre of a prior they only tell the states apart while there is little data."""


def archetypes(features: Sequence[str], n_states: int) -> Array:
    """Prior centres of the states in scaled features, shape (n_states, F).

    Two states: calm (the middle of slow bull and range) and bear; three: slow bull, bear, range; four: a volatile
    rise besides.
    """
    table = np.array([_NAMED[name] for name in features]).T
    if n_states == 2:
        return np.ascontiguousarray(np.stack([(table[0] + table[2]) / 2.0, table[1]]))
    return np.ascontiguousarray(table[:n_states])


@dataclass(frozen=True, slots=True)
class States:
    """Fitted states in scaled features.

    ``roles[k]`` is the archetype state k started from and is drawn to. A detector without dynamics has uniform
    ``start`` and ``transition``. ``log_likelihood`` is None for a detector that has none.
    """

    parameters: HMMParameters
    roles: tuple[int, ...]
    log_likelihood: float | None
    converged: bool

    def reordered(self, order: Sequence[int]) -> States:
        """The same states with ``order[k]`` now called k."""
        index = np.asarray(order, dtype=np.int64)
        roles = tuple(self.roles[k] for k in order)
        return States(self.parameters.reordered(index), roles, self.log_likelihood, self.converged)


class Detector(Protocol):
    """A regime detector. Observations are scaled features (T, F) without gaps, in time order."""

    @property
    def name(self) -> str:
        """Its name in the tables."""
        ...

    @property
    def prior_rows(self) -> float:
        """Training rows the archetypes count for when a state's mean return and volatility are taken for its name."""
        ...

    def fit(self, x: Array, warm: States | None, centres: Array, seed: Sequence[int]) -> States:
        """States fitted on ``x``, started from ``warm`` (None: from the archetypes ``centres``) and seeded restarts."""
        ...

    def filter(self, x: Array, states: States) -> Array:
        """P(state_t | x_1…x_t), shape (T, K): row t depends on rows up to t only."""
        ...

    def smooth(self, x: Array, states: States) -> Array:
        """P(state_t | x_1…x_T), shape (T, K): in-sample, for description and for the moments of past states."""
        ...


def match(means: Array, reference: Array) -> tuple[int, ...]:
    """The order of ``means`` (K, F) nearest to ``reference`` (K, F): least total squared distance over all orders.

    Exhaustive, for at most four states; ties go to the first order lexicographically.
    """
    cost = ((means[:, None, :] - reference[None, :, :]) ** 2).sum(axis=2)
    orders = permutations(range(means.shape[0]))
    return min(orders, key=lambda order: sum(float(cost[state, place]) for place, state in enumerate(order)))
