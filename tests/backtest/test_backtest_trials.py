"""What counts as a trial: books, cells of the grid, stock-level books; and what each claim is deflated by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
import stock_level_world as stocks
from backtest_world import MONTHS, QUICK, TRIAL_SETTINGS, backtest

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.deflation import deflated_sharpe, expected_maximum_sharpe
from rotation_pipeline.backtest.history import read_history
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.stock_level.rows import COSTS
from rotation_pipeline.backtest.stock_level.significance import monthly_net, stock_significance, stock_trials
from rotation_pipeline.backtest.stock_level.tables import STOCK_SIGNIFICANCE, STOCK_STRATEGIES
from rotation_pipeline.backtest.trials import Evaluated, cell_trials, trial_rows


def selection() -> pd.DataFrame:
    """Two cells of one strategy over the months of the small world."""
    random = np.random.default_rng(1)
    rows = []
    for place, kappa in enumerate((0.0, 0.09)):
        for i, month in enumerate(MONTHS):
            gross = np.nan if i == 0 else float(random.normal(0.002, 0.03))
            rows.append((month, "rotation", place, "ratio", np.nan, np.nan, np.nan, kappa, gross, 0.3 if i else np.nan))
    names = ["month", "strategy", "cell", "score_form", "risk_penalty", "temperature", "inertia", "tilt_scale",
             "gross_return", "turnover"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def configuration(name: str, changes: dict[str, object]) -> dict[str, object]:
    return {"strategy": name, "allocation": {"book": "rotation", **changes}, "seed": 7}


def cells() -> list[Evaluated]:
    return cell_trials(selection(), backtest(), configuration, QUICK)  # type: ignore[arg-type]


def test_every_cell_of_the_grid_is_counted_with_its_own_returns() -> None:
    rows = trial_rows(backtest(), TRIAL_SETTINGS, MONTHS[-1:], QUICK, cells())
    assert rows["kind"].tolist().count("cell") == 2
    assert len(rows) == len(TRIAL_SETTINGS) + 2
    own = selection()
    first = own[(own["cell"] == 1) & own["gross_return"].notna()]
    net = first["gross_return"].to_numpy() - first["turnover"].to_numpy() * QUICK.cost_bp / 1e4
    found = rows[rows["configuration"].str.contains('"tilt_scale":0.09', regex=False)]
    assert found["sharpe"].item() == pytest.approx(net.mean() / net.std(ddof=1))
    history = read_history(backtest())
    excess = net - history.net(QUICK.cost_bp)[:, history.column("equal_weight")]
    assert found["information_ratio"].item() == pytest.approx(excess.mean() / excess.std(ddof=1))
    deflated = significance_table(backtest(), rows, MONTHS[-1:], QUICK)
    assert set(deflated.loc[deflated["statistic"] == "deflated_sharpe", "trials"]) == {len(rows)}


def test_a_configuration_evaluated_twice_is_one_trial() -> None:
    same = {"rotation": configuration("rotation", {"score_form": "ratio", "tilt_scale": 0.09})}
    rows = trial_rows(backtest(), same, MONTHS[-1:], QUICK, cells())
    assert rows["kind"].tolist().count("book") == 1
    assert rows["kind"].tolist().count("cell") == 1


def test_trials_of_a_month_do_not_depend_on_later_ones() -> None:
    whole = trial_rows(backtest(), TRIAL_SETTINGS, MONTHS, QUICK, cells())
    month = MONTHS[20]
    past, own = backtest()[backtest()["month"] <= month], selection()
    early = cell_trials(own[own["month"] <= month], past, configuration, QUICK)  # type: ignore[arg-type]
    alone = trial_rows(past, TRIAL_SETTINGS, [month], QUICK, early)
    expected = whole[whole["month"] == month].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, check_exact=True)
    assert (whole[whole["month"] == MONTHS[0]]["months"] == 0).all()
    gap = own[own["month"] != MONTHS[5]]
    with pytest.raises(MissingMonthError, match="other months of rotation"):
        cell_trials(gap, backtest(), configuration, QUICK)  # type: ignore[arg-type]


def stock_book(months: tuple[pd.Timestamp, ...]) -> Evaluated:
    random = np.random.default_rng(5)
    net = random.normal(0.02, 0.05, len(months))
    return Evaluated("stock_book", "rotation", {"portfolio": "long_only"}, months, net, net * 0.5)


def test_a_stock_level_book_deflates_no_claim_of_the_factor_level() -> None:
    months = tuple(MONTHS[1:])
    without = trial_rows(backtest(), TRIAL_SETTINGS, MONTHS[-1:], QUICK)
    beside = trial_rows(backtest(), TRIAL_SETTINGS, MONTHS[-1:], QUICK, [stock_book(months)])
    assert len(beside) == len(without) + 1
    first, second = (significance_table(backtest(), rows, MONTHS[-1:], QUICK) for rows in (without, beside))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    pd.testing.assert_frame_equal(  # trials of studies before there were kinds are books
        significance_table(backtest(), without.drop(columns="kind"), MONTHS[-1:], QUICK), first, check_exact=True
    )


# ---------------------------------------------------------------- stock level


STOCK_MONTHS = [pd.Timestamp(month).date() for month in MONTHS[1:25]]


@lru_cache
def daily() -> pl.DataFrame:
    """Two years of three portfolios, a session a month."""
    random = np.random.default_rng(2)
    rows = []
    for strategy in STOCK_STRATEGIES:
        for portfolio in stocks.OPTIONS.portfolios:
            nav = 10_000_000
            for month in STOCK_MONTHS:
                profit, cost = int(nav * random.normal(0.005, 0.04)), 100
                nav += profit - cost * len(COSTS)
                rows.append((month, strategy, portfolio, month, nav, profit, *[cost] * len(COSTS)))
    names = ["month", "strategy", "portfolio", "day", "nav_fen", "profit_fen", *(f"{name}_fen" for name in COSTS)]
    return pl.DataFrame(rows, schema=names, orient="row")


def index() -> pl.DataFrame:
    returns = np.random.default_rng(9).normal(0.004, 0.05, len(STOCK_MONTHS))
    return pl.DataFrame({"month": STOCK_MONTHS, "ret": returns})


@lru_cache
def stock_rows() -> pd.DataFrame:
    """Three factor-level trials, and the stock-level ones."""
    made = {portfolio: {"portfolio": portfolio} for portfolio in stocks.OPTIONS.portfolios}
    own = stock_trials(daily(), made)
    rows = trial_rows(backtest(), TRIAL_SETTINGS, [pd.Timestamp(month) for month in STOCK_MONTHS], QUICK, own)
    assert len(rows) == len(STOCK_MONTHS) * (len(TRIAL_SETTINGS) + len(made))
    return rows


@lru_cache
def sure() -> pd.DataFrame:
    return stock_significance(daily(), index(), stock_rows(), STOCK_MONTHS, QUICK)


def test_monthly_returns_are_those_of_the_accounts() -> None:
    daily = stocks.result().daily
    for (strategy, portfolio), (months, net) in monthly_net(daily).items():
        own = daily.filter((pl.col("strategy") == strategy) & (pl.col("portfolio") == portfolio)).sort("day")
        start = round(stocks.OPTIONS.capital * 100)
        for month, value in zip(months, net, strict=True):
            end = own.filter(pl.col("month") == month.date())["nav_fen"][-1]
            assert value == pytest.approx(end / start - 1.0, abs=1e-12)
            start = end


def test_the_yardstick_is_no_trial_and_every_portfolio_is() -> None:
    found = stock_trials(daily(), {p: {} for p in stocks.OPTIONS.portfolios})
    assert [one.strategy for one in found] == ["rotation"] * len(stocks.OPTIONS.portfolios)
    assert {one.kind for one in found} == {"stock_book"}


def test_stock_level_claims_are_deflated_by_the_trials_of_both_levels() -> None:
    rows, trials = sure(), stock_rows()
    assert list(rows.columns) == STOCK_SIGNIFICANCE.stored_names
    last = rows[rows["month"] == rows["month"].max()].set_index(["portfolio", "baseline", "statistic"])
    own = trials[(trials["kind"] == "stock_book") & (trials["month"] == trials["month"].max())]
    variance = float(own["information_ratio"].var(ddof=1))
    assert expected_maximum_sharpe(6, variance) > 0.0
    net = monthly_net(daily())
    for portfolio in stocks.OPTIONS.portfolios:
        found = last.loc[portfolio, "equal_weight", "deflated_sharpe"]
        assert found["trials"] == 3 + len(stocks.OPTIONS.portfolios)
        excess = net["rotation", portfolio][1] - net["equal_weight", portfolio][1]
        shape = (float(m.sharpe_ratio(excess, 1.0)), 24, float(m.skewness(excess)), float(m.kurtosis(excess)))
        assert found["value"] == pytest.approx(deflated_sharpe(*shape, 6, variance))
        mean = last.loc[portfolio, "equal_weight", "excess_return"]["value"]
        assert mean == pytest.approx(excess.mean() * 12)
        assert (portfolio, "index", "deflated_sharpe") not in last.index
        assert ((portfolio, "index", "excess_return") in last.index) == (portfolio != "long_short")
    tests = last.xs("sharpe_difference_bootstrap", level="statistic")["p_value"]
    adjusted = last.xs("sharpe_difference_adjusted", level="statistic")["p_value"]
    assert (adjusted >= tests - 1e-12).all()


@pytest.mark.parametrize("place", [0, 12, 23])
def test_stock_level_significance_alone_and_without_later_months(place: int) -> None:
    month = STOCK_MONTHS[place]
    stamp = pd.Timestamp(month)
    trials = stock_rows()[stock_rows()["month"] <= stamp]
    known = (frame.filter(pl.col("month") <= month) for frame in (daily(), index()))
    alone = stock_significance(*known, trials, [month], QUICK)
    expected = sure()[sure()["month"] == stamp].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, check_exact=True)
    assert expected["value"].isna().all() == (place < QUICK.minimum_months - 1)


def test_one_stock_level_trial_says_nothing_of_how_far_trials_lie_apart() -> None:
    """Deflated by a spread of 0 it would be the probabilistic ratio under another name: it is null instead."""
    one = daily().filter(pl.col("portfolio") == "long_only")
    trials = stock_rows()
    trials = trials[(trials["kind"] != "stock_book") | trials["configuration"].str.contains("long_only")]
    found = stock_significance(one, index(), trials, STOCK_MONTHS[-1:], QUICK).set_index(["baseline", "statistic"])
    deflated = found.loc["equal_weight", "deflated_sharpe"]
    assert np.isnan(deflated["value"])
    assert deflated["trials"] == 4
    assert np.isfinite(found.loc["equal_weight", "probabilistic_sharpe"]["value"])


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingMonthError, match=r"marts\.trials"):
        stock_significance(daily(), index(), stock_rows().iloc[:0], STOCK_MONTHS, QUICK)
    lacking = index().filter(pl.col("month") != STOCK_MONTHS[3])
    with pytest.raises(MissingMonthError, match=r"index_monthly has no return for 2017-03"):
        stock_significance(daily(), lacking, stock_rows(), STOCK_MONTHS, QUICK)
    gone = daily().filter((pl.col("portfolio") != "long_only") | (pl.col("month") < STOCK_MONTHS[-1]))
    with pytest.raises(MissingMonthError, match="long_only up to 2018-11"):
        stock_significance(gone, index(), stock_rows(), STOCK_MONTHS, QUICK)
