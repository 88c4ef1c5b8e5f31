"""Table SIGNIFICANCE: how sure one can be that a strategy earns something, and more than what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.frames import Month, as_months, make_frame
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.allocation.tables import BASELINES, HEADLINE
from rotation_pipeline.backtest import deflation
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.counting import Tried, counted, latest_until, read_trials, spread
from rotation_pipeline.backtest.history import BENCHMARK, read_history
from rotation_pipeline.backtest.methods import method_text
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.resampling import Indices, percentile_interval, resampled_moments, stationary_months
from rotation_pipeline.backtest.search_rows import overfitting_row, snooping_rows
from rotation_pipeline.backtest.sharpe_tests import SharpeTest, sharpe_test_bootstrap, sharpe_test_hac
from rotation_pipeline.backtest.tables import SIGNIFICANCE
from rotation_pipeline.backtest.trials import STOCK_BOOK
from rotation_pipeline.factors.statistics import newey_west_t
from rotation_pipeline.regimes.statistics import benjamini_hochberg, generator

COMPARED: tuple[str, ...] = (*BASELINES, "index")
"""What the headline strategy is compared with; the multiple-test correction is over these."""
BLOCK_TAG = 2


@dataclass(frozen=True, slots=True)
class Statistic:
    """One row of SIGNIFICANCE without its month."""

    strategy: str
    baseline: str
    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    trials: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """Net returns (n, S) up to one month and everything needed to resample them."""

    names: tuple[str, ...]
    """Series, in the order of the columns."""
    strategies: tuple[str, ...]
    """Those that are judged, the headline first."""
    net: Floats
    trials: int
    sharpe_variance: float
    information_variance: float
    starts: Indices
    block: int
    rows: Indices
    options: BacktestOptions

    def series(self, name: str) -> Floats:
        """Net returns (n,) of one series."""
        return np.ascontiguousarray(self.net[:, self.names.index(name)])


def significance_table(
    backtest: pd.DataFrame, trials: pd.DataFrame, months: Iterable[Month], options: BacktestOptions
) -> pd.DataFrame:
    """Rows of SIGNIFICANCE for ``months``, each from months up to it.

    ``backtest``: rows of BACKTEST, every month from the start on. ``trials``: rows of TRIALS of every configuration ever evaluated;
    of each one its latest row not after the month counts (see ``counting``), stock-level books left out: they are another way of
    trading weights that are counted already, and their ratios contain the market. Every strategy against zero and equal weight; the headline strategy
    against every baseline and the index. Net of costs at the default cost. Below ``minimum_months`` months values are
    null; months before the backtest's start have no rows. Deflated Sharpe ratios against equal weight are those of the
    excess return, deflated by the trials' information ratios.
    """
    history = read_history(backtest)
    tried = _factor_level(trials)
    rows: list[tuple[pd.Timestamp, Statistic]] = []
    for month in as_months(months):
        known = history.as_of(month)
        if known is None:
            continue
        net = known.net(options.cost_bp)
        count = net.shape[0]
        considered = counted(latest_until(tried, month))
        block = max(1, min(round(options.mean_block), count // 4))
        random = generator((options.seed, month.year, month.month, BLOCK_TAG))
        starts = random.integers(0, count, size=(options.resamples, count // block), dtype=np.int64)
        drawn = stationary_months(count, month, options)
        state = Known(
            known.names,
            known.strategies,
            net,
            max(len(considered), 1),
            spread(considered, count, "sharpe"),
            spread(considered, count, "information_ratio"),
            starts,
            block,
            drawn,
            options,
        )
        statistics = _statistics(state)
        rows += [(month, row) for row in sorted(statistics, key=lambda row: (row.strategy, row.baseline, row.name))]
    return _frame(rows)


def _statistics(known: Known) -> list[Statistic]:
    found: list[Statistic] = []
    for strategy in known.strategies:
        found += sharpe_rows(known, strategy, "zero")
        found += belief_rows(known, strategy, "zero")
        found += sharpe_rows(known, strategy, BENCHMARK)
        found += belief_rows(known, strategy, BENCHMARK)
        found.append(excess_row(known, strategy))
    found += _search_rows(known)
    headline = HEADLINE
    for baseline in COMPARED:
        if baseline != BENCHMARK:
            found += sharpe_rows(known, headline, baseline)
    tests = [row for row in found if row.strategy == headline and row.name == "sharpe_difference_bootstrap"]
    adjusted = benjamini_hochberg(np.array([row.p_value for row in tests]))
    detail = method_text("adjusted", count=int(np.count_nonzero(~np.isnan(adjusted))))
    for row, p_value in zip(tests, adjusted, strict=True):
        found.append(
            Statistic(
                headline, row.baseline, "sharpe_difference_adjusted", row.value, p_value=float(p_value), detail=detail
            )
        )
    return found


def _search_rows(known: Known) -> list[Statistic]:
    """The search as a whole, under the headline's name: overfitting probability over all books; superior predictive ability
    and reality check of the strategies against equal weight."""
    headline, books = HEADLINE, (*known.strategies, *BASELINES)
    value, detail = overfitting_row(np.column_stack([known.series(book) for book in books]), known.options)
    found = [Statistic(headline, "zero", "overfitting_probability", value, detail=detail)]
    excess = np.column_stack([m.active(known.series(name), known.series(BENCHMARK)) for name in known.strategies])
    for name, value, p_value, detail in snooping_rows(excess, known.strategies, known.rows, known.options):
        found.append(Statistic(headline, BENCHMARK, name, value, p_value=p_value, detail=detail))
    return found


def sharpe_rows(known: Known, strategy: str, baseline: str) -> list[Statistic]:
    """HAC and bootstrap test of a Sharpe ratio (baseline zero) or of a difference."""
    options = known.options
    returns = known.series(strategy)
    other = None if baseline == "zero" else known.series(baseline)
    name = "sharpe" if baseline == "zero" else "sharpe_difference"
    nothing = SharpeTest(math.nan, math.nan, math.nan, math.nan, math.nan)
    hac = bootstrap = nothing
    if returns.size >= options.minimum_months:
        hac = sharpe_test_hac(returns, other, options.confidence)
        bootstrap = sharpe_test_bootstrap(returns, other, options.confidence, known.starts, known.block)
    year = math.sqrt(options.periods_per_year)
    return [
        Statistic(
            strategy,
            baseline,
            f"{name}_{kind}",
            test.value * year,
            test.low * year,
            test.high * year,
            test.p_value,
            None,
            text,
        )
        for kind, test, text in (
            ("hac", hac, method_text("hac")),
            ("bootstrap", bootstrap, method_text("bootstrap", block=known.block)),
        )
    ]


def belief_rows(known: Known, strategy: str, baseline: str) -> list[Statistic]:
    """Probabilistic and deflated Sharpe ratio and minimum track record, of the net return or of its excess."""
    options = known.options
    returns, variance, of_excess = known.series(strategy), known.sharpe_variance, baseline != "zero"
    if of_excess:
        returns, variance = m.active(returns, known.series(baseline)), known.information_variance
    count = returns.size
    probabilistic = deflated = record = maximum = math.nan
    if count >= options.minimum_months:
        sharpe, skew, kurtosis = (
            float(f) for f in (m.sharpe_ratio(returns, 1.0), m.skewness(returns), m.kurtosis(returns))
        )
        maximum = deflation.expected_maximum_sharpe(known.trials, variance)
        probabilistic = deflation.probabilistic_sharpe(sharpe, count, skew, kurtosis)
        deflated = deflation.deflated_sharpe(sharpe, count, skew, kurtosis, known.trials, variance)
        record = (
            deflation.minimum_track_record(sharpe, skew, kurtosis, 0.0, options.confidence) / options.periods_per_year
        )
    shown = "–" if math.isnan(maximum) else f"{maximum:.3f}"
    texts = (
        method_text("probabilistic", of_excess=of_excess, year=deflation.PROBABILISTIC_YEAR),
        method_text("deflated", of_excess=of_excess, year=deflation.DEFLATED_YEAR, maximum=shown, trials=known.trials),
        method_text(
            "record",
            of_excess=of_excess,
            confidence=f"{options.confidence:.0%}",
            year=deflation.PROBABILISTIC_YEAR,
            have=f"{count / options.periods_per_year:.1f}",
        ),
    )
    return [
        Statistic(
            strategy, baseline, "probabilistic_sharpe", probabilistic, p_value=1.0 - probabilistic, detail=texts[0]
        ),
        Statistic(
            strategy,
            baseline,
            "deflated_sharpe",
            deflated,
            p_value=1.0 - deflated,
            trials=known.trials,
            detail=texts[1],
        ),
        Statistic(strategy, baseline, "minimum_track_record", record, detail=texts[2]),
    ]


def excess_row(known: Known, strategy: str, baseline: str = BENCHMARK) -> Statistic:
    """Mean excess over a series, equal weight by default, a year."""
    options, year = known.options, known.options.periods_per_year
    difference = m.active(known.series(strategy), known.series(baseline))
    value = low = high = p_value = math.nan
    if difference.size >= options.minimum_months:
        value = float(difference.mean()) * year
        mean, _ = resampled_moments(np.ascontiguousarray(difference[:, None]), known.rows)
        lower, upper = percentile_interval(mean * year, options.confidence)
        low, high = float(lower[0]), float(upper[0])
        t = float(newey_west_t(difference))
        p_value = math.erfc(abs(t) / math.sqrt(2.0))
    return Statistic(
        strategy, baseline, "excess_return", value, low, high, p_value, None, method_text("excess", year=f"{year:g}")
    )


def _factor_level(trials: pd.DataFrame) -> list[Tried]:
    return [row for row in read_trials(trials) if row.kind != STOCK_BOOK]


def _frame(rows: list[tuple[pd.Timestamp, Statistic]]) -> pd.DataFrame:
    statistics = [row for _, row in rows]
    columns: dict[str, object] = {
        "month": np.array([month for month, _ in rows], dtype="datetime64[ns]"),
        "strategy": np.array([row.strategy for row in statistics], dtype=object),
        "baseline": np.array([row.baseline for row in statistics], dtype=object),
        "statistic": np.array([row.name for row in statistics], dtype=object),
        "value": np.array([row.value for row in statistics], dtype=np.float64),
        "low": np.array([row.low for row in statistics], dtype=np.float64),
        "high": np.array([row.high for row in statistics], dtype=np.float64),
        "p_value": np.array([row.p_value for row in statistics], dtype=np.float64),
        "trials": pd.array([row.trials for row in statistics], dtype="Int32"),
        "detail": np.array([row.detail for row in statistics], dtype=object),
    }
    return make_frame(columns, SIGNIFICANCE.stored_names)
