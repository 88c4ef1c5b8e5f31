"""One month of returns and orders for every name: what the day loop is fed with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.market.calendar import add_months, sessions_since
from rotation_pipeline.market.conventions import limit_rate, limit_rates
from rotation_pipeline.market.simulation.events import MonthEvents
from rotation_pipeline.market.simulation.kernels import volatility_path
from rotation_pipeline.market.simulation.options import SimulationOptions, Stream, generator
from rotation_pipeline.market.simulation.regimes import STYLES, TRAITS
from rotation_pipeline.market.simulation.roster import BOARDS, INDUSTRIES, Floats, Ints, Roster

SESSIONS_A_YEAR = 244
_MARKET_ARCH, _MARKET_GARCH = 0.10, 0.87
_OWN_ARCH, _OWN_GARCH = 0.11, 0.85
"""GARCH(1,1) of daily returns sums to 0.97 or so in Chinese equities; shocks of a heavy-tailed t keep the fourth moment of the product finite enough."""

_ATTENTION = 0.90
"""A month's memory of attention; see option ``small_attention``."""
_SMALLEST_TRADED = -0.5
"""Turnover of A shares no longer rises with smallness this far (ln) below the median size."""


@dataclass(slots=True)
class Dynamics:
    """Slow states of returns and trading, arrays of shape (n,) unless said."""

    market_scale: Floats
    """Shape (1,): GARCH variance scale of the market, mean 1."""
    own_scale: Floats
    industry_scale: Floats
    """Shape (industries,)."""
    beta_gap: Floats
    volatility_gap: Floats
    turnover_gap: Floats
    attention: Floats
    """Of small names, mean 0 and variance 1 in the long run; 0 for the others."""
    size_gap: Floats
    """ln market value of small names at the last close less their median, 0 for the others; set from outside."""
    market_turnover: float = 0.0


def start_dynamics(n: int) -> Dynamics:
    """Everything at its mean."""
    beta, volatility, turnover, attention, size = (np.zeros(n) for _ in range(5))
    scales = np.ones(1), np.ones(n), np.ones(len(INDUSTRIES))
    return Dynamics(*scales, beta, volatility, turnover, attention, size)


@dataclass(frozen=True, slots=True)
class MonthReturns:
    """Returns wanted before rounding and limits, arrays (nd, n) unless said."""

    change: Floats
    sigma: Floats
    market_sigma: Floats
    """Shape (nd,)."""
    beta: Floats
    """Shape (n,)."""
    turnover: Floats


def _student(rng: np.random.Generator, tail: float, shape: tuple[int, ...]) -> Floats:
    """Student t of unit variance, cut at ± 12."""
    return np.clip(rng.standard_t(tail, shape) * np.sqrt((tail - 2.0) / tail), -12.0, 12.0)


def draw_returns(
    options: SimulationOptions,
    roster: Roster,
    dynamics: Dynamics,
    events: MonthEvents,
    industry: Ints,
    month: date,
    regime: str,
    scores: Floats,
    excess: Floats,
) -> MonthReturns:
    """Returns of one month: drift (equal for all) + premia + beta × market + industry + styles + own part."""
    traits, nd, n = TRAITS[regime], events.days.size, roster.keys.size
    daily = 1.0 / np.sqrt(SESSIONS_A_YEAR)

    def rng(stream: Stream) -> np.random.Generator:
        return generator(options.seed, stream, month)

    slow = rng(Stream.DRIFT)
    dynamics.beta_gap = 0.97 * dynamics.beta_gap + 0.02 * slow.normal(size=n)
    dynamics.volatility_gap = 0.94 * dynamics.volatility_gap + 0.06 * slow.normal(size=n)
    beta = np.clip(roster.beta + dynamics.beta_gap, 0.55, 1.45)
    wildness, habit = dynamics.volatility_gap, roster.log_turnover
    if roster.small.any():
        news = rng(Stream.ATTENTION).normal(size=n) * roster.small
        dynamics.attention = _ATTENTION * dynamics.attention + np.sqrt(1.0 - _ATTENTION**2) * news
        wildness = wildness + options.small_attention * dynamics.attention
        size = np.clip(dynamics.size_gap, _SMALLEST_TRADED, None)
        habit = habit + options.small_attention_turnover * dynamics.attention - options.small_turnover_slope * size

    shock = _student(rng(Stream.MARKET), options.market_tail, (nd, 1))
    market_sigma = (
        traits.volatility * daily * volatility_path(shock, dynamics.market_scale, _MARKET_ARCH, _MARKET_GARCH)
    )
    sector_shock = _student(rng(Stream.INDUSTRY), 5.0, (nd, len(INDUSTRIES)))
    sector_sigma = options.industry_volatility * traits.idiosyncratic * daily
    sector_sigma = sector_sigma * volatility_path(sector_shock, dynamics.industry_scale, _OWN_ARCH, _OWN_GARCH)
    own_shock = _student(rng(Stream.IDIOSYNCRATIC), options.idiosyncratic_tail, (nd, n))
    level = roster.volatility * np.exp(wildness) * traits.idiosyncratic * daily
    own_scale = volatility_path(own_shock, dynamics.own_scale, _OWN_ARCH, _OWN_GARCH)
    own_sigma = level * own_scale
    style_move = options.style_volatility * traits.style * daily * _student(rng(Stream.STYLE), 5.0, (nd, len(STYLES)))

    change = traits.drift / nd + excess / nd + beta * (market_sigma * shock) + own_sigma * own_shock
    change += (sector_sigma * sector_shock)[:, industry]
    for s in range(len(STYLES)):
        change += style_move[:, s : s + 1] * scores[:, s]
    sigma = np.sqrt((beta * market_sigma) ** 2 + sector_sigma[:, industry] ** 2 + own_sigma**2)
    turnover = _turnover(habit, dynamics, rng(Stream.TURNOVER), traits.turnover, change, sigma, own_scale)
    _first_days(roster, events, rng(Stream.LISTING), change, sigma)
    return MonthReturns(np.maximum(change, -0.9), sigma, market_sigma[:, 0], beta, turnover)


