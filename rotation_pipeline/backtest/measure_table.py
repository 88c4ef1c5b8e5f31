"""Table MEASURES: every series by sample and cost, as of every month.

To keep the table small, costs other than the default are given for the whole history and the forecast months, and for the
measures that matter there; years have the short list of measures. Sub-samples of scattered months (regimes) have no
drawdown: months that did not follow each other never were a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rotation_pipeline.allocation.frames import Month, as_month, as_months, make_frame, month_before
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.history import BENCHMARK, History, read_history
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.resampling import percentile_interval, resampled_moments, stationary_months
from rotation_pipeline.backtest.tables import MEASURES

MEASURE_NAMES: tuple[str, ...] = tuple(
    sorted(
        (
            "alpha", "annualised_return", "beta", "book_turnover", "calmar", "cost_drag", "excess_return",
            "factor_turnover", "gross_annualised_return", "gross_sharpe", "hit_rate", "information_ratio", "kurtosis",
            "max_drawdown", "max_drawdown_peak", "max_drawdown_recovery", "max_drawdown_trough", "sharpe", "skew",
            "sortino", "total_return", "tracking_error", "volatility", "worst_month",
        )
    )
)  # fmt: skip
"""What is measured. Returns, volatilities, excess, tracking error, alpha and cost drag are fractions per year;
total_return and worst_month fractions; turnovers fractions per month; the dates of the drawdown are numbers YYYYMM (peak: the
month at whose close the high stood; recovery null: not yet)."""
COST_MEASURES = (
    "annualised_return",
    "cost_drag",
    "excess_return",
    "information_ratio",
    "max_drawdown",
    "sharpe",
    "volatility",
)
YEAR_MEASURES = (
    "excess_return",
    "information_ratio",
    "max_drawdown",
    "sharpe",
    "total_return",
    "volatility",
    "worst_month",
)
PATH_MEASURES = ("calmar", "max_drawdown", "max_drawdown_peak", "max_drawdown_recovery", "max_drawdown_trough")
RISK_ADJUSTED = (
    "sharpe",
    "gross_sharpe",
    "sortino",
    "information_ratio",
    "tracking_error",
    "volatility",
    "skew",
    "kurtosis",
    "alpha",
    "beta",
)
"""Null below three months."""
INTERVAL_MEASURES = ("annualised_return", "excess_return", "information_ratio", "sharpe")


@dataclass(frozen=True, slots=True)
class Sample:
    """Named months, their positions, and whether they follow each other."""

    name: str
    rows: npt.NDArray[np.int64]
    is_path: bool


def measure_table(
    backtest: pd.DataFrame,
    regimes: pd.DataFrame,
    forecast_months: Iterable[Month],
    months: Iterable[Month],
    options: BacktestOptions,
) -> pd.DataFrame:
    """Rows of MEASURES for ``months``, each from months up to it.

    ``backtest``: rows of BACKTEST, every month from the start on. ``regimes``: month, regime (filtered label at the close); the
    return of t belongs to the regime known at t−1, which could be traded on. ``forecast_months``: months at whose close the
    mixture's forecast was active; the return of the month after belongs to the forecast sample. Samples without a month have
    no rows; months before the backtest's start have none at all. Intervals (stationary bootstrap, percentile, all series
    resampled together) for INTERVAL_MEASURES at the default cost in the samples all and forecast.
    """
    history = read_history(backtest)
    labels = {as_month(month): str(label) for month, label in zip(regimes["month"], regimes["regime"], strict=True)}
    active = set(as_months(forecast_months))
    blocks: list[Block] = []
    for month in as_months(months):
        known = history.as_of(month)
        if known is not None:
            for sample in _samples(known, labels, active, options):
                blocks += _blocks(month, known, sample, options)
    return _assemble(blocks, history.names)


@dataclass(frozen=True, slots=True)
class Block:
    """One sample as of one month at one cost; arrays (measures, S), ``codes`` the measures' places in MEASURE_NAMES."""

    month: pd.Timestamp
    sample: str
    cost_bp: float
    months: int
    codes: npt.NDArray[np.int64]
    value: Floats
    low: Floats
    high: Floats


