"""Significance: published cases, slow references, simulated size and power, the table, trials and replay equality."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from backtest_world import MONTHS, QUICK, TRIAL_SETTINGS, backtest
from scipy import stats

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.allocation.tables import BASELINES, STRATEGIES
from rotation_pipeline.backtest import deflation
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.sharpe_tests import long_run_variance, parzen, sharpe_test_bootstrap, sharpe_test_hac
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.tables import SIGNIFICANCE, TRIALS
from rotation_pipeline.backtest.trials import trial_id, trial_rows
from rotation_pipeline.regimes.statistics import benjamini_hochberg

AS_OF = [MONTHS[0], MONTHS[6], MONTHS[30], MONTHS[45]]


def test_probabilistic_sharpe_published_case() -> None:
    # pypbo, tests/test_pbo.py, test_psr; Bailey & López de Prado (2012)
    found = deflation.probabilistic_sharpe(0.45755008833277844, 24, -2.448, 10.164)
    assert found == pytest.approx(0.9132343068848602, abs=1e-9)


@pytest.mark.parametrize(
    ("annual", "target", "periods", "skew", "kurtosis", "years"),
    [
        (2, 1, 250, 0, 3, 2.731187801728176),
        (2, 1, 52, 0, 3, 2.828833586945237),
        (3, 2.5, 12, -0.72, 5.78, 27.3529201960403),
    ],
)
def test_minimum_track_record_published_case(
    annual: float, target: float, periods: int, skew: float, kurtosis: float, years: float
) -> None:
    # pypbo, tests/test_pbo.py, test_minTRL; The Sharpe Ratio Efficient Frontier, fig. 8
    root = math.sqrt(periods)
    found = deflation.minimum_track_record(annual / root, skew, kurtosis, target / root, 0.95) / periods
    assert found == pytest.approx(years, abs=1e-9)


def test_minimum_track_record_is_the_inverse_of_the_probability() -> None:
    needed = deflation.minimum_track_record(0.2, -0.5, 5.0, 0.05, 0.95)
    variance = 1 + 0.5 * 0.2 + (5 - 1) / 4 * 0.04
    assert stats.norm.cdf(0.15 * math.sqrt(needed - 1) / math.sqrt(variance)) == pytest.approx(0.95, abs=1e-12)
    assert math.isnan(deflation.minimum_track_record(0.05, 0.0, 3.0, 0.05, 0.95))


def test_one_trial_deflates_nothing_and_more_deflate_more() -> None:
    arguments = (0.2, 60, -0.3, 4.0)
    values = [deflation.deflated_sharpe(*arguments, trials, 0.01) for trials in (1, 2, 10, 100)]
    assert values[0] == deflation.probabilistic_sharpe(*arguments)
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.3
    assert math.isnan(deflation.probabilistic_sharpe(math.nan, 60, 0.0, 3.0))
    with pytest.raises(ValueError, match="at least 1"):
        deflation.expected_maximum_sharpe(0, 1.0)


def test_expected_maximum_is_about_that_of_simulated_trials() -> None:
    random = np.random.default_rng(0)
    for trials in (5, 20, 100):
        simulated = random.normal(size=(20_000, trials)).max(axis=1).mean()
        assert deflation.expected_maximum_sharpe(trials, 1.0) == pytest.approx(simulated, rel=0.05)


def reference_hac(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The paper's formula with 4 × 4 matrices and the bandwidth of the influence series; difference and p."""
    n = len(first)
    moments = np.column_stack([first, second, first**2, second**2])
    mean = moments.mean(axis=0)
    centred = moments - mean
    a, b, c, d = mean
    gradient = np.array(
        [c / (c - a * a) ** 1.5, -d / (d - b * b) ** 1.5, -0.5 * a / (c - a * a) ** 1.5, 0.5 * b / (d - b * b) ** 1.5]
    )
    influence = centred @ gradient
    rho = (influence[1:] @ influence[:-1]) / (influence[:-1] @ influence[:-1])
    bandwidth = 2.6614 * (4 * rho**2 / (1 - rho) ** 4 * n) ** 0.2
    psi = centred.T @ centred / n
    for lag in range(1, n):
        gamma = centred[lag:].T @ centred[:-lag] / n
        psi += parzen(lag / bandwidth) * (gamma + gamma.T)
    psi *= n / (n - 4)
    difference = a / math.sqrt(c - a * a) - b / math.sqrt(d - b * b)
    return difference, 2 * stats.norm.sf(abs(difference) / math.sqrt(gradient @ psi @ gradient / n))


