"""The hidden Markov model against hmmlearn, a published case and brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.regimes.hmm import (
    HMMError,
    HMMParameters,
    HMMPriors,
    fit_em,
    forward_filter,
    log_emissions,
    smooth,
    viterbi,
)

UMBRELLA = np.array([[0.9, 0.2], [0.9, 0.2], [0.1, 0.8], [0.9, 0.2], [0.9, 0.2]])
"""hmmlearn, TestBaseAgainstWikipedia (BSD-3-Clause): the umbrella world, emission likelihoods by day and state."""
START, TRANSITION = np.array([0.5, 0.5]), np.array([[0.7, 0.3], [0.3, 0.7]])


def test_published_umbrella_world():
    emission = np.log(UMBRELLA)
    assert forward_filter(emission, START, TRANSITION)[1] == pytest.approx(-3.3725, abs=1e-4)
    smoothed = smooth(emission, START, TRANSITION)
    published = [[0.8673, 0.1327], [0.8204, 0.1796], [0.3075, 0.6925], [0.8204, 0.1796], [0.8673, 0.1327]]
    assert smoothed == pytest.approx(np.array(published), abs=1e-4)
    path, value = viterbi(emission, START, TRANSITION)
    assert path.tolist() == [0, 0, 1, 0, 0]
    assert value == pytest.approx(-4.459, abs=1e-4)


def test_published_lattices_follow_from_filter_and_smoother():
    emission = np.log(UMBRELLA)
    likelihoods = [np.exp(forward_filter(emission[: t + 1], START, TRANSITION)[1]) for t in range(5)]
    forward = forward_filter(emission, START, TRANSITION)[0] * np.array(likelihoods)[:, None]
    lattice = [[0.45, 0.1], [0.3105, 0.041], [0.023, 0.0975], [0.0408, 0.015], [0.0298, 0.0046]]
    assert forward == pytest.approx(np.array(lattice), abs=1e-4)
    backward = smooth(emission, START, TRANSITION) * likelihoods[-1] / forward
    published = [[0.0661, 0.0455], [0.0906, 0.1503], [0.4593, 0.2437], [0.69, 0.41], [1, 1]]
    assert backward == pytest.approx(np.array(published), abs=1e-4)


def sample(rng: np.random.Generator, n: int = 400, size: int = 3) -> np.ndarray:
    """Three blocks with different means and spreads."""
    x = rng.standard_normal((n, size)) * np.linspace(0.5, 2.0, size)
    x[n // 3 : n // 2] += 1.5
    x[n // 2 :, 0] *= 3.0
    return x


def first_guess(x: np.ndarray, diagonal: bool) -> HMMParameters:
    size = x.shape[1]
    spread = np.diag(x.var(axis=0)) if diagonal else np.cov(x.T).reshape(size, size)
    transition = np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    return HMMParameters(
        np.full(3, 1 / 3), transition, x[[10, x.shape[0] // 2 - 10, -10]].copy(), np.stack([spread] * 3)
    )


def some_priors(size: int, informative: bool) -> HMMPriors:
    if not informative:
        return HMMPriors(np.ones(3), np.ones((3, 3)), np.zeros((3, size)), 0.0, 0.01 * np.eye(size), 1.0)
    centres = np.linspace(-1.0, 1.0, 3)[:, None] * np.ones((3, size))
    transition = np.array([[5.0, 1.0, 2.0], [1.0, 5.0, 1.0], [1.0, 2.0, 3.0]])
    return HMMPriors(np.array([2.0, 1.0, 1.5]), transition, centres, 3.0, 2.0 * np.eye(size), 6.0)


@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diag"])
@pytest.mark.parametrize("informative", [False, True], ids=["flat", "priors"])
@pytest.mark.parametrize("size", [1, 3])
def test_em_takes_hmmlearns_path(diagonal: bool, informative: bool, size: int):
    from hmmlearn.hmm import GaussianHMM

    x = sample(np.random.default_rng(size), size=size)
    initial, priors = first_guess(x, diagonal), some_priors(size, informative)
    kind = "diag" if diagonal else "full"
    steps = 25
    peer = GaussianHMM(
        3, covariance_type=kind, n_iter=steps, tol=-np.inf, init_params="", startprob_prior=priors.start,
        transmat_prior=priors.transition, means_prior=priors.means, means_weight=priors.means_weight,
        covars_prior=np.diag(priors.covariance)[0] if diagonal else priors.covariance,
        covars_weight=priors.covariance_weight,
    )  # fmt: skip
    peer.startprob_, peer.transmat_, peer.means_ = initial.start, initial.transition, initial.means
    peer.covars_ = np.stack([np.diag(c) for c in initial.covariances]) if diagonal else initial.covariances
    peer.fit(x)
    ours = fit_em(x, initial, priors, diagonal=diagonal, max_iter=steps, tolerance=-np.inf)
    assert ours.history == pytest.approx(np.array(peer.monitor_.history), abs=1e-6)
    assert ours.log_likelihood == pytest.approx(peer.score(x), abs=1e-6)
    assert ours.parameters.means == pytest.approx(peer.means_, abs=1e-6)
    assert ours.parameters.covariances == pytest.approx(peer.covars_, abs=1e-6)
    assert ours.parameters.transition == pytest.approx(peer.transmat_, abs=1e-6)
    assert ours.parameters.start == pytest.approx(peer.startprob_, abs=1e-6)


def test_filter_smoother_and_viterbi_agree_with_hmmlearn():
    from hmmlearn.hmm import GaussianHMM

    x = sample(np.random.default_rng(5), n=120)
    fit = fit_em(x, first_guess(x, False), some_priors(3, True), diagonal=False, max_iter=50, tolerance=1e-6)
    peer = GaussianHMM(3, covariance_type="full")
    parameters = fit.parameters
    peer.startprob_, peer.transmat_ = parameters.start, parameters.transition
    peer.means_, peer.covars_ = parameters.means, parameters.covariances
    emission = log_emissions(x, parameters)
    assert smooth(emission, parameters.start, parameters.transition) == pytest.approx(peer.predict_proba(x), abs=1e-8)
    path, value = viterbi(emission, parameters.start, parameters.transition)
    peer_value, peer_path = peer.decode(x, algorithm="viterbi")
    assert path.tolist() == peer_path.tolist()
    assert value == pytest.approx(peer_value, abs=1e-8)
    # smoothing over a prefix and taking its last row is filtering
    filtered, _ = forward_filter(emission, parameters.start, parameters.transition)
    last_rows = np.array([peer.predict_proba(x[: t + 1])[-1] for t in range(x.shape[0])])
    assert filtered == pytest.approx(last_rows, abs=1e-8)


def brute_force(
    emission: np.ndarray, start: np.ndarray, transition: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior marginals at the end, at the start, and the likelihood, by summing over all paths."""
    n, states = emission.shape
    last, first, total = np.zeros(states), np.zeros(states), 0.0
    for path in product(range(states), repeat=n):
        weight = start[path[0]] * np.exp(emission[0, path[0]])
        for t in range(1, n):
            weight *= transition[path[t - 1], path[t]] * np.exp(emission[t, path[t]])
        last[path[-1]] += weight
        first[path[0]] += weight
        total += weight
    return last / total, first / total, float(np.log(total))


