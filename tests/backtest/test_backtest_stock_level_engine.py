"""Books from month to month: replay, reconciliation, targets, sizes, rights, measures."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import stock_level_world as world
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.stock_level.account import opened
from rotation_pipeline.backtest.stock_level.engine import (
    ReconciliationError,
    StockInputs,
    StockResult,
    books_of,
    reconcile,
    run_stock_level,
)
from rotation_pipeline.backtest.stock_level.kernel import LEDGER
from rotation_pipeline.backtest.stock_level.measures import MEASURE_NAMES, capacity, stock_measures
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.backtest.stock_level.panel import MonthData, PanelError, build_panel
from rotation_pipeline.backtest.stock_level.rows import COSTS, Ran, Stored
from rotation_pipeline.backtest.stock_level.tables import STOCK_MEASURES
from rotation_pipeline.backtest.stock_level.targets import Signal, build_target, composite

TABLES = ("daily", "orders", "positions", "lots")
QUICK = BacktestOptions(resamples=100, minimum_months=3)


def of(result: StockResult, name: str, month: date) -> pl.DataFrame:
    return getattr(result, name).filter(pl.col("month") == month)


def cut(inputs: StockInputs, last: date, first: date | None = None) -> StockInputs:
    keep = pl.col("month") <= last
    if first is not None:
        keep = keep & (pl.col("month") >= first)
    frames = {name: getattr(inputs, name) for name in StockInputs.__slots__}
    return StockInputs(**{name: frame if frame is None else frame.filter(keep) for name, frame in frames.items()})


@pytest.mark.parametrize("place", range(len(world.MONTHS)))
def test_a_month_alone_gives_the_rows_of_the_range(place: int) -> None:
    whole, month = world.result(), world.MONTHS[place]
    before = world.STORED[place]
    stored = Stored(*(of(whole, name, before) for name in ("daily", "positions", "lots"))) if place else None
    alone = run_stock_level(cut(world.inputs(), month, before), [month], world.FIRST, stored, world.OPTIONS)
    for name in TABLES:
        assert getattr(alone, name).equals(of(whole, name, month)), name


def test_later_months_change_nothing() -> None:
    last = world.MONTHS[1]
    early = run_stock_level(cut(world.inputs(), last), world.MONTHS[:2], world.FIRST, None, world.OPTIONS)
    for name in TABLES:
        assert getattr(early, name).equals(getattr(world.result(), name).filter(pl.col("month") <= last)), name


def test_rows_reconcile_in_any_query() -> None:
    daily = world.result().daily.sort("strategy", "portfolio", "day")
    for _, book in daily.group_by("strategy", "portfolio"):
        nav = book["nav_fen"].to_numpy()
        assert (nav == (book["cash_fen"] + book["long_value_fen"] - book["short_value_fen"]).to_numpy()).all()
        costs = sum(book[f"{name}_fen"].to_numpy() for name in COSTS)
        start = round(world.OPTIONS.capital * 100)
        assert (nav + np.cumsum(costs) == start + np.cumsum(book["profit_fen"].to_numpy())).all()
    earned = world.result().positions.group_by("month", "strategy", "portfolio").agg(pl.col("profit_fen").sum())
    counted = daily.group_by("month", "strategy", "portfolio").agg(pl.col("profit_fen").sum())
    keys = ["month", "strategy", "portfolio"]
    assert earned.sort(keys).equals(counted.sort(keys))
    lots = world.result().lots.group_by(*keys, "asset_key").agg(pl.col("shares").sum())
    held = world.result().positions.filter(pl.col("shares") > 0).select(*keys, "asset_key", "shares")
    assert lots.sort(*keys, "asset_key").equals(held.sort(*keys, "asset_key"))


def test_the_world_is_not_idle() -> None:
    orders = world.result().orders
    assert {"filled", "participation", "suspended", "delisted"} <= set(orders["reason"])
    assert (
        orders.filter(pl.col("reason") == "filled")["filled"]
        == orders.filter(pl.col("reason") == "filled")["requested"]
    ).all()
    assert world.result().daily["dividends_fen"].sum() > 0
    assert world.result().daily["delisted_fen"].abs().sum() > 0
    star = orders.filter(
        (pl.col("asset_key") == int(world.KEYS[-1])) & (pl.col("side") == "buy") & (pl.col("filled") > 0)
    )
    assert (star["filled"] % 100 != 0).any()  # steps of one share above 200
    others = orders.filter((pl.col("asset_key") != int(world.KEYS[-1])) & (pl.col("side") == "buy"))
    assert (others["filled"] % 100 == 0).all()


def test_missing_rows_are_named() -> None:
    month = world.MONTHS[1]
    with pytest.raises(MissingMonthError, match=r"marts\.stock_backtest has no rows for 2023-07"):
        run_stock_level(world.inputs(), [month], world.FIRST, None, world.OPTIONS)
    lacking = replace(world.inputs(), weights=world.inputs().weights.filter(pl.col("month") != world.MONTHS[0]))
    with pytest.raises(MissingMonthError, match=r"marts\.weights has no rows for 2023-07"):
        run_stock_level(lacking, world.MONTHS, world.FIRST, None, world.OPTIONS)
    whole = world.result()
    stored = [of(whole, name, world.MONTHS[0]) for name in ("daily", "positions", "lots")]
    stored[1] = stored[1].with_columns(pl.col("shares") * 2)
    with pytest.raises(MissingMonthError, match="materialise that month again"):
        run_stock_level(world.inputs(), [month], world.FIRST, Stored(*stored), world.OPTIONS)


def test_a_ledger_that_does_not_add_up_is_refused() -> None:
    account = opened(1000.0)
    ledger = np.zeros((2, len(LEDGER)), dtype=np.int64)
    ledger[:, LEDGER.index("cash")] = 100_000
    none = np.zeros(0, dtype=np.int64)
    target = build_target("long_only", signal(np.zeros((0, 5))), np.full(5, 0.2), StockLevelOptions())
    ran = Ran(
        ("rotation", "long_only"),
        ledger,
        np.zeros((0, 12), dtype=np.int64),
        none,
        none,
        none,
        target,
        account,
        account.net_value,
    )
    reconcile(ran, account, none)
    ledger[1, LEDGER.index("commission")] = 1
    with pytest.raises(ReconciliationError, match="session 1"):
        reconcile(ran, account, none)


def signal(scores: np.ndarray, tradable: np.ndarray | None = None, value: np.ndarray | None = None) -> Signal:
    n = scores.shape[0]
    return Signal(
        np.arange(1, n + 1, dtype=np.int64), scores, np.ones(n, dtype=np.bool_) if tradable is None else tradable,
        np.arange(1.0, n + 1.0) if value is None else value,
    )  # fmt: skip


def test_composite_is_the_weighted_sum() -> None:
    scores = np.array([[1.0, 2.0, np.nan, 0.0, -1.0], [np.nan] * 5])
    found = composite(signal(scores), np.array([0.1, 0.2, 0.3, 0.4, -0.5]))
    assert found[0] == pytest.approx(0.1 + 0.4 + 0.5, abs=1e-15)
    assert np.isnan(found[1])


@settings(max_examples=25, deadline=None)
@given(n=st.integers(5, 60), seed=st.integers(0, 2**32 - 1), fraction=st.floats(0.05, 0.5))
def test_target_weights(n: int, seed: int, fraction: float) -> None:
    random = np.random.default_rng(seed)
    options = StockLevelOptions(top_fraction=fraction)
    seen = signal(random.normal(size=(n, 5)), random.random(n) > 0.2, random.uniform(1.0, 9.0, n))
    weights = random.dirichlet(np.ones(5))
    score = composite(seen, weights)
    open_names = set(seen.assets[seen.tradable].tolist())
    if not open_names:
        return
    top = build_target("long_only", seen, weights, options)
    assert top.weight.sum() == pytest.approx(1.0)
    assert set(top.assets.tolist()) <= open_names
    count = max(1, round(fraction * len(open_names)))
    assert top.assets.size == count
    rest = [a for a in open_names if a not in set(top.assets.tolist())]
    assert top.score.min() >= max((score[a - 1] for a in rest), default=-np.inf)
    both = build_target("long_short", seen, weights, options)
    if both.assets.size:
        assert both.weight.sum() == pytest.approx(0.0, abs=1e-12)
        assert np.abs(both.weight).sum() == pytest.approx(2.0)
    flat = build_target("index_tilt", seen, weights, replace(options, index_tilt=0.0))
    share = seen.market_value[flat.assets - 1]
    assert flat.weight == pytest.approx(share / share.sum())
    tilted = build_target("index_tilt", seen, weights, options)
    assert tilted.weight.sum() == pytest.approx(1.0)
    assert (tilted.weight > 0.0).all()
    assert set(top.frozen.tolist()) == set(seen.assets[~seen.tradable].tolist())


def test_a_frozen_name_is_not_traded() -> None:
    orders = world.result().orders.filter(pl.col("side") != "delisting")
    exposures = world.inputs().exposures.filter(~pl.col("in_tradable")).select("month", "asset_key").unique()
    frozen = exposures.with_columns(pl.col("month").dt.offset_by("1mo"))
    assert orders.join(frozen, on=["month", "asset_key"], how="inner").is_empty()


def two_days(prev_close: float, close: float = 8.0) -> MonthData:
    days = (date(2023, 9, 4), date(2023, 9, 5))
    rows = [
        {"asset_key": 5, "day": day, "open": price, "high": price, "low": price, "close": price, "prev_close": before,
         "volume": 1e6, "amount": 1e6 * price, "is_suspended": False, "is_st": False, "board": "main"}
        for day, before, price in ((days[0], prev_close, close), (days[1], close, close))
    ]  # fmt: skip
    key = {"asset_key": pl.Int32}
    return MonthData(
        days, date(2023, 9, 1), pl.DataFrame(rows).with_columns(pl.col("asset_key").cast(pl.Int32)),
        pl.DataFrame(schema={**key, "ex_day": pl.Date, "cash_per_share": pl.Float64, "shares_per_share": pl.Float64}),
        pl.DataFrame([(5, date(2001, 1, 5), None)], orient="row", schema={**key, "listed_on": pl.Date, "delisted_on": pl.Date}),
    )  # fmt: skip


def test_a_rights_issue_is_settled_at_what_the_previous_close_took_off() -> None:
    held, mark = np.array([5], dtype=np.int64), np.array([100_000], dtype=np.int64)
    assert build_panel(two_days(8.5), held, mark, StockLevelOptions()).market.rights.tolist() == [[15_000], [0]]
    assert build_panel(two_days(10.0), held, mark, StockLevelOptions()).market.rights.tolist() == [[0], [0]]


def test_a_day_with_volume_and_no_price_is_refused() -> None:
    held, mark = np.array([5], dtype=np.int64), np.array([100_000], dtype=np.int64)
    with pytest.raises(PanelError, match=r"raw\.daily_bars.*2023-09-04"):
        build_panel(two_days(10.0, 0.0), held, mark, StockLevelOptions())


def measured(months: list[date]) -> pl.DataFrame:
    found = world.result()
    last = max(months)
    return stock_measures(
        found.daily.filter(pl.col("month") <= last),
        found.orders.filter(pl.col("month") <= last),
        world.index_returns(),
        months,
        QUICK,
    )


def test_measures_of_a_month_are_the_same_with_later_ones() -> None:
    whole = measured(world.MONTHS)
    assert whole.columns == STOCK_MEASURES.stored_names
    for month in world.MONTHS:
        assert measured([month]).equals(whole.filter(pl.col("month") == month))


def test_measures_say_what_the_ledger_says() -> None:
    rows = measured([world.MONTHS[-1]])
    assert set(rows["measure"]) == set(MEASURE_NAMES)
    for strategy, portfolio in books_of(world.OPTIONS):
        own = rows.filter((pl.col("strategy") == strategy) & (pl.col("portfolio") == portfolio))
        value = dict(zip(own["measure"], own["value"], strict=True))
        book = (
            world.result()
            .daily.filter((pl.col("strategy") == strategy) & (pl.col("portfolio") == portfolio))
            .sort("day")
        )
        ends = [
            world.OPTIONS.capital * 100,
            *book.group_by("month", maintain_order=True).agg(pl.col("nav_fen").last())["nav_fen"],
        ]
        net = np.array([after / before - 1.0 for before, after in pairwise(ends)])
        assert value["annualised_return"] == pytest.approx(float(np.prod(1 + net)) ** (12 / net.size) - 1)
        assert value["sharpe"] == pytest.approx(net.mean() / net.std(ddof=1) * np.sqrt(12))
        paid = sum(float(book[f"{name}_fen"].sum()) for name in COSTS)
        assert value["cost_drag"] == pytest.approx(paid / np.mean(ends[:-1]) / net.size * 12, rel=0.05)
        assert (value["excess_to_equal_weight"] is None) == (strategy == "equal_weight")
        assert (value["information_ratio"] is None) == (portfolio == "long_short")
        assert 0.0 <= value["unfilled"] < 0.5


def test_capacity_is_where_the_cap_begins_to_bind() -> None:
    # 100 CNY ordered each: at 1 CNY of net value they use 1 %, 2 % and 4 % of the cap
    usage = (np.array([[0.01, 100.0], [0.02, 100.0]]), np.array([[0.04, 100.0]]))
    assert capacity(usage) == pytest.approx(25.0)
    assert np.isnan(capacity((np.zeros((0, 2)),)))
    assert capacity((np.array([[0.01, 99.0], [0.5, 1.0]]),)) == pytest.approx(
        100.0
    )  # one order in a hundred may not fit