def correlated(seed: int, n: int = 90, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    common = random.standard_t(5, n) * 0.03
    return common + random.normal(shift, 0.02, n), common + random.normal(0.0, 0.02, n)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hac_is_the_papers_formula(seed: int) -> None:
    first, second = correlated(seed)
    difference, p_value = reference_hac(first, second)
    test = sharpe_test_hac(first, second, 0.95)
    assert test.p_value == pytest.approx(p_value, rel=1e-9)
    assert test.value == pytest.approx(difference * math.sqrt(89 / 90), rel=1e-12)
    assert test.value == pytest.approx(float(m.sharpe_ratio(first, 1.0) - m.sharpe_ratio(second, 1.0)), rel=1e-12)
    assert test.high - test.value == pytest.approx(1.959963984540054 * test.standard_error, rel=1e-12)


def test_parzen_and_long_run_variance() -> None:
    assert [parzen(x) for x in (0.0, 0.5, 1.0, 1.5)] == [1.0, 0.25, 0.0, 0.0]
    random = np.random.default_rng(3)
    noise = random.normal(size=40_000)
    series = np.empty(40_000)
    series[0] = noise[0]
    for i in range(1, series.size):
        series[i] = 0.5 * series[i - 1] + noise[i]
    assert long_run_variance(series - series.mean()) == pytest.approx(1.0 / (1 - 0.5) ** 2, rel=0.1)


def reference_bootstrap(
    first: np.ndarray, second: np.ndarray, starts: np.ndarray, block: int, error: float
) -> tuple[np.ndarray, float]:
    """The paper's section 3.2.2 with 4 × 4 matrices, one resample after another."""
    n = len(first)
    draws = []
    total = first.mean() / first.std() - second.mean() / second.std()
    for row in starts:
        rows = np.concatenate([(s + np.arange(block)) % n for s in row])
        x, y = first[rows], second[rows]
        a, b, c, d = x.mean(), y.mean(), (x * x).mean(), (y * y).mean()
        gradient = np.array(
            [
                c / (c - a * a) ** 1.5,
                -d / (d - b * b) ** 1.5,
                -0.5 * a / (c - a * a) ** 1.5,
                0.5 * b / (d - b * b) ** 1.5,
            ]
        )
        centred = np.column_stack([x - a, y - b, x * x - c, y * y - d])
        zeta = centred.reshape(len(row), block, 4).sum(axis=1) / math.sqrt(block)
        psi = zeta.T @ zeta / len(row)
        difference = a / math.sqrt(c - a * a) - b / math.sqrt(d - b * b)
        draws.append(abs(difference - total) / math.sqrt(gradient @ psi @ gradient / len(rows)))
    scaled = abs(total) / error
    return np.array(draws), (1 + sum(draw >= scaled for draw in draws)) / (1 + len(draws))


def test_bootstrap_is_the_papers_recipe() -> None:
    first, second = correlated(4, shift=0.004)
    starts = np.random.default_rng(9).integers(0, 90, (150, 15))
    hac = sharpe_test_hac(first, second, 0.9)
    test = sharpe_test_bootstrap(first, second, 0.9, starts, 6)
    draws, p_value = reference_bootstrap(first, second, starts, 6, hac.standard_error / math.sqrt(89 / 90))
    assert test.p_value == pytest.approx(p_value, abs=1e-12)
    critical = np.sort(draws)[math.ceil(0.9 * 150) - 1]
    assert test.high - test.value == pytest.approx(critical * hac.standard_error, rel=1e-9)
    assert test.value - test.low == pytest.approx(test.high - test.value, rel=1e-9)


def test_single_sharpe_ratio_is_a_comparison_with_nothing() -> None:
    first, _ = correlated(5, shift=0.02)
    starts = np.random.default_rng(9).integers(0, 90, (200, 15))
    hac, boot = sharpe_test_hac(first, None, 0.95), sharpe_test_bootstrap(first, None, 0.95, starts, 6)
    assert hac.value == pytest.approx(float(m.sharpe_ratio(first, 1.0)), rel=1e-12)
    # independent months: Lo (2002) with skew and kurtosis is the same delta method
    sharpe, skew, kurtosis = float(hac.value), float(m.skewness(first)), float(m.kurtosis(first))
    lo = math.sqrt((1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2) / 90)
    assert hac.standard_error == pytest.approx(lo, rel=0.35)
    assert boot.low < hac.value < boot.high


def test_size_and_power() -> None:
    """Under equal Sharpe ratios 10 % tests reject about 10 %; a large difference is found."""
    starts = np.random.default_rng(1).integers(0, 90, (199, 15))
    under = [sharpe_test_bootstrap(*correlated(seed), 0.95, starts, 6).p_value for seed in range(300)]
    rejected = np.mean(np.array(under) < 0.10)
    assert 0.05 < rejected < 0.16
    found = [sharpe_test_bootstrap(*correlated(seed, shift=0.02), 0.95, starts, 6).p_value for seed in range(40)]
    assert np.mean(np.array(found) < 0.10) > 0.9


def test_nothing_to_compare_is_nan() -> None:
    first, _ = correlated(1)
    starts = np.zeros((100, 15), dtype=np.int64)
    for other in (first, first * 2.0, np.full(90, 0.01)):
        for test in (sharpe_test_hac(first, other, 0.95), sharpe_test_bootstrap(first, other, 0.95, starts, 6)):
            assert math.isnan(test.p_value)
            assert math.isnan(test.low)
    with pytest.raises(ValueError, match="at least 5"):
        sharpe_test_hac(first[:4], None, 0.95)


@pytest.fixture(scope="module")
def book() -> pd.DataFrame:
    return backtest()


@pytest.fixture(scope="module")
def trials(book: pd.DataFrame) -> pd.DataFrame:
    return trial_rows(book, TRIAL_SETTINGS, MONTHS, QUICK)


@pytest.fixture(scope="module")
def table(book: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    return significance_table(book, trials, AS_OF, QUICK)


def test_trials(book: pd.DataFrame, trials: pd.DataFrame) -> None:
    assert list(trials.columns) == TRIALS.stored_names
    assert not trials.duplicated(["month", "trial_id"]).any()
    assert trial_id({"b": 1, "a": [1.5, "中"]}) == trial_id({"a": [1.5, "中"], "b": 1})
    assert trial_id({"a": 1}) != trial_id({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        trial_id({"a": math.nan})
    last = trials[(trials["month"] == MONTHS[45]) & (trials["strategy"] == "rotation")].iloc[0]
    returns = book[(book["strategy"] == "rotation") & (book["month"] <= MONTHS[45])]["net_return"]
    assert last["sharpe"] == pytest.approx(returns.mean() / returns.std(), rel=1e-12)
    assert last["months"] == 45
    assert json.loads(last["configuration"]) == {"strategy": "rotation", "configuration": TRIAL_SETTINGS["rotation"]}
    same = trial_rows(book, {name: {"a": 1} for name in STRATEGIES}, [MONTHS[3]], QUICK)
    assert same["trial_id"].nunique() == 3
    first = trials[trials["month"] == MONTHS[0]]
    assert (first["months"] == 0).all()
    assert first["sharpe"].isna().all()


def test_table_is_what_the_contract_says(table: pd.DataFrame) -> None:
    assert list(table.columns) == SIGNIFICANCE.stored_names
    key = list(SIGNIFICANCE.key)
    assert not table.duplicated(key).any()
    pd.testing.assert_frame_equal(table, table.sort_values(key, ignore_index=True))
    assert set(table["month"]) == set(AS_OF[1:])
    assert table[table["month"] == MONTHS[6]]["value"].isna().all()  # six months are too few
    counted = table["statistic"] == "deflated_sharpe"
    assert (table[counted]["trials"] == 3).all()
    assert table[~counted]["trials"].isna().all()
    assert table[counted]["detail"].str.contains("2014").all()
    compared = set(
        table[(table["strategy"] == "rotation") & (table["statistic"] == "sharpe_difference_adjusted")]["baseline"]
    )
    assert compared == {*BASELINES, "index"}
    p_values = table["p_value"].dropna()
    assert p_values.between(0.0, 1.0).all()


def row(table: pd.DataFrame, month: pd.Timestamp, baseline: str, statistic: str) -> pd.Series:
    chosen = table[(table["month"] == month) & (table["strategy"] == "rotation")]
    chosen = chosen[(chosen["baseline"] == baseline) & (chosen["statistic"] == statistic)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_table_values(book: pd.DataFrame, trials: pd.DataFrame, table: pd.DataFrame) -> None:
    month = MONTHS[45]
    wide = book[book["month"] <= month].pivot(index="month", columns="strategy", values="net_return")
    mine, equal = wide["rotation"].to_numpy(), wide["equal_weight"].to_numpy()
    hac = sharpe_test_hac(mine, equal, 0.95)
    found = row(table, month, "equal_weight", "sharpe_difference_hac")
    np.testing.assert_allclose(
        [found["value"], found["low"], found["p_value"]],
        [hac.value * math.sqrt(12), hac.low * math.sqrt(12), hac.p_value],
        rtol=1e-9,
    )
    assert row(table, month, "equal_weight", "excess_return")["value"] == pytest.approx(
        (mine - equal).mean() * 12, rel=1e-9
    )
    last = trials[trials["month"] == month]
    for baseline, returns, column in (("zero", mine, "sharpe"), ("equal_weight", mine - equal, "information_ratio")):
        sharpe = returns.mean() / returns.std(ddof=1)
        shape = (45, stats.skew(returns), stats.kurtosis(returns, fisher=False))
        expected = deflation.deflated_sharpe(sharpe, *shape, 3, last[column].var())
        assert row(table, month, baseline, "deflated_sharpe")["value"] == pytest.approx(expected, rel=1e-9)
        assert row(table, month, baseline, "probabilistic_sharpe")["value"] == pytest.approx(
            deflation.probabilistic_sharpe(sharpe, *shape), rel=1e-9
        )
    names = [*BASELINES, "index"]
    raw = [row(table, month, name, "sharpe_difference_bootstrap")["p_value"] for name in names]
    adjusted = [row(table, month, name, "sharpe_difference_adjusted")["p_value"] for name in names]
    np.testing.assert_allclose(adjusted, benjamini_hochberg(raw), rtol=1e-12)
    assert all(a >= r for a, r in zip(adjusted, raw, strict=True))


def test_old_trials_stay_counted(book: pd.DataFrame, trials: pd.DataFrame) -> None:
    old = trials[trials["month"] <= MONTHS[20]].assign(trial_id=lambda frame: "old-" + frame["trial_id"])
    both = significance_table(book, pd.concat([trials, old]), [MONTHS[10], MONTHS[45]], QUICK)
    deflated = both[both["statistic"] == "deflated_sharpe"]
    # until they were left they agree to the last bit with those that went on; after it nothing says that they would
    assert (deflated.loc[deflated["month"] == MONTHS[10], "trials"] == 3).all()
    assert (deflated.loc[deflated["month"] == MONTHS[45], "trials"] == 6).all()
    with pytest.raises(MissingMonthError, match=r"marts\.trials has no rows up to 2017-05"):
        significance_table(book, trials[trials["month"] > MONTHS[6]], [MONTHS[6]], QUICK)


def test_replay(book: pd.DataFrame, trials: pd.DataFrame, table: pd.DataFrame) -> None:
    for month in AS_OF[1:]:
        alone = significance_table(
            book[book["month"] <= month], trials[trials["month"] <= month].iloc[::-1], [month], QUICK
        )
        pd.testing.assert_frame_equal(alone, table[table["month"] == month].reset_index(drop=True), check_exact=True)
        again = trial_rows(book[book["month"] <= month], TRIAL_SETTINGS, [month], QUICK)
        pd.testing.assert_frame_equal(again, trials[trials["month"] == month].reset_index(drop=True), check_exact=True)
    other = significance_table(book, trials, [MONTHS[45]], replace(QUICK, seed=1))
    assert not other["low"].equals(table[table["month"] == MONTHS[45]]["low"].reset_index(drop=True))


def test_near_copies_of_a_strategy_do_not_raise_the_deflated_ratio(book: pd.DataFrame, trials: pd.DataFrame) -> None:
    month = MONTHS[45]
    first = trials[(trials["month"] == month) & (trials["strategy"] == "rotation")]
    copies = pd.concat([first.assign(trial_id=f"copy {i}", sharpe=first["sharpe"] + 1e-6 * (i + 1)) for i in range(40)])
    alone, crowded = (
        row(significance_table(book, counted, [month], QUICK), month, "zero", "deflated_sharpe")
        for counted in (trials, pd.concat([trials, copies]))
    )
    assert crowded["trials"] == alone["trials"] + 40
    assert crowded["value"] < alone["value"]
