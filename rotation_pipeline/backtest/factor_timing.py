"""Books that time return series of any number: factor momentum as its studies define it, and the graph's own books.

Weights of row t are set at the close of t from rows up to t and earn row t + 1. Long-short books are scaled to Σ|w| = 1,
½ where one of two legs is empty, which makes turnover comparable. References: Ehsani & Linnainmaa (2022, Journal of Finance 77)
for the sign and the cross-sectional form; Gupta & Kelly (2019, Journal of Portfolio Management 45) for the scaled form;
Ledoit & Wolf (2008) for Sharpe ratios and their differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rotation_pipeline.allocation.anchored import anchored_target, hold_within_band, interval_shrinkage
from rotation_pipeline.allocation.inertia import drift, with_inertia
from rotation_pipeline.allocation.limits import project_to_bounds
from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.allocation.scores import Floats, neutral, raw_scores, standardise
from rotation_pipeline.allocation.softmax import softmax_weights
from rotation_pipeline.backtest.measures import sharpe_ratio
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.sharpe_tests import sharpe_test_bootstrap, sharpe_test_hac
from rotation_pipeline.regimes.statistics import generator

Z_LIMIT = 2.0
"""Largest |z| of the scaled form (Gupta & Kelly 2019)."""
VOLATILITY_MONTHS = 36
"""Months of the volatility that scales it: three years (Gupta & Kelly 2019)."""


def trailing_mean(returns: Floats, months: int) -> Floats:
    """Mean of the last ``months`` rows, T × K; NaN before."""
    out = np.full(returns.shape, np.nan)
    for t in range(months - 1, len(returns)):
        out[t] = returns[t + 1 - months : t + 1].mean(axis=0)
    return out


def by_sign(signal: Floats) -> Floats:
    """Each series long where its signal is positive, short where negative, 1/K each: the time-series form."""
    return np.where(np.isnan(signal), 0.0, np.sign(signal)) / signal.shape[1]


def winners(signal: Floats) -> Floats:
    """Equal weight in the series whose signal is positive, nothing at all where none is: long only."""
    chosen = np.where(np.isnan(signal), 0.0, signal) > 0.0
    return chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)


def across(signal: Floats) -> Floats:
    """Long the series above the month's median, short those below, equal in each leg: the cross-sectional form."""
    out = np.zeros(signal.shape)
    for t in range(len(signal)):
        if not np.isnan(signal[t]).any():
            side = np.sign(signal[t] - np.median(signal[t]))
            out[t] = _legs(side)
    return out


def scaled_momentum(returns: Floats, months: int) -> Floats:
    """Position z = Σ of the last ``months`` returns over annual volatility, within ± 2, each leg scaled to ½.

    The volatility is that of the last three years; weights are 0 until it is known.
    """
    out = np.zeros(returns.shape)
    signal = trailing_mean(returns, months) * months
    for t in range(max(months, VOLATILITY_MONTHS) - 1, len(returns)):
        deviation = returns[t + 1 - VOLATILITY_MONTHS : t + 1].std(axis=0, ddof=1) * math.sqrt(12.0)
        out[t] = _legs(np.clip(signal[t] / deviation, -Z_LIMIT, Z_LIMIT))
    return out


def _legs(position: Floats) -> Floats:
    """Positive and negative positions each scaled to ½; a leg that is empty stays so."""
    long, short = np.maximum(position, 0.0), np.maximum(-position, 0.0)
    return 0.5 * (long / max(float(long.sum()), 1e-300) - short / max(float(short.sum()), 1e-300))


@dataclass(frozen=True)
class Views:
    """What a forecaster says, T × K each: mean, standard error, volatility (fraction per month); NaN = nothing."""

    mean: Floats
    standard_error: Floats
    volatility: Floats


def anchored_book(views: Views, returns: Floats, options: AllocationOptions) -> Floats:
    """The graph's headline book on K series: equal weight plus bounded, interval-shrunk tilts, held inside a band."""

    def target(t: int, scores: Floats) -> Floats:
        kept = interval_shrinkage(views.mean[t], views.standard_error[t], options.shrinkage)
        return anchored_target(scores, kept, options.tilt_scale, options.tilt_cap, options.floor, options.cap)

    def move(held: Floats, wanted: Floats) -> Floats:
        return hold_within_band(held, wanted, options.no_trade_band)

    return _book(views, returns, options, target, move)


def softmax_book(views: Views, returns: Floats, options: AllocationOptions) -> Floats:
    """The paper's book on K series: softmax of standardised scores, reached by half every month."""

    def target(_t: int, scores: Floats) -> Floats:
        return softmax_weights(scores, options.temperature)

    def move(held: Floats, wanted: Floats) -> Floats:
        return with_inertia(held, wanted, options.inertia)

    return _book(views, returns, options, target, move)