def _turnover(
    habit: Floats,
    dynamics: Dynamics,
    rng: np.random.Generator,
    regime_level: float,
    change: Floats,
    sigma: Floats,
    own_scale: Floats,
) -> Floats:
    """Turnover rates wanted, (nd, n): persistent, higher when a name is volatile or moves much.

    ``habit``: each name's mean log of the rate this month, (n,).
    """
    nd, n = change.shape
    common = np.asarray(0.08 * rng.normal(size=nd), dtype=np.float64)
    own = np.asarray(0.32 * rng.normal(size=(nd, n)), dtype=np.float64)
    rates = np.empty((nd, n))
    for d in range(nd):
        dynamics.market_turnover = 0.96 * dynamics.market_turnover + float(common[d])
        dynamics.turnover_gap = 0.88 * dynamics.turnover_gap + own[d]
        rates[d] = habit + dynamics.turnover_gap + dynamics.market_turnover
    surprise = np.minimum(np.abs(change) / sigma, 4.0)
    return np.minimum(np.exp(rates + regime_level + 0.9 * np.log(own_scale) + 0.25 * surprise - 0.15), 0.35)


def _first_days(roster: Roster, events: MonthEvents, rng: np.random.Generator, change: Floats, sigma: Floats) -> None:
    """A new share's first day: the issue price plus 5 to 44 %, on growth boards up to 120 %."""
    draw = rng.random(roster.keys.size)
    for name in events.newly:
        first = int(np.argmax(events.listed[:, name]))
        most = 0.44 if roster.board[name] == BOARDS.index("main") else 1.2
        change[first, name] = 0.05 + (most - 0.05) * draw[name]
        sigma[first, name] = 0.05


def price_limits(roster: Roster, listed_on: NDArray[np.datetime64], events: MonthEvents) -> tuple[Ints, Ints]:
    """Limits down and up in basis points, negative = none, shapes (nd, n), by board, day, treatment and age."""
    days, n = events.days, roster.keys.size
    down = np.full((days.size, n), -1, dtype=np.int64)
    present = events.listed.any(axis=0)
    for code, board in enumerate(BOARDS):
        for treated in (False, True):
            names = np.flatnonzero(present & (roster.board == code) & (events.is_st == treated))
            if names.size:
                rates = limit_rate([board] * days.size, days, np.full(days.size, treated))
                down[:, names] = np.rint(rates * 10_000).astype(np.int64)[:, None]
    up = down.copy()
    recent = np.datetime64(add_months(days[0].item(), -1))
    young = np.flatnonzero(present & (np.where(np.isnat(listed_on), recent, listed_on) > recent))
    for name in young:
        age = sessions_since(np.full(days.size, listed_on[name]), days)
        board = [BOARDS[int(roster.board[name])]] * days.size
        low, high = limit_rates(board, days, np.full(days.size, events.is_st[name]), age)
        down[:, name] = _basis_points(low)
        up[:, name] = _basis_points(high)
    return down, up


def _basis_points(rates: Floats) -> Ints:
    finite = np.isfinite(rates)
    return np.where(finite, np.rint(np.where(finite, rates, 0.0) * 10_000), -1).astype(np.int64)
