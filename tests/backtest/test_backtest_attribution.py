"""Brinson attribution, the additive decomposition, and purged cross-validation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.backtest.attribution import brinson_fachler, excess_by_style
from rotation_pipeline.backtest.cross_validation import combinatorial_purged_splits

WP, WB = [0.35, 0.2, 0.25, 0.2], [0.3, 0.25, 0.2, 0.25]
RP, RB = [0.12, 0.08, 0.075, 0.05], [0.105, 0.092, 0.06, 0.048]


def test_brinson_fachler_published_case() -> None:
    # public worked example, acadifi.com, "Brinson attribution: allocation, selection, interaction effects"
    found = brinson_fachler(WP, WB, RP, RB)
    np.testing.assert_allclose(found.allocation, [0.001325, -0.000675, -0.000925, 0.001525], atol=1e-12)
    np.testing.assert_allclose(found.selection, [0.0045, -0.003, 0.003, 0.0005], atol=1e-12)
    np.testing.assert_allclose(found.interaction, [0.00075, 0.0006, 0.00075, -0.0001], atol=1e-12)
    assert (found.benchmark_return, found.portfolio_return) == pytest.approx((0.0785, 0.08675), abs=1e-12)
    assert found.active_return == pytest.approx(0.00825, abs=1e-12)
    # Brinson, Hood & Beebower's allocation differs only by R_b
    hood = found.allocation + (np.array(WP) - np.array(WB)) * found.benchmark_return
    assert hood.sum() == pytest.approx(0.00125, abs=1e-12)


@pytest.mark.parametrize("absent", [math.nan, 0.33])
def test_a_sector_the_portfolio_does_not_hold(absent: float) -> None:
    found = brinson_fachler([0.6, 0.4, 0.0], [0.5, 0.3, 0.2], [0.10, 0.02, absent], [0.08, 0.03, -0.05])
    assert found.selection[2] == found.interaction[2] == 0.0
    assert found.allocation[2] == pytest.approx(-0.2 * (-0.05 - found.benchmark_return), abs=1e-15)
    total = found.allocation.sum() + found.selection.sum() + found.interaction.sum()
    assert total == pytest.approx(found.active_return, abs=1e-15)
    off = brinson_fachler([0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.1, 0.2, math.nan], [0.08, math.nan, math.nan])
    assert off.allocation[1] == pytest.approx(0.5 * (0.2 - 0.08), abs=1e-15)
    assert off.allocation.sum() + off.selection.sum() + off.interaction.sum() == pytest.approx(
        off.active_return, abs=1e-15
    )


def test_brinson_refuses_what_cannot_add_up() -> None:
    with pytest.raises(ValueError, match="cash"):
        brinson_fachler([0.5, 0.4], [0.5, 0.5], [0.1, 0.1], [0.1, 0.1])
    with pytest.raises(ValueError, match="needs a return"):
        brinson_fachler([0.5, 0.5], [0.5, 0.5], [0.1, math.nan], [0.1, 0.1])
    with pytest.raises(ValueError, match="equally long"):
        brinson_fachler([0.5, 0.5], [1.0], [0.1, 0.1], [0.1, 0.1])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_effects_sum_to_the_active_return(seed: int) -> None:
    random = np.random.default_rng(seed)
    wp, wb = random.dirichlet(np.ones(6), 2)
    rp, rb = random.normal(0, 0.1, (2, 6))
    found = brinson_fachler(wp, wb, rp, rb)
    total = (found.allocation + found.selection + found.interaction).sum()
    assert total == pytest.approx((wp * rp).sum() - (wb * rb).sum(), abs=1e-12)


def test_excess_by_style_sums_to_the_net_excess() -> None:
    random = np.random.default_rng(0)
    weights, base, returns = random.dirichlet(np.ones(5), 24), np.full((24, 5), 0.2), random.normal(0, 0.04, (24, 5))
    returns[3, 2] = np.nan
    cost, base_cost = random.uniform(0, 0.002, (2, 24))
    styles, costs = excess_by_style(weights, base, returns, cost, base_cost)
    earned = np.nan_to_num(returns)
    expected = ((weights * earned).sum(axis=1) - cost - (base * earned).sum(axis=1) + base_cost).sum()
    assert styles.sum() + costs == pytest.approx(expected, abs=1e-14)
    assert styles[2] == pytest.approx(((weights[:, 2] - 0.2) * earned[:, 2]).sum(), abs=1e-15)


@pytest.mark.parametrize(
    ("purge", "embargo", "expected"),
    [
        (0, 0, [[8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]),
        (1, 0, [[9, 10, 11], [5, 6], [0, 1, 2]]),
        (0, 1, [[9, 10, 11], [5, 6, 7], [0, 1, 2, 3]]),
    ],
)
def test_combinatorial_purged_splits_published_case(purge: int, embargo: int, expected: list[list[int]]) -> None:
    # skfolio, tests/test_model_selection/test_combinatorial.py, test_combinatorial (BSD-3-Clause)
    splits = combinatorial_purged_splits(12, 3, 2, purge, embargo)
    assert [train.tolist() for train, _ in splits] == expected
    assert splits[0][1].tolist() == list(range(8))


@settings(deadline=None, max_examples=25)
@given(st.integers(6, 40), st.integers(3, 6), st.integers(1, 2), st.integers(0, 3), st.integers(0, 3))
def test_training_keeps_its_distance_from_the_test(
    count: int, folds: int, chosen: int, purge: int, embargo: int
) -> None:
    splits = combinatorial_purged_splits(count, folds, chosen, purge, embargo)
    assert len(splits) == math.comb(folds, chosen)
    for train, test in splits:
        assert not set(train) & set(test)
        for t in train:
            before, after = test[test < t], test[test > t]
            assert before.size == 0 or t - before.max() > purge + embargo
            assert after.size == 0 or after.min() - t > purge
    with pytest.raises(ValueError, match="folds"):
        combinatorial_purged_splits(count, count + 1, 1)
