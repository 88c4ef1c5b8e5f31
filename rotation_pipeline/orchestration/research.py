"""How each Python stage is wired: read its inputs, call one domain function, return rows by table."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import polars as pl

from rotation_pipeline.allocation import tables as allocation
from rotation_pipeline.allocation.states import NETWORK
from rotation_pipeline.backtest import tables as backtest
from rotation_pipeline.backtest.stock_level import tables as stocks
from rotation_pipeline.factors import tables as factors
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting import tables as forecasting
from rotation_pipeline.forecasting.daily_inputs import DailyInputs
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.schema import Table
from rotation_pipeline.narratives import tables as narratives
from rotation_pipeline.orchestration.evaluation import (
    stock_back,
    stock_backtest,
    stock_measures,
    stock_significance,
    trials,
)
from rotation_pipeline.orchestration.factor_stages import (
    exposure_months,
    factor_evidence,
    factor_exposures,
    factor_returns,
    factor_summary,
)
from rotation_pipeline.orchestration.reports import REPORT_READS, write_reports
from rotation_pipeline.orchestration.stages import Frame, Stage, Work, first_month, to_pandas
from rotation_pipeline.regimes import tables as regimes

Outputs = Mapping[str, Frame]


def _names(*tables: Table) -> tuple[str, ...]:
    return tuple(table.full_name for table in tables)


def _style_returns(work: Work, values: str = "long_short") -> pd.DataFrame:
    """Monthly long-short returns (or turnovers of the books) up to the last month: index month, a column per style."""
    rows = work.pandas("marts.factor_longshort", kind="style")
    wide = rows.pivot(index="month", columns="factor", values=values)
    return pd.DataFrame(wide.reindex(columns=list(STYLES)))


def _month_ends(daily: pd.DataFrame) -> pd.DataFrame:
    """The rows of each month's last session."""
    return daily.sort_values("day").groupby("month", as_index=False).tail(1).reset_index(drop=True)


def _market(work: Work) -> pd.DataFrame:
    """Index state and filtered regime probabilities at each month end: index month."""
    state = _month_ends(work.pandas("intermediate.index_features")).set_index("month")
    probabilities = work.pandas("marts.regimes", detector=work.settings.regimes.active).set_index("month")
    return pd.DataFrame(state.join(probabilities, how="left", rsuffix="_regime")[list(forecasting.MARKET_FEATURES)])


def index_features(work: Work) -> Outputs:
    """State of the index on each day."""
    from rotation_pipeline.regimes.features import index_features as compute

    daily = work.table("intermediate.index_daily", back=14, order=("day",))
    return {regimes.FEATURES.full_name: compute(to_pandas(daily), work.months)}


def market_regimes(work: Work) -> Outputs:
    """Filtered regimes, refitted every month."""
    from rotation_pipeline.regimes.walk_forward import detect

    found = detect(
        work.pandas("intermediate.index_features"),
        work.months,
        work.settings.regimes,
        work.previous("marts.regime_models"),
        work.previous("marts.regimes"),
    )
    return {regimes.MODELS.full_name: found.models, regimes.REGIMES_TABLE.full_name: found.regimes}


def regime_evidence(work: Work) -> Outputs:
    """Do style returns depend on the regime?"""
    from rotation_pipeline.regimes.evidence import rotation_evidence

    found = rotation_evidence(
        _style_returns(work),
        work.pandas("marts.regimes"),
        work.pandas("marts.regime_models"),
        work.pandas("intermediate.index_features"),
        work.months,
        work.settings.regimes,
    )
    return {
        regimes.EVIDENCE.full_name: found.evidence,
        regimes.TESTS.full_name: found.tests,
        regimes.TRANSITIONS.full_name: found.transitions,
        regimes.SUMMARY.full_name: found.summary,
    }


def _sessions(work: Work) -> DailyInputs:
    """Daily style returns and the index state on the same sessions."""
    rows = work.pandas("marts.factor_longshort_daily", factor=list(STYLES))
    styles = rows.pivot(index="day", columns="factor", values="long_short").reindex(columns=list(STYLES))
    state = work.pandas("intermediate.index_features").set_index("day")[list(forecasting.DAILY_FEATURES)]
    return DailyInputs(pd.DataFrame(styles), pd.DataFrame(state.reindex(state.index.union(styles.index))))


