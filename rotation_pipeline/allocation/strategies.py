"""The weights of one strategy at one month end: score, target, the step towards it, limits.

Every kind of book has the same interface: from a state, the weights held before (as set and as drifted) and options to a
:class:`Position`. Before it has anything to go by, a book is equal weight, restored every month.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rotation_pipeline.allocation.anchored import anchored_target, hold_within_band, interval_shrinkage
from rotation_pipeline.allocation.baselines import equal_weight
from rotation_pipeline.allocation.inertia import with_inertia
from rotation_pipeline.allocation.limits import limit_turnover, project_to_bounds, volatility_scale
from rotation_pipeline.allocation.mean_variance import Bounds, mean_variance_weights
from rotation_pipeline.allocation.options import AllocationOptions, BookKind
from rotation_pipeline.allocation.risk import (
    complete_rows,
    inverse_volatility_weights,
    ledoit_wolf_covariance,
    sample_covariance,
)
from rotation_pipeline.allocation.scores import Floats, neutral, raw_scores, standardise
from rotation_pipeline.allocation.softmax import softmax_weights
from rotation_pipeline.allocation.states import State, View
from rotation_pipeline.allocation.tables import HEADLINE
from rotation_pipeline.factors.styles import STYLES

SEARCHED: tuple[BookKind, ...] = ("anchored", "softmax", "softmax_network")
"""Kinds whose parameters nested selection may choose."""


@dataclass(frozen=True, slots=True)
class Position:
    """One book at one month end; (K,) arrays in the order of STYLES, NaN = null."""

    score: Floats
    target: Floats
    weight: Floats
    drifted: Floats


def computed(options: AllocationOptions) -> dict[str, BookKind]:
    """The strategies computed, the headline first, and the kind of each."""
    others: dict[str, BookKind] = {name: "softmax" if name == "softmax_mixture" else name for name in options.books}
    return {HEADLINE: options.book, **others}


def own_settings(chosen: Mapping[str, object], kind: BookKind, options: AllocationOptions) -> dict[str, object]:
    """Of the settings of this stage, nested as JSON has them, those that shape a kind of book: what makes it another trial.

    Left out: the settings of other kinds of books, and of a selection that is not made. Without those this is what it was
    before there were such books, so that a configuration keeps its name.
    """
    nested = options.selection == "nested" and kind in SEARCHED
    unused = {
        "mean_variance": kind != "mean_variance",
        "decision": kind != "decision_focused",
        "selection": not nested,
        "nested": not nested,
        "cost_bp": not nested and kind not in ("mean_variance", "decision_focused"),
    }
    return {name: value for name, value in chosen.items() if not unused.get(name, False)}


def view_of(kind: BookKind, state: State) -> View:
    """The forecasts a kind of book trades."""
    return state.network if kind == "softmax_network" else state.mixture


def strategy(
    kind: BookKind,
    state: State,
    held: Floats | None,
    drifted: Floats | None,
    options: AllocationOptions,
    decided: Floats | None = None,
) -> Position:
    """One strategy at the close of ``state.month``.

    ``held`` and ``drifted`` (K,): last month's weights as set and as they are now; None in the store's first month, where
    every strategy starts at equal weight. ``decided`` (K,): target of the decision-focused book, None before its first
    training.
    """
    nothing, equal = np.full(len(STYLES), np.nan), equal_weight(len(STYLES))
    scores, target = _target(kind, state, options, decided)
    if target is None:  # nothing to go by yet
        return Position(nothing, equal, equal, nothing if drifted is None else drifted)
    if held is None or drifted is None:
        return Position(scores, target, equal, nothing)
    # under a volatility target the book is partly cash: compare compositions, which sum to 1
    mix = drifted / math.fsum(drifted.tolist())
    weights = _step(kind, state, target, mix, held, options)
    weights = project_to_bounds(weights, options.floor, options.cap)
    if options.volatility_target is not None:
        rows = complete_rows(state.returns, options.covariance_months)
        if rows.shape[0] >= options.minimum_months:
            weights = weights * volatility_scale(
                weights, sample_covariance(rows), options.volatility_target, options.leverage_cap
            )
    return Position(scores, target, limit_turnover(drifted, weights, options.turnover_cap), drifted)


def _target(
    kind: BookKind, state: State, options: AllocationOptions, decided: Floats | None
) -> tuple[Floats, Floats | None]:
    """Standardised scores (NaN where the book uses none) and what the book aims at; None while it has nothing to go by."""
    nothing = np.full(len(STYLES), np.nan)
    if kind == "decision_focused":
        return nothing, decided
    if kind == "inverse_volatility":
        rows = complete_rows(state.returns, options.covariance_months)
        known = rows.shape[0] >= options.minimum_months
        return nothing, inverse_volatility_weights(sample_covariance(rows)) if known else None
    view = view_of(kind, state)
    if np.isnan(view.mean).all():
        return nothing, None
    if kind == "mean_variance":
        return nothing, optimal_weights(view.mean, state.returns, None, options)
    scores = standardise(raw_scores(view.mean, view.volatility, options.score_form, options.risk_penalty))
    if kind == "anchored":
        kept = interval_shrinkage(view.mean, view.standard_error, options.shrinkage)
        return scores, anchored_target(
            neutral(scores), kept, options.tilt_scale, options.tilt_cap, options.floor, options.cap
        )
    return scores, softmax_weights(neutral(scores), options.temperature)


def _step(
    kind: BookKind, state: State, target: Floats, mix: Floats, held: Floats, options: AllocationOptions
) -> Floats:
    """From the composition held (K,) towards the target, before limits."""
    if kind == "anchored":
        return hold_within_band(mix, target, options.no_trade_band)
    if kind == "mean_variance":
        weights = optimal_weights(state.mixture.mean, state.returns, mix, options)
        return target if weights is None else weights
    if kind in ("inverse_volatility", "decision_focused"):
        return target
    base = mix if options.inertia_from == "drifted" else held / math.fsum(held.tolist())
    return with_inertia(base, target, options.inertia)


def shrunk_covariance(returns: Floats, options: AllocationOptions) -> Floats | None:
    """Ledoit-Wolf covariance of the complete months of ``returns`` (T, K), per month; None below ``minimum_months``."""
    rows = complete_rows(returns, options.covariance_months)
    return None if rows.shape[0] < options.minimum_months else ledoit_wolf_covariance(rows)


def optimal_weights(
    mean: Floats, returns: Floats, held: Floats | None, options: AllocationOptions, *, scaled: bool = True
) -> Floats | None:
    """Mean-variance weights on forecasts ``mean`` (K,); None while months are too few for a covariance.

    ``held`` (K,): what is traded from, charged and limited; None: neither. A style without forecast is given the mean of the
    others. ``scaled`` False: styles are taken for equally risky and uncorrelated, of the same average variance.
    """
    covariance = shrunk_covariance(returns, options)
    if covariance is None:
        return None
    if not scaled:
        covariance = np.eye(mean.size) * (float(np.trace(covariance)) / mean.size)
    known = np.where(np.isnan(mean), np.nanmean(mean), mean)
    bounds = Bounds(options.floor, options.cap, options.turnover_cap)
    return mean_variance_weights(known, covariance, options.mean_variance.risk_aversion, held, options.cost_bp, bounds)
