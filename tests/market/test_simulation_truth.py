"""What is planted can be found, and where nothing is planted nothing is."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.factors.styles import STYLES as FACTOR_STYLES
from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.simulation import SimulatedMarket, SimulationOptions, simulate
from rotation_pipeline.market.simulation.events import MonthEvents
from rotation_pipeline.market.simulation.exposures import expected_excess
from rotation_pipeline.market.simulation.prices import draw_returns, start_dynamics
from rotation_pipeline.market.simulation.regimes import (
    LONG_SHORT_PREMIA,
    QUINTILE_SPREAD,
    REGIMES,
    STYLES,
    TRAITS,
    TRANSITION,
    next_regime,
    premia,
    stationary,
)
from rotation_pipeline.market.simulation.roster import draw_roster
from rotation_pipeline.regimes.names import REGIMES as REGIME_NAMES

LAST = date(2024, 1, 1)


def broad(strength: float) -> SimulatedMarket:
    """A broad index, so that a single history tells signal from noise."""
    options = SimulationOptions(seed=2, n_stocks=120, n_members=120, premium_strength=strength)
    return simulate(options, LAST)


@pytest.fixture(scope="module")
def planted() -> SimulatedMarket:
    return broad(2.0)


@pytest.fixture(scope="module")
def barren() -> SimulatedMarket:
    return broad(0.0)


def test_names_agree_with_the_stages() -> None:
    assert STYLES == FACTOR_STYLES
    assert REGIMES == REGIME_NAMES
    assert set(TRAITS) == set(REGIMES)


def test_chain_is_persistent_and_reaches_its_shares() -> None:
    assert np.allclose(TRANSITION.sum(axis=1), 1.0)
    stays = 1 / (1 - np.diag(TRANSITION))
    assert (stays >= 6).all()
    assert (stays <= 18).all()
    assert np.allclose(stationary() @ TRANSITION, stationary())
    regime, path = None, []
    for month in months_between(date(1500, 1, 1), date(2199, 12, 1)):
        regime = next_regime(regime, 1, month)
        path.append(REGIMES.index(regime))
    shares = np.bincount(path) / len(path)
    assert np.abs(shares - stationary()).max() < 0.08
    switches = np.mean(np.diff(path) != 0)
    assert switches == pytest.approx(float(stationary() @ (1 - np.diag(TRANSITION))), rel=0.08)


def test_premia_rotate_and_cancel() -> None:
    assert (np.abs(stationary() @ LONG_SHORT_PREMIA) < 0.0006).all()
    for regime in REGIMES:
        assert not premia(regime, 0.0).any()
        assert np.allclose(premia(regime, 2.0), 2 * premia(regime, 1.0))
    bull, bear, _ = LONG_SHORT_PREMIA
    assert (np.sign(bull) == -np.sign(bear)).all()
    assert np.abs(LONG_SHORT_PREMIA).max() <= 0.0225


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(-0.5, 0.5))
def test_each_style_alone_earns_its_premium(seed: int, overlap: float) -> None:
    """Slope of the expected return on one style's score is its premium, also when styles overlap."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(400, 5))
    scores[:, 1] = overlap * scores[:, 0] + np.sqrt(1 - overlap**2) * scores[:, 1]
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    wanted = premia("bear", 1.0)
    excess = expected_excess(scores, np.ones(400, dtype=bool), wanted)
    slopes = scores.T @ excess / 400
    assert np.abs(slopes - wanted).max() < 0.1 * np.abs(wanted).max()
    assert not expected_excess(scores, np.ones(400, dtype=bool), np.zeros(5)).any()


def test_truth_tables(planted: SimulatedMarket) -> None:
    months = months_between(SimulationOptions().first_month, LAST)
    regimes, styles = planted.truth["regimes"], planted.truth["premia"]
    assert regimes["month"].to_list() == months
    joined = styles.join(regimes, on="month")
    for regime, style, value in joined.select("regime", "style", "premium").iter_rows():
        planted_value = 2.0 * LONG_SHORT_PREMIA[REGIMES.index(regime), STYLES.index(style)] / QUINTILE_SPREAD
        assert value == pytest.approx(planted_value)
    betas = planted.truth["betas"]["beta"]
    assert 0.5 < float(betas.min()) < 0.75  # pyright: ignore[reportArgumentType]
    assert 1.25 < float(betas.max()) < 1.5  # pyright: ignore[reportArgumentType]


def test_betas_are_what_regressions_find(barren: SimulatedMarket) -> None:
    bars = barren.tables["daily_bars"].with_columns(change=pl.col("close") / pl.col("prev_close") - 1)
    index = barren.tables["index_bars"].select("day", move=pl.col("close") / pl.col("close").shift(1) - 1)
    joined = bars.filter(~pl.col("is_suspended")).join(index, on="day").drop_nulls()
    measured = joined.group_by("asset_key").agg(
        (pl.cov("change", "move") / pl.col("move").var()).alias("measured"), pl.len()
    )
    true = barren.truth["betas"].group_by("asset_key").agg(pl.col("beta").mean())
    both = measured.filter(pl.col("len") > 2000).join(true, on="asset_key")
    assert float(both.select(pl.corr("measured", "beta")).item()) > 0.7


def test_regimes_show_in_the_index(barren: SimulatedMarket) -> None:
    index = barren.tables["index_bars"].with_columns(
        move=pl.col("close") / pl.col("close").shift(1) - 1, month=pl.col("day").dt.month_start()
    ).join(barren.truth["regimes"], on="month").drop_nulls()  # fmt: skip
    by = dict(index.group_by("regime").agg(pl.col("move").std() * np.sqrt(244)).iter_rows())
    assert by["bear"] > 1.5 * by["slow_bull"]
    assert by["bear"] > 1.5 * by["range"]