def expert_forecasts(work: Work) -> Outputs:
    """Each expert, fitted afresh on the months up to t."""
    from rotation_pipeline.forecasting.walk_forward import expert_forecasts as compute
    from rotation_pipeline.forecasting.walk_forward import looks_at_sessions
    from rotation_pipeline.warehouse.training_panels import load_panel

    watching = any(looks_at_sessions(name) for name in work.settings.forecasts.experts)
    found = compute(
        _style_returns(work),
        _market(work),
        work.timestamps,
        work.settings.forecasts,
        work.settings.network,
        on_progress=work.progress,
        daily=_sessions(work) if watching else None,
        panels=[load_panel(panel) for panel in work.settings.forecasts.panels],
    )
    return {forecasting.EXPERT_FORECASTS.full_name: found.forecasts, forecasting.LATENT.full_name: found.latent}


def forecasts(work: Work) -> Outputs:
    """The mixture anchored on zero tilt."""
    from rotation_pipeline.forecasting.mixture import mix

    found = mix(work.pandas("marts.expert_forecasts"), _style_returns(work), work.timestamps, work.settings.forecasts)
    return {
        forecasting.EXPERT_WEIGHTS.full_name: found.expert_weights,
        forecasting.FORECASTS.full_name: found.forecasts,
    }


def forecast_scores(work: Work) -> Outputs:
    """Out-of-sample quality of every expert."""
    from rotation_pipeline.forecasting.confidence_set import confidence_set_rows
    from rotation_pipeline.forecasting.scores import forecast_scores as compute

    inputs = (work.pandas("marts.expert_forecasts"), work.pandas("marts.forecasts"), _style_returns(work))
    return {
        forecasting.SCORES.full_name: compute(*inputs, work.timestamps, work.settings.forecasts),
        forecasting.CONFIDENCE_SET.full_name: confidence_set_rows(*inputs, work.timestamps, work.settings.forecasts),
    }


def weights(work: Work) -> Outputs:
    """Weights of every book."""
    from rotation_pipeline.allocation.books import allocate

    found = allocate(
        forecasts=work.pandas("marts.forecasts"),
        expert_forecasts=work.pandas("marts.expert_forecasts", expert=NETWORK),
        style_returns=_style_returns(work),
        index_features=_month_ends(work.pandas("intermediate.index_features")),
        months=work.months,
        first_month=first_month(work.settings, "weights"),
        previous_weights=work.previous("marts.weights"),
        previous_books=_before(work, "marts.books"),
        options=work.settings.allocation,
        style_turnover=_style_returns(work, "book_turnover"),
    )
    return {
        allocation.WEIGHTS.full_name: found.weights,
        allocation.BOOKS.full_name: found.books,
        allocation.SELECTION.full_name: found.selection,
    }


def _before(work: Work, name: str) -> pd.DataFrame | None:
    """All rows of months before the first one; None if there are none."""
    rows = work.warehouse.read(name, last=add_months(work.first, -1))
    return to_pandas(rows) if rows.height else None


def factor_backtest(work: Work) -> Outputs:
    """Monthly returns of every book after costs."""
    from rotation_pipeline.backtest.factor_level import run_backtest

    found = run_backtest(
        work.pandas("marts.weights", back=1),
        work.pandas("marts.factor_longshort", kind="style"),
        work.pandas("intermediate.index_monthly"),
        work.months,
        first_month(work.settings, "weights"),
        work.previous("marts.backtest"),
        work.settings.backtest,
    )
    return {backtest.BACKTEST.full_name: found}


def attribution(work: Work) -> Outputs:
    """Where the excess over equal weight came from, month by month."""
    from rotation_pipeline.allocation.unscaled import unscaled_targets
    from rotation_pipeline.backtest.decomposition import attribution_table

    weights = work.pandas("marts.weights", back=1)
    found = attribution_table(
        weights,
        unscaled_targets(
            work.pandas("marts.forecasts", back=1),
            work.pandas("marts.expert_forecasts", back=1),
            work.settings.allocation,
            weights=weights,
            style_returns=_style_returns(work),
            selection=work.pandas("marts.selection", back=1),
        ),
        work.pandas("marts.factor_longshort", back=0, kind="style"),
        work.pandas("marts.backtest"),
        work.pandas("marts.regimes", back=1, detector=work.settings.regimes.active),
        work.months,
        work.settings.backtest,
    )
    return {backtest.ATTRIBUTION.full_name: found}


