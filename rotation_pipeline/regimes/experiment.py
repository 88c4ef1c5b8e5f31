"""The standard two-state Gaussian experiment: how well is a known daily regime found?

Daily returns of a calm and a turbulent market whose parameters are Hardy's (2001, North American Actuarial Journal 5)
taken to days, the ones of the jump-model papers (Nystrup, Lindström and Madsen 2020; Aydınhan, Kolm, Mulvey and Shu
2024). Paths with one state only are drawn again: balanced accuracy needs both. Every method is given one path and
nothing else, but the filter that knows the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
from rotation_pipeline.regimes.jump import JumpFit, jump_loss, online_path
from rotation_pipeline.regimes.jump_detector import best_jump_fit
from rotation_pipeline.regimes.kmeans import seeded_centres
from rotation_pipeline.regimes.statistics import generator

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
MEANS = (0.000615, -0.000785)
DEVIATIONS = (0.00775916, 0.01739661)
SWITCHING = (0.0021, 0.0120)
"""A day's probability of leaving each state."""
METHODS = ("true_filter", "true_smoother", "hmm_filter", "hmm_smoother", "jump_online", "jump_path")
ONLINE = ("true_filter", "hmm_filter", "jump_online")
"""Methods whose label of a day has seen no later day."""
_HMM_STARTS = 10
_JUMP_STARTS = 10
_SPANS = (5.0, 20.0)
"""Half-lives (days) of the exponentially weighted volatilities the jump model sees."""


@dataclass(frozen=True, slots=True)
class Path:
    """Returns (T,) and true states (T,), 1 the turbulent one."""

    returns: Array
    states: Labels


def true_parameters() -> HMMParameters:
    """Parameters of the experiment, started from the stationary distribution."""
    leave, back = SWITCHING
    return HMMParameters(
        start=np.array([back, leave]) / (leave + back),
        transition=np.array([[1.0 - leave, leave], [back, 1.0 - back]]),
        means=np.array(MEANS)[:, np.newaxis],
        covariances=np.array(DEVIATIONS)[:, np.newaxis, np.newaxis] ** 2,
    )


def simulate_path(length: int, seed: Sequence[int], *, both: bool = True) -> Path:
    """A path of ``length`` days, with ``both`` one in which both states occur (paths without are thrown away); depends
    on ``seed`` only."""
    if length < 2:
        raise ValueError(f"both states need at least 2 days, got length {length}")
    rng = generator(seed)
    truth = true_parameters()
    while True:
        draws = rng.random(length)
        states = np.zeros((length,), dtype=np.int64)
        states[0] = int(draws[0] >= truth.start[0])
        for t in range(1, length):
            leaves = draws[t] < SWITCHING[states[t - 1]]
            states[t] = 1 - states[t - 1] if leaves else states[t - 1]
        noise = rng.standard_normal(length)
        if not both or 0 < int(states.sum()) < length:
            return Path(np.array(MEANS)[states] + np.array(DEVIATIONS)[states] * noise, states)


def balanced_accuracy(truth: Labels, labels: Labels) -> float:
    """Mean over the states that occur of the share of their days found."""
    return float(np.mean([np.mean(labels[truth == state] == state) for state in np.unique(truth)]))


def detection_delays(truth: Labels, labels: Labels) -> list[tuple[int, bool]]:
    """Of each true switch: days until the label first follows (0: the same day), and whether it did before the next."""
    begins = np.flatnonzero(np.diff(truth)) + 1
    ends = np.append(begins[1:], truth.size)
    found: list[tuple[int, bool]] = []
    for begin, end in zip(begins, ends, strict=True):
        hits = np.flatnonzero(labels[begin:end] == truth[begin])
        found.append((int(hits[0]), True) if hits.size else (int(end - begin), False))
    return found


