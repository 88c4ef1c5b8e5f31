"""Nested selection and the decision-focused book: they choose from the past alone, repeat bit for bit, and find what is planted."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import test_allocation_books as books
import torch

from rotation_pipeline.allocation.books import AllocationResult
from rotation_pipeline.allocation.decision import START, Decider, Sample, _layer, _tensors, net_utility, train
from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.allocation.mean_variance import Bounds, mean_variance_weights
from rotation_pipeline.allocation.options import AllocationOptions, DecisionOptions, NestedOptions
from rotation_pipeline.allocation.selection import Selection, criterion_of, grid
from rotation_pipeline.allocation.states import States
from rotation_pipeline.allocation.tables import ALTERNATIVES, SELECTION
from rotation_pipeline.backtest.factor_level import run_backtest
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.factors.styles import STYLES

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # the layer's package
MONTHS = books.MONTHS
NESTED = NestedOptions(minimum_months=8, temperatures=(0.5, 2.0), inertias=(0.0, 0.8))
DECISION = DecisionOptions(minimum_months=14, refit_months=(1, 7), epochs=3)
EVERYTHING = AllocationOptions(books=ALTERNATIVES, selection="nested", nested=NESTED, decision=DECISION)  # type: ignore[arg-type]


def turnover(returns: pd.DataFrame) -> pd.DataFrame:
    drawn = np.random.default_rng(0).uniform(0.1, 0.5, returns.shape)
    return pd.DataFrame(np.where(returns.isna(), np.nan, drawn), index=returns.index, columns=list(STYLES))


def inputs() -> dict[str, Any]:
    data = books.inputs()
    return {**data, "style_turnover": turnover(data["style_returns"])}


def until(data: dict[str, Any], month: pd.Timestamp) -> dict[str, Any]:
    return {**books.until(data, month), "style_turnover": data["style_turnover"].loc[:month]}


@lru_cache
def full() -> AllocationResult:
    return books.run(MONTHS, None, EVERYTHING, **inputs())


def states(data: dict[str, Any]) -> States:
    return States(
        data["forecasts"],
        data["expert_forecasts"],
        data["style_returns"],
        data["index_features"],
        data["style_turnover"],
    )


@pytest.mark.parametrize("place", [7, 16, 29])
def test_every_allocator_alone_and_without_later_data_gives_the_rows_of_the_range(place: int) -> None:
    month = MONTHS[place]
    before = books.part(full(), MONTHS[:place])
    books.equal(books.run([month], before, EVERYTHING, **inputs()), books.part(full(), [month]))
    books.equal(books.run([month], before, EVERYTHING, **until(inputs(), month)), books.part(full(), [month]))


def test_tables_of_every_allocator() -> None:
    rows = full().selection
    assert list(rows.columns) == SELECTION.stored_names
    pd.testing.assert_frame_equal(rows, rows.sort_values(list(SELECTION.key), ignore_index=True))
    assert set(rows["strategy"]) == {"rotation", "softmax_mixture", "softmax_network"}
    chosen = rows.groupby(["month", "strategy"])["is_chosen"].sum()
    assert set(chosen[:30]) <= {0, 1}
    assert (chosen.xs("rotation", level="strategy").iloc[10:] == 1).all()
    assert not rows[rows["months"] < NESTED.minimum_months]["is_chosen"].any()
    for book in (*ALTERNATIVES, "rotation"):
        weights = books.wide(full(), book, "weight")
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-9)
        assert weights.min() >= 0.0
        assert np.abs(weights[20:] - 0.2).max() > 0.01


@pytest.mark.parametrize("kind", ["mean_variance", "inverse_volatility", "decision_focused", "softmax_network"])
def test_any_allocator_may_be_the_headline(kind: Any) -> None:
    options = AllocationOptions(book=kind, books=(kind,), decision=DECISION)
    result = books.run(MONTHS[:22], None, options, **inputs())
    for column in ("target", "weight"):
        assert books.wide(result, "rotation", column).tolist() == books.wide(result, kind, column).tolist()
    assert set(result.weights["strategy"]) >= {"rotation", kind, "equal_weight"}
    assert "softmax_mixture" not in set(result.weights["strategy"])


def test_a_cell_earns_what_the_book_with_its_parameters_earns() -> None:
    data = inputs()
    cells = grid("softmax", EVERYTHING)
    own = full().selection
    longshort = pd.DataFrame(
        [
            (month, style, data["style_returns"].loc[month, style], data["style_turnover"].loc[month, style])
            for month in MONTHS for style in STYLES
        ],
        columns=["month", "factor", "long_short", "book_turnover"],
    )  # fmt: skip
    index = pd.DataFrame({"month": MONTHS, "ret": 0.01})
    for place in (0, len(cells) - 1):
        alone = books.run(MONTHS, None, cells[place].applied(AllocationOptions()), **data)
        earned = run_backtest(alone.weights, longshort, index, MONTHS, MONTHS[0], None, BacktestOptions())
        expected = earned[earned["strategy"] == "softmax_mixture"].set_index("month")
        found = (
            own[(own["strategy"] == "softmax_mixture") & (own["cell"] == place)].set_index("month").loc[expected.index]
        )
        np.testing.assert_allclose(found["gross_return"], expected["gross_return"], atol=1e-15)
        traded = expected["factor_turnover"] + expected["book_turnover"]
        np.testing.assert_allclose(found["turnover"], traded, atol=1e-15)


def test_the_choice_uses_nothing_after_its_month() -> None:
    data, month = inputs(), MONTHS[20]
    later = data["style_returns"].index > month
    changed = data["style_returns"].copy()
    changed.loc[later] = -0.5 * changed.loc[later] + 0.1
    forecasts = data["forecasts"].copy()
    forecasts.loc[forecasts["month"] > month, "mean"] *= -3.0
    other = books.run(MONTHS, None, EVERYTHING, **{**data, "style_returns": changed, "forecasts": forecasts})
    known = MONTHS[:21]
    books.equal(books.part(other, known), books.part(full(), known))
    after = books.part(other, MONTHS[21:]).selection["criterion"].to_numpy()
    assert not np.allclose(after, books.part(full(), MONTHS[21:]).selection["criterion"].to_numpy(), equal_nan=True)


def planted(sign: float) -> dict[str, Any]:
    """Forecasts that are next month's returns times ``sign``, and noise."""
    data = inputs()
    random = np.random.default_rng(8)
    returns = random.normal(0.0, 0.03, (len(MONTHS), 5))
    data["style_returns"] = pd.DataFrame(returns, index=data["style_returns"].index, columns=list(STYLES))
    data["style_turnover"] = turnover(data["style_returns"]) * 0.1
    ahead = np.vstack([returns[1:], np.zeros((1, 5))])
    rows = data["forecasts"].sort_values("month", kind="stable").reset_index(drop=True)
    rows["mean"] = (sign * ahead + random.normal(0.0, 0.01, ahead.shape)).ravel()
    rows["volatility"] = 0.03
    data["forecasts"] = rows
    return data


