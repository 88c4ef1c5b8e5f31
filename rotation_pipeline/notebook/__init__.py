"""The pipeline's stages as plain functions: pandas frames in, pandas frames out.

No database, no server, no settings file: ``import rotation_pipeline as rp`` and call them. Each is a thin call of the
function the graph itself runs, and a test holds both to the same numbers. Months are stamped by their first day; a value
stamped t is known at the close of t, a return stamped t covers (t − 1, t], weights and forecasts stamped t apply to t + 1.
Every rate is a fraction. Frames have the columns of the table of the same content in the data dictionary, with
``asset_id`` as text.

A short study, stage by stage (:func:`research` does all of it in one call):

>>> import rotation_pipeline as rp
>>> market = rp.simulated_market("2011-06", "2014-03", n_stocks=30, n_members=30, n_spare=20)
>>> months = ["2013-07", "2013-08", "2013-09", "2013-10", "2013-11", "2013-12", "2014-01", "2014-02", "2014-03"]
>>> exposures = rp.exposures(market.bars, market.index, market.figures, market.universe, months)
>>> traded = rp.long_short_returns(exposures, market.bars, market.figures)
>>> returns = rp.style_returns(traded.longshort)
>>> returns.shape
(8, 5)
>>> features = rp.index_features(market.index)
>>> regimes = rp.detect_regimes(features, options=rp.RegimeOptions(detectors=("hmm",))).regimes
>>> simple = rp.ForecastOptions(experts=("zero", "historical_mean"), min_train_months=12)
>>> predicted = rp.forecast(returns, features, regimes, options=simple)
>>> held = rp.allocate(predicted, returns, features)
>>> bool((held.weights.groupby(["month", "strategy"]).weight.sum().round(9) == 1.0).all())
True
>>> earned = rp.run_backtest(held.weights, traded.longshort, market.index)
>>> measured = rp.measures(earned, held.books, regimes, rp.BacktestOptions(resamples=100))
>>> tested = rp.significance(earned, {"experts": ["zero", "historical_mean"]}, options=rp.BacktestOptions(resamples=100))
>>> rp.verdict(measured, tested.rows, held.books, predicted.scores).state  # seven months prove nothing
'no better'
>>> table = rp.facts(weights=held.weights, books=held.books, forecasts=predicted.forecasts, longshort=traded.longshort,
...                  regimes=regimes, features=features, index=market.index, backtest=earned)
>>> rp.narrative(table, "2014-03", "zh").startswith("上证50本月")
True
"""

from __future__ import annotations

from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.narratives.options import NarrativeOptions
from rotation_pipeline.notebook.frames import NotebookError
from rotation_pipeline.notebook.market import Market, read_market, simulated_market
from rotation_pipeline.notebook.results import facts, measures, narrative, significance, verdict
from rotation_pipeline.notebook.rotation import allocate, detect_regimes, forecast, index_features, run_backtest
from rotation_pipeline.notebook.study import Choices, Study, report_page, research
from rotation_pipeline.notebook.styles import (
    exposures,
    long_short_returns,
    longshort_rows,
    scored_exposures,
    style_returns,
)
from rotation_pipeline.regimes.options import RegimeOptions

__all__ = [
    "AllocationOptions",
    "BacktestOptions",
    "Choices",
    "FactorOptions",
    "ForecastOptions",
    "Market",
    "NarrativeOptions",
    "NetworkOptions",
    "NotebookError",
    "RegimeOptions",
    "Study",
    "allocate",
    "detect_regimes",
    "exposures",
    "facts",
    "forecast",
    "index_features",
    "long_short_returns",
    "longshort_rows",
    "measures",
    "narrative",
    "read_market",
    "report_page",
    "research",
    "run_backtest",
    "scored_exposures",
    "significance",
    "simulated_market",
    "style_returns",
    "verdict",
]
