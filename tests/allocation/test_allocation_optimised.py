"""Optimised books: covariance against scikit-learn, weights against the closed form and scipy, limits, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf

from rotation_pipeline.allocation.limits import InfeasibleLimitsError
from rotation_pipeline.allocation.mean_variance import (
    Bounds,
    OptimisationError,
    least_turnover,
    mean_variance_weights,
    unconstrained_weights,
)
from rotation_pipeline.allocation.options import AllocationOptions, MeanVarianceOptions, NestedOptions
from rotation_pipeline.allocation.risk import (
    RiskParityError,
    inverse_volatility_weights,
    ledoit_wolf_covariance,
    risk_parity_weights,
)
from rotation_pipeline.allocation.strategies import own_settings

COST = 20.0


def world(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    returns = random.normal(0.0, 0.04, (60, 5)) @ (np.eye(5) + 0.3 * random.normal(size=(5, 5)))
    return random.normal(0.0, 0.004, 5), ledoit_wolf_covariance(returns), random.dirichlet(np.full(5, 10.0))


def utility(w: np.ndarray, mean: np.ndarray, covariance: np.ndarray, held: np.ndarray, gamma: float) -> float:
    return float(mean @ w - gamma / 2 * w @ covariance @ w - COST / 1e4 * 0.5 * np.abs(w - held).sum())


def by_scipy(
    mean: np.ndarray, covariance: np.ndarray, held: np.ndarray, gamma: float, bounds: Bounds
) -> tuple[np.ndarray, float]:
    """SLSQP on purchases and sales apart, which makes the absolute values smooth."""

    def weights(x: np.ndarray) -> np.ndarray:
        return held + x[:5] - x[5:]

    def loss(x: np.ndarray) -> float:
        w = weights(x)
        return -1e3 * float(mean @ w - gamma / 2 * w @ covariance @ w - COST / 1e4 * 0.5 * x.sum())

    limits = [
        {"type": "eq", "fun": lambda x: weights(x).sum() - 1.0},
        {"type": "ineq", "fun": lambda x: weights(x) - bounds.floor},
        {"type": "ineq", "fun": lambda x: bounds.cap - weights(x)},
        {"type": "ineq", "fun": lambda x: (bounds.turnover or 9.0) - 0.5 * x.sum()},
    ]
    found = minimize(loss, np.full(10, 0.01), bounds=[(0.0, 1.0)] * 10, constraints=limits, method="SLSQP",
                     options={"maxiter": 500, "ftol": 1e-14})  # fmt: skip
    return weights(found.x), -float(found.fun) / 1e3


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 9999), count=st.integers(4, 80))
def test_shrunk_covariance_is_that_of_scikit_learn(seed: int, count: int) -> None:
    returns = np.random.default_rng(seed).normal(0.0, 0.04, (count, 5)) * np.arange(1, 6)
    found = ledoit_wolf_covariance(returns)
    np.testing.assert_allclose(found, ledoit_wolf(returns)[0], rtol=1e-9, atol=1e-15)
    assert (found == found.T).all()
    assert np.linalg.eigvalsh(found)[0] > 0.0


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 9999), gamma=st.floats(1.0, 50.0))
def test_without_limits_the_closed_form_holds(seed: int, gamma: float) -> None:
    mean, covariance, _ = world(seed)
    exact = unconstrained_weights(mean, covariance, gamma)
    # Lagrange: Σ w γ − μ is the same number for every style
    slack = gamma * covariance @ exact - mean
    np.testing.assert_allclose(slack, slack.mean(), atol=1e-12)
    np.testing.assert_allclose(
        mean_variance_weights(mean, covariance, gamma, bounds=Bounds(-50.0, 50.0)), exact, atol=1e-6
    )


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 9999), turnover=st.sampled_from([None, 0.05, 0.2]), cap=st.sampled_from([0.35, 1.0]))
def test_with_costs_and_limits_scipy_finds_nothing_better(seed: int, turnover: float | None, cap: float) -> None:
    mean, covariance, held = world(seed)
    bounds = Bounds(0.02, cap, turnover)
    if turnover is not None and least_turnover(held, 0.02, cap) > turnover:
        return
    found = mean_variance_weights(mean, covariance, 5.0, held, COST, bounds)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.min() >= 0.02
    assert found.max() <= cap
    assert turnover is None or 0.5 * np.abs(found - held).sum() <= turnover + 1e-7
    theirs, best = by_scipy(mean, covariance, held, 5.0, bounds)
    assert utility(found, mean, covariance, held, 5.0) >= best - 1e-8
    assert np.abs(theirs - found).max() < 5e-3


def test_a_dear_trade_is_not_made_and_a_free_one_is() -> None:
    mean, covariance, held = world(1)
    assert np.abs(mean_variance_weights(mean, covariance, 5.0, held, 1000.0) - held).max() < 1e-6
    assert np.abs(mean_variance_weights(mean, covariance, 5.0, held, 0.0) - held).max() > 0.05


def test_other_problems_solved_before_leave_no_trace() -> None:
    mean, covariance, held = world(2)
    bounds = Bounds(0.0, 0.4, 0.1)
    first = mean_variance_weights(mean, covariance, 5.0, held, COST, bounds)
    mean_variance_weights(-3.0 * mean, covariance * 2.0, 20.0, held[::-1].copy(), 0.0, Bounds(0.1, 0.9, 0.3))
    mean_variance_weights(mean, covariance, 1.0)
    again = mean_variance_weights(mean, covariance, 5.0, held, COST, bounds)
    assert first.tolist() == again.tolist()


def test_a_book_beyond_its_cap_comes_back_whatever_the_turnover_cap_says() -> None:
    mean, covariance, _ = world(3)
    held = np.array([0.8, 0.05, 0.05, 0.05, 0.05])
    assert least_turnover(held, 0.0, 0.4) == pytest.approx(0.4)
    found = mean_variance_weights(mean, covariance, 5.0, held, COST, Bounds(0.0, 0.4, 0.1))
    assert found.max() <= 0.4


def test_infeasible_and_bad_input_is_refused() -> None:
    mean, covariance, _ = world(4)
    with pytest.raises(InfeasibleLimitsError, match="cap"):
        mean_variance_weights(mean, covariance, 5.0, bounds=Bounds(0.0, 0.1))
    with pytest.raises(ValueError, match="finite"):
        mean_variance_weights(np.full(5, np.nan), covariance, 5.0)
    with pytest.raises(OptimisationError, match="positive definite"):
        mean_variance_weights(mean, np.zeros((5, 5)), 5.0)
    adapter = TypeAdapter(AllocationOptions)
    for wrong, named in (
        ({"floor": 0.3}, "floor"), ({"cap": 0.1}, "cap"), ({"covariance_months": 12, "minimum_months": 24}, "covariance_months"), ({"books": ["mean_variance", "mean_variance"]}, "books"),
        ({"books": ["other"]}, "books"), ({"mean_variance": {"risk_aversion": 0.0}}, "risk_aversion"),
        ({"decision": {"refit_months": []}}, "refit_months"), ({"nested": {"every": "week"}}, "every"),
    ):  # fmt: skip
        with pytest.raises(ValidationError, match=named):
            adapter.validate_python(wrong)


def test_inverse_volatility_by_hand_and_beside_risk_parity() -> None:
    covariance = np.diag([0.01, 0.04, 0.16]) ** 1.0
    assert inverse_volatility_weights(covariance) == pytest.approx(np.array([4.0, 2.0, 1.0]) / 7.0)
    assert inverse_volatility_weights(covariance) == pytest.approx(risk_parity_weights(covariance))  # uncorrelated
    with pytest.raises(RiskParityError, match="variance"):
        inverse_volatility_weights(np.zeros((2, 2)))


def test_a_trial_is_named_by_what_shapes_its_book_only() -> None:
    options = AllocationOptions()
    everything: dict[str, object] = dict.fromkeys(
        ("book", "temperature", "mean_variance", "decision", "selection", "nested", "cost_bp"), 1
    )
    assert set(own_settings(everything, "anchored", options)) == {"book", "temperature"}
    assert "decision" in own_settings(everything, "decision_focused", options)
    assert "cost_bp" in own_settings(everything, "mean_variance", options)
    nested = replace(options, selection="nested", nested=NestedOptions(every="year"))
    assert {"nested", "selection", "cost_bp"} <= set(own_settings(everything, "softmax", nested))
    assert "nested" not in own_settings(everything, "mean_variance", nested)
    assert options.mean_variance == MeanVarianceOptions()
