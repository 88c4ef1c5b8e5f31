"""What came of it: measures, significance, verdict, facts and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from rotation_pipeline.allocation.tables import BASELINES, HEADLINE
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.tables import UNHELD
from rotation_pipeline.backtest.verdict import Verdict
from rotation_pipeline.narratives.options import Language, NarrativeOptions
from rotation_pipeline.notebook.frames import Months, NotebookError, checked, keyed_by_month, month_of, months_of
from rotation_pipeline.notebook.rotation import month_ends, monthly_index, of_detector


@dataclass(frozen=True, eq=False)
class Significance:
    """``rows`` of marts.significance as of the last month, and the ``trials`` counted: hand them on to the next study."""

    rows: pd.DataFrame
    trials: pd.DataFrame


def measures(
    backtest: pd.DataFrame,
    books: pd.DataFrame,
    regimes: pd.DataFrame,
    options: BacktestOptions | None = None,
    *,
    detector: str = "hmm",
) -> pd.DataFrame:
    """Return, risk, cost and ratios of every series over all months, by regime, year and cost, with intervals.

    Args:
        backtest: result of :func:`run_backtest`, every month. books: ``.books`` of :func:`allocate`. regimes: ``.regimes``
            of :func:`detect_regimes`.

    Returns:
        ``month`` (the last), ``strategy``, ``sample`` (all, forecast, regime:…, year:…), ``cost_bp``, ``measure``, ``value``,
        ``low``, ``high`` (null where there is no interval), ``months`` (sample size): rows of marts.backtest_measures.
    """
    from rotation_pipeline.backtest.measure_table import measure_table

    rows = keyed_by_month(backtest, "backtest", ("strategy", "gross_return", "net_return"))
    held = keyed_by_month(books, "books", ("strategy", "active_share"))
    mask = (held["strategy"] == HEADLINE) & (held["active_share"] > 0.0)
    active = sorted(set(cast(pd.Series, held.loc[mask, "month"])))
    labels = of_detector(regimes, detector)
    return measure_table(rows, labels, active, [month_of(rows["month"].max())], checked(options or BacktestOptions()))


def significance(
    backtest: pd.DataFrame,
    configuration: Mapping[str, Any],
    earlier: pd.DataFrame | None = None,
    options: BacktestOptions | None = None,
) -> Significance:
    """Sharpe ratios against zero and the baselines, probabilistic and deflated, counting every trial.

    Args:
        backtest: result of :func:`run_backtest`, every month.
        configuration: all you chose, in JSON's types: each strategy under another configuration is another trial.
        earlier: ``.trials`` of studies before this one, with other configurations on the same data; None: there were none,
            and the deflated Sharpe ratio believes you.
    """
    from rotation_pipeline.backtest.significance import significance_table
    from rotation_pipeline.backtest.trials import trial_rows

    rows = keyed_by_month(backtest, "backtest", ("strategy", "gross_return", "net_return"))
    chosen = checked(options or BacktestOptions())
    last = month_of(rows["month"].max())
    timed = sorted(set(rows["strategy"]) - {*BASELINES, *UNHELD})
    described = {name: {"strategy": name, **configuration} for name in timed}
    own = trial_rows(rows, described, [last], chosen)
    if earlier is not None and len(earlier):
        before = keyed_by_month(earlier, "earlier", ("trial_id", "strategy", "months", "sharpe", "information_ratio"))
        others = cast(pd.DataFrame, before[~before["trial_id"].isin(own["trial_id"])])
        own = pd.concat([others, own], ignore_index=True)
    return Significance(significance_table(rows, own, [last], chosen), own)


def verdict(
    measured: pd.DataFrame,
    tested: pd.DataFrame,
    books: pd.DataFrame,
    scores: pd.DataFrame | None = None,
    options: BacktestOptions | None = None,
) -> Verdict:
    """Does the rotation beat static equal weight after costs, and would one believe it? As of the last month measured.

    Args:
        measured: result of :func:`measures`. tested: ``.rows`` of :func:`significance`. books: ``.books`` of
            :func:`allocate`. scores: ``.scores`` of :func:`forecast`.

    Returns:
        ``.state`` (beats, no better, worse, clone), ``.sentences("en" or "zh")`` and every number they rest on (NaN: cannot
        be computed yet).
    """
    from rotation_pipeline.backtest.verdict import verdict as compute

    rows = keyed_by_month(measured, "measured", ("strategy", "sample", "measure", "value"))
    month = month_of(rows["month"].max())
    return compute(rows, tested, books, scores, month, checked(options or BacktestOptions()))


def facts(
    *,
    weights: pd.DataFrame,
    books: pd.DataFrame,
    forecasts: pd.DataFrame,
    longshort: pd.DataFrame,
    regimes: pd.DataFrame,
    features: pd.DataFrame,
    index: pd.DataFrame,
    backtest: pd.DataFrame,
    months: Months | None = None,
    options: NarrativeOptions | None = None,
    detector: str = "hmm",
) -> pd.DataFrame:
    """Everything a sentence may say of a month, ranks, comparisons and hints included: rows of marts.narrative_facts.

    Args:
        weights, books: of :func:`allocate`. forecasts: ``.forecasts`` of :func:`forecast`. longshort: of
            :func:`long_short_returns`. regimes: of :func:`detect_regimes`. features: of :func:`index_features`. index: daily
            ``day``, ``close``. backtest: of :func:`run_backtest`.
        months: months wanted; None: those of ``backtest``.

    Returns:
        ``month``, ``period`` (month, or the quarter that ends with it), ``fact_id``, ``kind``, ``subject``, ``measure``, ``value``, ``label``, ``unit``, ``precision``, ``as_of``,
        ``source_column``, ``source_month``. A fact that cannot be computed yet is absent.
    """
    from rotation_pipeline.narratives.facts import fact_table
    from rotation_pipeline.narratives.history import NarrativeInputs

    earned = keyed_by_month(backtest, "backtest", ("strategy", "net_return", "drawdown"))
    inputs = NarrativeInputs(
        weights=keyed_by_month(weights, "weights", ("strategy", "style", "weight", "drifted")),
        books=keyed_by_month(books, "books", ("strategy", "turnover", "active_share")),
        forecasts=keyed_by_month(forecasts, "forecasts", ("style", "mean")),
        longshort=keyed_by_month(longshort, "longshort", ("factor", "long_short")),
        regimes=of_detector(regimes, detector),
        index_features=month_ends(features),
        index_returns=monthly_index(index).dropna(subset=["ret"]),
        backtest=earned,
    )
    wanted = months_of(earned["month"]) if months is None else months_of(months)
    return fact_table(inputs, wanted, checked(options or NarrativeOptions()))


def narrative(
    table: pd.DataFrame,
    month: object | None = None,
    language: Language = "en",
    options: NarrativeOptions | None = None,
) -> str:
    """Three to five sentences about a month from its facts, every number checked; the fixed template writes.

    Args:
        table: result of :func:`facts`. month: None: the last one. language: ``en`` or ``zh``.

    Raises:
        NotebookError: no facts of the month, or another language.
    """
    from rotation_pipeline.narratives.options import LANGUAGES
    from rotation_pipeline.narratives.write import narrate

    rows = keyed_by_month(table, "table", ("period", "fact_id", "value"))
    stamp = month_of(rows["month"].max() if month is None else month)
    if language not in LANGUAGES:
        raise NotebookError(f"language: {language!r} is none of {', '.join(LANGUAGES)}")
    if not (rows["month"] == stamp).any():
        raise NotebookError(
            f"table: it has no facts of {stamp:%Y-%m}; there are {rows['month'].min():%Y-%m} to {rows['month'].max():%Y-%m}"
        )
    written = narrate(rows, [stamp], checked(options or NarrativeOptions()))
    own = (written["language"] == language) & (written["period"] == "month")
    return str(cast(pd.Series, written.loc[own, "text"]).iloc[0])
