"""What every regime detector offers, and what their states have in common: archetypes and matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.hmm import HMMParameters
from rotation_pipeline.regimes.options import RegimeOptions

Array = NDArray[np.float64]
SESSIONS_PER_MONTH = 244.0 / 12.0

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

    ``roles[k]`` is the archetype state k started from and is drawn to. A detector without dynamics has a ``transition``
    of equal rows. ``log_likelihood`` is None for a detector that has none. ``constants`` are numbers chosen by the fit
    that a detector needs beside its parameters: the jump penalty, the rules' thresholds.
    """

    parameters: HMMParameters
    roles: tuple[int, ...]
    log_likelihood: float | None
    converged: bool
    constants: tuple[float, ...] = ()

    def reordered(self, order: Sequence[int]) -> States:
        """The same states with ``order[k]`` now called k."""
        index = np.asarray(order, dtype=np.int64)
        roles = tuple(self.roles[k] for k in order)
        return replace(self, parameters=self.parameters.reordered(index), roles=roles)


class Detector(Protocol):
    """A regime detector. Observations are features (T, F) without gaps, in time order, scaled if it asks for it."""

    @property
    def name(self) -> str:
        """Its name in the tables."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Columns of intermediate.index_features it sees, in order."""
        ...

    @property
    def is_scaled(self) -> bool:
        """Whether the features reach it scaled by their own past; False: in their units."""
        ...

    @property
    def state_counts(self) -> tuple[int, ...]:
        """Numbers of states a fit may end with."""
        ...

    @property
    def fixed_names(self) -> tuple[str, ...] | None:
        """Names of its states where they are what it is made of; None: named by their return and volatility."""
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


@dataclass(frozen=True)
class FromOptions:
    """What a detector on the features of the options, scaled, with a fixed number of unnamed states has in common."""

    options: RegimeOptions

    @property
    def features(self) -> tuple[str, ...]:
        """The features of the options."""
        return tuple(self.options.features)

    @property
    def is_scaled(self) -> bool:
        """Scaled."""
        return True

    @property
    def state_counts(self) -> tuple[int, ...]:
        """The number of the options."""
        return (self.options.n_states,)

    @property
    def fixed_names(self) -> tuple[str, ...] | None:
        """Named by return and volatility."""
        return None

    @property
    def prior_rows(self) -> float:
        """0: states are named by their own rows."""
        return 0.0

    @property
    def rows_per_month(self) -> float:
        """Training rows a month, which turn months into rows."""
        return 1.0 if self.options.form == "monthly" else SESSIONS_PER_MONTH / self.options.stride


def match(means: Array, reference: Array) -> tuple[int, ...]:
    """The order of ``means`` (K, F) nearest to ``reference`` (K, F): least total squared distance over all orders.

    Exhaustive, for at most four states; ties go to the first order lexicographically.
    """
    cost = ((means[:, None, :] - reference[None, :, :]) ** 2).sum(axis=2)
    orders = permutations(range(means.shape[0]))
    return min(orders, key=lambda order: sum(float(cost[state, place]) for place, state in enumerate(order)))