def estimate_hmm(returns: Array, seed: Sequence[int]) -> HMMParameters:
    """Two-state hidden Markov model fitted to ``returns`` (T,): best likelihood of seeded starts, state 1 the wider one.

    Priors are hmmlearn's defaults in units of the sample's deviation: they only keep a variance from collapsing.
    Raises HMMError when every start breaks down.
    """
    scale = float(returns.std())
    x = np.ascontiguousarray((returns / scale)[:, np.newaxis])
    priors = HMMPriors(np.ones(2), np.ones((2, 2)), np.zeros((2, 1)), 0.0, np.array([[0.01]]), 1.0)
    best: HMMFit | None = None
    for low, high, stay in generator(seed).random((_HMM_STARTS, 3)):
        leave = 0.002 + 0.1 * stay
        start = HMMParameters(
            np.full((2,), 0.5),
            np.array([[1.0 - leave, leave], [leave, 1.0 - leave]]),
            np.full((2, 1), float(x.mean())),
            np.array([[[(0.3 + 0.6 * low) ** 2]], [[(1.1 + high) ** 2]]]),
        )
        try:
            found = fit_em(x, start, priors, diagonal=False, max_iter=500, tolerance=1e-5)
        except HMMError:
            continue  # a start that breaks down is one start less
        if best is None or found.log_likelihood > best.log_likelihood:
            best = found
    if best is None:
        raise HMMError(f"none of {_HMM_STARTS} starts could be fitted")
    order = np.argsort(best.parameters.covariances[:, 0, 0], kind="stable")
    ours = best.parameters.reordered(order.astype(np.int64))
    return HMMParameters(ours.start, ours.transition, ours.means * scale, ours.covariances * scale * scale)


def jump_features(returns: Array) -> Array:
    """What the jump model sees: logarithms of exponentially weighted root mean squares, shape (T, 2), scaled.

    Each day's value uses that day and the days before; the scaling uses the whole path, as estimation does.
    """
    out = np.empty((returns.size, len(_SPANS)))
    for column, span in enumerate(_SPANS):
        keep = 0.5 ** (1.0 / span)
        square = weight = 0.0
        for t, value in enumerate(returns.tolist()):
            square = keep * square + value * value
            weight = keep * weight + 1.0
            out[t, column] = 0.5 * np.log(square / weight)
    return np.ascontiguousarray((out - out.mean(axis=0)) / out.std(axis=0))


def estimate_jump(x: Array, penalty: float, seed: Sequence[int]) -> JumpFit:
    """Two-state jump model on features (T, F): least objective of seeded k-means++ starts."""
    starts = [seeded_centres(x, 2, draws) for draws in generator(seed).random((_JUMP_STARTS, 2))]
    return best_jump_fit(x, starts, penalty)


def _turbulent(fit: JumpFit, path: Labels) -> Labels:
    """Labels with 1 for the state of the larger volatility."""
    return path if fit.centres[1].sum() >= fit.centres[0].sum() else 1 - path


def label_path(path: Path, penalty: float, seed: Sequence[int]) -> dict[str, Labels]:
    """Labels (T,) of every method on one path; ``penalty`` is the jump model's."""
    x = np.ascontiguousarray(path.returns[:, np.newaxis])
    found: dict[str, Labels] = {}
    for parameters, filtered, smoothed in (
        (true_parameters(), "true_filter", "true_smoother"),
        (estimate_hmm(path.returns, seed), "hmm_filter", "hmm_smoother"),
    ):
        emissions = log_emissions(x, parameters)
        probabilities = forward_filter(emissions, parameters.start, parameters.transition)[0]
        found[filtered] = (probabilities[:, 1] > 0.5).astype(np.int64)
        found[smoothed] = (smooth(emissions, parameters.start, parameters.transition)[:, 1] > 0.5).astype(np.int64)
    features = jump_features(path.returns)
    fit = estimate_jump(features, penalty, seed)
    found["jump_online"] = _turbulent(fit, online_path(jump_loss(features, fit.centres), penalty))
    found["jump_path"] = _turbulent(fit, fit.path)
    return found


def choose_penalty(length: int, penalties: Sequence[float], paths: int, seed: int) -> float:
    """The penalty with the best mean balanced accuracy of the fitted path on ``paths`` paths of their own."""
    scores = np.zeros((len(penalties),))
    for number in range(paths):
        path = simulate_path(length, (seed, length, number, 1))
        x = jump_features(path.returns)
        for place, penalty in enumerate(penalties):
            fit = estimate_jump(x, penalty, (seed, length, number, 2))
            scores[place] += balanced_accuracy(path.states, _turbulent(fit, fit.path))
    return float(penalties[int(np.argmax(scores))])
