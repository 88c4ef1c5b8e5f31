"""Gaussian hidden Markov model: filter, smoother, Viterbi path and EM, compiled.

P(s_1) = start, P(s_t = j | s_{t-1} = i) = transition[i, j], x_t | s_t = k ~ N(means[k], covariances[k]).

References: Rabiner (1989, Proc. IEEE 77) for the forward recursion and EM; Kim (1994, J. Econometrics 60) for the
smoother written with predicted probabilities, which needs no backward likelihoods and so neither over- nor underflows;
Huang, Acero and Hon (2001, Spoken Language Processing, p. 443-445) for the MAP updates, the ones hmmlearn uses.

Filtered probabilities use observations up to t only. Smoothed ones use all of them and must never feed a decision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LOG_TWO_PI = float(np.log(2.0 * np.pi))
_TINY = 1e-280


class HMMError(ValueError):
    """The model cannot be evaluated on the data; the message names the parameter or observation."""


@dataclass(frozen=True, slots=True)
class HMMParameters:
    """start (K,), transition (K, K) with rows summing to 1, means (K, F), covariances (K, F, F)."""

    start: Array
    transition: Array
    means: Array
    covariances: Array

    def reordered(self, order: NDArray[np.int64]) -> HMMParameters:
        """The same model with state ``order[k]`` now called k."""
        return HMMParameters(
            self.start[order].copy(),
            self.transition[np.ix_(order, order)].copy(),
            self.means[order].copy(),
            self.covariances[order].copy(),
        )


@dataclass(frozen=True, slots=True)
class HMMPriors:
    """Conjugate priors of the MAP updates.

    start: Dirichlet parameters (K,); transition: Dirichlet parameters (K, K), 1 is flat.
    means (K, F) with ``means_weight`` pseudo-observations, 0 for none.
    covariance (F, F) is the prior's scatter matrix; ``covariance_weight`` its degrees of freedom: only what exceeds F
    (diagonal: 1) is counted as pseudo-observations.
    """

    start: Array
    transition: Array
    means: Array
    means_weight: float
    covariance: Array
    covariance_weight: float


@dataclass(frozen=True, slots=True)
class HMMFit:
    """Result of EM.

    ``log_likelihood`` and ``log_posterior`` (nats, the latter up to a constant) are those of the returned parameters,
    ``history`` the log-likelihood before each step.
    """

    parameters: HMMParameters
    log_likelihood: float
    log_posterior: float
    history: Array
    converged: bool


@njit(cache=True)
def _whiteners(covariances: Array, inverses: Array, log_norms: Array) -> bool:
    """Inverse Cholesky factor and −½ log det(2πΣ) of each covariance; False if one is not positive definite."""
    states, size = covariances.shape[0], covariances.shape[1]
    factor = np.zeros((size, size))
    for k in range(states):
        log_det = 0.0
        for i in range(size):
            for j in range(i + 1):
                total = covariances[k, i, j]
                for m in range(j):
                    total -= factor[i, m] * factor[j, m]
                if i == j:
                    if not total > 0.0:
                        return False
                    factor[i, i] = np.sqrt(total)
                    log_det += np.log(factor[i, i])
                else:
                    factor[i, j] = total / factor[j, j]
        for j in range(size):
            for i in range(size):
                if i < j:
                    inverses[k, i, j] = 0.0
                elif i == j:
                    inverses[k, i, i] = 1.0 / factor[i, i]
                else:
                    total = 0.0
                    for m in range(j, i):
                        total -= factor[i, m] * inverses[k, m, j]
                    inverses[k, i, j] = total / factor[i, i]
        log_norms[k] = -0.5 * size * _LOG_TWO_PI - log_det
    return True


@njit(cache=True)
def log_prior(
    start: Array,
    transition: Array,
    means: Array,
    covariances: Array,
    diagonal: bool,
    prior_start: Array,
    prior_transition: Array,
    prior_means: Array,
    means_weight: float,
    prior_covariance: Array,
    covariance_weight: float,
) -> float:
    """Log density of the priors up to a constant: with the log-likelihood, what the MAP updates never decrease."""
    states, size = means.shape
    inverses = np.empty((states, size, size))
    log_norms = np.empty(states)
    if not _whiteners(covariances, inverses, log_norms):
        return np.nan
    degrees = max(covariance_weight - (1.0 if diagonal else size), 0.0)
    total = 0.0
    for k in range(states):
        log_det = -2.0 * log_norms[k] - size * _LOG_TWO_PI
        total -= 0.5 * degrees * log_det
        for i in range(size):
            whitened = 0.0
            for j in range(i + 1):
                whitened += inverses[k, i, j] * (means[k, j] - prior_means[k, j])
                for m in range(i + 1):
                    total -= 0.5 * inverses[k, i, j] * prior_covariance[j, m] * inverses[k, i, m]
            total -= 0.5 * means_weight * whitened * whitened
        if prior_start[k] != 1.0 and start[k] > 0.0:
            total += (prior_start[k] - 1.0) * np.log(start[k])
        for j in range(states):
            if prior_transition[k, j] != 1.0 and transition[k, j] > 0.0:
                total += (prior_transition[k, j] - 1.0) * np.log(transition[k, j])
    return total


@njit(cache=True)
def emission_kernel(x: Array, means: Array, covariances: Array, out: Array) -> bool:
    """log N(x_t; mean_k, covariance_k) into ``out`` (T, K); False if a covariance is not positive definite."""
    states, size = means.shape
    inverses = np.empty((states, size, size))
    log_norms = np.empty(states)
    if not _whiteners(covariances, inverses, log_norms):
        return False
    for t in range(x.shape[0]):
        for k in range(states):
            quadratic = 0.0
            for i in range(size):
                whitened = 0.0
                for j in range(i + 1):
                    whitened += inverses[k, i, j] * (x[t, j] - means[k, j])
                quadratic += whitened * whitened
            out[t, k] = log_norms[k] - 0.5 * quadratic
    return True


@njit(cache=True)
def _forward(log_emission: Array, start: Array, transition: Array, predicted: Array, filtered: Array) -> float:
    """Forward recursion; returns the log-likelihood, or NaN where an observation is impossible in every state."""
    n, states = log_emission.shape
    log_likelihood = 0.0
    for t in range(n):
        for j in range(states):
            if t == 0:
                predicted[t, j] = start[j]
            else:
                total = 0.0
                for i in range(states):
                    total += filtered[t - 1, i] * transition[i, j]
                predicted[t, j] = total
        shift = -np.inf
        for j in range(states):
            if predicted[t, j] > 0.0 and log_emission[t, j] > shift:
                shift = log_emission[t, j]
        if not np.isfinite(shift):
            return np.nan
        total = 0.0
        for j in range(states):
            filtered[t, j] = predicted[t, j] * np.exp(log_emission[t, j] - shift) if predicted[t, j] > 0.0 else 0.0
            total += filtered[t, j]
        if total < _TINY:
            # the only likely states were nearly impossible a step before: add the logarithms first
            shift = -np.inf
            for j in range(states):
                if predicted[t, j] > 0.0:
                    shift = max(shift, log_emission[t, j] + np.log(predicted[t, j]))
            total = 0.0
            for j in range(states):
                if predicted[t, j] > 0.0:
                    filtered[t, j] = np.exp(log_emission[t, j] + np.log(predicted[t, j]) - shift)
                    total += filtered[t, j]
        log_likelihood += shift + np.log(total)
        for j in range(states):
            filtered[t, j] /= total
    return log_likelihood


@njit(cache=True)
def _backward(predicted: Array, filtered: Array, transition: Array, smoothed: Array, moves: Array) -> None:
    """Kim's smoother; adds the expected number of transitions to ``moves`` (K, K)."""
    n, states = filtered.shape
    smoothed[n - 1] = filtered[n - 1]
    for t in range(n - 2, -1, -1):
        for i in range(states):
            smoothed[t, i] = 0.0
        for j in range(states):
            ahead = predicted[t + 1, j]
            if ahead <= 0.0:
                continue
            for i in range(states):
                # the quotient is at most 1 because ``ahead`` is the sum of these products over i
                share = filtered[t, i] * transition[i, j] / ahead * smoothed[t + 1, j]
                smoothed[t, i] += share
                moves[i, j] += share


