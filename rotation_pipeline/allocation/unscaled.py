"""What each strategy would have aimed at from its forecasts alone, without dividing them by risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.baselines import equal_weight
from rotation_pipeline.allocation.frames import (
    MissingMonthError,
    as_month,
    by_month,
    make_frame,
    numbers,
    rows_where,
)
from rotation_pipeline.allocation.options import AllocationOptions, BookKind
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.allocation.selection import Cell
from rotation_pipeline.allocation.states import NETWORK, State, View, by_style
from rotation_pipeline.allocation.strategies import SEARCHED, computed, optimal_weights, strategy, view_of
from rotation_pipeline.factors.styles import STYLES

COLUMNS = ("month", "strategy", "style", "unscaled")


def unscaled_target(kind: BookKind, state: State, options: AllocationOptions, target: Floats) -> Floats:
    """The target of one strategy made from raw forecasts, all else as the book does it: (K,).

    Anchored and softmax books: score form ``raw``. Mean-variance: styles taken for equally risky and uncorrelated. Inverse
    volatility has no forecast: equal weight. A decision-focused book cannot be taken apart, forecast and risk being trained as
    one: its own ``target`` (K,). Equal weight where the book has no forecast.
    """
    equal = equal_weight(len(STYLES))
    if kind == "decision_focused":
        return target
    view = view_of(kind, state)
    if kind == "inverse_volatility" or np.isnan(view.mean).all():
        return equal
    if kind == "mean_variance":
        found = optimal_weights(view.mean, state.returns, None, options, scaled=False)
        return equal if found is None else found
    return strategy(kind, state, None, None, replace(options, score_form="raw")).target


def unscaled_targets(
    forecasts: pd.DataFrame,
    expert_forecasts: pd.DataFrame,
    options: AllocationOptions,
    *,
    weights: pd.DataFrame,
    style_returns: pd.DataFrame,
    selection: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Unscaled targets of every strategy for the months of ``forecasts``: month, strategy, style, unscaled.

    ``forecasts``, ``expert_forecasts``, ``style_returns`` as in :func:`rotation_pipeline.allocation.books.allocate`;
    ``weights`` rows of WEIGHTS of these months (of which the decision-focused book's target is read); ``selection`` rows of SELECTION
    of these months where parameters are chosen by nested selection. MissingMonthError for a month without a book's weights.
    """
    experts = by_month(rows_where(expert_forecasts, "expert", NETWORK))
    targets = {month: _targets(rows, month) for month, rows in by_month(weights).items()}
    chosen = _chosen(selection)
    returns = pd.DataFrame(style_returns.sort_index()[list(STYLES)].astype("float64"))
    rows: list[tuple[pd.Timestamp, str, str, float]] = []
    for month, mixture in sorted(by_month(forecasts).items()):
        state = _state(mixture, experts.get(month), returns, month)
        for book, kind in computed(options).items():
            if book not in targets.get(month, {}):
                raise MissingMonthError(
                    f"marts.weights has no rows of {book} for {month:%Y-%m}: materialise that month first"
                )
            cell = chosen.get((month, book)) if kind in SEARCHED else None
            own = options if cell is None else cell.applied(options)
            found = unscaled_target(kind, state, own, targets[month][book])
            rows += [(month, book, style, float(value)) for style, value in zip(STYLES, found, strict=True)]
    columns: dict[str, object] = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    return make_frame(columns, COLUMNS)


def _state(mixture: pd.DataFrame, network: pd.DataFrame | None, returns: pd.DataFrame, month: pd.Timestamp) -> State:
    """What is known at the close of ``month``, as far as targets need it."""
    ordered = by_style(mixture, "marts.forecasts", month)
    volatility = numbers(ordered, "volatility")
    nothing = np.full(len(STYLES), np.nan)
    second = View(nothing, nothing, volatility)
    if network is not None:
        other = by_style(network, "marts.expert_forecasts", month)
        second = View(numbers(other, "mean"), numbers(other, "standard_error"), volatility)
    first = View(numbers(ordered, "mean"), numbers(ordered, "standard_error"), volatility)
    past = np.ascontiguousarray(returns.loc[returns.index <= month].to_numpy(dtype=np.float64))
    return State(month, first, second, past, np.nan, nothing, np.nan, nothing)


def _targets(rows: pd.DataFrame, month: pd.Timestamp) -> dict[str, Floats]:
    """Target of each book, (K,)."""
    return {
        str(book): numbers(by_style(rows_where(rows, "strategy", book), f"marts.weights, book {book}", month), "target")
        for book in rows["strategy"].unique()
    }


def _chosen(selection: pd.DataFrame | None) -> Mapping[tuple[pd.Timestamp, str], Cell]:
    """The cell chosen at each close for each strategy."""
    if selection is None or selection.empty:
        return {}
    rows = rows_where(selection, "is_chosen", True)
    names = ("risk_penalty", "temperature", "inertia", "tilt_scale")
    parameters = [[None if np.isnan(value) else float(value) for value in numbers(rows, name)] for name in names]
    keys = zip(rows["month"], rows["strategy"], strict=True)
    cells = zip(rows["score_form"], *parameters, strict=True)
    return {(as_month(month), str(book)): Cell(*cell) for (month, book), cell in zip(keys, cells, strict=True)}