def test_every_name_has_its_regimes_drift() -> None:
    """Over five hundred months of one regime; the same for low and high betas."""
    options = SimulationOptions(seed=1, n_stocks=10, n_members=10, n_spare=15)
    roster = draw_roster(options)
    n, days = roster.keys.size, np.arange("2020-03-02", "2020-03-22", dtype="datetime64[D]")
    none, everywhere = np.zeros(0, dtype=np.int64), np.ones((days.size, n), dtype=bool)
    events = MonthEvents(days, everywhere, none, none, np.zeros(n, dtype=bool), ~everywhere, [])
    months = months_between(date(1980, 1, 1), date(2021, 8, 1))
    low = roster.beta < np.median(roster.beta)
    for regime, traits in TRAITS.items():
        dynamics, totals = start_dynamics(n), []
        for month in months:
            moves = draw_returns(
                options, roster, dynamics, events, roster.industry, month, regime, np.zeros((n, 5)), np.zeros(n)
            )
            totals.append(moves.change.sum(axis=0))
        total = np.array(totals)
        for part in (total.mean(axis=1), total[:, low].mean(axis=1), total[:, ~low].mean(axis=1)):
            assert abs(part.mean() - traits.drift) < 3.5 * part.std() / np.sqrt(len(months)), regime
        gap = total[:, low].mean(axis=1) - total[:, ~low].mean(axis=1)
        assert abs(gap.mean()) < 3.5 * gap.std() / np.sqrt(len(months)), regime


def crude_spreads(market: SimulatedMarket) -> pd.DataFrame:
    """Top minus bottom fifth of crude, separately written style scores over the next month; index month, with regime."""
    bars, valuation = market.tables["daily_bars"], market.tables["daily_valuation"]

    def wide(frame: pl.DataFrame, column: str) -> pd.DataFrame:
        table = (
            frame.select("day", "asset_key", column).to_pandas().pivot(index="day", columns="asset_key", values=column)
        )
        return table.set_axis(pd.DatetimeIndex(table.index), axis=0)

    value = wide(bars.with_columns(value=pl.col("close") * pl.col("adj_factor")), "value")
    trading = wide(bars, "is_suspended") == False  # noqa: E712
    change = value.pct_change(fill_method=None).where(trading)
    ends = pd.DatetimeIndex(value.index.to_series().groupby(value.index.to_period("M")).max())
    members = wide(market.tables["index_weights"], "weight").reindex(index=ends, columns=value.columns).notna()

    def z(raw: pd.DataFrame) -> pd.DataFrame:
        ranks = raw.reindex(ends).where(members).rank(axis=1)
        return ranks.sub(ranks.mean(axis=1), axis=0).div(ranks.std(axis=1), axis=0)

    scores = {
        "MOM": z(value / value.shift(20)) + z(value / value.shift(120)),
        "VAL": z(1 / wide(valuation, "pb"))
        + z(1 / wide(valuation, "pe_ttm"))
        + z(wide(valuation, "dividend_yield_ttm")),
        "QLTY": z(wide(valuation, "pb") / wide(valuation, "pe_ttm")),
        "VOL": -z(change.rolling(60, min_periods=48).std()),
        "SIZE": -z(wide(valuation, "total_market_value")),
    }
    following = value.ffill().reindex(ends).pct_change(fill_method=None).shift(-1)
    tradable = members & trading.reindex(ends)
    spreads = {}
    for style, score in scores.items():
        group = score.where(tradable).rank(axis=1, pct=True)
        spreads[style] = following.where(group > 0.8).mean(axis=1) - following.where(group <= 0.2).mean(axis=1)
    table = pd.DataFrame(spreads).dropna()
    regime = market.truth["regimes"].to_pandas().set_index("month")["regime"]
    known_in = (table.index + pd.offsets.MonthBegin(1)).normalize()
    return table.assign(regime=regime.set_axis(pd.DatetimeIndex(regime.index)).reindex(known_in).to_numpy())


def test_planted_premia_are_found_with_their_signs(planted: SimulatedMarket) -> None:
    table = crude_spreads(planted)
    assert len(table) > 140
    mean = table.groupby("regime")[list(STYLES)].mean()
    error = table.groupby("regime")[list(STYLES)].sem()
    for r, regime in enumerate(REGIMES):
        for s, style in enumerate(STYLES):
            truth = 2.0 * LONG_SHORT_PREMIA[r, s]
            found, noise = mean.loc[regime, style], error.loc[regime, style]
            assert abs(found - truth) < 3.5 * noise + 0.4 * abs(truth), (regime, style, found, truth)
            if abs(truth) >= 0.016:
                assert np.sign(found) == np.sign(truth), (regime, style, found, truth)


def test_nothing_is_found_where_nothing_is_planted(barren: SimulatedMarket) -> None:
    """The largest of fifteen cells stays below what fifteen independent cells of noise reach one time in a thousand."""
    table = crude_spreads(barren)
    styles = list(STYLES)
    overall = table[styles].mean() / table[styles].sem()
    assert overall.abs().max() < 3.7
    cells = table.groupby("regime")[styles].mean() / table.groupby("regime")[styles].sem()
    assert cells.abs().max().max() < 4.0
    assert set(barren.truth["premia"]["premium"]) == {0.0}
