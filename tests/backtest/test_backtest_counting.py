"""Which configurations count as trials: equal weight under another name does not, nor the same results twice; and what V is of."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from backtest_world import MONTHS, QUICK, STRATEGIES, TRIAL_SETTINGS, backtest

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.counting import Tried, counted, counts, latest_until, read_trials, spread
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.stock_level.significance import stock_trials
from rotation_pipeline.backtest.trials import Evaluated, trial_rows

MONTH = MONTHS[-1]


def tried(name: str, sharpe: float, ratio: float, *, months: int = 48, strategy: str = "rotation") -> Tried:
    return Tried(MONTH, name, "book", strategy, months, sharpe, ratio)


def test_equal_weight_under_another_name_is_no_trial_and_one_that_is_too_short_to_tell_is() -> None:
    rows = [tried("a", 0.1, math.nan), tried("b", math.nan, math.nan, months=2), tried("c", 0.1, 0.0)]
    assert counts(rows) == {"a": "equal_weight", "b": "counted", "c": "counted"}


def test_the_same_results_twice_are_one_trial_whatever_their_order() -> None:
    rows = [
        tried("a", 0.1, 0.2),
        tried("b", 0.1, 0.2),
        tried("c", 0.1, 0.2, months=47),
        tried("d", 0.1, np.nextafter(0.2, 1)),
    ]
    for order in permutations(rows):
        assert counts(order) == {"a": "counted", "b": "repeated", "c": "counted", "d": "counted"}
        assert len(counted(order)) == 3
    unknown = [tried(name, math.nan, math.nan, months=1) for name in "ab"]
    assert len(counted(unknown)) == 2


def test_a_book_that_never_left_equal_weight_is_not_counted_until_it_does() -> None:
    """The network's book, as where networks do not speak: its rows are those of equal weight."""
    rows, when = backtest(), MONTHS[30]
    own = rows.set_index(["month", "strategy"])
    values = ["gross_return", "factor_turnover", "book_turnover", "factor_cost", "book_cost", "net_return"]
    for month in MONTHS[1:30]:
        own.loc[(month, STRATEGIES[-1]), values] = own.loc[(month, "equal_weight"), values].to_numpy()
    quiet = own.reset_index()[rows.columns]
    trials = trial_rows(quiet, TRIAL_SETTINGS, [MONTHS[29], when], QUICK)
    before, after = (
        significance_table(quiet, trials, [month], QUICK).query("statistic == 'deflated_sharpe'")["trials"]
        for month in (MONTHS[29], when)
    )
    assert set(before) == {len(STRATEGIES) - 1}
    assert set(after) == {len(STRATEGIES)}
    alone = trials[trials["strategy"] != STRATEGIES[-1]]
    kept, left = (significance_table(quiet, rows, [MONTHS[29]], QUICK) for rows in (trials, alone))
    pd.testing.assert_frame_equal(kept, left, check_exact=True)


def test_the_spread_is_of_all_trials_or_of_those_over_the_months_judged_if_they_lie_further_apart() -> None:
    rows = [
        tried("a", 0.1, 0.2),
        tried("b", 0.3, 0.1),
        tried("c", 0.9, 0.8, months=20),
        tried("d", 0.5, 0.4, months=60),
    ]
    for months in (48, 20):
        assert spread(rows, months, "sharpe") == pytest.approx(np.var([0.1, 0.3, 0.9, 0.5], ddof=1))
        assert spread(rows, months, "information_ratio") == pytest.approx(np.var([0.2, 0.1, 0.8, 0.4], ddof=1))
    close = [tried("a", 0.1, 0.2), tried("b", 0.9, 0.1)] + [tried(name, 0.5, 0.4, months=60) for name in "cdefg"]
    assert spread(close, 48, "sharpe") == pytest.approx(np.var([0.1, 0.9], ddof=1))
    silent = [tried("a", math.nan, math.nan), tried("b", 0.3, 0.1)]
    assert math.isnan(spread(silent, 48, "sharpe")), "two were tried, and nothing says how far they lie apart"
    assert spread(rows[:1], 48, "sharpe") == 0.0
    assert spread([], 48, "sharpe") == 0.0


def test_trials_left_behind_raise_the_bar_by_their_number_and_their_spread() -> None:
    trials = trial_rows(backtest(), TRIAL_SETTINGS, [MONTH], QUICK)
    other = trials.assign(
        trial_id="short-" + trials["trial_id"], months=trials["months"] - 12, sharpe=trials["sharpe"] * 9.0
    )
    tables = [significance_table(backtest(), rows, [MONTH], QUICK) for rows in (trials, pd.concat([trials, other]))]
    alone, both = (
        table.query("statistic == 'deflated_sharpe' and baseline == 'zero'").set_index("strategy") for table in tables
    )
    assert (both["trials"] == 2 * alone["trials"]).all()
    maximum = [
        float(str(table.loc["rotation", "detail"]).split("expected maximum ")[1].split(" ")[0])
        for table in (alone, both)
    ]
    months = int(trials["months"].iloc[0])
    for found, rows, number in ((maximum[0], trials, 3), (maximum[1], pd.concat([trials, other]), 6)):
        variance = spread(counted(read_trials(rows)), months, "sharpe")
        assert found == pytest.approx(expected(number, variance), abs=1e-3)
    assert maximum[1] > maximum[0] * expected(6, 1.0) / expected(3, 1.0)


def expected(trials: int, variance: float) -> float:
    from rotation_pipeline.backtest.deflation import expected_maximum_sharpe

    return expected_maximum_sharpe(trials, variance)


def test_a_stock_level_book_over_other_months_is_refused() -> None:
    months = tuple(MONTHS[1:])
    net = np.random.default_rng(3).normal(0.01, 0.04, len(months))
    book = Evaluated("stock_book", "rotation", {"portfolio": "long_only"}, months, net, net * 0.5)
    assert (trial_rows(backtest(), {}, [MONTH], QUICK, [book])["months"] == len(months)).all()
    for late in (months[5:], months[:-1]):
        other = Evaluated("stock_book", "rotation", {}, late, net[: len(late)], net[: len(late)])
        with pytest.raises(MissingMonthError, match=r"marts\.stock_backtest has other months of rotation up to"):
            trial_rows(backtest(), {}, [MONTH], QUICK, [other])


def test_a_stock_level_book_and_its_yardstick_must_have_the_same_months() -> None:
    import stock_level_world as stocks

    daily = stocks.result().daily
    first = daily["month"].min()
    made = {portfolio: {} for portfolio in stocks.OPTIONS.portfolios}
    assert stock_trials(daily, made)
    cut = daily.filter((daily["strategy"] != "equal_weight") | (daily["month"] > first))
    with pytest.raises(
        MissingMonthError, match=r"marts\.stock_backtest has other months of rotation than of equal_weight"
    ):
        stock_trials(cut, made)


def test_a_month_before_any_trial_is_named() -> None:
    rows = read_trials(trial_rows(backtest(), TRIAL_SETTINGS, MONTHS[5:], QUICK))
    with pytest.raises(MissingMonthError, match=f"no rows up to {MONTHS[4]:%Y-%m}"):
        latest_until(rows, MONTHS[4])
    assert [row.month for row in latest_until(rows, MONTHS[7])] == [MONTHS[7]] * len(TRIAL_SETTINGS)
