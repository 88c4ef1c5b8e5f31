"""The Gaussian hidden Markov model as a regime detector: priors from the archetypes, warm start, seeded restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.detectors import States, match
from rotation_pipeline.regimes.hmm import (
    HMMError,
    HMMFit,
    HMMParameters,
    HMMPriors,
    fit_em,
    forward_filter,
    log_emissions,
    smooth,
)
from rotation_pipeline.regimes.kmeans import lloyd, seeded_centres
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.statistics import generator

Array = NDArray[np.float64]
SESSIONS_PER_MONTH = 244.0 / 12.0
_FIRST_VARIANCE = 0.5
"""Variance of a state before the first step, in scaled features whose total variance is 1: about half lies between
states. Also the centre of the covariance prior."""


@dataclass(frozen=True)
class HMMDetector:
    """Gaussian hidden Markov model; the best log posterior of all starts is kept."""

    options: RegimeOptions
    name: str = "hmm"

    @property
    def rows_per_month(self) -> float:
        """Training rows a month, which turn the priors' months into pseudo-observations."""
        return 1.0 if self.options.form == "monthly" else SESSIONS_PER_MONTH / self.options.stride

    @property
    def prior_rows(self) -> float:
        """The same weight as on the state means, so that names are as slow to change as the states."""
        return self.options.mean_prior_months * self.rows_per_month

    def typical_transition(self) -> Array:
        """Transition matrix of the expected duration, the same chance for every other state: (K, K)."""
        states = self.options.n_states
        leave = min(1.0 / (self.options.expected_duration * self.rows_per_month), 0.5)
        matrix = np.full((states, states), leave / (states - 1))
        np.fill_diagonal(matrix, 1.0 - leave)
        return matrix

    def priors(self, centres: Array) -> HMMPriors:
        """Priors with the states drawn to ``centres`` (K, F), weights in months from the options."""
        options, scale, size = self.options, self.rows_per_month, centres.shape[1]
        degrees = options.covariance_prior_months * scale
        return HMMPriors(
            start=np.ones(options.n_states),
            transition=1.0 + options.transition_prior_months * scale * self.typical_transition(),
            means=np.ascontiguousarray(centres),
            means_weight=options.mean_prior_months * scale,
            covariance=_FIRST_VARIANCE * degrees * np.eye(size),
            covariance_weight=degrees + (1.0 if options.covariance == "diag" else size),
        )

    def _initial(self, means: Array) -> HMMParameters:
        states, size = means.shape
        return HMMParameters(
            np.full((states,), 1.0 / states),
            self.typical_transition(),
            means.copy(),
            np.stack([_FIRST_VARIANCE * np.eye(size)] * states),
        )

    def fit(self, x: Array, warm: States | None, centres: Array, seed: Sequence[int]) -> States:
        """Best log posterior over the warm start (or the archetypes) and ``restarts`` starts at seeded k-means centres.

        Restarts take the warm start's states in the order of nearest means, so that every start is drawn to the
        same archetypes; the winner is put in that order again.

        Raises:
            HMMError: every start broke down.
        """
        roles = tuple(range(self.options.n_states)) if warm is None else warm.roles
        reference = centres if warm is None else warm.parameters.means
        starts = [self._initial(centres) if warm is None else warm.parameters]
        for draws in generator(seed).random((self.options.restarts, self.options.n_states)):
            means = lloyd(x, seeded_centres(x, self.options.n_states, draws))[0]
            starts.append(self._initial(means[list(match(means, reference))]))
        priors = self.priors(centres[list(roles)])
        best: HMMFit | None = None
        failures: list[str] = []
        for start in starts:
            try:
                found = fit_em(
                    x,
                    start,
                    priors,
                    diagonal=self.options.covariance == "diag",
                    max_iter=self.options.max_iter,
                    tolerance=self.options.tolerance,
                )
            except HMMError as error:
                failures.append(str(error))
                continue
            if best is None or found.log_posterior > best.log_posterior:
                best = found
        if best is None:
            raise HMMError(f"none of {len(starts)} starts could be fitted: {failures[0]}")
        states = States(best.parameters, roles, best.log_likelihood, best.converged)
        return states.reordered(match(best.parameters.means, reference))

    def filter(self, x: Array, states: States) -> Array:
        """Filtered probabilities by the forward recursion, shape (T, K)."""
        parameters = states.parameters
        return forward_filter(log_emissions(x, parameters), parameters.start, parameters.transition)[0]

    def smooth(self, x: Array, states: States) -> Array:
        """Smoothed probabilities, shape (T, K); they see all of ``x``."""
        parameters = states.parameters
        return smooth(log_emissions(x, parameters), parameters.start, parameters.transition)
