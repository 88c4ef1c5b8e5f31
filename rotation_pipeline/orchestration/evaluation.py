"""How the stages that trade stocks and count what was tried are wired: read inputs, call one domain function, return rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from rotation_pipeline.backtest import tables as backtest
from rotation_pipeline.backtest.stock_level import tables as stocks
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.orchestration.stages import Frame, Work, first_month
from rotation_pipeline.settings import Settings

Outputs = Mapping[str, Frame]


def stock_backtest(work: Work) -> Outputs:
    """The weights traded as stocks, from the accounts of the month before."""
    from rotation_pipeline.backtest.stock_level.engine import StockInputs, run_stock_level
    from rotation_pipeline.backtest.stock_level.rows import Stored

    options = work.settings.stock_level
    enhanced = "index_enhanced" in options.portfolios
    inputs = StockInputs(
        index=_index_members(work) if enhanced else None,
        history=work.table("raw.daily_bars", back=options.enhanced.risk_months) if enhanced else None,
        weights=work.table("marts.weights", back=1, strategy=list(stocks.STOCK_STRATEGIES)),
        exposures=work.table("marts.factor_exposures", back=1, kind="style"),
        snapshot=work.table("intermediate.stock_snapshot", back=1),
        daily_bars=work.table("raw.daily_bars", back=1, order=("asset_key", "day")),
        dividends=work.table("raw.dividends", back=0),
        listings=work.table("raw.listings", back=stock_back(work.settings)),
        trading_days=work.table("raw.trading_days", back=1),
    )
    before = add_months(work.first, -1)
    tables = (stocks.STOCK_BACKTEST, stocks.STOCK_POSITIONS, stocks.STOCK_LOTS)
    stored = Stored(*(work.warehouse.read(table.full_name, first=before, last=before) for table in tables))
    begin = first_month(work.settings, "sample")
    found = run_stock_level(inputs, work.months, begin, stored, options)
    work.notices += found.notices
    return {
        stocks.STOCK_BACKTEST.full_name: found.daily,
        stocks.STOCK_ORDERS.full_name: found.orders,
        stocks.STOCK_POSITIONS.full_name: found.positions,
        stocks.STOCK_LOTS.full_name: found.lots,
    }


def _index_members(work: Work) -> pl.DataFrame:
    """Members at each month's last close with their industry and, where stored, their last weight of the month in the index."""
    universe = work.table("intermediate.universe", back=1).select("month", "asset_key", "industry")
    given = work.table("raw.index_weights", back=1).filter(pl.col("index_id") == work.settings.universe.index_id)
    last = given.filter(pl.col("day") == pl.col("day").max().over("month"))
    weights = last.select("month", "asset_key", pl.col("weight").alias("index_weight"))
    return universe.join(weights, on=["month", "asset_key"], how="left", maintain_order="left")


def stock_back(settings: Settings) -> int:
    """Months before the first one that the stock-level books read: a year of bars where one is optimised."""
    options = settings.stock_level
    return options.enhanced.risk_months if "index_enhanced" in options.portfolios else 1


def stock_significance(work: Work) -> Outputs:
    """How sure one can be of the stock-level books."""
    from rotation_pipeline.backtest.stock_level.significance import stock_significance as compute

    found = compute(
        work.table("marts.stock_backtest"),
        work.table("intermediate.index_monthly"),
        work.pandas("marts.trials"),
        work.months,
        work.settings.backtest,
    )
    return {stocks.STOCK_SIGNIFICANCE.full_name: found}


def stock_measures(work: Work) -> Outputs:
    """What the stock-level books earned, cost and can hold."""
    from rotation_pipeline.backtest.stock_level.measures import stock_measures as compute

    found = compute(
        work.table("marts.stock_backtest"),
        work.table("marts.stock_orders"),
        work.table("intermediate.index_monthly"),
        work.months,
        work.settings.backtest,
    )
    return {stocks.STOCK_MEASURES.full_name: found}


def trials(work: Work) -> Outputs:
    """The configurations evaluated."""
    from rotation_pipeline.allocation.strategies import computed, own_settings
    from rotation_pipeline.backtest.stock_level.significance import stock_trials
    from rotation_pipeline.backtest.trials import cell_trials, trial_rows

    settings, options = work.settings, work.settings.allocation
    kinds = computed(options)

    def configuration(name: str, changes: Mapping[str, object] | None = None) -> dict[str, object]:
        """Everything that shapes a book; ``changes``: the options a cell of the grid sets."""
        chosen = options if changes is None else replace(options, selection="fixed", **changes)  # pyright: ignore[reportArgumentType]
        shaping = settings.model_copy(update={"allocation": chosen}).shaping_books()
        return {"strategy": name, **shaping, "allocation": own_settings(shaping["allocation"], kinds[name], chosen)}

    earned = work.pandas("marts.backtest")
    cells = cell_trials(work.pandas("marts.selection"), earned, configuration, settings.backtest)
    trading = {name: value for name, value in settings.shaping()["stock_level"].items() if name != "portfolios"}
    traded = {
        portfolio: {
            **configuration("rotation"),
            "portfolio": portfolio,
            "stock_level": {n: v for n, v in trading.items() if n != "enhanced" or portfolio == "index_enhanced"},
        }
        for portfolio in settings.stock_level.portfolios
    }
    others = [*cells, *stock_trials(work.table("marts.stock_backtest"), traded)]
    found = trial_rows(earned, {name: configuration(name) for name in kinds}, work.months, settings.backtest, others)
    return {backtest.TRIALS.full_name: found}