def backtest_measures(work: Work) -> Outputs:
    """Performance over all months so far, by regime, year and cost."""
    from rotation_pipeline.backtest.measure_table import measure_table

    active = work.table("marts.books", strategy="rotation").filter(pl.col("active_share") > 0.0)["month"].to_list()
    found = measure_table(
        work.pandas("marts.backtest"),
        work.pandas("marts.regimes", detector=work.settings.regimes.active),
        active,
        work.months,
        work.settings.backtest,
    )
    return {backtest.MEASURES.full_name: found}


def significance(work: Work) -> Outputs:
    """How sure one can be."""
    from rotation_pipeline.backtest.significance import significance_table

    found = significance_table(
        work.pandas("marts.backtest"), work.pandas("marts.trials"), work.months, work.settings.backtest
    )
    return {backtest.SIGNIFICANCE.full_name: found}


def narrative_facts(work: Work) -> Outputs:
    """Everything a sentence may say."""
    from rotation_pipeline.narratives.facts import fact_table
    from rotation_pipeline.narratives.history import NarrativeInputs

    inputs = NarrativeInputs(
        weights=work.pandas("marts.weights", strategy="rotation"),
        books=work.pandas("marts.books", strategy="rotation"),
        forecasts=work.pandas("marts.forecasts"),
        longshort=work.pandas("marts.factor_longshort", kind="style"),
        regimes=work.pandas("marts.regimes", detector=work.settings.regimes.active),
        index_features=_month_ends(work.pandas("intermediate.index_features")),
        index_returns=work.pandas("intermediate.index_monthly").dropna(subset=["ret"]),
        backtest=work.pandas("marts.backtest", strategy=["rotation", "equal_weight"]),
    )
    return {narratives.FACTS.full_name: fact_table(inputs, work.months, work.settings.narratives)}


def write_narratives(work: Work) -> Outputs:
    """Verified text in every language."""
    from rotation_pipeline.narratives.write import narrate
    from rotation_pipeline.orchestration.writers import narrative_writer

    settings = work.settings
    facts = work.pandas("marts.narrative_facts", back=0)
    with narrative_writer(settings.llm, work.warehouse, offline=work.offline) as writer:
        found = narrate(
            facts,
            work.months,
            settings.narratives,
            writer,
            workers=1 if writer is None else settings.llm.parallel_requests,
            on_progress=work.progress,
        )
    return {narratives.NARRATIVES.full_name: found}


def report(work: Work) -> Outputs:
    """The HTML report and exports as of the last month."""
    work.artifacts += write_reports(work.warehouse, work.settings, month=work.last)
    return {}


