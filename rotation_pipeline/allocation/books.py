"""All books, month by month: from forecasts, returns and the index state to weights.

Each month starts from last month's stored weights, so that one month alone and a backfill of many give the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from rotation_pipeline.allocation import baselines
from rotation_pipeline.allocation.anchored import anchored_target, hold_within_band, interval_shrinkage
from rotation_pipeline.allocation.frames import (
    MissingMonthError,
    Month,
    as_month,
    as_months,
    by_month,
    make_frame,
    month_before,
    numbers,
    require,
    rows_where,
)
from rotation_pipeline.allocation.inertia import drift, with_inertia
from rotation_pipeline.allocation.limits import limit_turnover, project_to_bounds, volatility_scale
from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.allocation.risk import complete_rows, sample_covariance
from rotation_pipeline.allocation.scores import Floats, neutral, raw_scores, standardise
from rotation_pipeline.allocation.softmax import softmax_weights
from rotation_pipeline.allocation.tables import BASELINES, BOOKS, STRATEGIES, WEIGHTS
from rotation_pipeline.factors.styles import STYLES

NETWORK = "network_lstm"
"""Expert whose forecasts the softmax_network book trades."""
ORDER: tuple[str, ...] = tuple(sorted((*STRATEGIES, *BASELINES)))


@dataclass(frozen=True, slots=True)
class AllocationResult:
    """Rows of the tables WEIGHTS and BOOKS for the months asked for, sorted by key."""

    weights: pd.DataFrame
    books: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Position:
    """One book at one month end; (K,) arrays in the order of STYLES, NaN = null."""

    score: Floats
    target: Floats
    weight: Floats
    drifted: Floats


@dataclass(frozen=True, slots=True)
class View:
    """What a strategy is told at t: (K,) mean, standard error and volatility, fraction per month, NaN = unknown."""

    mean: Floats
    standard_error: Floats
    volatility: Floats


@dataclass(frozen=True, slots=True)
class State:
    """What is known at the close of t."""

    month: pd.Timestamp
    mixture: View
    network: View
    returns: Floats
    """(T, K) long-short returns of the months up to t, oldest first; NaN = no book."""
    trend: float
    volatility: Floats
    """(T,) index volatility at the month ends up to t."""
    index_return: float


def allocate(
    *,
    forecasts: pd.DataFrame,
    expert_forecasts: pd.DataFrame,
    style_returns: pd.DataFrame,
    index_features: pd.DataFrame,
    months: Iterable[Month],
    first_month: Month,
    previous_weights: pd.DataFrame | None,
    previous_books: pd.DataFrame | None,
    options: AllocationOptions,
) -> AllocationResult:
    """Weights of every strategy and baseline at the close of each of ``months``, and what each book trades.

    ``forecasts``: rows of FORECASTS (one per style) for every month asked for. ``expert_forecasts``: rows of EXPERT_FORECASTS;
    only ``network_lstm`` is used, and null or absent means no forecast yet. ``style_returns``: long-short returns, wide, index
    month, one column per style, NaN = no book, all months from the first on. ``index_features``: month, trend, volatility,
    index_return at each month's last close, all months from the first on. Rows after a month never touch its result.
    ``first_month``: the store's first month; there every strategy starts at equal weight and nothing is traded.
    ``previous_weights``: rows of WEIGHTS with at least the month before the first one asked for (ignored for the store's
    first). ``previous_books``: rows of BOOKS of all earlier months, for the mean active share so far.

    MissingMonthError names the table and month to materialise; TotalLossError the book that lost everything.
    """
    start, wanted = as_month(first_month), as_months(months)
    stored = by_month(previous_weights)
    shares = _past_active_shares(previous_books, wanted[0], start) if wanted else {}
    states = _States(forecasts, expert_forecasts, style_returns, index_features)
    rows = _Rows()
    held: dict[str, Floats] = {}
    held_month: pd.Timestamp | None = None
    for month in wanted:
        if month < start:
            raise ValueError(f"month {month:%Y-%m} is before the store's first month {start:%Y-%m}")
        if month == start:
            held = {}
        elif held_month != month_before(month):
            held = _stored_weights(stored, month)
        positions = _positions(states.at(month), held, options)
        _require_history(shares, month, start)
        for book in ORDER:
            position = positions[book]
            shares[book][month] = 0.5 * float(np.abs(position.weight - 1.0 / len(STYLES)).sum())
            past = [share for earlier, share in shares[book].items() if earlier <= month]
            clone = math.fsum(past) / len(past) < options.clone_threshold
            rows.add(month, book, position, shares[book][month], clone)
        held, held_month = {book: position.weight for book, position in positions.items()}, month
    return AllocationResult(make_frame(rows.weights, WEIGHTS.stored_names), make_frame(rows.books, BOOKS.stored_names))


class _Rows:
    """Collects the rows of both tables, by column."""

    def __init__(self) -> None:
        self._weights: dict[str, list[object]] = {name: [] for name in WEIGHTS.stored_names}
        self._books: dict[str, list[object]] = {name: [] for name in BOOKS.stored_names}

    def add(self, month: pd.Timestamp, book: str, position: Position, active_share: float, clone: bool) -> None:
        """One book at one month end; months and books come in the order of the keys."""
        for style in sorted(STYLES):
            i = STYLES.index(style)
            values = (position.score[i], position.target[i], position.weight[i], position.drifted[i])
            for name, value in zip(WEIGHTS.stored_names, (month, book, style, *map(float, values)), strict=True):
                self._weights[name].append(value)
        for name, value in zip(
            BOOKS.stored_names, (month, book, _turnover(position), active_share, clone), strict=True
        ):
            self._books[name].append(value)

    @property
    def weights(self) -> dict[str, object]:
        """Columns of WEIGHTS, typed even when there is no row."""
        texts = ("strategy", "style")
        return {name: _typed(name, column, texts) for name, column in self._weights.items()}

    @property
    def books(self) -> dict[str, object]:
        """Columns of BOOKS, typed even when there is no row."""
        return {name: _typed(name, column, ("strategy",)) for name, column in self._books.items()}


def _typed(name: str, column: list[object], texts: tuple[str, ...]) -> object:
    if name == "month":
        return np.array(column, dtype="datetime64[ns]")
    if name in texts:
        return np.array(column, dtype=object)
    return np.array(column, dtype=np.bool_ if name == "is_equal_weight_clone" else np.float64)


class _States:
    """Hands out what is known at t, and nothing later."""

    def __init__(
        self, forecasts: pd.DataFrame, experts: pd.DataFrame, style_returns: pd.DataFrame, index_features: pd.DataFrame
    ) -> None:
        self._forecasts = by_month(forecasts)
        self._experts = by_month(rows_where(experts, "expert", NETWORK))
        self._returns = style_returns.sort_index()[list(STYLES)].astype("float64")
        self._features = index_features.sort_values("month").set_index("month")
        if self._returns.index.has_duplicates or self._features.index.has_duplicates:
            raise ValueError("style_returns and index_features must have one row per month")

    def at(self, month: pd.Timestamp) -> State:
        """Everything the books may see at the close of ``month``."""
        needed = f"to allocate {month:%Y-%m}"
        mixture = _by_style(require("marts.forecasts", self._forecasts, month, needed), "marts.forecasts", month)
        experts = self._experts.get(month)
        network = None if experts is None else _by_style(experts, "marts.expert_forecasts", month)
        volatility = numbers(mixture, "volatility")
        returns = self._returns.loc[self._returns.index <= month]
        features = self._features.loc[self._features.index <= month]
        for table, index in (
            ("marts.factor_longshort", returns.index),
            ("intermediate.index_features", features.index),
        ):
            if len(index) == 0 or index[-1] != month:
                raise MissingMonthError(
                    f"{table} has no rows for {month:%Y-%m}, needed {needed}: materialise that month first"
                )
        nothing = np.full(len(STYLES), np.nan)
        return State(
            month=month,
            mixture=View(numbers(mixture, "mean"), numbers(mixture, "standard_error"), volatility),
            network=View(nothing, nothing, volatility)
            if network is None
            else View(numbers(network, "mean"), numbers(network, "standard_error"), volatility),
            returns=np.ascontiguousarray(returns.to_numpy(dtype=np.float64)),
            trend=float(features["trend"].astype("float64").iloc[-1]),
            volatility=numbers(features, "volatility"),
            index_return=float(features["index_return"].astype("float64").iloc[-1]),
        )


def _positions(state: State, held: dict[str, Floats], options: AllocationOptions) -> dict[str, Position]:
    """Every book at one month end; an empty ``held`` is the store's first month."""
    latest = state.returns[-1]
    drifted = {book: drift(weights, latest, f"book {book} in {state.month:%Y-%m}") for book, weights in held.items()}
    positions: dict[str, Position] = {}
    for book in STRATEGIES:
        kind = options.book if book == "rotation" else "softmax"
        view = state.network if book == "softmax_network" else state.mixture
        positions[book] = _strategy(kind, view, state.returns, held.get(book), drifted.get(book), options)
    nothing = np.full(len(STYLES), np.nan)
    for book in BASELINES:
        weights = _baseline(book, state, options)
        positions[book] = Position(nothing, weights, weights, drifted.get(book, nothing))
    return positions