def _assemble(blocks: list[Block], names: tuple[str, ...]) -> pd.DataFrame:
    """All blocks as one frame sorted by the key; names are sorted once, not once per row."""
    samples = sorted({block.sample for block in blocks})
    place = {name: code for code, name in enumerate(samples)}
    width = len(names)
    sizes = np.array([block.value.size for block in blocks], dtype=np.int64)
    codes = np.concatenate([np.empty(0, dtype=np.int64), *(np.repeat(block.codes, width) for block in blocks)])
    month = np.repeat(np.array([block.month for block in blocks], dtype="datetime64[ns]"), sizes)
    sample = np.repeat(np.array([place[block.sample] for block in blocks], dtype=np.int64), sizes)
    cost = np.repeat(np.array([block.cost_bp for block in blocks], dtype=np.float64), sizes)
    series = np.tile(np.arange(width), codes.size // width)
    order = np.lexsort([codes, cost, sample, series, month])
    columns: dict[str, object] = {
        "month": month[order],
        "strategy": np.array(names, dtype=object)[series[order]],
        "sample": np.array(samples, dtype=object)[sample[order]],
        "cost_bp": cost[order],
        "measure": np.array(MEASURE_NAMES, dtype=object)[codes[order]],
        "months": np.repeat(np.array([block.months for block in blocks], dtype=np.int32), sizes)[order],
    }
    for name in ("value", "low", "high"):
        columns[name] = np.concatenate([np.empty(0), *(getattr(block, name).ravel() for block in blocks)])[order]
    return make_frame(columns, MEASURES.stored_names)


def _samples(
    known: History, labels: dict[pd.Timestamp, str], active: set[pd.Timestamp], options: BacktestOptions
) -> list[Sample]:
    """The samples of the months known, empty ones left out."""
    count = len(known.months)
    before = [month_before(month) for month in known.months]
    samples = [Sample("all", np.arange(count), True)]
    forecast = np.array([i for i in range(count) if before[i] in active], dtype=np.int64)
    samples.append(
        Sample("forecast", forecast, bool(forecast.size) and int(forecast[-1] - forecast[0]) + 1 == forecast.size)
    )
    if count >= options.rolling_months:
        samples.append(Sample(f"last{options.rolling_months}", np.arange(count - options.rolling_months, count), True))
    for label in sorted({labels[month] for month in before if month in labels}):
        rows = np.array([i for i in range(count) if labels.get(before[i]) == label], dtype=np.int64)
        samples.append(Sample(f"regime:{label}", rows, False))
    for year in sorted({month.year for month in known.months}):
        rows = np.array([i for i in range(count) if known.months[i].year == year], dtype=np.int64)
        samples.append(Sample(f"year:{year}", rows, True))
    return [sample for sample in samples if sample.rows.size]


def _blocks(month: pd.Timestamp, known: History, sample: Sample, options: BacktestOptions) -> list[Block]:
    """One sample as of one month, a block per cost."""
    part = known.take(sample.rows)
    count = len(part.months)
    headline = sample.name in ("all", "forecast")
    blocks: list[Block] = []
    for cost in sorted({options.cost_bp, *options.cost_grid_bp}) if headline else [options.cost_bp]:
        if cost != options.cost_bp:
            names = COST_MEASURES
        else:
            names = YEAR_MEASURES if sample.name.startswith("year:") else MEASURE_NAMES
        wanted = [name for name in names if sample.is_path or name not in PATH_MEASURES]
        values = _values(part, cost, options)
        value = np.array([values[name]() for name in wanted])
        if count < 3:
            value[[name in RISK_ADJUSTED for name in wanted]] = np.nan
        low, high = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
        if headline and cost == options.cost_bp and count >= options.minimum_months:
            for name, (lower, upper) in _intervals(part, month, options).items():
                low[wanted.index(name)], high[wanted.index(name)] = lower, upper
        codes = np.array([MEASURE_NAMES.index(name) for name in wanted], dtype=np.int64)
        blocks.append(Block(month, sample.name, cost, count, codes, value, low, high))
    return blocks


def _values(part: History, cost_bp: float, options: BacktestOptions) -> dict[str, Callable[[], Floats]]:
    """How to compute every measure of MEASURE_NAMES, each giving (S,)."""
    net, gross, year = part.net(cost_bp), part.gross, options.periods_per_year
    benchmark = np.ascontiguousarray(net[:, part.column(BENCHMARK)])
    return {
        "alpha": lambda: m.alpha_beta(net, benchmark, year)[0],
        "annualised_return": lambda: m.annualised_return(net, year),
        "beta": lambda: m.alpha_beta(net, benchmark, year)[1],
        "book_turnover": lambda: part.book_turnover.mean(axis=0),
        "calmar": lambda: m.calmar_ratio(net, year),
        "cost_drag": lambda: (gross - net).mean(axis=0) * year,
        "excess_return": lambda: m.excess_return(net, benchmark, year),
        "factor_turnover": lambda: part.factor_turnover.mean(axis=0),
        "gross_annualised_return": lambda: m.annualised_return(gross, year),
        "gross_sharpe": lambda: m.sharpe_ratio(gross, year),
        "hit_rate": lambda: m.hit_rate(net),
        "information_ratio": lambda: m.information_ratio(net, benchmark, year),
        "kurtosis": lambda: m.kurtosis(net),
        "max_drawdown": lambda: m.max_drawdown(net),
        "max_drawdown_peak": lambda: _drawdown_dates(part, net)[0],
        "max_drawdown_recovery": lambda: _drawdown_dates(part, net)[2],
        "max_drawdown_trough": lambda: _drawdown_dates(part, net)[1],
        "sharpe": lambda: m.sharpe_ratio(net, year),
        "skew": lambda: m.skewness(net),
        "sortino": lambda: m.sortino_ratio(net, year),
        "total_return": lambda: m.total_return(net),
        "tracking_error": lambda: m.tracking_error(net, benchmark, year),
        "volatility": lambda: m.volatility(net, year),
        "worst_month": lambda: m.worst(net),
    }


def _drawdown_dates(part: History, net: Floats) -> Floats:
    """(3, S): peak, trough and recovery of the maximum drawdown as YYYYMM, NaN without drawdown or recovery."""
    stamps = [month_before(part.months[0]), *part.months]
    numbers = [float(month.year * 100 + month.month) for month in stamps]
    dates = np.full((3, net.shape[1]), np.nan)
    for series in range(net.shape[1]):
        returns = net[:, series]
        if float(m.max_drawdown(returns)) < 0.0:
            for row, position in enumerate(m.max_drawdown_span(returns)):
                dates[row, series] = np.nan if position is None else numbers[position + 1]
    return dates


def _intervals(part: History, month: pd.Timestamp, options: BacktestOptions) -> dict[str, tuple[Floats, Floats]]:
    """Percentile intervals of INTERVAL_MEASURES at the default cost, (S,) each; months are drawn for all series together."""
    net, width, year = part.net(options.cost_bp), len(part.names), options.periods_per_year
    indices = stationary_months(net.shape[0], month, options)
    growth = np.log1p(np.maximum(net, -1.0 + 1e-12))
    difference = net - net[:, [part.column(BENCHMARK)]]
    mean, spread = resampled_moments(np.ascontiguousarray(np.hstack([net, difference, growth])), indices)
    ratio = np.full((options.resamples, 2 * width), np.nan)
    noise = 1e-12 * np.abs(np.hstack([net, difference])).max(axis=0)
    np.divide(mean[:, : 2 * width], spread[:, : 2 * width], out=ratio, where=spread[:, : 2 * width] > noise)
    ratio *= np.sqrt(year)
    draws = {
        "annualised_return": np.expm1(mean[:, 2 * width :] * year),
        "excess_return": mean[:, width : 2 * width] * year,
        "information_ratio": ratio[:, width:],
        "sharpe": ratio[:, :width],
    }
    return {name: percentile_interval(values, options.confidence) for name, values in draws.items()}