@pytest.mark.parametrize("criterion", ["utility", "sharpe"])
def test_a_planted_edge_takes_the_largest_tilt_and_a_planted_error_none(criterion: Any) -> None:
    options = AllocationOptions(books=(), selection="nested", nested=replace(NESTED, criterion=criterion))
    for sign, kappa in ((1.0, 0.09), (-1.0, 0.0)):
        rows = books.run(MONTHS, None, options, **planted(sign)).selection
        chosen = rows[rows["is_chosen"]]
        assert (chosen["tilt_scale"].iloc[5:] == kappa).mean() > 0.9


def test_a_choice_of_january_holds_for_the_year_and_ties_go_to_the_first() -> None:
    options = replace(EVERYTHING, books=(), nested=replace(NESTED, every="year"))
    rows = books.run(MONTHS, None, options, **inputs()).selection
    chosen = rows[rows["is_chosen"]].set_index("month")["cell"]
    assert chosen.index[0] == pd.Timestamp("2021-01-01")  # eight months were not known in January 2020
    assert all(len(set(cells)) == 1 for _, cells in chosen.groupby(chosen.index.year))
    same = replace(options, nested=replace(NESTED, tilt_scales=(0.0, 1e-300), score_forms=("ratio",)))
    rows = books.run(MONTHS, None, same, **inputs()).selection
    assert set(rows[rows["is_chosen"]]["cell"]) == {0}


def test_grid_criterion_and_refusals() -> None:
    nested = NestedOptions(score_forms=("raw", "penalty", "raw"), risk_penalties=(0.5, 2.0), tilt_scales=(0.0, 0.1))
    cells = grid("anchored", AllocationOptions(nested=nested))
    assert [(c.score_form, c.risk_penalty, c.tilt_scale) for c in cells] == [
        ("raw", None, 0.0), ("raw", None, 0.1), ("penalty", 0.5, 0.0), ("penalty", 0.5, 0.1), ("penalty", 2.0, 0.0),
        ("penalty", 2.0, 0.1),
    ]  # fmt: skip
    returns = np.array([0.01, 0.03, -0.01])
    assert criterion_of(returns, "utility", 4.0) == pytest.approx(0.01 - 2.0 * returns.var(ddof=1))
    assert criterion_of(returns, "sharpe", 4.0) == pytest.approx(0.5)
    assert np.isnan(criterion_of(np.full(5, 0.01), "sharpe", 4.0))
    assert np.isnan(criterion_of(returns[:1], "utility", 4.0))
    data = inputs()
    with pytest.raises(ValueError, match="style_turnover"):
        books.run(MONTHS[:4], None, EVERYTHING, **{**data, "style_turnover": None})
    lacking = data["forecasts"][data["forecasts"]["month"] != MONTHS[3]]
    before = books.part(full(), MONTHS[:10])
    with pytest.raises(MissingMonthError, match="2020-02"):
        books.run([MONTHS[10]], before, EVERYTHING, **{**data, "forecasts": lacking})
    once = Selection(states(data), MONTHS[0], EVERYTHING)
    once.at(MONTHS[2])
    with pytest.raises(ValueError, match="ascending"):
        once.at(MONTHS[2])