def _strategy(
    kind: str, view: View, returns: Floats, held: Floats | None, drifted: Floats | None, options: AllocationOptions
) -> Position:
    """One strategy: score, target, then inertia or band, floor and cap, volatility target, turnover cap."""
    count = len(STYLES)
    nothing, equal = np.full(count, np.nan), baselines.equal_weight(count)
    if np.isnan(view.mean).all():  # no forecast yet: equal weight, restored every month
        return Position(nothing, equal, equal, nothing if drifted is None else drifted)
    scores = standardise(raw_scores(view.mean, view.volatility, options.score_form, options.risk_penalty))
    if kind == "anchored":
        kept = interval_shrinkage(view.mean, view.standard_error, options.shrinkage)
        target = anchored_target(
            neutral(scores), kept, options.tilt_scale, options.tilt_cap, options.floor, options.cap
        )
    else:
        target = softmax_weights(neutral(scores), options.temperature)
    if held is None or drifted is None:
        return Position(scores, target, equal, nothing)
    # under a volatility target the book is partly cash: compare compositions, which sum to 1
    mix = drifted / math.fsum(drifted.tolist())
    if kind == "anchored":
        weights = hold_within_band(mix, target, options.no_trade_band)
    else:
        base = mix if options.inertia_from == "drifted" else held / math.fsum(held.tolist())
        weights = with_inertia(base, target, options.inertia)
    weights = project_to_bounds(weights, options.floor, options.cap)
    if options.volatility_target is not None:
        rows = complete_rows(returns, options.covariance_months)
        if rows.shape[0] >= options.minimum_months:
            weights = weights * volatility_scale(
                weights, sample_covariance(rows), options.volatility_target, options.leverage_cap
            )
    return Position(scores, target, limit_turnover(drifted, weights, options.turnover_cap), drifted)