@njit(cache=True)
def maximise(
    x: Array,
    weights: Array,
    diagonal: bool,
    prior_means: Array,
    means_weight: float,
    prior_covariance: Array,
    covariance_weight: float,
    means: Array,
    covariances: Array,
) -> None:
    """MAP update of means and covariances in place, the scatter taken about the new means (two passes)."""
    n, size = x.shape
    states = weights.shape[1]
    scatter = np.empty((size, size))
    gap = np.empty(size)
    for k in range(states):
        mass = 0.0
        for i in range(size):
            gap[i] = 0.0
        for t in range(n):
            mass += weights[t, k]
            for i in range(size):
                gap[i] += weights[t, k] * x[t, i]
        if mass + means_weight > _TINY:
            for i in range(size):
                means[k, i] = (means_weight * prior_means[k, i] + gap[i]) / (means_weight + mass)
        for i in range(size):
            for j in range(i + 1):
                pull = (means[k, i] - prior_means[k, i]) * (means[k, j] - prior_means[k, j])
                scatter[i, j] = prior_covariance[i, j] + means_weight * pull
        for t in range(n):
            for i in range(size):
                gap[i] = x[t, i] - means[k, i]
            for i in range(size):
                weighted = weights[t, k] * gap[i]
                for j in range(i + 1):
                    scatter[i, j] += weighted * gap[j]
        divisor = max(covariance_weight - (1.0 if diagonal else size), 0.0) + mass
        divisor = max(divisor, 1e-5)
        for i in range(size):
            for j in range(i + 1):
                value = 0.0 if diagonal and i != j else scatter[i, j] / divisor
                covariances[k, i, j] = value
                covariances[k, j, i] = value