# ---------------------------------------------------------------- the differentiable layer


def sample(count: int = 40, edge: float = 0.6) -> Sample:
    """The network's signal knows part of next month's return; the mixture's is noise."""
    random = np.random.default_rng(4)
    returns = random.normal(0.0, 0.03, (count, 5))
    signals = random.normal(0.0, 0.01, (count, 5, 4))
    signals[:, :, 1] = edge * returns + random.normal(0.0, 0.01, returns.shape)
    covariance = np.tile(np.eye(5) * 0.03**2, (count, 1, 1))
    return Sample(signals, covariance, returns, np.full((count, 5), 0.05))


def utility(coefficients: np.ndarray, tensors: dict[str, Any], options: AllocationOptions) -> float:
    return float(net_utility(torch.tensor(coefficients, requires_grad=True), tensors, options).detach())


def test_the_layer_solves_the_problem_of_the_mean_variance_book() -> None:
    data = sample(6)
    tensors = _tensors(data, AllocationOptions())
    scores = data.signals[:, :, 1]
    layer = _layer(5, 0.0, 1.0)
    (weights,) = layer(100.0 * torch.from_numpy(scores), tensors["factors"], solver_args={"solve_method": "Clarabel"})
    for row, score, covariance in zip(weights.numpy(), scores, data.covariance, strict=True):
        np.testing.assert_allclose(row, mean_variance_weights(score, covariance, 5.0, bounds=Bounds()), atol=1e-4)


def test_the_gradient_of_the_utility_is_its_slope() -> None:
    options = AllocationOptions(
        decision=DecisionOptions(risk_aversion=60.0)
    )  # so that no weight is at a bound for long
    tensors = _tensors(sample(12, 0.2), options)
    point = np.array([0.8, 0.4, 0.2, -0.1])
    coefficients = torch.tensor(point, requires_grad=True)
    net_utility(coefficients, tensors, options).backward()
    step = 1e-4
    for place in range(4):
        up, down = point.copy(), point.copy()
        up[place] += step
        down[place] -= step
        ends = [utility(end, tensors, options) for end in (up, down)]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(coefficients.grad[place]) == pytest.approx(slope, rel=0.02, abs=2e-6)


def test_training_finds_the_signal_that_pays_and_raises_the_utility() -> None:
    options = AllocationOptions(decision=DecisionOptions(epochs=25, learning_rate=0.1, jitter=0.0))
    data = sample()
    found = train(data, MONTHS[20], options)
    assert found[1] > 0.8
    tensors = _tensors(data, options)
    before, after = (utility(x, tensors, options) for x in (np.array(START), found))
    assert after > before + 0.005
    again = train(data, MONTHS[20], options)
    assert found.tolist() == again.tolist()
    jittered = replace(options, decision=replace(options.decision, jitter=0.1, epochs=1))
    assert train(data, MONTHS[20], jittered).tolist() != train(data, MONTHS[21], jittered).tolist()


def test_a_training_sees_nothing_after_its_month() -> None:
    data = inputs()
    changed = data["style_returns"].copy()
    changed.loc[changed.index > pd.Timestamp("2021-07-01")] *= -2.0
    options = replace(EVERYTHING, decision=replace(DECISION, refit_months=(7,)))
    month = pd.Timestamp("2021-07-01")
    first = Decider(states(data), options)
    second = Decider(states({**data, "style_returns": changed}), options)
    assert first.target(month).tolist() == second.target(month).tolist()
    assert first._trained[month].tolist() == second._trained[month].tolist()
    assert first.target(pd.Timestamp("2021-06-01")) is None
    assert first.target(pd.Timestamp("2021-12-01")) is not None
    assert list(first._trained) == [month]


def test_no_training_before_two_months_have_a_covariance() -> None:
    """A covariance that needs more months than the first training: equal weight until a sample can have a variance."""
    every = tuple(range(1, 13))
    options = replace(EVERYTHING, minimum_months=18, decision=replace(DECISION, minimum_months=12, refit_months=every))
    known = states(inputs())
    decider = Decider(known, options)
    months = known.months_until(MONTHS[-1])
    complete = [int((~np.isnan(known.at(month).returns).any(axis=1)).sum()) for month in months]
    assert {18, 19, 20} <= set(complete)
    for month, count in zip(months, complete, strict=True):
        if 17 <= count <= 20:
            assert (decider.target(month) is not None) == (count >= 20)
    assert all(np.isfinite(found).all() for found in decider._trained.values())
