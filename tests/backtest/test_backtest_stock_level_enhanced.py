"""The index-enhanced portfolio: limits hold, nothing better is feasible, what gives way is said, replay."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
import stock_level_world as world
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.covariance import ledoit_wolf

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.stock_level.account import opened
from rotation_pipeline.backtest.stock_level.against import Against, held_weights
from rotation_pipeline.backtest.stock_level.engine import StockInputs, StockResult, run_stock_level
from rotation_pipeline.backtest.stock_level.enhanced import EnhancementError, IndexState, enhanced_weights, risk_factor
from rotation_pipeline.backtest.stock_level.options import EnhancedOptions, StockLevelOptions
from rotation_pipeline.backtest.stock_level.rows import Stored
from rotation_pipeline.backtest.stock_level.targets import read_signal
from rotation_pipeline.market.calendar import add_months

LOOSE = EnhancedOptions(active_limit=0.03, industry_limit=0.02, tracking_error=0.05, turnover=0.3)


def index_of(seed: int, count: int = 20) -> tuple[np.ndarray, IndexState, np.ndarray]:
    """Scores, the index, and weights held near it."""
    random = np.random.default_rng(seed)
    weight = random.dirichlet(np.full(count, 8.0))
    industry = tuple(random.choice(["a", "b", "c", ""], count))
    returns = random.normal(0.0, 0.015, (120, count)) + random.normal(0.0, 0.01, (120, 1))
    return random.normal(0.0, 1.0, count), IndexState(weight, industry, returns), random.dirichlet(100.0 * weight + 0.1)


def tracking(weight: np.ndarray, index: IndexState) -> float:
    covariance = ledoit_wolf(index.returns)[0] * 244.0
    active = weight - index.weight
    return float(np.sqrt(active @ covariance @ active))


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 9999), days=st.integers(3, 60))
def test_risk_is_that_of_scikit_learns_shrunk_covariance(seed: int, days: int) -> None:
    returns = np.random.default_rng(seed).normal(0.0, 0.02, (days, 12))
    factor = risk_factor(returns)
    np.testing.assert_allclose(factor.T @ factor, ledoit_wolf(returns)[0] * 244.0, rtol=1e-8, atol=1e-12)
    holes = returns.copy()
    holes[0, 3] = np.nan
    filled = returns.copy()
    filled[0, 3] = np.delete(returns[0], 3).mean()
    np.testing.assert_allclose(risk_factor(holes), risk_factor(filled))


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 9999))
def test_limits_hold_and_the_score_is_raised(seed: int) -> None:
    score, index, _ = index_of(seed)
    found = enhanced_weights(score, np.ones(20, dtype=bool), index, None, LOOSE)
    weight = found.weight
    assert found.relaxed == {}
    assert weight.sum() == pytest.approx(1.0, abs=1e-12)
    assert weight.min() >= 0.0
    assert np.abs(weight - index.weight).max() <= 0.03 + 1e-5
    for name in set(index.industry):
        own = np.array([industry == name for industry in index.industry])
        assert abs((weight - index.weight)[own].sum()) <= 0.02 + 1e-5
    assert tracking(weight, index) <= 0.05 + 1e-5
    assert score @ weight > score @ index.weight


def test_where_risk_does_not_bind_a_linear_program_finds_nothing_better() -> None:
    score, index, held = index_of(4)
    wide = replace(LOOSE, tracking_error=1.0)
    found = enhanced_weights(score, np.ones(20, dtype=bool), index, held, wide).weight
    groups = np.array([[float(i == name) for i in index.industry] for name in sorted(set(index.industry))])
    eye, z = np.eye(20), (score - score.mean()) / score.std()
    both = np.hstack([groups, np.zeros((len(groups), 20))])
    rows = [
        both,
        -both,
        np.hstack([eye, -eye]),
        np.hstack([-eye, -eye]),
        np.hstack([np.zeros((1, 20)), np.ones((1, 20))]),
    ]
    base = groups @ index.weight
    limits = [base + 0.02, 0.02 - base, held, -held, np.array([0.3])]
    bounds = [(max(0.0, b - 0.03), b + 0.03) for b in index.weight] + [(0.0, 1.0)] * 20
    best = linprog(
        np.concatenate([-z, np.zeros(20)]), A_ub=np.vstack(rows), b_ub=np.concatenate(limits),
        A_eq=np.concatenate([np.ones(20), np.zeros(20)])[None, :], b_eq=[1.0], bounds=bounds,
    )  # fmt: skip
    assert float(z @ found) == pytest.approx(-best.fun, abs=1e-4)
    assert np.abs(found - held).sum() <= 0.3 + 1e-5


def test_what_cannot_trade_stays_and_what_gives_way_is_said() -> None:
    score, index, held = index_of(7)
    tradable = np.ones(20, dtype=bool)
    tradable[[2, 5]] = False
    found = enhanced_weights(score, tradable, index, held, LOOSE)
    assert found.weight[[2, 5]].tolist() == held[[2, 5]].tolist()
    first = enhanced_weights(score, tradable, index, None, LOOSE)
    assert (first.weight[[2, 5]] == 0.0).all()
    far = np.zeros(20)
    far[:2] = 0.5  # all in two names: to come within the active limits costs more than the turnover allowed
    forced = enhanced_weights(score, np.ones(20, dtype=bool), index, far, LOOSE)
    assert set(forced.relaxed) == {"turnover"}
    assert forced.relaxed["turnover"] == pytest.approx(np.abs(forced.weight - far).sum() - 0.3, abs=1e-9)
    stuck = np.array([industry != index.industry[0] for industry in index.industry])
    heavy = np.where(stuck, 0.0, 1.0) / (~stuck).sum()
    held_up = enhanced_weights(score, stuck, index, 0.5 * heavy + 0.5 * index.weight * stuck, LOOSE)
    assert "industry" in held_up.relaxed
    with pytest.raises(EnhancementError, match="no member"):
        enhanced_weights(score, np.zeros(20, dtype=bool), index, held, LOOSE)


def test_scores_that_say_nothing_and_days_that_are_none() -> None:
    _, index, _ = index_of(8)
    found = enhanced_weights(np.full(20, np.nan), np.ones(20, dtype=bool), index, None, LOOSE)
    assert tracking(found.weight, index) <= 0.05 + 1e-5
    with pytest.raises(ValueError, match="2 days"):
        risk_factor(np.zeros((1, 3)))


# ---------------------------------------------------------------- inside the engine

OPTIONS = replace(
    world.OPTIONS, portfolios=("long_only", "index_enhanced"),
    enhanced=EnhancedOptions(active_limit=0.1, industry_limit=0.1, tracking_error=0.2, risk_months=3),
)  # fmt: skip


def inputs(published: bool = True) -> StockInputs:
    base = world.inputs()
    members = base.exposures.select("month", "asset_key").unique(maintain_order=True)
    index = members.with_columns(
        industry=pl.when(pl.col("asset_key") % 3 == 0).then(pl.lit("a")).otherwise(pl.lit("b")),
        index_weight=(pl.col("asset_key") % 7 + 1.0) if published else pl.lit(None, dtype=pl.Float64),
    )
    bars = base.daily_bars.select("month", "asset_key", "day", "close", "prev_close")
    earlier = [
        bars.filter(pl.col("month") == world.STORED[0]).with_columns(
            month=pl.lit(add_months(world.STORED[0], -back)), day=pl.col("day").dt.offset_by(f"-{back}mo")
        )
        for back in (2, 1)
    ]
    known = base.listings.filter(pl.col("month") == world.STORED[0])
    listed = [known.with_columns(month=pl.lit(add_months(world.STORED[0], -back))) for back in (2, 1)]
    frames = {name: getattr(base, name) for name in StockInputs.__slots__}
    made = {"index": index, "history": pl.concat([*earlier, bars]), "listings": pl.concat([*listed, base.listings])}
    return StockInputs(**{**frames, **made})


def run(months: list[date], stored: Stored | None = None, **changes: object) -> StockResult:
    return run_stock_level(
        replace(inputs(), **changes),
        months,
        world.FIRST,
        stored,
        OPTIONS,  # type: ignore[arg-type]
    )


def test_the_engine_trades_it_and_a_month_alone_gives_the_rows_of_the_range() -> None:
    whole = run(world.MONTHS)
    assert set(whole.daily["portfolio"]) == {"long_only", "index_enhanced"}
    month, before = world.MONTHS[2], world.MONTHS[1]
    rows = (getattr(whole, name).filter(pl.col("month") == before) for name in ("daily", "positions", "lots"))
    data = inputs()
    cut = {name: getattr(data, name).filter(pl.col("month") <= month) for name in StockInputs.__slots__}
    alone = run([month], Stored(*rows), **cut)
    for name in ("daily", "orders", "positions", "lots"):
        assert getattr(alone, name).equals(getattr(whole, name).filter(pl.col("month") == month), null_equal=True)
    plain = run_stock_level(
        world.inputs(), world.MONTHS, world.FIRST, None, replace(OPTIONS, portfolios=("long_only",))
    )
    assert plain.daily.equals(whole.daily.filter(pl.col("portfolio") == "long_only"))


def test_weights_not_published_are_market_values_and_said() -> None:
    found = run_stock_level(inputs(published=False), world.MONTHS[:1], world.FIRST, None, OPTIONS)
    assert any("no index weights" in notice for notice in found.notices)
    assert not any("no index weights" in notice for notice in run(world.MONTHS[:1]).notices)


def test_what_it_needs_is_asked_for_by_name() -> None:
    with pytest.raises(ValueError, match="pass index and history"):
        run_stock_level(world.inputs(), world.MONTHS[:1], world.FIRST, None, OPTIONS)
    data, base = inputs(), world.inputs()
    signal = read_signal(
        base.exposures.filter(pl.col("month") == world.STORED[0]),
        base.snapshot.filter(pl.col("month") == world.STORED[0]),
    )
    assert data.history is not None
    recent = data.history.filter(pl.col("month") >= world.STORED[0])
    short = Against(data.index, recent, data.listings, OPTIONS.enhanced)
    with pytest.raises(MissingMonthError, match="2023-04"):
        short.at(signal, world.STORED[0])
    with pytest.raises(MissingMonthError, match=r"universe has no rows for 2024-01"):
        short.at(signal, date(2024, 1, 1))
    assert held_weights(opened(1000.0), signal.assets) is None
    with pytest.raises(ValueError, match="twice"):
        StockLevelOptions(portfolios=("long_only", "long_only"))
