"""All books, month by month: from forecasts, returns and the index state to weights.

Each month starts from last month's stored weights, so that one month alone and a backfill of many give the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd

from rotation_pipeline.allocation import baselines
from rotation_pipeline.allocation.decision import Decider
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
from rotation_pipeline.allocation.inertia import drift
from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.allocation.selection import Choice, Selection
from rotation_pipeline.allocation.states import State, States, by_style
from rotation_pipeline.allocation.strategies import Position, computed, strategy
from rotation_pipeline.allocation.tables import BASELINES, BOOKS, SELECTION, WEIGHTS
from rotation_pipeline.factors.styles import STYLES


@dataclass(frozen=True, slots=True)
class AllocationResult:
    """Rows of the tables WEIGHTS, BOOKS and SELECTION for the months asked for, sorted by key."""

    weights: pd.DataFrame
    books: pd.DataFrame
    selection: pd.DataFrame


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
    style_turnover: pd.DataFrame | None = None,
) -> AllocationResult:
    """Weights of every strategy and baseline at the close of each of ``months``, and what each book trades.

    ``forecasts``: rows of FORECASTS (one per style) for every month asked for. ``expert_forecasts``: rows of EXPERT_FORECASTS;
    only ``network_lstm`` is used, and null or absent means no forecast yet. ``style_returns``: long-short returns, wide, index
    month, one column per style, NaN = no book, all months from the first on. ``index_features``: month, trend, volatility,
    index_return at each month's last close, all months from the first on. Rows after a month never touch its result.
    ``first_month``: the store's first month; there every strategy starts at equal weight and nothing is traded.
    ``previous_weights``: rows of WEIGHTS with at least the month before the first one asked for (ignored for the store's
    first). ``previous_books``: rows of BOOKS of all earlier months, for the mean active share so far. ``style_turnover``: of the
    styles' long-short books, wide as ``style_returns``; nested selection and the decision-focused book need it, and the forecasts of
    all months since ``first_month`` (the decision-focused book: since the first of ``style_returns``).

    MissingMonthError names the table and month to materialise; TotalLossError the book that lost everything.
    """
    start, wanted = as_month(first_month), as_months(months)
    stored = by_month(previous_weights)
    order = sorted((*computed(options), *BASELINES))
    shares = _past_active_shares(previous_books, wanted[0], start, order) if wanted else {}
    states = States(forecasts, expert_forecasts, style_returns, index_features, style_turnover)
    selection = Selection(states, start, options) if options.selection == "nested" else None
    decider = Decider(states, options) if "decision_focused" in computed(options).values() else None
    rows = _Rows()
    held: dict[str, Floats] = {}
    held_month: pd.Timestamp | None = None
    for month in wanted:
        if month < start:
            raise ValueError(f"month {month:%Y-%m} is before the store's first month {start:%Y-%m}")
        if month == start:
            held = {}
        elif held_month != month_before(month):
            held = _stored_weights(stored, month, order)
        choices = {} if selection is None else selection.at(month)
        decided = None if decider is None else decider.target(month)
        positions = _positions(states.at(month), held, options, choices, decided)
        _require_history(shares, month, start)
        rows.select(month, choices)
        for book in order:
            position = positions[book]
            shares[book][month] = 0.5 * float(np.abs(position.weight - 1.0 / len(STYLES)).sum())
            past = [share for earlier, share in shares[book].items() if earlier <= month]
            clone = math.fsum(past) / len(past) < options.clone_threshold
            rows.add(month, book, position, shares[book][month], clone)
        held, held_month = {book: position.weight for book, position in positions.items()}, month
    return AllocationResult(
        make_frame(rows.weights, WEIGHTS.stored_names),
        make_frame(rows.books, BOOKS.stored_names),
        make_frame(rows.selection, SELECTION.stored_names),
    )


class _Rows:
    """Collects the rows of all tables, by column."""

    def __init__(self) -> None:
        self._weights: dict[str, list[object]] = {name: [] for name in WEIGHTS.stored_names}
        self._books: dict[str, list[object]] = {name: [] for name in BOOKS.stored_names}
        self._selection: dict[str, list[object]] = {name: [] for name in SELECTION.stored_names}

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

    def select(self, month: pd.Timestamp, choices: Mapping[str, Choice]) -> None:
        """What nested selection found at one month end."""
        for book, choice in sorted(choices.items()):
            for place, cell in enumerate(choice.cells):
                parameters = (math.nan if value is None else value for value in astuple(cell)[1:])
                values = (
                    month, book, place, cell.score_form, *parameters, float(choice.gross[place]),
                    float(choice.traded[place]), choice.months, float(choice.criterion[place]), place == choice.chosen,
                )  # fmt: skip
                for name, value in zip(SELECTION.stored_names, values, strict=True):
                    self._selection[name].append(value)

    @property
    def weights(self) -> dict[str, object]:
        """Columns of WEIGHTS, typed even when there is no row."""
        texts = ("strategy", "style")
        return {name: _typed(name, column, texts) for name, column in self._weights.items()}

    @property
    def books(self) -> dict[str, object]:
        """Columns of BOOKS, typed even when there is no row."""
        return {name: _typed(name, column, ("strategy",)) for name, column in self._books.items()}

    @property
    def selection(self) -> dict[str, object]:
        """Columns of SELECTION, typed even when there is no row."""
        texts = ("strategy", "score_form")
        return {name: _typed(name, column, texts) for name, column in self._selection.items()}


def _typed(name: str, column: list[object], texts: tuple[str, ...]) -> object:
    if name == "month":
        return np.array(column, dtype="datetime64[ns]")
    if name in texts:
        return np.array(column, dtype=object)
    kind = np.bool_ if name.startswith("is_") else np.int32 if name in ("cell", "months") else np.float64
    return np.array(column, dtype=kind)


def _positions(
    state: State,
    held: dict[str, Floats],
    options: AllocationOptions,
    choices: Mapping[str, Choice],
    decided: Floats | None,
) -> dict[str, Position]:
    """Every book at one month end; an empty ``held`` is the store's first month."""
    latest = state.returns[-1]
    drifted = {book: drift(weights, latest, f"book {book} in {state.month:%Y-%m}") for book, weights in held.items()}
    positions: dict[str, Position] = {}
    for book, kind in computed(options).items():
        own = choices[book].applied(options) if book in choices else options
        positions[book] = strategy(kind, state, held.get(book), drifted.get(book), own, decided)
    nothing = np.full(len(STYLES), np.nan)
    for book in BASELINES:
        weights = _baseline(book, state, options)
        positions[book] = Position(nothing, weights, weights, drifted.get(book, nothing))
    return positions


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


def _stored_weights(
    stored: dict[pd.Timestamp, pd.DataFrame], month: pd.Timestamp, order: Sequence[str]
) -> dict[str, Floats]:
    """Last month's weights of every book, from the table."""
    before = month_before(month)
    rows = require("marts.weights", stored, before, f"as the month before {month:%Y-%m}")
    held: dict[str, Floats] = {}
    for book in order:
        of_book = rows_where(rows, "strategy", book)
        if of_book.empty:
            raise MissingMonthError(
                f"marts.weights, {before:%Y-%m} has no rows of book {book}: materialise that month again"
            )
        held[book] = numbers(by_style(of_book, f"marts.weights, book {book}", before), "weight")
    return held


def _past_active_shares(
    previous: pd.DataFrame | None, first: pd.Timestamp, start: pd.Timestamp, order: Sequence[str]
) -> dict[str, dict[pd.Timestamp, float]]:
    """Active share by book and month, for months from the store's first up to the one before ``first``."""
    shares: dict[str, dict[pd.Timestamp, float]] = {book: {} for book in order}
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
    for book in shares:
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
