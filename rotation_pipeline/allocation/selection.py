"""Nested walk-forward: τ, α, λ, κ and the score form chosen at each close from a grid, on the months up to it only.

Every cell of the grid is a book of its own, simulated month by month from the store's first month with the same limits, costs
and drift as the book that is held. At the close of t the cell with the largest criterion over its net returns up to t sets
the weights for t + 1; the book itself goes on from the weights it holds, whatever cell set them. Until enough months are known
the fixed settings hold. Simulations start at the first month each time, so that a month alone gives the rows of a range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.earnings import earned
from rotation_pipeline.allocation.inertia import drift
from rotation_pipeline.allocation.options import AllocationOptions, BookKind, Criterion
from rotation_pipeline.allocation.scores import Floats, ScoreForm
from rotation_pipeline.allocation.states import State, States
from rotation_pipeline.allocation.strategies import SEARCHED, computed, strategy

_JANUARY = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of parameters; None where the kind of book or the score form has no such parameter."""

    score_form: ScoreForm
    risk_penalty: float | None
    temperature: float | None
    inertia: float | None
    tilt_scale: float | None

    def changes(self) -> dict[str, object]:
        """The options this cell sets."""
        named = {name: getattr(self, name) for name in Cell.__slots__}
        return {name: value for name, value in named.items() if value is not None}

    def applied(self, options: AllocationOptions) -> AllocationOptions:
        """``options`` with this cell's parameters."""
        return replace(options, **self.changes())  # pyright: ignore[reportArgumentType]  # names of fields


def grid(kind: BookKind, options: AllocationOptions) -> tuple[Cell, ...]:
    """The cells of a kind of book, in the order of the settings; a parameter listed twice counts once."""
    nested = options.nested
    scores: list[tuple[ScoreForm, float | None]] = []
    for form in nested.score_forms:
        tried: tuple[float | None, ...] = nested.risk_penalties if form == "penalty" else (None,)
        scores.extend((form, penalty) for penalty in tried)
    if kind == "anchored":
        cells = [
            Cell(form, penalty, None, None, kappa) for (form, penalty), kappa in product(scores, nested.tilt_scales)
        ]
    else:
        cells = [
            Cell(form, penalty, tau, alpha, None)
            for (form, penalty), tau, alpha in product(scores, nested.temperatures, nested.inertias)
        ]
    return tuple(dict.fromkeys(cells))


def criterion_of(returns: Floats, criterion: Criterion, risk_aversion: float) -> float:
    """``returns`` (n,) judged: mean − γ/2 variance (ddof 1), or mean / deviation; per month. NaN below two months, and for a
    Sharpe ratio without deviation."""
    if returns.size < 2:
        return math.nan
    mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    if criterion == "utility":
        return mean - 0.5 * risk_aversion * deviation * deviation
    return mean / deviation if deviation > 1e-12 * max(abs(mean), 1e-300) else math.nan


@dataclass(frozen=True, slots=True)
class Choice:
    """What the grid of one strategy says at one close; arrays (cells,)."""

    cells: tuple[Cell, ...]
    gross: Floats
    """Gross return of the month; NaN before returns begin."""
    traded: Floats
    """What was traded for it, both kinds; NaN likewise."""
    months: int
    criterion: Floats
    chosen: int | None
    """Place of the cell that sets the weights; None: the fixed settings do."""

    def applied(self, options: AllocationOptions) -> AllocationOptions:
        """``options`` with the chosen cell's parameters."""
        return options if self.chosen is None else self.cells[self.chosen].applied(options)


@dataclass
class _Book:
    """The simulated cells of one strategy: weights set at the last close, what they were traded from, net returns so far."""

    kind: BookKind
    cells: tuple[Cell, ...]
    options: tuple[AllocationOptions, ...]
    weights: list[Floats] = field(default_factory=list[Floats])
    drifted: list[Floats | None] = field(default_factory=list["Floats | None"])
    gross: list[list[float]] = field(default_factory=list[list[float]])
    traded: list[list[float]] = field(default_factory=list[list[float]])


class Selection:
    """Simulates the grids of all searched strategies and chooses from them, month by month."""

    def __init__(self, states: States, first_month: pd.Timestamp, options: AllocationOptions) -> None:
        self._states, self._start, self._options = states, first_month, options
        self._books = {
            name: _Book(
                kind,
                cells,
                tuple(cell.applied(options) for cell in cells),
                gross=[[] for _ in cells],
                traded=[[] for _ in cells],
            )
            for name, kind in computed(options).items()
            if kind in SEARCHED
            for cells in (grid(kind, options),)
        }
        self._until: pd.Timestamp | None = None
        self._decided: dict[str, tuple[int, Floats, int | None]] = {}

    def at(self, month: pd.Timestamp) -> Mapping[str, Choice]:
        """The choice of each searched strategy at the close of ``month``; months must be asked for in ascending order."""
        if self._until is not None and month <= self._until:
            raise ValueError(f"{month:%Y-%m} was simulated before: ask for months in ascending order")
        for stamp in self._states.months_until(month):
            if stamp >= self._start and (self._until is None or stamp > self._until):
                self._advance(self._states.at(stamp))
                self._until = stamp
        return {
            name: Choice(book.cells, _latest(book.gross), _latest(book.traded), *self._decided[name])
            for name, book in self._books.items()
        }

    def _advance(self, state: State) -> None:
        """One month further: what each cell earned, the decision, and each cell's new weights."""
        latest = state.returns[-1]
        decide = self._options.nested.every == "month" or state.month.month == _JANUARY or not self._decided
        first = state.month == self._start
        for name, book in self._books.items():
            begins = not book.gross[0] and not first and not np.isnan(latest).all()
            if begins or book.gross[0]:
                for place in range(len(book.cells)):
                    drifted = None if begins else book.drifted[place]
                    gross, traded = earned(book.weights[place], drifted, latest, state.book_turnover)
                    book.gross[place].append(gross)
                    book.traded[place].append(traded)
            if decide:
                self._decided[name] = self._choose(book)
            for place, options in enumerate(book.options):
                held = None if first else book.weights[place]
                now = None if held is None else drift(held, latest, f"cell {place} of {name} in {state.month:%Y-%m}")
                position = strategy(book.kind, state, held, now, options)
                _put(book.weights, place, position.weight)
                _put(book.drifted, place, now)

    def _choose(self, book: _Book) -> tuple[int, Floats, int | None]:
        """Months known, criterion of each cell, and the best one; ties go to the first."""
        nested, months = self._options.nested, len(book.gross[0])
        if months < nested.minimum_months:
            return months, np.full(len(book.cells), np.nan), None
        net = np.array(book.gross) - np.array(book.traded) * (self._options.cost_bp / 1e4)
        values = np.array([criterion_of(row, nested.criterion, nested.risk_aversion) for row in net])
        return months, values, None if np.isnan(values).all() else int(np.nanargmax(values))


def _latest(values: list[list[float]]) -> Floats:
    return np.array([row[-1] if row else math.nan for row in values])


def _put(values: list[Floats] | list[Floats | None], place: int, value: Floats | None) -> None:
    if place == len(values):
        values.append(value)  # pyright: ignore[reportArgumentType]  # None only where the list holds it
    else:
        values[place] = value  # pyright: ignore[reportArgumentType, reportCallIssue]
