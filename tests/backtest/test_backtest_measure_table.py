"""Table MEASURES: values against the plain functions, intervals against a slow bootstrap, samples, replay equality."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from backtest_world import FORECAST_MONTHS, MONTHS, QUICK, SERIES, backtest, regimes

from rotation_pipeline.allocation.frames import MissingMonthError, month_before
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.history import read_history
from rotation_pipeline.backtest.measure_table import INTERVAL_MEASURES, MEASURE_NAMES, PATH_MEASURES, measure_table
from rotation_pipeline.backtest.resampling import resampled_moments, stationary_months
from rotation_pipeline.backtest.tables import MEASURES

AS_OF = [MONTHS[0], MONTHS[1], MONTHS[5], MONTHS[30], MONTHS[45]]
KEY = list(MEASURES.key)


@pytest.fixture(scope="module")
def book() -> pd.DataFrame:
    return backtest()


@pytest.fixture(scope="module")
def table(book: pd.DataFrame) -> pd.DataFrame:
    return measure_table(book, regimes(), FORECAST_MONTHS, AS_OF, QUICK)


def net(book: pd.DataFrame, series: str, until: pd.Timestamp, cost: float = QUICK.cost_bp) -> pd.Series:
    rows = book[(book["strategy"] == series) & (book["month"] <= until)].set_index("month")
    return rows["gross_return"] - (rows["factor_turnover"] + rows["book_turnover"]) * cost / 1e4


def value(
    table: pd.DataFrame, month: pd.Timestamp, series: str, sample: str, measure: str, cost: float = QUICK.cost_bp
) -> pd.Series:
    chosen = table[(table["month"] == month) & (table["strategy"] == series) & (table["sample"] == sample)]
    chosen = chosen[(chosen["measure"] == measure) & (chosen["cost_bp"] == cost)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_table_is_what_the_contract_says(table: pd.DataFrame) -> None:
    assert list(table.columns) == MEASURES.stored_names
    assert not table.duplicated(KEY).any()
    pd.testing.assert_frame_equal(table, table.sort_values(KEY, ignore_index=True))
    assert set(table["strategy"]) == set(SERIES)
    assert set(table["measure"]) == set(MEASURE_NAMES)
    assert set(table["month"]) == set(AS_OF[1:])
    assert (table["low"].isna() == table["high"].isna()).all()
    with_interval = table[table["low"].notna()]
    assert set(with_interval["measure"]) == set(INTERVAL_MEASURES)
    assert (with_interval["low"] <= with_interval["high"]).all()


def test_values_are_the_plain_functions(book: pd.DataFrame, table: pd.DataFrame) -> None:
    month = MONTHS[45]
    for series in ("rotation", "factor_momentum", "index"):
        for cost in (0.0, 20.0, 50.0):
            mine, equal = net(book, series, month, cost), net(book, "equal_weight", month, cost)
            expected = {
                "annualised_return": m.annualised_return(mine), "sharpe": m.sharpe_ratio(mine), "max_drawdown": m.max_drawdown(mine),
                "excess_return": (mine - equal).mean() * 12, "information_ratio": m.sharpe_ratio(mine - equal),
            }  # fmt: skip
            for name, number in expected.items():
                assert value(table, month, series, "all", name, cost)["value"] == pytest.approx(
                    float(number), abs=1e-12
                )
        mine, equal = net(book, series, month), net(book, "equal_weight", month)
        rows = book[(book["strategy"] == series) & (book["month"] <= month)]
        full = {
            "sortino": m.sortino_ratio(mine), "calmar": m.calmar_ratio(mine), "hit_rate": (mine > 0).mean(), "worst_month": mine.min(),
            "tracking_error": m.tracking_error(mine, equal), "alpha": m.alpha_beta(mine, equal)[0], "beta": m.alpha_beta(mine, equal)[1],
            "cost_drag": (rows["factor_cost"] + rows["book_cost"]).mean() * 12, "factor_turnover": rows["factor_turnover"].mean(),
            "gross_sharpe": m.sharpe_ratio(rows["gross_return"]), "skew": m.skewness(mine), "kurtosis": m.kurtosis(mine),
        }  # fmt: skip
        for name, number in full.items():
            assert value(table, month, series, "all", name)["value"] == pytest.approx(float(number), abs=1e-11), name
        peak, trough, back = m.max_drawdown_span(mine)
        stamps = [month_before(MONTHS[1]), *mine.index]
        for name, position in (("peak", peak), ("trough", trough), ("recovery", back)):
            found = value(table, month, series, "all", f"max_drawdown_{name}")["value"]
            expected_stamp = (
                math.nan if position is None else stamps[position + 1].year * 100 + stamps[position + 1].month
            )
            np.testing.assert_equal(found, expected_stamp)


def test_samples_are_the_months_they_name(book: pd.DataFrame, table: pd.DataFrame) -> None:
    month = MONTHS[45]
    returns = net(book, "rotation", month)
    labels = regimes().set_index("month")["regime"]
    known = pd.Series(
        [labels[month_before(when)] for when in returns.index], index=returns.index
    )  # what could be traded on
    samples = {
        "last36": returns.iloc[-36:], "year:2018": returns[returns.index.year == 2018],
        "forecast": returns[[month_before(when) in FORECAST_MONTHS for when in returns.index]],
        **{f"regime:{name}": returns[known == name] for name in ("bear", "range", "slow_bull")},
    }  # fmt: skip
    for sample, chosen in samples.items():
        row = value(table, month, "rotation", sample, "sharpe")
        assert row["value"] == pytest.approx(float(m.sharpe_ratio(chosen)), abs=1e-12), sample
        assert row["months"] == len(chosen)
    assert set(table[table["month"] == month]["sample"]) == {
        *samples,
        "all",
        "year:2016",
        "year:2017",
        "year:2019",
        "year:2020",
    }
    scattered = table[table["sample"].str.startswith("regime:")]
    assert not set(scattered["measure"]) & set(PATH_MEASURES)
    assert "last36" not in set(table[table["month"] == MONTHS[30]]["sample"])


def test_too_short_a_sample_has_no_ratio(table: pd.DataFrame) -> None:
    assert math.isnan(value(table, MONTHS[1], "rotation", "all", "sharpe")["value"])
    assert not math.isnan(value(table, MONTHS[1], "rotation", "all", "total_return")["value"])
    assert math.isnan(value(table, MONTHS[5], "rotation", "all", "sharpe")["low"])


def test_intervals_are_a_slow_bootstrap(book: pd.DataFrame, table: pd.DataFrame) -> None:
    month = MONTHS[45]
    mine, equal = net(book, "rotation", month).to_numpy(), net(book, "equal_weight", month).to_numpy()
    draws: dict[str, list[float]] = {name: [] for name in INTERVAL_MEASURES}
    for rows in stationary_months(len(mine), month, QUICK):
        draws["annualised_return"].append(float(m.annualised_return(mine[rows])))
        draws["sharpe"].append(float(m.sharpe_ratio(mine[rows])))
        draws["excess_return"].append(float(m.excess_return(mine[rows], equal[rows])))
        draws["information_ratio"].append(float(m.information_ratio(mine[rows], equal[rows])))
    for name, values in draws.items():
        row = value(table, month, "rotation", "all", name)
        np.testing.assert_allclose([row["low"], row["high"]], np.quantile(values, [0.025, 0.975]), rtol=1e-9)
        assert row["low"] < row["value"] < row["high"]


def test_compiled_moments_are_numpy() -> None:
    random = np.random.default_rng(1)
    values = random.normal(100.0, 0.01, (30, 3))  # a large mean must not eat the digits of the deviation
    indices = random.integers(0, 30, (50, 30))
    mean, spread = resampled_moments(values, indices)
    np.testing.assert_allclose(mean, values[indices].mean(axis=1), rtol=1e-14)
    np.testing.assert_allclose(spread, values[indices].std(axis=1, ddof=1), rtol=1e-9)


def test_replay(book: pd.DataFrame, table: pd.DataFrame) -> None:
    for month in (MONTHS[5], MONTHS[30], MONTHS[45]):
        expected = table[table["month"] == month].reset_index(drop=True)
        cut = book[book["month"] <= month]
        known = regimes()[lambda frame, month=month: frame["month"] <= month]
        alone = measure_table(
            cut.sample(frac=1, random_state=3), known, [f for f in FORECAST_MONTHS if f <= month], [month], QUICK
        )
        pd.testing.assert_frame_equal(alone, expected, check_exact=True)


def test_gaps_and_missing_months_are_named(book: pd.DataFrame) -> None:
    with pytest.raises(MissingMonthError, match=r"gap after 2017-08.*2017-10"):
        read_history(book[book["month"] != MONTHS[10]])
    with pytest.raises(MissingMonthError, match=r"oracle for 2017-09"):
        read_history(book[(book["month"] != MONTHS[10]) | (book["strategy"] != "oracle")])
    with pytest.raises(MissingMonthError, match=r"marts\.backtest has no rows for 2021-01"):
        measure_table(book, regimes(), [], [pd.Timestamp("2021-01-01")], QUICK)
    empty = measure_table(book.iloc[:0], regimes(), [], MONTHS[:2], QUICK)
    assert empty.empty
    assert list(empty.columns) == MEASURES.stored_names
