"""Gaussian mixture: the hidden Markov model's emissions without its dynamics.

References: Dempster, Laird and Rubin (1977, JRSS B 39) for EM; the MAP updates are those of the hidden Markov model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.regimes.detectors import States
from rotation_pipeline.regimes.hmm import (
    HMMFit,
    HMMParameters,
    HMMPriors,
    em_fit,
    emission_kernel,
    forward_filter,
    log_emissions,
    log_prior,
    maximise,
    normalise_counts,
)
from rotation_pipeline.regimes.hmm_detector import HMMDetector

Array = NDArray[np.float64]


@njit(cache=True)
def _expect(log_emission: Array, weights: Array, shares: Array, mass: Array) -> float:
    """Responsibilities into ``shares`` (T, K), their sums into ``mass`` (K,); returns the log-likelihood."""
    total = 0.0
    mass[:] = 0.0
    for t in range(log_emission.shape[0]):
        top = -np.inf
        for k in range(weights.shape[0]):
            if weights[k] > 0.0:
                shares[t, k] = log_emission[t, k] + np.log(weights[k])
                top = max(top, shares[t, k])
            else:
                shares[t, k] = -np.inf
        norm = 0.0
        for k in range(weights.shape[0]):
            shares[t, k] = np.exp(shares[t, k] - top)
            norm += shares[t, k]
        total += top + np.log(norm)
        for k in range(weights.shape[0]):
            shares[t, k] /= norm
            mass[k] += shares[t, k]
    return total


@njit(cache=True)
def _mixture_em(
    x: Array,
    weights: Array,
    means: Array,
    covariances: Array,
    diagonal: bool,
    prior_weights: Array,
    prior_means: Array,
    means_weight: float,
    prior_covariance: Array,
    covariance_weight: float,
    history: Array,
    tolerance: float,
) -> tuple[int, bool, float, float]:
    """EM in place; returns steps done, whether it converged, final log-likelihood (NaN: broke down) and log posterior."""
    states = weights.shape[0]
    log_emission = np.empty((x.shape[0], states))
    shares = np.empty((x.shape[0], states))
    mass = np.empty(states)
    still = np.full((states, states), 1.0 / states)
    flat = np.ones((states, states))
    steps = 0
    previous = -np.inf
    while True:
        if not emission_kernel(x, means, covariances, log_emission):
            return steps, False, np.nan, np.nan
        likelihood = _expect(log_emission, weights, shares, mass)
        posterior = likelihood + log_prior(
            weights,
            still,
            means,
            covariances,
            diagonal,
            prior_weights,
            flat,
            prior_means,
            means_weight,
            prior_covariance,
            covariance_weight,
        )
        converged = posterior - previous < tolerance
        if converged or steps == history.shape[0]:
            return steps, converged, likelihood, posterior
        previous = posterior
        history[steps] = likelihood
        normalise_counts(mass, prior_weights, weights)
        maximise(
            x, shares, diagonal, prior_means, means_weight, prior_covariance, covariance_weight, means, covariances
        )
        steps += 1


def fit_mixture(
    x: Array, initial: HMMParameters, priors: HMMPriors, *, diagonal: bool, max_iter: int, tolerance: float
) -> HMMFit:
    """EM of a Gaussian mixture from ``initial``, whose ``start`` are the weights; every transition row becomes them.

    ``x``: (T, F) without gaps. ``priors.transition`` is not used. Raises HMMError when a covariance degenerates.
    """
    weights, means, covariances = initial.start.copy(), initial.means.copy(), initial.covariances.copy()
    history = np.empty(max_iter)
    outcome = _mixture_em(
        np.ascontiguousarray(x, dtype=np.float64),
        weights,
        means,
        covariances,
        diagonal,
        priors.start,
        priors.means,
        float(priors.means_weight),
        priors.covariance,
        float(priors.covariance_weight),
        history,
        tolerance,
    )
    fitted = HMMParameters(weights, np.tile(weights, (weights.size, 1)), means, covariances)
    return em_fit(fitted, outcome, history)


@dataclass(frozen=True)
class MixtureDetector(HMMDetector):
    """Gaussian mixture with the hidden Markov model's priors on means and covariances, flat on the weights."""

    name: str = "mixture"

    @property
    def state_counts(self) -> tuple[int, ...]:
        """The number of the options."""
        return (self.options.n_states,)

    def initial(self, means: Array) -> HMMParameters:
        """Equal weights, states at ``means`` (K, F)."""
        first = super().initial(means)
        return replace(first, transition=np.tile(first.start, (first.start.size, 1)))

    def em(self, x: Array, start: HMMParameters, priors: HMMPriors) -> HMMFit:
        """One EM run."""
        options = self.options
        return fit_mixture(
            x,
            start,
            priors,
            diagonal=options.covariance == "diag",
            max_iter=options.max_iter,
            tolerance=options.tolerance,
        )

    def filter(self, x: Array, states: States) -> Array:
        """Responsibilities, shape (T, K); each row depends on that row only."""
        parameters = states.parameters
        return forward_filter(log_emissions(x, parameters), parameters.start, parameters.transition)[0]

    def smooth(self, x: Array, states: States) -> Array:
        """The same as :meth:`filter`: without dynamics the future says nothing about today."""
        return self.filter(x, states)
