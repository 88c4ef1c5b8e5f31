"""Cells of the sensitivity study: judged as the headline is, traded one session late by hand, ranked honestly."""

from __future__ import annotations

import backtest_world as world
import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.sensitivity import (
    EARNED,
    Judged,
    Row,
    judge,
    one_session_later,
    sensitivity_rows,
    standing,
)
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.tables import SENSITIVITY
from rotation_pipeline.backtest.trials import trial_rows
from rotation_pipeline.factors.styles import STYLES

LAST = world.MONTHS[-1]


@pytest.fixture(scope="module")
def backtest() -> pd.DataFrame:
    return world.backtest()


@pytest.fixture(scope="module")
def trials(backtest: pd.DataFrame) -> pd.DataFrame:
    return trial_rows(backtest, world.TRIAL_SETTINGS, [LAST], world.QUICK)


@pytest.fixture(scope="module")
def books() -> pd.DataFrame:
    shares = np.linspace(0.01, 0.05, len(world.MONTHS))
    return pd.DataFrame({"month": world.MONTHS, "strategy": "rotation", "active_share": shares})


def test_a_cell_is_judged_by_the_tests_of_the_headline(
    backtest: pd.DataFrame, books: pd.DataFrame, trials: pd.DataFrame
) -> None:
    found = judge(backtest[list(EARNED)], books, trials, LAST, world.QUICK)
    tests = significance_table(backtest, trials, [LAST], world.QUICK).set_index(["strategy", "baseline", "statistic"])
    row = tests.loc["rotation", "equal_weight", "sharpe_difference_bootstrap"]
    assert (found.difference, found.low, found.high, found.p_value) == tuple(row[["value", "low", "high", "p_value"]])
    assert found.sharpe == tests.loc["rotation", "zero", "sharpe_bootstrap"]["value"]
    equal = backtest[backtest["strategy"] == "equal_weight"]["net_return"]
    assert found.baseline_sharpe == pytest.approx(equal.mean() / equal.std() * 12**0.5, rel=1e-12)
    own = backtest[backtest["strategy"] == "rotation"]
    assert found.months == len(own)
    assert found.turnover == pytest.approx(own["factor_turnover"].mean() * 12)
    assert found.active_share == pytest.approx(0.03)


def test_rows_after_the_month_change_nothing(backtest: pd.DataFrame, books: pd.DataFrame, trials: pd.DataFrame) -> None:
    month = world.MONTHS[30]
    known = trial_rows(backtest, world.TRIAL_SETTINGS, [month], world.QUICK)
    until = judge(backtest[backtest["month"] <= month], books[books["month"] <= month], known, month, world.QUICK)
    assert judge(backtest, books, known, month, world.QUICK) == until
    with pytest.raises(MissingMonthError, match=r"marts\.backtest"):
        judge(backtest[backtest["month"] > month], books, trials, month, world.QUICK)


def test_one_session_later_is_what_each_book_earns_by_hand(backtest: pd.DataFrame) -> None:
    """Month by month, book by book, style by style: the old weights on the first session, the new ones after it."""
    random = np.random.default_rng(3)
    weights = world.weights(world.longshort())
    rows = [
        (month, month + pd.Timedelta(days=day), style, np.nan if style == "MOM" and month == world.MONTHS[7] else r)
        for month in world.MONTHS
        for day in (3, 2)
        for style in STYLES
        for r in [float(random.normal(0, 0.01))]
    ]
    daily = pd.DataFrame(rows, columns=["month", "day", "factor", "long_short"])
    found = one_session_later(backtest, weights, daily)
    held = {(row.month, row.strategy, row.style): row for row in weights.itertuples()}
    first = {(row.month, row.factor): row.long_short for row in daily.itertuples() if row.day.day == 3}
    moved = 0
    for was, now in zip(backtest.itertuples(), found.itertuples(), strict=True):
        expected = was.gross_return
        before = was.month - pd.DateOffset(months=1)
        for style in STYLES:
            row = held.get((before, was.strategy, style))
            value = first[was.month, style]
            if row is not None and not np.isnan(row.drifted) and not np.isnan(value):
                expected += (row.drifted - row.weight) * value
        assert now.gross_return == pytest.approx(expected, abs=1e-15)
        assert (now.month, now.strategy, now.factor_turnover) == (was.month, was.strategy, was.factor_turnover)
        moved += now.gross_return != was.gross_return
    assert moved > 300
    for series in ("index", "oracle"):
        assert found[found["strategy"] == series]["gross_return"].equals(
            backtest[backtest["strategy"] == series]["gross_return"]
        )


def cell(axis: str, position: int, difference: float, trial: str, *, default: bool = False) -> Row:
    judged = Judged(60, 0.5, 0.4, difference, difference - 0.1, difference + 0.1, 0.5, 0.02, 0.3)
    return Row(axis, position, str(position), "{}", default, trial, "1", judged)


def test_the_default_is_ranked_among_distinct_cells() -> None:
    rows = [
        cell("tilt", 0, 0.3, "a"), cell("tilt", 1, 0.05, "own", default=True), cell("cost", 0, 0.05, "own", default=True),
        cell("cost", 1, -0.2, "b"), cell("lag", 1, 0.1, "c"), cell("start", 1, float("nan"), "d"),
    ]  # fmt: skip
    frame = sensitivity_rows(rows, LAST, "mark")
    assert list(frame.columns) == SENSITIVITY.stored_names
    assert len(frame) == len(rows)
    found = standing(frame)
    assert (found.cells, found.rank, found.positive, found.significant, found.worse) == (4, 3, 3, 1, 1)
    assert (found.smallest, found.median, found.largest) == pytest.approx((-0.2, 0.075, 0.3))
    with pytest.raises(ValueError, match="settings in use"):
        standing(frame[~frame["is_default"]])
