"""The factor-level backtest: a hand-computed example, properties, replay equality, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from backtest_world import FIRST, MONTHS, QUICK, SERIES, backtest, index_returns, longshort, weights
from pydantic import TypeAdapter, ValidationError

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.allocation.inertia import TotalLossError
from rotation_pipeline.allocation.tables import BASELINES, STRATEGIES, WEIGHTS
from rotation_pipeline.backtest.factor_level import oracle_weights, role, run_backtest
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.tables import BACKTEST
from rotation_pipeline.factors.styles import STYLES


@pytest.fixture(scope="module")
def full() -> pd.DataFrame:
    return backtest()


def months_of(frame: pd.DataFrame, months: list[pd.Timestamp]) -> pd.DataFrame:
    return frame[frame["month"].isin(months)].reset_index(drop=True)


def hand_world() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[pd.Timestamp]]:
    """Four months; the rotation book holds MOM and VAL only, other styles earn nothing."""
    months = list(pd.date_range("2020-01-01", periods=4, freq="MS"))
    returns = {1: (0.10, -0.05), 2: (-0.20, 0.10), 3: (0.04, 0.02)}
    turnover = {1: (1.0, 1.0), 2: (0.5, 0.25), 3: (0.4, 0.1)}
    longshort = pd.DataFrame(
        [
            (
                month,
                style,
                np.nan if i == 0 else (*returns[i], 0, 0, 0)[j],
                np.nan if i == 0 else (*turnover[i], 0, 0, 0)[j],
            )
            for i, month in enumerate(months)
            for j, style in enumerate(STYLES)
        ],
        columns=["month", "factor", "long_short", "book_turnover"],
    )
    held = {0: (0.6, 0.4), 1: (0.5, 0.5), 2: (0.25, 0.75)}
    # 0.6·1.1/1.04 and 0.4·0.95/1.04; 0.5·0.8/0.95 and 0.5·1.1/0.95
    drifted = {0: (np.nan, np.nan), 1: (0.66 / 1.04, 0.38 / 1.04), 2: (0.40 / 0.95, 0.55 / 0.95)}
    rows = []
    for i in range(3):
        for book in (*STRATEGIES, *BASELINES):
            for j, style in enumerate(STYLES):
                if book == "rotation":
                    w, d = (*held[i], 0.0, 0.0, 0.0)[j], (*drifted[i], *([np.nan] * 3 if i == 0 else [0.0] * 3))[j]
                else:
                    w, d = 0.2, np.nan if i == 0 else 0.2
                rows.append((months[i], book, style, np.nan, w, w, d))
    index = pd.DataFrame({"month": months, "ret": [0.01, 0.02, -0.03, 0.05]})
    return pd.DataFrame(rows, columns=WEIGHTS.stored_names), longshort, index, months


def test_three_months_by_hand() -> None:
    held, returns, index, months = hand_world()
    result = run_backtest(held, returns, index, months, months[0], None, BacktestOptions(cost_bp=100.0))
    assert sorted(result["month"].unique()) == months[1:]  # nothing is held over the first month
    own = result[result["strategy"] == "rotation"].reset_index(drop=True)
    cost = 0.01
    gross = [0.6 * 0.10 - 0.4 * 0.05, -0.5 * 0.20 + 0.5 * 0.10, 0.25 * 0.04 + 0.75 * 0.02]  # 0.04, −0.05, 0.025
    factor_turnover = [0.0, 0.66 / 1.04 - 0.5, 0.40 / 0.95 - 0.25]
    book_turnover = [1.0, 0.5 * 0.5 + 0.5 * 0.25, 0.25 * 0.4 + 0.75 * 0.1]
    net = [g - cost * (f + b) for g, f, b in zip(gross, factor_turnover, book_turnover, strict=True)]
    value = [1 + net[0], (1 + net[0]) * (1 + net[1]), (1 + net[0]) * (1 + net[1]) * (1 + net[2])]
    expected = {
        "gross_return": gross, "factor_turnover": factor_turnover, "book_turnover": book_turnover, "uninvested": [0.0] * 3,
        "factor_cost": [cost * f for f in factor_turnover], "book_cost": [cost * b for b in book_turnover],
        "net_return": net, "net_value": value, "peak": [value[0]] * 3,
        "drawdown": [0.0, value[1] / value[0] - 1, value[2] / value[0] - 1],
    }  # fmt: skip
    for name, numbers in expected.items():
        np.testing.assert_allclose(own[name], numbers, atol=1e-12, rtol=0, err_msg=name)
    market = result[result["strategy"] == "index"]
    np.testing.assert_allclose(market["net_return"], [0.02, -0.03, 0.05], atol=1e-15)
    np.testing.assert_allclose(market["drawdown"], [0.0, -0.03, 0.0], atol=1e-12)


def test_oracle_by_hand() -> None:
    held, returns, index, months = hand_world()
    result = run_backtest(
        held, returns, index, months, months[0], None, BacktestOptions(cost_bp=0.0, oracle_epsilon=0.05)
    )
    own = result[result["strategy"] == "oracle"].reset_index(drop=True)
    first = np.array([1 / 0.05, 1 / 0.20, 1 / 0.15, 1 / 0.15, 1 / 0.15])
    first /= first.sum()
    second = np.array([1 / 0.35, 1 / 0.05, 1 / 0.15, 1 / 0.15, 1 / 0.15])
    second /= second.sum()
    assert own["gross_return"][0] == pytest.approx(first[0] * 0.10 - first[1] * 0.05, abs=1e-14)
    grown = first * (1 + np.array([0.10, -0.05, 0, 0, 0]))
    assert own["factor_turnover"][1] == pytest.approx(0.5 * np.abs(second - grown / grown.sum()).sum(), abs=1e-14)
    np.testing.assert_allclose(oracle_weights(np.array([0.01, np.nan, 0.03]), 0.02), [1 / 3, 0.0, 2 / 3])
    np.testing.assert_allclose(oracle_weights(np.array([0.01, 0.0, 0.03]), 1e-12), [0, 0, 1], atol=1e-9)
    assert oracle_weights(np.array([np.nan]), 0.01).tolist() == [0.0]


def test_table_is_what_the_contract_says(full: pd.DataFrame) -> None:
    assert list(full.columns) == BACKTEST.stored_names
    pd.testing.assert_frame_equal(full, full.sort_values(["month", "strategy"], ignore_index=True))
    assert len(full) == (len(MONTHS) - 1) * len(SERIES)
    for column in BACKTEST.columns:
        values = full[column.name]
        assert values.notna().all()
        assert column.minimum is None or (values >= column.minimum).all(), column.name
        assert column.maximum is None or (values <= column.maximum).all(), column.name
        assert not column.allowed or set(values) <= set(column.allowed)
    assert {s: role(s) for s in ("rotation", "softmax_network", "only_VAL", "oracle", "index")} == {
        "rotation": "strategy", "softmax_network": "alternative", "only_VAL": "baseline", "oracle": "upper_bound", "index": "index",
    }  # fmt: skip


def test_one_month_alone_equals_the_backfill(full: pd.DataFrame) -> None:
    returns = longshort()
    held = weights(returns)
    for i in range(1, len(MONTHS), 4):
        month = MONTHS[i]
        known = returns[returns["month"] <= month]
        before = months_of(full, [MONTHS[i - 1]])
        alone = run_backtest(
            held[held["month"] == MONTHS[i - 1]], known, index_returns(), [month], FIRST, before, QUICK
        )
        pd.testing.assert_frame_equal(alone, months_of(full, [month]), check_exact=True)


def test_later_data_changes_nothing(full: pd.DataFrame) -> None:
    month = MONTHS[25]
    returns, market = longshort(), index_returns()
    held = weights(returns)
    cut = [frame[frame["month"] <= month] for frame in (held, returns, market)]
    again = run_backtest(*cut, MONTHS[:26], FIRST, None, QUICK)
    pd.testing.assert_frame_equal(again, months_of(full, MONTHS[:26]), check_exact=True)
    shuffled = run_backtest(
        held.sample(frac=1, random_state=1),
        returns.sample(frac=1, random_state=2),
        market,
        MONTHS[::-1],
        FIRST,
        full,
        QUICK,
    )
    pd.testing.assert_frame_equal(shuffled, full, check_exact=True)


def test_costs_only_take(full: pd.DataFrame) -> None:
    assert (full["net_return"] <= full["gross_return"]).all()
    before = full["net_return"].to_numpy()
    for cost in (30.0, 50.0):
        dearer = backtest(replace(QUICK, cost_bp=cost))
        assert (dearer["net_return"].to_numpy() <= before).all()
        np.testing.assert_array_equal(dearer["gross_return"], full["gross_return"])
        before = dearer["net_return"].to_numpy()
    free = backtest(replace(QUICK, cost_bp=0.0))
    np.testing.assert_array_equal(free["net_return"], free["gross_return"])


def test_value_and_drawdown_compound(full: pd.DataFrame) -> None:
    for _, rows in full.groupby("strategy"):
        value = np.cumprod(1.0 + rows["net_return"].to_numpy())
        np.testing.assert_allclose(rows["net_value"], value, rtol=1e-12)
        peak = np.maximum.accumulate(np.append(1.0, value))[1:]
        np.testing.assert_allclose(rows["drawdown"], value / peak - 1.0, atol=1e-12)


def test_a_style_without_a_book_stays_in_cash(full: pd.DataFrame) -> None:
    early = full[(full["strategy"] == "only_MOM") & full["month"].isin(MONTHS[1:4])]
    assert (early["uninvested"] == 1.0).all()
    assert (early["net_return"] == 0.0).all()
    later = full[full["month"].isin(MONTHS[4:])]
    assert (later["uninvested"] == 0.0).all()


def test_perfect_foresight_is_an_upper_bound(full: pd.DataFrame) -> None:
    mean = full.groupby("strategy")["gross_return"].mean().drop("index")
    assert mean.idxmax() == "oracle"


def test_missing_months_are_named(full: pd.DataFrame) -> None:
    returns = longshort()
    held, market = weights(returns), index_returns()
    month = [MONTHS[10]]
    with pytest.raises(MissingMonthError, match=r"marts\.backtest has no rows for 2017-08"):
        run_backtest(held, returns, market, month, FIRST, None, QUICK)
    with pytest.raises(MissingMonthError, match=r"marts\.backtest, 2017-08 has no rows of \['oracle'\]"):
        run_backtest(held, returns, market, month, FIRST, full[full["strategy"] != "oracle"], QUICK)
    with pytest.raises(MissingMonthError, match=r"marts\.weights has no rows for 2017-08"):
        run_backtest(held[held["month"] != MONTHS[9]], returns, market, month, FIRST, full, QUICK)
    with pytest.raises(MissingMonthError, match=r"marts\.factor_longshort has no style return for 2017-09"):
        run_backtest(held, returns[returns["month"] != MONTHS[10]], market, month, FIRST, full, QUICK)
    with pytest.raises(MissingMonthError, match=r"index_returns has no return for 2017-09"):
        run_backtest(held, returns, market[market["month"] != MONTHS[10]], month, FIRST, full, QUICK)
    wrong = returns.copy()
    wrong.loc[(wrong["month"] == MONTHS[10]) & (wrong["factor"] == "VAL"), "book_turnover"] = np.nan
    with pytest.raises(ValueError, match=r"VAL.*no book_turnover"):
        run_backtest(held, wrong, market, month, FIRST, full, QUICK)
    with pytest.raises(ValueError, match="expected one row for each"):
        run_backtest(held, returns[returns["factor"] != "SIZE"], market, month, FIRST, full, QUICK)


def test_first_month_has_no_rows() -> None:
    returns = longshort()
    empty = run_backtest(weights(returns), returns, index_returns(), [FIRST], FIRST, None, QUICK)
    assert empty.empty
    assert list(empty.columns) == BACKTEST.stored_names


def test_a_total_loss_is_an_error() -> None:
    returns = longshort()
    held = weights(returns)
    returns.loc[(returns["month"] == MONTHS[5]) & (returns["factor"] == "SIZE"), "long_short"] = -1.0
    with pytest.raises(TotalLossError, match=r"only_SIZE lost .* in 2017-04"):
        run_backtest(held, returns, index_returns(), MONTHS, FIRST, None, QUICK)


def test_units_of_time_stamps_do_not_matter(full: pd.DataFrame) -> None:
    returns = longshort()
    frames = [
        f.assign(month=f["month"].astype("datetime64[us]")) for f in (weights(returns), returns, index_returns(), full)
    ]
    again = run_backtest(frames[0], frames[1], frames[2], MONTHS[20:24], FIRST, frames[3], QUICK)
    pd.testing.assert_frame_equal(again, months_of(full, MONTHS[20:24]), check_exact=True)


def test_options_are_bounded_and_closed() -> None:
    adapter = TypeAdapter(BacktestOptions)
    assert adapter.validate_python({}) == BacktestOptions()
    assert adapter.validate_python({"cost_grid_bp": [0, 5]}).cost_grid_bp == (0.0, 5.0)
    for wrong in ({"cost_bp": -1}, {"confidence": 1.0}, {"cost_grid_bp": [-1]}, {"resamples": 5}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
