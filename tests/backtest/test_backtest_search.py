"""Overfitting probability, superior predictive ability and the reality check: slow references, arch, size and power."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from backtest_world import MONTHS, QUICK, TRIAL_SETTINGS, backtest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.backtest.data_snooping import (
    reality_check,
    stationary_variance,
    superior_predictive_ability,
)
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.overfitting import backtest_overfitting
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.trials import trial_rows
from rotation_pipeline.regimes.statistics import stationary_bootstrap_indices


def slow_overfitting(returns: np.ndarray, parts: int) -> list[float]:
    """The paper's steps in words: split, pick the best in sample, rank it out of sample, logit."""
    length = len(returns) // parts
    blocks = np.array_split(returns[len(returns) - length * parts :], parts)
    logits = []
    for chosen in combinations(range(parts), parts // 2):
        train = np.concatenate([blocks[i] for i in chosen])
        test = np.concatenate([blocks[i] for i in range(parts) if i not in chosen])
        inside, outside = (x.mean(axis=0) / x.std(axis=0, ddof=1) for x in (train, test))
        rank = 1 + sum(outside < outside[inside.argmax()])
        share = rank / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return logits


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 9999), rows=st.integers(24, 90), number=st.integers(2, 12), half=st.integers(1, 4))
def test_overfitting_equals_the_steps_of_the_paper(seed: int, rows: int, number: int, half: int) -> None:
    returns = np.random.default_rng(seed).normal(0.0, 0.03, (rows, number))
    found = backtest_overfitting(returns, 2 * half)
    expected = slow_overfitting(returns, 2 * half)
    assert found.logits == pytest.approx(expected, abs=1e-12)
    assert found.probability == np.mean(np.array(expected) <= 0.0)
    order = np.random.default_rng(seed).permutation(number)
    assert backtest_overfitting(returns[:, order], 2 * half).probability == found.probability
    assert backtest_overfitting(3.0 * returns, 2 * half).probability == found.probability


def test_overfitting_is_one_half_on_noise_and_nothing_on_skill() -> None:
    random = np.random.default_rng(1)
    noise = [backtest_overfitting(random.normal(0.0, 0.03, (120, 20)), 10).probability for _ in range(40)]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.12)
    skilled = random.normal(0.0, 0.03, (120, 20))
    skilled[:, 7] += 0.02
    found = backtest_overfitting(skilled, 10)
    assert found.probability < 0.02
    assert found.loss_probability < 0.02


def test_a_configuration_that_does_nothing_may_take_part() -> None:
    returns = np.column_stack([np.zeros(40), np.random.default_rng(0).normal(0.0, 0.02, 40)])
    assert 0.0 <= backtest_overfitting(returns, 4).probability <= 1.0
    for bad, parts in ((returns[:, :1], 4), (returns, 3), (returns, 40), (np.where(returns == 0, np.nan, returns), 4)):
        with pytest.raises(ValueError, match="must be"):
            backtest_overfitting(bad, parts)


def world(seed: int, edge: float = 0.0, number: int = 6) -> np.ndarray:
    random = np.random.default_rng(seed)
    common = random.normal(0.0, 0.01, (120, 1))
    scales = np.linspace(0.005, 0.03, number)
    excess = common + scales * random.standard_normal((120, number)) - 0.001
    excess[:, 1] += edge
    return excess