def _book(
    views: Views,
    returns: Floats,
    options: AllocationOptions,
    target: Callable[[int, Floats], Floats],
    move: Callable[[Floats, Floats], Floats],
) -> Floats:
    count = returns.shape[1]
    equal = np.full(count, 1.0 / count)
    weights = np.tile(equal, (len(returns), 1))
    for t in range(1, len(returns)):
        if np.isnan(views.mean[t]).all():
            continue
        scores = standardise(raw_scores(views.mean[t], views.volatility[t], options.score_form, options.risk_penalty))
        held = drift(weights[t - 1], returns[t])
        moved = move(held / math.fsum(held.tolist()), target(t, neutral(scores)))
        weights[t] = project_to_bounds(moved, options.floor, options.cap)
    return weights


@dataclass(frozen=True)
class Earned:
    """A book from one row to another: monthly gross return and ½ Σ|Δw| traded to hold it, (n,) each."""

    gross: Floats
    turnover: Floats

    def net(self, cost_bp: float) -> Floats:
        """Returns after ``cost_bp`` basis points per unit of turnover."""
        return self.gross - self.turnover * cost_bp / 1e4


def earn(weights: Floats, returns: Floats, first: int) -> Earned:
    """What ``weights`` (T × K) set at rows ``first`` … T − 2 earned over the row after each.

    Turnover is measured against last month's weights as they have drifted; entering at ``first`` costs nothing, as in the
    graph's backtest.
    """
    gross = np.sum(weights[first:-1] * returns[first + 1 :], axis=1)
    turnover = np.zeros(len(gross))
    for i, t in enumerate(range(first + 1, len(returns) - 1), 1):
        turnover[i] = 0.5 * float(np.abs(weights[t] - drift(weights[t - 1], returns[t])).sum())
    return Earned(gross, turnover)


@dataclass(frozen=True)
class Judged:
    """A book over one sample, annual: Sharpe ratios, the net one's interval and its difference to the benchmark's."""

    months: int
    mean: float
    volatility: float
    sharpe_gross: float
    sharpe: float
    low: float
    high: float
    t: float
    difference: float
    difference_low: float
    difference_high: float
    difference_t: float
    difference_p: float
    turnover: float


def judge(book: Earned, benchmark: Earned, last: int, cost_bp: float, options: BacktestOptions) -> Judged:
    """The last ``last`` months of a book, net of ``cost_bp``; the benchmark pays the same. t statistics are HAC, intervals
    those of the studentised circular block bootstrap (Ledoit & Wolf 2008); NaN where book and benchmark are the same."""
    net, base = book.net(cost_bp)[-last:], benchmark.net(cost_bp)[-last:]
    year, count = math.sqrt(options.periods_per_year), len(net)
    block = max(1, min(round(options.mean_block), count // 4))
    starts = generator((options.seed, count)).integers(
        0, count, size=(options.resamples, count // block), dtype=np.int64
    )
    own = sharpe_test_hac(net, None, options.confidence)
    interval = sharpe_test_bootstrap(net, None, options.confidence, starts, block)
    hac = sharpe_test_hac(net, base, options.confidence)
    between = sharpe_test_bootstrap(net, base, options.confidence, starts, block)
    return Judged(
        months=count,
        mean=float(net.mean()) * options.periods_per_year,
        volatility=float(net.std(ddof=1)) * year,
        sharpe_gross=float(sharpe_ratio(book.gross[-last:], options.periods_per_year)),
        sharpe=own.value * year,
        low=interval.low * year,
        high=interval.high * year,
        t=own.value / own.standard_error,
        difference=hac.value * year,
        difference_low=between.low * year,
        difference_high=between.high * year,
        difference_t=hac.value / hac.standard_error,
        difference_p=between.p_value,
        turnover=float(book.turnover[-last:].mean()) * options.periods_per_year,
    )


@dataclass(frozen=True)
class Persistence:
    """Mean return (fraction per month) after a year of gains and after one of losses, and the t of their difference."""

    after_gain: float
    after_loss: float
    t: float
    gains: int
    losses: int


def persistence(returns: Floats, months: int = 12) -> Persistence:
    """Next month's mean return by the sign of each series' last ``months``, pooled over series (Ehsani & Linnainmaa 2022).

    The t is that of the slope on the sign in a pooled regression, its errors clustered by month, because series of one
    month move together.
    """
    signal, future = trailing_mean(returns, months)[months - 1 : -1], returns[months:]
    gain = (signal > 0.0).astype(np.float64)
    share = gain.mean()
    centred = gain - share
    power = float((centred**2).sum())
    slope = float((centred * future).sum()) / power
    residual = future - future.mean() - slope * centred
    error = math.sqrt(float(((centred * residual).sum(axis=1) ** 2).sum())) / power
    after_gain, after_loss = future[gain == 1.0], future[gain == 0.0]
    return Persistence(
        float(after_gain.mean()), float(after_loss.mean()), slope / error, len(after_gain), len(after_loss)
    )