STAGES: tuple[Stage, ...] = (
    Stage("index_features", "market_data", "Rolling state of the benchmark index, each window from its own days only",
          "history", _names(regimes.FEATURES), index_features, kinds=("python", "numba"),
          back=14),
    Stage("factor_exposures", "factors", "Eleven raw factors and five styles of every member at the month's last close",
          "exposures", _names(factors.EXPOSURES), factor_exposures, reads=("raw.listings",), kinds=("python", "numba"), wide=True,
          back=exposure_months, options=("factors",),
          backs={"intermediate.stock_snapshot": 0, "intermediate.universe": 0}),
    Stage("factor_returns", "factors", "Quintile long-short returns of groups formed at the close of the month before",
          "styles", _names(factors.LONGSHORT, factors.GROUPS, factors.LONGSHORT_DAILY), factor_returns, reads=("raw.listings",), kinds=("python", "numba"), wide=True,
          back=2, options=("factors",),
          backs={"intermediate.adjusted_bars": 1, "intermediate.stock_snapshot": 1}),
    Stage("factor_evidence", "factors", "Information coefficients and their decay, coverage and persistence of every factor",
          "styles", _names(factors.EVIDENCE, factors.DECAY), factor_evidence, reads=("raw.listings",), kinds=("python", "numba"), wide=True,
          back=lambda settings: settings.factors.ic_horizons, options=("factors",)),
    Stage("factor_summary", "factors", "Tear sheet of every series over all months so far",
          "styles", _names(factors.SUMMARY), factor_summary,
          back=None, options=("factors",)),
    Stage("market_regimes", "regimes", "Five detectors, refitted each month on the past, filtered probabilities",
          "history", _names(regimes.MODELS, regimes.REGIMES_TABLE), market_regimes, kinds=("python", "numba"),
          back=None, own=1, options=("regimes",)),
    Stage("regime_evidence", "regimes", "Style returns by regime, with intervals and tests; the evidence may be that there is none",
          "styles", _names(regimes.EVIDENCE, regimes.TESTS, regimes.TRANSITIONS, regimes.SUMMARY), regime_evidence,
          reads=("intermediate.index_features",), back=None, options=("regimes",)),
    Stage("expert_forecasts", "forecasts", "Multi-task networks and simple experts, each fitted afresh on the months so far",
          "styles", _names(forecasting.EXPERT_FORECASTS, forecasting.LATENT), expert_forecasts, kinds=("python", "pytorch"),
          back=None, options=("forecasts", "network")),
    Stage("forecasts", "forecasts", "Mixture of experts anchored on zero tilt, weights from past errors only",
          "styles", _names(forecasting.EXPERT_WEIGHTS, forecasting.FORECASTS), forecasts,
          back=None, options=("forecasts",)),
    Stage("forecast_scores", "forecasts", "Out-of-sample quality of every expert and the mixture so far",
          "styles", _names(forecasting.SCORES, forecasting.CONFIDENCE_SET), forecast_scores, kinds=("python", "numba"),
          back=None, options=("forecasts",)),
    Stage("weights", "allocation", "Weights of the strategy and its baselines, with inertia and limits",
          "weights", _names(*allocation.TABLES), weights,
          back=None, own=None, options=("allocation",)),
    Stage("factor_backtest", "backtest", "Returns of every book after both kinds of costs",
          "sample", _names(backtest.BACKTEST), factor_backtest, reads=("intermediate.index_monthly",),
          back=None, own=1, options=("backtest",)),
    Stage("attribution", "backtest", "Excess over equal weight split into forecast, risk scaling, inertia and costs, summing exactly",
          "sample", _names(backtest.ATTRIBUTION), attribution,
          back=None, options=("allocation", "backtest")),
    Stage("backtest_measures", "backtest", "Every measure over all months so far, with bootstrap intervals",
          "sample", _names(backtest.MEASURES), backtest_measures, reads=("marts.books",),
          back=None, options=("backtest",)),
    Stage("stock_backtest", "backtest", "The weights traded as stocks with real money: lots, limits, suspensions, fees, dividends and their tax",
          "sample", _names(*stocks.STOCK_TABLES[:4]), stock_backtest, reads=("raw.trading_days",), kinds=("python", "numba"), wide=True,
          back=stock_back, own=1, options=("stock_level",), backs={"raw.dividends": 0}),
    Stage("trials", "backtest", "Every configuration ever evaluated, counted for the deflated Sharpe ratio",
          "sample", _names(backtest.TRIALS), trials,
          back=None, options=("universe", "source", "simulation", "sanity", "factors", "regimes", "forecasts", "network", "allocation", "backtest", "stock_level")),
    Stage("significance", "backtest", "Sharpe differences, probabilistic and deflated Sharpe ratios, corrected for many tests",
          "sample", _names(backtest.SIGNIFICANCE), significance,
          back=None, options=("backtest",)),
    Stage("stock_significance", "backtest", "The stock-level books against equal weight and the index, every trial of both levels counted",
          "sample", _names(stocks.STOCK_SIGNIFICANCE), stock_significance,
          back=None, options=("backtest",)),
    Stage("stock_measures", "backtest", "Return, cost, turnover and capacity of the stock-level books over all months so far",
          "sample", _names(stocks.STOCK_MEASURES), stock_measures,
          back=None, options=("backtest",)),
    Stage("narrative_facts", "narratives", "The fact table: ranks, comparisons and hints included, so that a writer never computes",
          "sample", _names(narratives.FACTS), narrative_facts,
          reads=("marts.books", "intermediate.index_monthly", "intermediate.index_features"),
          back=None, options=("narratives",)),
    Stage("narratives", "narratives", "Three to five sentences a month in Chinese and English, every number checked against its fact",
          "sample", _names(narratives.NARRATIVES), write_narratives,
          options=("narratives",), asks=True),
)  # fmt: skip

REPORT = Stage(
    "html_report",
    "report",
    "One self-contained HTML page per language, verdict first, and factor_longshort.csv",
    "sample",
    (),
    report,
    reads=REPORT_READS,
    kinds=("python", "html"),
    back=None,
    options=("backtest",),
)
