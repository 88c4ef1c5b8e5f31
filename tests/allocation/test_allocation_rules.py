"""Scores, softmax, inertia, limits, risk and the anchored target: published cases, closed forms, references, properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from rotation_pipeline.allocation.anchored import anchored_target, hold_within_band, interval_shrinkage
from rotation_pipeline.allocation.baselines import (
    equal_weight,
    factor_momentum,
    in_top_tercile,
    only,
    risk_parity,
    rule_based,
)
from rotation_pipeline.allocation.inertia import TotalLossError, drift, with_inertia
from rotation_pipeline.allocation.limits import (
    InfeasibleLimitsError,
    limit_turnover,
    project_to_bounds,
    volatility_scale,
)
from rotation_pipeline.allocation.risk import RiskParityError, risk_parity_weights, sample_covariance
from rotation_pipeline.allocation.scores import neutral, raw_scores, standardise
from rotation_pipeline.allocation.softmax import softmax_weights

PROPERTY = settings(deadline=None, max_examples=25)
FIVE = arrays(np.float64, 5, elements=st.floats(-10.0, 10.0, allow_subnormal=False))


def test_score_forms() -> None:
    mean, volatility = np.array([0.02, -0.01, np.nan, 0.01]), np.array([0.04, 0.02, 0.03, np.nan])
    np.testing.assert_allclose(raw_scores(mean, volatility, "ratio", 1.0), [0.5, -0.5, np.nan, np.nan])
    np.testing.assert_allclose(raw_scores(mean, volatility, "penalty", 2.0), [-0.06, -0.05, np.nan, np.nan])
    np.testing.assert_array_equal(raw_scores(mean, volatility, "raw", 1.0), mean)
    assert np.isnan(raw_scores(np.array([0.01]), np.array([0.0]), "ratio", 1.0)[0])


def test_standardised_scores_by_hand() -> None:
    root = math.sqrt(2.0)
    np.testing.assert_allclose(
        standardise(np.array([1.0, 2.0, 3.0, 4.0, 5.0])), np.array([-2, -1, 0, 1, 2]) / root, rtol=1e-14
    )
    out = standardise(np.array([1.0, np.nan, 3.0]))
    np.testing.assert_allclose(out, [-1.0, np.nan, 1.0])
    np.testing.assert_allclose(neutral(out), [-1.0, 0.0, 1.0])


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7e-9, 1e200])
def test_constant_scores_prefer_nothing(value: float) -> None:
    # 0.1 five times has a mean that differs in the last digit: rounding must not become a preference
    assert standardise(np.full(5, value)).tolist() == [0.0] * 5


@PROPERTY
@given(FIVE, st.floats(0.01, 100.0), st.floats(-5.0, 5.0))
def test_standardising_ignores_scale_and_shift(scores: np.ndarray, scale: float, shift: float) -> None:
    if scores.std() < 1e-3:
        return
    np.testing.assert_allclose(standardise(scores * scale + shift), standardise(scores), atol=1e-6)


@PROPERTY
@given(arrays(np.float64, 5, elements=st.floats(-1e300, 1e300)), st.floats(1e-300, 1e300))
def test_softmax_is_a_distribution_that_keeps_the_order(scores: np.ndarray, temperature: float) -> None:
    weights = softmax_weights(scores, temperature)
    assert abs(weights.sum() - 1.0) < 1e-12
    assert (weights >= 0.0).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(weights[order]) >= 0.0).all()


def test_softmax_limits_and_reference() -> None:
    scores = np.array([0.3, -1.0, 2.0, 2.0, 0.0])
    np.testing.assert_allclose(softmax_weights(scores, 5e-324), [0, 0, 0.5, 0.5, 0])
    np.testing.assert_allclose(softmax_weights(scores, math.inf), [0.2] * 5)
    naive = [math.exp(s / 0.7) for s in scores]
    np.testing.assert_allclose(softmax_weights(scores, 0.7), np.array(naive) / sum(naive), rtol=1e-14)
    np.testing.assert_allclose(softmax_weights(np.array([1000.0, 0.0]), 1.0), [1.0, 0.0])
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            softmax_weights(scores, bad)
    with pytest.raises(ValueError, match="finite"):
        softmax_weights(np.array([1.0, np.nan]), 1.0)


def test_unstandardised_forecasts_make_a_clone_and_standardised_ones_do_not() -> None:
    # the mission's example: monthly forecasts of 2, 1, 0, −1, −2 % at τ = 1
    forecasts = np.array([0.02, 0.01, 0.0, -0.01, -0.02])
    np.testing.assert_allclose(softmax_weights(forecasts, 1.0), [0.204, 0.202, 0.2, 0.198, 0.196], atol=5e-5)
    assert softmax_weights(standardise(forecasts), 1.0).max() > 0.4


def test_drift_by_hand() -> None:
    after = drift(np.array([0.6, 0.4]), np.array([0.10, -0.05]))
    np.testing.assert_allclose(after, [0.66 / 1.04, 0.38 / 1.04], rtol=1e-15)
    # a style without a book stays in cash
    np.testing.assert_allclose(
        drift(np.array([0.5, 0.5]), np.array([0.1, np.nan])), [0.55 / 1.05, 0.5 / 1.05], rtol=1e-15
    )


def test_total_loss_is_an_error_that_names_the_book() -> None:
    with pytest.raises(TotalLossError, match=r"only_MOM in 2020-01.*120\.0%"):
        drift(np.array([1.0]), np.array([-1.2]), "only_MOM in 2020-01")


@PROPERTY
@given(FIVE, arrays(np.float64, 5, elements=st.floats(-0.5, 0.9)))
def test_drifted_weights_of_an_invested_book_sum_to_one(scores: np.ndarray, returns: np.ndarray) -> None:
    weights = softmax_weights(scores, 1.0)
    assert abs(drift(weights, returns).sum() - 1.0) < 1e-12


def test_inertia_mixes() -> None:
    np.testing.assert_allclose(with_inertia(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.25), [0.25, 0.75])
    with pytest.raises(ValueError, match="inertia"):
        with_inertia(np.ones(1), np.ones(1), 1.0)


@PROPERTY
@given(arrays(np.float64, st.integers(1, 7), elements=st.floats(-3.0, 3.0)), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_projection_is_feasible_and_the_nearest(values: np.ndarray, low: float, high: float) -> None:
    count = values.size
    floor, cap = low / count, 1.0 / count + high * (1.0 - 1.0 / count)
    weights = project_to_bounds(values, floor, cap)
    assert abs(math.fsum(weights) - 1.0) < 1e-12
    assert weights.min() >= floor - 1e-15
    assert weights.max() <= cap + 1e-15
    # slow reference: a general solver may not find anything nearer
    found = minimize(
        lambda w: float(((w - values) ** 2).sum()), np.full(count, 1.0 / count), bounds=[(floor, cap)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0}, method="SLSQP", options={"ftol": 1e-12},
    )  # fmt: skip
    assert ((weights - values) ** 2).sum() <= found.fun + 1e-6


def test_projection_refuses_what_is_impossible() -> None:
    with pytest.raises(InfeasibleLimitsError, match="floor"):
        project_to_bounds(np.zeros(5), 0.25, 1.0)
    with pytest.raises(InfeasibleLimitsError, match="cap"):
        project_to_bounds(np.zeros(5), 0.0, 0.1)


@PROPERTY
@given(FIVE, FIVE, st.floats(0.01, 1.0))
def test_turnover_cap_scales_the_step(first: np.ndarray, second: np.ndarray, most: float) -> None:
    held, target = softmax_weights(first, 1.0), softmax_weights(second, 1.0)
    step = limit_turnover(held, target, most) - held
    assert 0.5 * np.abs(step).sum() <= most + 1e-12
    full = target - held
    np.testing.assert_allclose(step * np.abs(full).sum(), full * np.abs(step).sum(), atol=1e-12)  # same direction
    np.testing.assert_array_equal(limit_turnover(held, target, None), target)


def test_volatility_scale_reaches_the_target() -> None:
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]]) / 12.0
    weights = np.array([0.5, 0.5])
    scale = volatility_scale(weights, covariance, 0.10, 5.0)
    assert math.sqrt((scale * weights) @ covariance @ (scale * weights) * 12.0) == pytest.approx(0.10, rel=1e-12)
    assert volatility_scale(weights, covariance, 9.0, 1.0) == 1.0
    assert volatility_scale(np.zeros(2), covariance, 0.1, 1.0) == 1.0


def test_shrinkage_is_the_formula() -> None:
    kept = interval_shrinkage(np.array([0.01, -0.02, 0.001, 0.0, np.nan]), np.full(5, 0.05), 0.1)
    np.testing.assert_allclose(kept, [0.5, 0.75, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(interval_shrinkage(np.array([0.01, 0.0]), np.full(2, 0.05), 0.0), [1.0, 0.0])


@PROPERTY
@given(FIVE, arrays(np.float64, 5, elements=st.floats(0.0, 1.0)), st.floats(0.0, 1.0))
def test_anchored_target_stays_near_equal_weight(scores: np.ndarray, kept: np.ndarray, scale: float) -> None:
    target = anchored_target(standardise(scores), kept, scale, 0.12)
    assert abs(math.fsum(target) - 1.0) < 1e-12
    assert np.abs(target - 0.2).max() <= 0.12 + 1e-12


def test_anchored_target_by_hand() -> None:
    scores = standardise(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    np.testing.assert_allclose(anchored_target(scores, np.ones(5), 0.05, 0.12), 0.2 + 0.05 * scores, rtol=1e-14)
    # only the best style's tilt survives: 2κ/√2·(1 − 1/5) for it, the others pay in equal parts
    best = anchored_target(scores, np.array([0.0, 0, 0, 0, 1]), 0.05, 0.12)
    tilt = 0.05 * math.sqrt(2.0)
    np.testing.assert_allclose(best, [0.2 - tilt / 5] * 4 + [0.2 + tilt * 0.8], rtol=1e-14)
    assert anchored_target(scores, np.zeros(5), 0.05, 0.12).tolist() == [0.2] * 5


def test_band_is_a_trigger_for_the_whole_book() -> None:
    held = np.array([0.21, 0.19, 0.2, 0.2, 0.2])
    assert hold_within_band(held, np.full(5, 0.2), 0.02) is held
    target = np.array([0.25, 0.15, 0.2, 0.2, 0.2])
    assert hold_within_band(held, target, 0.02) is target


def test_sample_covariance_published_case() -> None:
    # PyPortfolioOpt, tests/test_risk_models.py, test_sample_cov_dummy (MIT): its annualised values / 252
    prices = np.array([[4.0, 2.0, 0.6], [4.2, 2.1, 0.59], [3.9, 2.0, 0.58], [4.3, 2.1, 0.62], [4.1, 2.2, 0.63]])
    expected = [
        [0.006661687937656102, 0.00264970955585574, 0.0020849735375206195],
        [0.00264970955585574, 0.0023450491307634215, 0.00096770864287974],
        [0.0020849735375206195, 0.00096770864287974, 0.0016396416271856837],
    ]
    found = sample_covariance(prices[1:] / prices[:-1] - 1.0)
    np.testing.assert_allclose(found, expected, atol=1e-12, rtol=0)
    np.testing.assert_array_equal(found, found.T)
    with pytest.raises(ValueError, match="complete"):
        sample_covariance(np.array([[0.1, np.nan], [0.0, 0.1]]))


@PROPERTY
@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.floats(-0.95, 0.95))
def test_risk_parity_of_two_assets_is_inverse_volatility(first: float, second: float, correlation: float) -> None:
    cross = correlation * first * second
    weights = risk_parity_weights(np.array([[first**2, cross], [cross, second**2]]))
    np.testing.assert_allclose(weights, [second / (first + second), first / (first + second)], rtol=1e-9)


@PROPERTY
@given(st.integers(0, 10_000))
def test_risk_contributions_are_equal(seed: int) -> None:
    returns = np.random.default_rng(seed).normal(size=(24, 5)) * np.array([0.01, 0.02, 0.05, 0.03, 0.1])
    covariance = sample_covariance(returns)
    weights = risk_parity_weights(covariance)
    contributions = weights * (covariance @ weights)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (weights > 0.0).all()
    np.testing.assert_allclose(contributions, contributions.mean(), rtol=1e-8)


def test_risk_parity_needs_variance_and_history() -> None:
    with pytest.raises(RiskParityError, match="positive variance"):
        risk_parity_weights(np.array([[0.0, 0.0], [0.0, 1.0]]))
    returns = np.random.default_rng(1).normal(size=(30, 5))
    assert risk_parity(returns[:11], None, 12).tolist() == [0.2] * 5
    expected = risk_parity_weights(np.cov(returns[-12:].T))
    np.testing.assert_allclose(risk_parity(returns, 12, 12), expected, rtol=1e-9)
    holes = returns.copy()
    holes[:20, 2] = np.nan
    assert risk_parity(holes, None, 12).tolist() == [0.2] * 5  # ten complete months


def test_factor_momentum_by_hand() -> None:
    returns = np.zeros((13, 5))
    returns[0] = 9.0  # older than the window
    returns[1:, 0], returns[1:, 1], returns[6, 2] = 0.01, -0.03, np.nan
    np.testing.assert_allclose(factor_momentum(returns, 12), [0.25, -0.75, 0.0, 0.0, 0.0], rtol=1e-14)
    assert factor_momentum(returns[:11], 12).tolist() == [0.2] * 5
    assert factor_momentum(np.zeros((12, 5)), 12).tolist() == [0.2] * 5


def test_rule_based_is_the_rule() -> None:
    calm, wild = np.linspace(0.3, 0.1, 24), np.linspace(0.1, 0.3, 24)
    side = 0.2 - 0.12 / 4
    np.testing.assert_allclose(rule_based(0.01, wild, -0.1, 0.12, 12), [0.32, side, side, side, side])
    low = 0.2 - 0.24 / 3
    np.testing.assert_allclose(rule_based(-0.01, wild, -0.1, 0.12, 12), [low, 0.32, low, 0.32, low])
    for other in (
        rule_based(-0.01, calm, -0.1, 0.12, 12),
        rule_based(-0.01, wild, 0.1, 0.12, 12),
        rule_based(math.nan, wild, math.nan, 0.12, 12),
    ):
        assert other.tolist() == [0.2] * 5
    assert not in_top_tercile(wild[:11], 12)
    assert in_top_tercile(wild[:12], 12)
    assert not in_top_tercile(np.append(wild, np.nan), 12)


def test_simple_baselines() -> None:
    assert equal_weight(4).tolist() == [0.25] * 4
    assert only("QLTY").tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
