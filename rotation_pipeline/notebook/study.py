"""The whole chain on one market, and its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date
from importlib import metadata
from typing import Any, cast

import pandas as pd

from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.verdict import Verdict
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.market.reused_codes import by_company
from rotation_pipeline.narratives.options import Language, NarrativeOptions
from rotation_pipeline.notebook import results, rotation, styles
from rotation_pipeline.notebook.frames import NotebookError, checked, month_of, months_of
from rotation_pipeline.notebook.market import Market
from rotation_pipeline.regimes.options import RegimeOptions


@dataclass(frozen=True)
class Choices:
    """The tunables of a study by stage; every default is the pipeline's."""

    factors: FactorOptions = field(default_factory=FactorOptions)
    regimes: RegimeOptions = field(default_factory=RegimeOptions)
    forecasts: ForecastOptions = field(default_factory=ForecastOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    allocation: AllocationOptions = field(default_factory=AllocationOptions)
    backtest: BacktestOptions = field(default_factory=BacktestOptions)
    narratives: NarrativeOptions = field(default_factory=NarrativeOptions)


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """Every table of a study as a plain frame, named as the functions that make them; ``repr`` is the verdict."""

    market: Market
    choices: Choices
    exposures: pd.DataFrame
    longshort: pd.DataFrame
    groups: pd.DataFrame
    returns: pd.DataFrame
    """Style returns, wide."""
    features: pd.DataFrame
    regimes: pd.DataFrame
    forecast: rotation.Forecast
    weights: pd.DataFrame
    books: pd.DataFrame
    backtest: pd.DataFrame
    measures: pd.DataFrame
    significance: pd.DataFrame
    trials: pd.DataFrame
    facts: pd.DataFrame
    verdict: Verdict
    evidence: dict[str, pd.DataFrame] = field(default_factory=dict[str, pd.DataFrame])
    """regime_evidence, regime_tests, regime_transitions, regime_summary and factor_summary as of the last month."""

    def __repr__(self) -> str:
        return "\n".join((f"{self.market.kind} data", *self.verdict.sentences("en")))


def research(
    market: Market,
    start: object,
    end: object | None = None,
    *,
    style_months: int = 7,
    choices: Choices | None = None,
    earlier_trials: pd.DataFrame | None = None,
) -> Study:
    """Exposures to verdict on one market, by the functions of this module one after the other.

    Args:
        market: of :func:`simulated_market` or :func:`read_market`, beginning two years or more before ``start``.
        start, end: first and last month of the backtest; ``end`` None: the last whole month of the market.
        style_months: months of exposures before ``start``.
        choices: tunables by stage. The default trains networks every month, which takes minutes for ten years.
        earlier_trials: ``.trials`` of studies of the same data before this one.

    Raises:
        NotebookError: months outside the market, or options out of range.
    """
    given = choices or Choices()
    begin, last = _span(market, start, end)
    formed = months_between(add_months(begin, -style_months), last)
    held = months_between(add_months(begin, -1), last)
    listed = market.listings
    scored = styles.exposures(market.bars, market.index, market.figures, market.universe, formed, given.factors, listed)
    traded = styles.long_short_returns(scored, market.bars, market.figures, formed[1:], given.factors, listed)
    returns = styles.style_returns(traded.longshort)
    state = rotation.index_features(market.index)
    state = cast(pd.DataFrame, state[state["month"] <= pd.Timestamp(last)])
    regimes = rotation.detect_regimes(state, options=given.regimes)
    active = given.regimes.active
    predicted = rotation.forecast(
        returns, state, regimes.regimes, None, given.forecasts, given.network, detector=active, daily=traded.daily
    )
    found = rotation.allocate(predicted, returns, state, held, given.allocation)
    earned = rotation.run_backtest(found.weights, traded.longshort, market.index, held[1:], given.backtest)
    measured = results.measures(earned, found.books, regimes.regimes, given.backtest, detector=active)
    tested = results.significance(earned, _shaping(given, market), earlier_trials, given.backtest)
    told = results.facts(
        weights=found.weights, books=found.books, forecasts=predicted.forecasts, longshort=traded.longshort,
        regimes=regimes.regimes, features=state, index=market.index, backtest=earned, options=given.narratives,
        detector=active,
    )  # fmt: skip
    return Study(
        market, given, scored, traded.longshort, traded.groups, returns, state, regimes.regimes, predicted,
        found.weights, found.books, earned, measured, tested.rows, tested.trials, told,
        results.verdict(measured, tested.rows, found.books, predicted.scores, given.backtest),
        _evidence(market, given, scored, traded.longshort, traded.groups, returns, state, regimes.regimes, regimes.models),
    )  # fmt: skip


def _span(market: Market, start: object, end: object | None) -> tuple[date, date]:
    known = months_of(market.index["day"])
    begin = month_of(start, "start").date()
    last = known[-1] if end is None else month_of(end, "end").date()
    for month, name in ((begin, "start"), (last, "end")):
        if month not in known:
            raise NotebookError(
                f"{name}: the market has no session in {month:%Y-%m}; it has {known[0]:%Y-%m} to {known[-1]:%Y-%m}"
            )
    if last < begin:
        raise NotebookError(f"end ({last:%Y-%m}) lies before start ({begin:%Y-%m})")
    return begin, last


def _shaping(choices: Choices, market: Market) -> dict[str, Any]:
    """What makes a trial another trial."""
    stages = ("factors", "regimes", "forecasts", "network", "allocation")
    given = {name: asdict(getattr(choices, name)) for name in stages}
    return {
        **given,
        "backtest": {"cost_bp": choices.backtest.cost_bp},
        "source": market.name,
        "index_id": market.index_id,
    }


def _evidence(
    market: Market, choices: Choices, scored: pd.DataFrame, longshort: pd.DataFrame, groups: pd.DataFrame,
    returns: pd.DataFrame, features: pd.DataFrame, regimes: pd.DataFrame, models: pd.DataFrame,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Tear sheet of the factors and the dependence of style returns on the regime, as of the last month."""
    from rotation_pipeline.factors.evidence import monthly_evidence, summary
    from rotation_pipeline.regimes.evidence import rotation_evidence

    rows, held = styles.exposure_rows(scored), styles.held_bars(market.bars)
    months = months_of(longshort["month"])
    later = styles.later_of(market.listings, held)
    rows, held = by_company(rows, later), by_company(held, later)
    monthly = monthly_evidence(rows, held, months, first_month=add_months(months[0], -1))
    last = months[-1:]
    found = rotation_evidence(returns, regimes, models, features, last, choices.regimes)
    return {
        "factor_evidence": monthly,
        "factor_summary": summary(longshort, monthly, groups, last, choices.factors),
        "regime_evidence": found.evidence,
        "regime_tests": found.tests,
        "regime_transitions": found.transitions,
        "regime_summary": found.summary,
    }


def report_page(study: Study, language: Language = "en") -> str:
    """The report of a study: the text of one HTML file that asks nothing of the network.

    What a study does not compute (stock-level books) the page leaves out, saying so.

    Args:
        study: result of :func:`research`. language: ``en`` or ``zh``.
    """
    from rotation_pipeline.narratives.write import narrate

    def of_months(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(rows[rows["period"] == "month"].drop(columns="period"))

    from rotation_pipeline.reporting.data import ReportData
    from rotation_pipeline.reporting.report import render_report

    market, choices = study.market, study.choices
    active = choices.regimes.active
    transitions = study.evidence["regime_transitions"]
    data = ReportData(
        source_kind=market.kind,
        source_name=market.name,
        month=month_of(study.backtest["month"].max()),
        run_id="notebook",
        cost_bp=choices.backtest.cost_bp,
        index_id=market.index_id,
        verdict=study.verdict,
        settings={name: asdict(options) for name, options in vars(choices).items()},
        versions={name: metadata.version(name) for name in ("rotation-pipeline", "numpy", "pandas", "polars", "numba")},
        weights=study.weights,
        books=study.books,
        backtest=study.backtest,
        measures=study.measures,
        significance=study.significance,
        regimes=rotation.of_detector(study.regimes, active),
        regime_evidence=study.evidence["regime_evidence"],
        regime_tests=study.evidence["regime_tests"],
        regime_transitions=cast(pd.DataFrame, transitions[transitions["detector"] == active]),
        longshort=study.longshort,
        groups=study.groups,
        factor_summary=study.evidence["factor_summary"],
        index=rotation.monthly_index(market.index),
        expert_weights=study.forecast.expert_weights,
        forecast_scores=study.forecast.scores,
        forecasts=study.forecast.forecasts,
        narratives=of_months(narrate(study.facts, months_of(study.backtest["month"]), checked(choices.narratives))),
        facts=of_months(study.facts),
        quarantine=market.quarantine,
        ingestions=market.ingestions,
        trials=study.trials,
    )
    return render_report(data, language)