@given(st.integers(2, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_recursions_equal_sums_over_all_paths(states: int, n: int, seed: int):
    rng = np.random.default_rng(seed)
    start, transition = rng.dirichlet(np.ones(states)), rng.dirichlet(np.ones(states), size=states)
    emission = rng.normal(0.0, 3.0, (n, states))
    filtered, log_likelihood = forward_filter(emission, start, transition)
    last, first, total = brute_force(emission, start, transition)
    assert log_likelihood == pytest.approx(total, abs=1e-9)
    assert filtered[-1] == pytest.approx(last, abs=1e-9)
    smoothed = smooth(emission, start, transition)
    assert smoothed[0] == pytest.approx(first, abs=1e-9)
    assert smoothed.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    # a row of the filter is the same bits whether or not later observations exist
    assert (forward_filter(emission[:1], start, transition)[0] == filtered[:1]).all()


def test_extreme_likelihoods_neither_underflow_nor_overflow():
    emission = np.array([[0.0, -5000.0], [-5000.0, 0.0], [0.0, -1e6], [-900.0, -901.0]])
    transition = np.array([[1.0 - 1e-300, 1e-300], [1e-12, 1.0 - 1e-12]])
    filtered, log_likelihood = forward_filter(emission, START, transition)
    smoothed = smooth(emission, START, transition)
    assert np.isfinite(log_likelihood)
    assert filtered.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert smoothed.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert filtered[1, 1] == pytest.approx(1.0)


def test_em_never_lowers_the_posterior():
    x = sample(np.random.default_rng(8))
    values = [
        fit_em(
            x, first_guess(x, False), some_priors(3, True), diagonal=False, max_iter=k, tolerance=-np.inf
        ).log_posterior
        for k in range(1, 40)
    ]
    assert min(np.diff(values)) > -1e-9


def test_impossible_inputs_are_refused_by_name():
    with pytest.raises(HMMError, match="reachable state"):
        forward_filter(np.array([[-np.inf, 0.0]]), np.array([1.0, 0.0]), TRANSITION)
    x = np.zeros((50, 2))
    flat = HMMPriors(np.ones(3), np.ones((3, 3)), np.zeros((3, 2)), 0.0, np.zeros((2, 2)), 0.0)
    guess = HMMParameters(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), np.eye(3, 2), np.stack([np.eye(2)] * 3))
    with pytest.raises(HMMError, match="covariance prior"):
        fit_em(x, guess, flat, diagonal=False, max_iter=20, tolerance=1e-6)
    with pytest.raises(HMMError, match="finite"):
        log_emissions(np.array([[np.nan, 0.0]]), guess)
