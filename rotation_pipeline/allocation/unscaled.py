"""What each strategy would have aimed at from its forecasts alone, without dividing them by risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.baselines import equal_weight
from rotation_pipeline.allocation.frames import (
    MissingMonthError,
    as_month,
    make_frame,
    numbers,
    rows_where,
    wide_by_month,
)
from rotation_pipeline.allocation.options import AllocationOptions, BookKind
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.allocation.selection import Cell
from rotation_pipeline.allocation.states import NETWORK, State, View
from rotation_pipeline.allocation.strategies import SEARCHED, computed, optimal_weights, strategy, view_of
from rotation_pipeline.factors.styles import STYLES

MIXTURE = "mixture"
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
    aimed = _complete(weights, ("target",), "strategy", "marts.weights")
    spoken = ("mean", "standard_error", "volatility")
    mixtures = _complete(forecasts.assign(expert=MIXTURE), spoken, "expert", "marts.forecasts")
    networks = _complete(
        rows_where(expert_forecasts, "expert", NETWORK), spoken[:2], "expert", "marts.expert_forecasts"
    )
    chosen = _chosen(selection)
    returns = pd.DataFrame(style_returns.sort_index()[list(STYLES)].astype("float64"))
    past = np.ascontiguousarray(returns.to_numpy(dtype=np.float64))
    rows: list[tuple[pd.Timestamp, str, str, float]] = []
    for month, mixture in sorted(mixtures.items()):
        known = past[: int(np.count_nonzero(returns.index <= month))]
        state = _state(mixture, networks.get(month), known, month)
        targets = aimed[month]["target"] if month in aimed else {}
        for book, kind in computed(options).items():
            if book not in targets:
                raise MissingMonthError(
                    f"marts.weights has no rows of {book} for {month:%Y-%m}: materialise that month first"
                )
            cell = chosen.get((month, book)) if kind in SEARCHED else None
            own = options if cell is None else cell.applied(options)
            found = unscaled_target(kind, state, own, targets[book])
            rows += [(month, book, style, float(value)) for style, value in zip(STYLES, found, strict=True)]
    columns: dict[str, object] = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    return make_frame(columns, COLUMNS)


_Wide = dict[str, dict[str, Floats]]
"""By column and by book or expert, the (K,) values of one month."""


def _complete(frame: pd.DataFrame, names: Sequence[str], key: str, table: str) -> dict[pd.Timestamp, _Wide]:
    """The rows of each month (see ``wide_by_month``); ValueError if a style is missing or twice."""
    found: dict[tuple[Any, str], list[str]] = {}
    for month, own, style in zip(frame["month"], frame[key], frame["style"], strict=True):
        found.setdefault((month, own), []).append(style)
    for (month, own), styles in found.items():
        if sorted(styles) != sorted(STYLES):
            raise ValueError(f"{table}, {month:%Y-%m}, {own}: expected one row for each of {STYLES}, got {styles}")
    return wide_by_month(frame, names, key, STYLES)


def _state(mixture: _Wide, network: _Wide | None, past: Floats, month: pd.Timestamp) -> State:
    """What is known at the close of ``month``, as far as targets need it."""
    volatility = mixture["volatility"][MIXTURE]
    nothing = np.full(len(STYLES), np.nan)
    second = View(nothing, nothing, volatility)
    if network is not None:
        second = View(network["mean"][NETWORK], network["standard_error"][NETWORK], volatility)
    first = View(mixture["mean"][MIXTURE], mixture["standard_error"][MIXTURE], volatility)
    return State(month, first, second, past, np.nan, nothing, np.nan, nothing)


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
