"""The Gaussian hidden Markov model as a regime detector: priors from the archetypes, warm start, seeded restarts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.detectors import FromOptions, States, archetypes, match
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
from rotation_pipeline.regimes.statistics import generator

Array = NDArray[np.float64]
STATE_COUNTS = (2, 3, 4)
"""Numbers of states the criterion chooses from."""
FIRST_VARIANCE = 0.5
"""Variance of a state before the first step, in scaled features whose total variance is 1: about half lies between
states. Also the centre of the covariance prior."""


def bic(x: Array, states: States, *, diagonal: bool) -> float:
    """Bayesian information criterion −2 log L + p log T of fitted states on ``x`` (T, F), nats (Schwarz 1978).

    Parameters counted: K − 1 start and K (K − 1) transition probabilities, K F means, and K F variances (diagonal) or
    K F (F + 1)/2 covariances. The likelihood is taken where the priors put the fit, a little below its maximum.
    """
    if states.log_likelihood is None:
        raise ValueError("a model without a likelihood has no information criterion")
    count, size = states.parameters.means.shape
    scatter = size if diagonal else size * (size + 1) // 2
    free = count - 1 + count * (count - 1) + count * size + count * scatter
    return -2.0 * states.log_likelihood + free * math.log(x.shape[0])


@dataclass(frozen=True)
class HMMDetector(FromOptions):
    """Gaussian hidden Markov model; the best log posterior of all starts is kept."""

    name: str = "hmm"

    @property
    def state_counts(self) -> tuple[int, ...]:
        """The number of the options, or the numbers the criterion chooses from."""
        return STATE_COUNTS if self.options.choose_states == "bic" else (self.options.n_states,)

    @property
    def prior_rows(self) -> float:
        """The same weight as on the state means, so that names are as slow to change as the states."""
        return self.options.mean_prior_months * self.rows_per_month

    def typical_transition(self, states: int) -> Array:
        """Transition matrix of the expected duration, the same chance for every other state: (K, K)."""
        leave = min(1.0 / (self.options.expected_duration * self.rows_per_month), 0.5)
        matrix = np.full((states, states), leave / (states - 1))
        np.fill_diagonal(matrix, 1.0 - leave)
        return matrix

    def priors(self, centres: Array) -> HMMPriors:
        """Priors with the states drawn to ``centres`` (K, F), weights in months from the options."""
        options, scale, (states, size) = self.options, self.rows_per_month, centres.shape
        degrees = options.covariance_prior_months * scale
        return HMMPriors(
            start=np.ones(states),
            transition=1.0 + options.transition_prior_months * scale * self.typical_transition(states),
            means=np.ascontiguousarray(centres),
            means_weight=options.mean_prior_months * scale,
            covariance=FIRST_VARIANCE * degrees * np.eye(size),
            covariance_weight=degrees + (1.0 if options.covariance == "diag" else size),
        )

    def initial(self, means: Array) -> HMMParameters:
        """Parameters before the first step, states at ``means`` (K, F)."""
        states, size = means.shape
        return HMMParameters(
            np.full((states,), 1.0 / states),
            self.typical_transition(states),
            means.copy(),
            np.stack([FIRST_VARIANCE * np.eye(size)] * states),
        )

    def fit(self, x: Array, warm: States | None, centres: Array, seed: Sequence[int]) -> States:
        """Best log posterior over the warm start (or the archetypes) and ``restarts`` starts at seeded k-means centres.

        Restarts take the warm start's states in the order of nearest means, so that every start is drawn to the
        same archetypes; the winner is put in that order again. With ``choose_states`` = bic the number of states with
        the least criterion wins, ties to the smaller; a number other than the warm start's starts from its archetypes.

        Raises:
            HMMError: every start broke down.
        """
        if len(self.state_counts) == 1:
            return self._fit(x, warm, centres, seed)
        found: list[States] = []
        for count in self.state_counts:
            same = warm if warm is not None and len(warm.roles) == count else None
            found.append(self._fit(x, same, archetypes(self.features, count), (*seed, count)))
        return min(found, key=lambda states: bic(x, states, diagonal=self.options.covariance == "diag"))

    def _fit(self, x: Array, warm: States | None, centres: Array, seed: Sequence[int]) -> States:
        count = centres.shape[0]
        roles = tuple(range(count)) if warm is None else warm.roles
        reference = centres if warm is None else warm.parameters.means
        starts = [self.initial(centres) if warm is None else warm.parameters]
        for draws in generator(seed).random((self.options.restarts, count)):
            means = lloyd(x, seeded_centres(x, count, draws))[0]
            starts.append(self.initial(means[list(match(means, reference))]))
        best = self._best(x, starts, self.priors(centres[list(roles)]))
        states = States(best.parameters, roles, best.log_likelihood, best.converged)
        return states.reordered(match(best.parameters.means, reference))

    def em(self, x: Array, start: HMMParameters, priors: HMMPriors) -> HMMFit:
        """One EM run from ``start``; HMMError where it breaks down."""
        options = self.options
        return fit_em(
            x,
            start,
            priors,
            diagonal=options.covariance == "diag",
            max_iter=options.max_iter,
            tolerance=options.tolerance,
        )

    def _best(self, x: Array, starts: Sequence[HMMParameters], priors: HMMPriors) -> HMMFit:
        best: HMMFit | None = None
        failures: list[str] = []
        for start in starts:
            try:
                found = self.em(x, start, priors)
            except HMMError as error:
                failures.append(str(error))
                continue
            if best is None or found.log_posterior > best.log_posterior:
                best = found
        if best is None:
            raise HMMError(f"none of {len(starts)} starts could be fitted: {failures[0]}")
        return best

    def filter(self, x: Array, states: States) -> Array:
        """Filtered probabilities by the forward recursion, shape (T, K)."""
        parameters = states.parameters
        return forward_filter(log_emissions(x, parameters), parameters.start, parameters.transition)[0]

    def smooth(self, x: Array, states: States) -> Array:
        """Smoothed probabilities, shape (T, K); they see all of ``x``."""
        parameters = states.parameters
        return smooth(log_emissions(x, parameters), parameters.start, parameters.transition)