def test_snooping_tests_equal_arch_on_its_own_resamples() -> None:
    """arch 8: its three recentrings, where every variance is 1, because it does not studentise its statistic."""
    from arch.bootstrap import SPA, StationaryBootstrap

    for seed in range(6):
        excess = world(seed, 0.004)
        unit = excess / np.sqrt(stationary_variance(excess, 6.0))
        for table, studentised in ((unit, True), (excess, False)):
            peer = SPA(np.zeros(120), -table, block_size=6, reps=300, bootstrap="stationary", seed=seed)
            peer.compute()
            drawn = StationaryBootstrap(6, np.arange(120), seed=seed)
            indices = np.array([positions[0][0] for positions in drawn.bootstrap(300)], dtype=np.int64)
            if studentised:
                found = superior_predictive_ability(table, indices, 6.0)
                assert stationary_variance(table, 6.0) == pytest.approx(np.ones(6))
                assert (found.lower, found.consistent, found.upper) == pytest.approx(tuple(peer.pvalues), abs=1e-12)
            else:
                assert reality_check(table, indices).upper == pytest.approx(peer.pvalues["upper"], abs=1e-12)
                assert peer._loss_diff_var == pytest.approx(stationary_variance(table, 6.0), rel=1e-12)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 9999), edge=st.floats(-0.01, 0.02), scale=st.floats(0.1, 10.0))
def test_snooping_properties(seed: int, edge: float, scale: float) -> None:
    excess = world(seed, edge)
    indices = stationary_bootstrap_indices(120, 6.0, 200, (seed,))
    found = superior_predictive_ability(excess, indices, 6.0)
    assert 0.0 <= found.lower <= found.consistent <= found.upper <= 1.0
    scaled = superior_predictive_ability(excess * scale, indices, 6.0)
    assert scaled.statistic == pytest.approx(found.statistic, rel=1e-9)
    assert (scaled.consistent, scaled.best) == (found.consistent, found.best)
    with_clone = superior_predictive_ability(np.column_stack([excess, np.zeros(120)]), indices, 6.0)
    assert with_clone == found
    poor = superior_predictive_ability(np.column_stack([excess, excess[:, 0] - 0.2]), indices, 6.0)
    assert poor.lower == found.lower


def test_snooping_size_and_power() -> None:
    rejected = powerful = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        excess = random.normal(0.0, 0.02, (120, 8))
        indices = stationary_bootstrap_indices(120, 3.0, 199, (seed, 1))
        rejected += superior_predictive_ability(excess, indices, 3.0).consistent < 0.05
        excess[:, 3] += 0.008
        powerful += superior_predictive_ability(excess, indices, 3.0).consistent < 0.05
    # 5 % of 60 is 3; 9 or more once in 300
    assert rejected < 9
    assert powerful > 45


def test_nothing_varies_and_bad_input() -> None:
    indices = stationary_bootstrap_indices(20, 3.0, 10, (1,))
    assert math.isnan(superior_predictive_ability(np.zeros((20, 2)), indices, 3.0).consistent)
    with pytest.raises(ValueError, match="indices must be"):
        reality_check(np.zeros((19, 2)), indices)
    with pytest.raises(ValueError, match="without gaps"):
        reality_check(np.full((20, 2), np.nan), indices)
    with pytest.raises(ValueError, match="must be even"):
        BacktestOptions(overfitting_parts=7)


def test_the_table_carries_the_search() -> None:
    rows = backtest()
    trials = trial_rows(rows, TRIAL_SETTINGS, MONTHS, QUICK)
    table = significance_table(rows, trials, [MONTHS[6], MONTHS[45]], QUICK)
    names = ["overfitting_probability", "superior_predictive_ability", "reality_check"]
    found = table[table["statistic"].isin(names)].set_index(["month", "statistic"])
    assert set(found["strategy"]) == {"rotation"}
    assert found.loc[MONTHS[6], ["value", "p_value"]].isna().all().all()
    late = found.loc[MONTHS[45]]
    assert late.loc["overfitting_probability", "baseline"] == "zero"
    assert 0.0 <= late.loc["overfitting_probability", "value"] <= 1.0
    assert late.loc[names[1:], "p_value"].between(0.0, 1.0).all()
    assert (late.loc[names[1:], "baseline"] == "equal_weight").all()
    cut = rows[rows["month"] <= MONTHS[45]]
    alone = significance_table(cut, trials, [MONTHS[45]], QUICK)
    whole = table[table["month"] == MONTHS[45]].reset_index(drop=True)
    assert alone.equals(whole)