def _baseline(book: str, state: State, options: AllocationOptions) -> Floats:
    """Weights of one baseline at t."""
    if book == "equal_weight":
        return baselines.equal_weight(len(STYLES))
    if book.startswith("only_"):
        return baselines.only(book.removeprefix("only_"))
    if book == "rule_based":
        return baselines.rule_based(
            state.trend, state.volatility, state.index_return, options.rule_tilt, options.minimum_months
        )
    if book == "risk_parity":
        return baselines.risk_parity(state.returns, options.covariance_months, options.minimum_months)
    if book == "factor_momentum":
        return baselines.factor_momentum(state.returns, options.momentum_months)
    raise ValueError(f"no baseline is called {book!r}; there are {', '.join(BASELINES)}")


def _by_style(rows: pd.DataFrame, table: str, month: pd.Timestamp) -> pd.DataFrame:
    """``rows`` indexed by style in the order of STYLES; ValueError if a style is missing or twice."""
    indexed = rows.set_index("style")
    if sorted(indexed.index) != sorted(STYLES):
        raise ValueError(f"{table}, {month:%Y-%m}: expected one row for each of {STYLES}, got {sorted(indexed.index)}")
    return cast(pd.DataFrame, indexed.loc[list(STYLES)])


def _stored_weights(stored: dict[pd.Timestamp, pd.DataFrame], month: pd.Timestamp) -> dict[str, Floats]:
    """Last month's weights of every book, from the table."""
    before = month_before(month)
    rows = require("marts.weights", stored, before, f"as the month before {month:%Y-%m}")
    held: dict[str, Floats] = {}
    for book in ORDER:
        of_book = rows_where(rows, "strategy", book)
        if of_book.empty:
            raise MissingMonthError(
                f"marts.weights, {before:%Y-%m} has no rows of book {book}: materialise that month again"
            )
        held[book] = numbers(_by_style(of_book, f"marts.weights, book {book}", before), "weight")
    return held


def _past_active_shares(
    previous: pd.DataFrame | None, first: pd.Timestamp, start: pd.Timestamp
) -> dict[str, dict[pd.Timestamp, float]]:
    """Active share by book and month, for months from the store's first up to the one before ``first``."""
    shares: dict[str, dict[pd.Timestamp, float]] = {book: {} for book in ORDER}
    for month, rows in by_month(previous).items():
        if start <= month < first:
            for book, share in zip(rows["strategy"], rows["active_share"], strict=True):
                if book in shares:
                    shares[book][month] = float(share)
    return shares


def _require_history(shares: dict[str, dict[pd.Timestamp, float]], month: pd.Timestamp, start: pd.Timestamp) -> None:
    """MissingMonthError unless every book has an active share in the month before ``month``."""
    if month == start:
        return
    for book in ORDER:
        if month_before(month) not in shares[book]:
            raise MissingMonthError(
                f"marts.books has no row of {book} for {month_before(month):%Y-%m}, needed for the mean active share of "
                f"{month:%Y-%m}: materialise that month first and pass all earlier months"
            )


def _turnover(position: Position) -> float:
    """½ Σ|weight − drifted|; 0 in the first month, when entering is charged as the long-short books' own first turnover."""
    if np.isnan(position.drifted).any():
        return 0.0
    return 0.5 * float(np.abs(position.weight - position.drifted).sum())