@njit(cache=True)
def normalise_counts(counts: Array, concentration: Array, out: Array) -> None:
    """Dirichlet MAP of one probability vector; a vector without any count stays as it was."""
    total = 0.0
    for j in range(counts.shape[0]):
        total += max(concentration[j] - 1.0 + counts[j], 0.0) if out[j] > 0.0 else 0.0
    if total > 0.0:
        for j in range(counts.shape[0]):
            out[j] = max(concentration[j] - 1.0 + counts[j], 0.0) / total if out[j] > 0.0 else 0.0


@njit(cache=True)
def _em(
    x: Array,
    start: Array,
    transition: Array,
    means: Array,
    covariances: Array,
    diagonal: bool,
    prior_start: Array,
    prior_transition: Array,
    prior_means: Array,
    means_weight: float,
    prior_covariance: Array,
    covariance_weight: float,
    history: Array,
    tolerance: float,
) -> tuple[int, bool, float, float]:
    """EM in place; returns steps done, whether it converged, final log-likelihood (NaN: broke down) and log posterior."""
    n, states = x.shape[0], start.shape[0]
    log_emission = np.empty((n, states))
    predicted = np.empty((n, states))
    filtered = np.empty((n, states))
    smoothed = np.empty((n, states))
    moves = np.empty((states, states))
    steps = 0
    previous = -np.inf
    while True:
        if not emission_kernel(x, means, covariances, log_emission):
            return steps, False, np.nan, np.nan
        log_likelihood = _forward(log_emission, start, transition, predicted, filtered)
        if np.isnan(log_likelihood):
            return steps, False, np.nan, np.nan
        posterior = log_likelihood + log_prior(
            start,
            transition,
            means,
            covariances,
            diagonal,
            prior_start,
            prior_transition,
            prior_means,
            means_weight,
            prior_covariance,
            covariance_weight,
        )
        converged = posterior - previous < tolerance
        if converged or steps == history.shape[0]:
            return steps, converged, log_likelihood, posterior
        previous = posterior
        history[steps] = log_likelihood
        moves[:] = 0.0
        _backward(predicted, filtered, transition, smoothed, moves)
        normalise_counts(smoothed[0], prior_start, start)
        for i in range(states):
            normalise_counts(moves[i], prior_transition[i], transition[i])
        maximise(
            x, smoothed, diagonal, prior_means, means_weight, prior_covariance, covariance_weight, means, covariances
        )
        steps += 1


