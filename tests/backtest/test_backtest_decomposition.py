"""The excess over equal weight by effect and style: exact sums, what each effect means, replay equality."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from backtest_world import FIRST, MONTHS, QUICK, index_returns, longshort, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.allocation.options import AllocationOptions, BookKind
from rotation_pipeline.allocation.states import State, View
from rotation_pipeline.allocation.strategies import strategy
from rotation_pipeline.allocation.tables import STRATEGIES
from rotation_pipeline.allocation.unscaled import unscaled_target, unscaled_targets
from rotation_pipeline.backtest.decomposition import attribution_table, decompose_excess
from rotation_pipeline.backtest.factor_level import run_backtest
from rotation_pipeline.backtest.tables import ATTRIBUTION, EFFECTS
from rotation_pipeline.factors.styles import STYLES

OPTIONS = AllocationOptions()


def world() -> tuple[pd.DataFrame, ...]:
    returns = longshort()
    held = weights(returns)
    random = np.random.default_rng(3)
    held["target"] = held["weight"] + random.normal(0.0, 0.02, len(held))
    rows = run_backtest(held, returns, index_returns(), MONTHS, FIRST, None, QUICK)
    styles = returns[returns["factor"].isin(STYLES)].reset_index(drop=True)
    forecasts = pd.DataFrame(
        [
            (month, style, random.normal(0.0, 0.01), 0.01, random.uniform(0.02, 0.06))
            for month in MONTHS
            for style in STYLES
        ],
        columns=["month", "style", "mean", "standard_error", "volatility"],
    )
    experts = forecasts.assign(expert="network_lstm")
    regimes = pd.DataFrame({"month": MONTHS[3:], "regime": ["bear", "range"] * 23 + ["bear"]})
    wide = styles.pivot(index="month", columns="factor", values="long_short")
    aimed = unscaled_targets(forecasts, experts, OPTIONS, weights=held, style_returns=wide)
    return held, aimed, styles, rows, regimes


@pytest.fixture(scope="module")
def inputs() -> tuple[pd.DataFrame, ...]:
    return world()


def test_rows_sum_to_the_net_excess(inputs: tuple[pd.DataFrame, ...]) -> None:
    rows = inputs[3]
    found = attribution_table(*inputs, MONTHS, QUICK)
    assert list(found.columns) == ATTRIBUTION.stored_names
    pd.testing.assert_frame_equal(found, found.sort_values(list(ATTRIBUTION.key), ignore_index=True))
    net = rows.pivot(index="month", columns="strategy", values="net_return")
    sums = found.pivot_table(index="month", columns="strategy", values="value", aggfunc="sum")
    assert list(sums.columns) == sorted(STRATEGIES)
    for book in STRATEGIES:
        assert (sums[book] - (net[book] - net["equal_weight"])).abs().max() < 1e-12
    known = found.dropna(subset=["regime"])
    by_regime = known[known["strategy"] == "rotation"].groupby("regime")["value"].sum()
    excess = (net["rotation"] - net["equal_weight"]).loc[MONTHS[4] :]
    assert by_regime.sum() == pytest.approx(excess.sum(), abs=1e-12)
    before = dict(zip(inputs[4]["month"], inputs[4]["regime"], strict=True))
    for month, label in zip(found["month"], found["regime"], strict=True):
        assert label == before.get(month - pd.DateOffset(months=1))
    costs = found[found["effect"] == "cost"].groupby(["strategy", "month"])["value"].sum()
    drag = rows.assign(cost=rows["factor_cost"] + rows["book_cost"]).pivot(
        index="month", columns="strategy", values="cost"
    )
    assert costs["rotation"].to_numpy() == pytest.approx(
        (drag["equal_weight"] - drag["rotation"]).to_numpy(), abs=1e-15
    )


def test_replay(inputs: tuple[pd.DataFrame, ...]) -> None:
    whole = attribution_table(*inputs, MONTHS, QUICK)
    for month in (MONTHS[1], MONTHS[2], MONTHS[30]):
        cut = [frame[frame["month"] <= month] for frame in inputs]
        alone = attribution_table(*cut, [month], QUICK)
        pd.testing.assert_frame_equal(alone, whole[whole["month"] == month].reset_index(drop=True), check_exact=True)
    assert attribution_table(*inputs, MONTHS[:1], QUICK).empty


def test_rows_of_another_backtest_are_refused(inputs: tuple[pd.DataFrame, ...]) -> None:
    with pytest.raises(ValueError, match="materialise factor_backtest of that month again"):
        attribution_table(*inputs, MONTHS, replace(QUICK, cost_bp=30.0))
    held, *others = inputs
    with pytest.raises(MissingMonthError, match=r"marts\.weights has no rows for 2018-05"):
        attribution_table(held[held["month"] != MONTHS[18]], *others, [MONTHS[19]], QUICK)


numbers = st.lists(st.floats(-0.5, 0.5), min_size=5, max_size=5).map(np.array)


@settings(deadline=None, max_examples=25)
@given(weight=numbers, target=numbers, unscaled=numbers, returns=numbers, cost=numbers, gone=st.integers(-1, 4))
def test_effects_are_exact_and_each_is_its_own(
    weight: np.ndarray, target: np.ndarray, unscaled: np.ndarray, returns: np.ndarray, cost: np.ndarray, gone: int
) -> None:
    equal, free = np.full(5, 0.2), np.zeros(5)
    earned = np.where(np.arange(5) == gone, np.nan, returns)
    effects = decompose_excess(weight, target, unscaled, equal, earned, cost, free)
    expected = np.nansum((weight - equal) * earned) - cost.sum()
    assert effects.shape == (len(EFFECTS), 5)
    assert float(effects.sum()) == pytest.approx(float(expected), abs=1e-12)
    assert not decompose_excess(weight, weight, unscaled, equal, earned, free, free)[2:].any()
    assert not decompose_excess(weight, target, target, equal, earned, cost, free)[1].any()
    assert not decompose_excess(equal, equal, equal, equal, earned, free, free).any()


def state(mean: np.ndarray, volatility: np.ndarray, returns: np.ndarray) -> State:
    view = View(mean, np.full(5, 0.01), volatility)
    return State(MONTHS[0], view, view, returns, np.nan, np.zeros(0), np.nan, np.full(5, np.nan))


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 9999),
    kind=st.sampled_from(["anchored", "softmax", "mean_variance", "inverse_volatility", "decision_focused"]),
)
def test_the_unscaled_target_is_the_books_own_where_risk_says_nothing(seed: int, kind: BookKind) -> None:
    random = np.random.default_rng(seed)
    mean, volatility = random.normal(0, 0.01, 5), random.uniform(0.02, 0.06, 5)
    own, equal, past = random.dirichlet(np.ones(5)), np.full(5, 0.2), random.normal(0.0, 0.03, (40, 5))
    found = unscaled_target(kind, state(mean, volatility, past), OPTIONS, own)
    if kind in ("anchored", "softmax"):
        raw = replace(OPTIONS, score_form="raw")
        assert found.tolist() == strategy(kind, state(mean, volatility, past), equal, equal, raw).target.tolist()
        flat = strategy(kind, state(mean, np.full(5, 0.03), past), None, None, OPTIONS)
        assert flat.target == pytest.approx(found, abs=1e-12)  # equal risks scale nothing
    if kind == "mean_variance":  # equal risks that do not go together: every sign pattern once
        signs = np.array([[1 - 2 * (row >> k & 1) for k in range(5)] for row in range(32)], dtype=np.float64)
        flat = strategy(kind, state(mean, volatility, 0.03 * signs), None, None, OPTIONS)
        assert flat.target == pytest.approx(
            unscaled_target(kind, state(mean, volatility, 0.03 * signs), OPTIONS, own), abs=1e-9
        )
        assert np.abs(found - equal).max() > 0.0
    if kind == "inverse_volatility":
        assert found.tolist() == equal.tolist()
    if kind == "decision_focused":
        assert found.tolist() == own.tolist()
    elif kind != "inverse_volatility":
        nothing = unscaled_target(kind, state(np.full(5, np.nan), volatility, past), OPTIONS, own)
        assert nothing.tolist() == equal.tolist()
