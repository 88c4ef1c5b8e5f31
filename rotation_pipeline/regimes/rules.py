"""Rules of thumb as a regime detector: trend, volatility and drawdown against thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.detectors import FromOptions, States
from rotation_pipeline.regimes.kmeans import spherical
from rotation_pipeline.regimes.names import REGIMES

Array = NDArray[np.float64]
FEATURES = ("half_year_trend", "volatility", "drawdown")
"""What the rules look at; volatility as its logarithm."""


@dataclass(frozen=True)
class RulesDetector(FromOptions):
    """Three states by rule, on features in their own units.

    Slow bull: trend at least ``rule_trend`` and volatility up to its past quantile. Bear: trend at most −``rule_trend``
    and volatility above that quantile or a drawdown of ``rule_drawdown``. Range: everything else. Only the quantile is
    learnt. Probabilities are 0 or 1.
    """

    name: str = "rules"

    @property
    def features(self) -> tuple[str, ...]:
        """Trend, log volatility, drawdown."""
        return FEATURES

    @property
    def is_scaled(self) -> bool:
        """In their own units: the thresholds are."""
        return False

    @property
    def state_counts(self) -> tuple[int, ...]:
        """One state a regime."""
        return (len(REGIMES),)

    @property
    def fixed_names(self) -> tuple[str, ...] | None:
        """The regimes themselves."""
        return REGIMES

    def fit(self, x: Array, warm: States | None, centres: Array, seed: Sequence[int]) -> States:
        """The volatility quantile of ``x`` (T, 3); the means are those of each state's rows, of all where it has none."""
        limit = float(np.quantile(x[:, 1], self.options.rule_volatility_quantile))
        chosen = self._states(x, limit)
        means = np.stack([x[chosen == k].mean(axis=0) if (chosen == k).any() else x.mean(axis=0) for k in range(3)])
        return States(spherical(means, float(x.var())), (0, 1, 2), None, True, (limit,))

    def _states(self, x: Array, limit: float) -> NDArray[np.int64]:
        trend, calm, fallen = x[:, 0], x[:, 1] <= limit, x[:, 2] <= -self.options.rule_drawdown
        bull = (trend >= self.options.rule_trend) & calm
        bear = (trend <= -self.options.rule_trend) & (~calm | fallen) & ~bull
        return np.where(bull, 0, np.where(bear, 1, 2)).astype(np.int64)

    def filter(self, x: Array, states: States) -> Array:
        """The rule of each row, 0 or 1, shape (T, 3)."""
        return np.eye(len(REGIMES))[self._states(x, states.constants[0])]

    def smooth(self, x: Array, states: States) -> Array:
        """The same as :meth:`filter`: a rule knows one row."""
        return self.filter(x, states)
