"""Weights of the optimised books against skfolio's optimisers, on the same returns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.allocation.mean_variance import Bounds, mean_variance_weights
from rotation_pipeline.allocation.risk import (
    inverse_volatility_weights,
    ledoit_wolf_covariance,
    risk_parity_weights,
    sample_covariance,
)

optimization = pytest.importorskip("skfolio.optimization", reason="skfolio is a development dependency")
COST = 20.0


def returns_of(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixed = np.eye(5) + 0.3 * random.normal(size=(5, 5))
    return random.normal(0.003, 0.04, (80, 5)) @ mixed


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 9999), gamma=st.floats(2.0, 20.0), cap=st.sampled_from([0.4, 1.0]))
def test_mean_variance_with_costs_and_limits_is_that_of_skfolio(seed: int, gamma: float, cap: float) -> None:
    """Its utility is μ'w − a w'Σw − Σ cost |w − h|, so that a = γ/2 and its cost is half of ours a unit of turnover."""
    returns, held = returns_of(seed), np.random.default_rng(seed).dirichlet(np.full(5, 10.0))
    peer = optimization.MeanRisk(
        objective_function=optimization.ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=gamma / 2.0, min_weights=0.02,
        max_weights=cap, transaction_costs=COST / 2e4, previous_weights=held,
    )  # fmt: skip
    theirs = peer.fit(returns).weights_
    mean, covariance = returns.mean(axis=0), sample_covariance(returns)
    own = mean_variance_weights(mean, covariance, gamma, held, COST, Bounds(0.02, cap))

    def utility(w: np.ndarray) -> float:
        return float(mean @ w - gamma / 2.0 * w @ covariance @ w - COST / 2e4 * np.abs(w - held).sum())

    # its solver stops at looser tolerances, where the utility is flat
    assert utility(own) >= utility(theirs) - 1e-9
    np.testing.assert_allclose(own, theirs, atol=5e-4)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 9999))
def test_risk_parity_and_inverse_volatility_are_those_of_skfolio(seed: int) -> None:
    returns = returns_of(seed)
    covariance = sample_covariance(returns)
    parity = optimization.RiskBudgeting().fit(returns)
    # its solver stops at looser tolerances; ours must divide the risk equally
    np.testing.assert_allclose(risk_parity_weights(covariance), parity.weights_, atol=1e-4)
    contributions = risk_parity_weights(covariance) * (covariance @ risk_parity_weights(covariance))
    np.testing.assert_allclose(contributions, contributions.mean(), rtol=1e-6)
    inverse = optimization.InverseVolatility().fit(returns)
    np.testing.assert_allclose(inverse_volatility_weights(covariance), inverse.weights_, rtol=1e-9)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 9999))
def test_covariances_are_those_of_skfolio(seed: int) -> None:
    from skfolio.moments import EmpiricalCovariance, LedoitWolf

    returns = returns_of(seed)
    for own, peer in ((sample_covariance, EmpiricalCovariance()), (ledoit_wolf_covariance, LedoitWolf())):
        np.testing.assert_allclose(own(returns), peer.fit(returns).covariance_, rtol=1e-9, atol=1e-15)