@njit(cache=True)
def _viterbi(log_emission: Array, log_start: Array, log_transition: Array, path: NDArray[np.int64]) -> float:
    n, states = log_emission.shape
    best = log_start + log_emission[0]
    arrived = np.empty(states)
    back = np.zeros((n, states), dtype=np.int64)
    for t in range(1, n):
        for j in range(states):
            arrived[j] = -np.inf
            for i in range(states):
                value = best[i] + log_transition[i, j]
                if value > arrived[j]:
                    arrived[j] = value
                    back[t, j] = i
            arrived[j] += log_emission[t, j]
        best[:] = arrived
    path[n - 1] = np.argmax(best)
    for t in range(n - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return float(best[path[n - 1]])


def log_emissions(x: Array, parameters: HMMParameters) -> Array:
    """log N(x_t; means[k], covariances[k]): x (T, F) without gaps → (T, K), nats.

    Raises HMMError for a missing value or a covariance that is not positive definite.
    """
    values = _checked(x)
    out = np.empty((values.shape[0], parameters.means.shape[0]))
    if not emission_kernel(values, parameters.means, parameters.covariances, out):
        raise HMMError("a state covariance is not positive definite: raise the covariance prior or drop a feature")
    return out


def forward_filter(log_emission: Array, start: Array, transition: Array) -> tuple[Array, float]:
    """Filtered probabilities P(s_t | x_1…x_t), shape (T, K), and log P(x_1…x_T) in nats.

    ``log_emission``: (T, K) log-likelihoods of each observation in each state.
    Raises HMMError where an observation is impossible in every state that can be reached.
    """
    predicted, filtered = np.empty_like(log_emission), np.empty_like(log_emission)
    log_likelihood = _forward(log_emission, start, transition, predicted, filtered)
    if np.isnan(log_likelihood):
        raise HMMError("an observation has likelihood 0 in every reachable state: check the features for outliers")
    return filtered, log_likelihood


def smooth(log_emission: Array, start: Array, transition: Array) -> Array:
    """Smoothed probabilities P(s_t | x_1…x_T), shape (T, K): they see the future, for in-sample description only."""
    predicted, filtered = np.empty_like(log_emission), np.empty_like(log_emission)
    if np.isnan(_forward(log_emission, start, transition, predicted, filtered)):
        raise HMMError("an observation has likelihood 0 in every reachable state: check the features for outliers")
    smoothed = np.empty_like(log_emission)
    _backward(predicted, filtered, transition, smoothed, np.zeros_like(transition))
    return smoothed


def viterbi(log_emission: Array, start: Array, transition: Array) -> tuple[NDArray[np.int64], float]:
    """Most likely state path (T,) and its joint log-probability (Viterbi 1967); ties go to the lower state."""
    path = np.empty(log_emission.shape[0], dtype=np.int64)
    with np.errstate(divide="ignore"):
        value = _viterbi(log_emission, np.log(start), np.log(transition), path)
    return path, value


def fit_em(
    x: Array, initial: HMMParameters, priors: HMMPriors, *, diagonal: bool, max_iter: int, tolerance: float
) -> HMMFit:
    """EM from ``initial``: stops when a step gains less than ``tolerance`` nats of log posterior, or after ``max_iter``.

    ``x``: (T, F) without gaps. With ``diagonal`` the off-diagonal covariances are held at 0. The updates are
    hmmlearn's, step by step; only the stopping rule differs, because priors may lower the likelihood alone.
    Raises HMMError when a covariance degenerates or an observation becomes impossible.
    """
    values = _checked(x)
    start, transition = initial.start.copy(), initial.transition.copy()
    means, covariances = initial.means.copy(), initial.covariances.copy()
    history = np.empty(max_iter)
    outcome = _em(
        values,
        start,
        transition,
        means,
        covariances,
        diagonal,
        priors.start,
        priors.transition,
        priors.means,
        float(priors.means_weight),
        priors.covariance,
        float(priors.covariance_weight),
        history,
        tolerance,
    )
    return em_fit(HMMParameters(start, transition, means, covariances), outcome, history)


def em_fit(parameters: HMMParameters, outcome: tuple[int, bool, float, float], history: Array) -> HMMFit:
    """The fit that EM left: ``outcome`` is (steps, converged, log-likelihood, log posterior), the log-likelihood NaN where
    it broke down, which raises HMMError; ``history`` (at least ``steps``) the log-likelihood before each step."""
    steps, converged, log_likelihood, log_posterior = outcome
    if np.isnan(log_likelihood):
        raise HMMError(f"EM broke down after {steps} steps: raise the covariance prior or drop a feature")
    return HMMFit(parameters, log_likelihood, log_posterior, history[:steps], converged)


def _checked(x: Array) -> Array:
    values = np.ascontiguousarray(x, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise HMMError(f"observations must be a finite (T, F) matrix, got shape {values.shape}")
    return values
