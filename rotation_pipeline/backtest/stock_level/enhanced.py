"""The index-enhanced portfolio: one convex problem a month.

    maximise    z'w
    subject to  Σ w = 1,  w ≥ 0,  |w_i − b_i| ≤ active limit,  |Σ_{i in g} (w_i − b_i)| ≤ industry limit,
                √(244 (w − b)' Σ (w − b)) ≤ tracking error,  Σ |w_i − h_i| + (1 − Σ h_i) ≤ turnover

over the members of the index, with b their weights in it, h the weights held (what is missing to 1 is in stocks that left the
index, and is sold), z the standardised composite score (0 where
there is none) and Σ the shrunk daily covariance. A member that cannot trade at the signal stays at the weight held. Where no
weights satisfy all limits they give way in this order, each only as far as needed: turnover, industry, then stock and tracking
error together; what gave way, and by how much, is said in ``Enhanced.relaxed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from rotation_pipeline.backtest.stock_level.kernel import Flags
from rotation_pipeline.backtest.stock_level.options import EnhancedOptions
from rotation_pipeline.market.conventions import Floats

SESSIONS_PER_YEAR = 244.0
RELAXATION: tuple[tuple[str, ...], ...] = (
    (),
    ("turnover",),
    ("turnover", "industry"),
    ("turnover", "industry", "active", "tracking_error"),
)
"""Which limits may give way, tried in this order."""
_SOLVER = {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9, "max_iter": 400, "max_threads": 1}
_PRICE = 1e3
"""What a unit beyond a limit costs, in scores: far more than any score earns."""
_TINY = 1e-6
"""Excess over a limit that is rounding."""


class EnhancementError(ArithmeticError):
    """The solver found no portfolio."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """Members at the close of a month, (n,) in the order of the signal."""

    weight: Floats
    """In the index, summing to 1."""
    industry: tuple[str, ...]
    """Empty text: not classified; those together count as one."""
    returns: Floats
    """(T, n) daily, NaN where a stock has none: the day's mean over the others stands in, its own risk unknown."""


@dataclass(frozen=True, slots=True)
class Enhanced:
    """Weights (n,) of the members, and by how much each limit that gave way was exceeded."""

    weight: Floats
    relaxed: dict[str, float]


def risk_factor(returns: Floats) -> Floats:
    """(n + T, n) matrix A with A'A the annual covariance of daily ``returns`` (T, n), shrunk as Ledoit & Wolf (2004).

    Never forms (1 − δ) S + δ m I itself. ValueError below two days.
    """
    counts = np.isfinite(returns).sum(axis=1)
    filled = np.where(np.isfinite(returns), returns, 0.0)
    day = filled.sum(axis=1) / np.maximum(counts, 1)
    filled = np.where(np.isfinite(returns), returns, day[:, None])
    if filled.shape[0] < 2:
        raise ValueError(f"a covariance needs at least 2 days of returns, got {filled.shape[0]}")
    days, count = filled.shape
    centred = filled - filled.mean(axis=0)
    sample = centred.T @ centred / days
    level = float(np.trace(sample)) / count
    distance = float(np.sum((sample - level * np.eye(count)) ** 2))
    squares = np.sum(centred * centred, axis=1)
    error = (float(np.sum(squares * squares)) / days - float(np.sum(sample * sample))) / days
    share = min(1.0, max(error, 0.0) / distance) if distance > 0.0 else 1.0
    scaled = centred * np.sqrt((1.0 - share) / days * SESSIONS_PER_YEAR)
    return np.vstack([scaled, np.eye(count) * np.sqrt(share * level * SESSIONS_PER_YEAR)])


def enhanced_weights(
    score: Floats, tradable: Flags, index: IndexState, held: Floats | None, options: EnhancedOptions
) -> Enhanced:
    """Solution of the problem above.

    ``score`` (n,) composite, NaN = none; ``tradable`` (n,); ``held`` (n,) weights held, None in the first month, where
    turnover is free. Members that cannot trade keep ``held`` (nothing in the first month). EnhancementError if the solver
    gives up or nothing is tradable.
    """
    known = ~np.isnan(score)
    spread = float(score[known].std()) if known.any() else 0.0
    centre = float(score[known].mean()) if known.any() else 0.0
    z = np.where(known, (score - centre) / spread, 0.0) if spread > 0.0 else np.zeros(score.size)
    if not tradable.any():
        raise EnhancementError(
            "index_enhanced: no member of the index can be traded; look at the bars of the signal day"
        )
    factor = risk_factor(index.returns)
    for loose in RELAXATION:
        weight = _solve(z, tradable, index, held, factor, options, loose)
        if weight is not None:
            return Enhanced(weight, _excesses(weight, tradable, index, held, factor, options))
    raise EnhancementError("index_enhanced: the solver gave up even with limits loosened; widen stock_level.enhanced")


def _groups(industry: tuple[str, ...]) -> Floats:
    """(G, n) membership of industries."""
    return np.array([[float(own == name) for own in industry] for name in sorted(set(industry))])


def _solve(
    z: Floats,
    tradable: Flags,
    index: IndexState,
    held: Floats | None,
    factor: Floats,
    options: EnhancedOptions,
    loose: tuple[str, ...],
) -> Floats | None:
    import cvxpy as cp
    from cvxpy.error import SolverError

    start = np.zeros(z.size) if held is None else held
    weight = cp.Variable(z.size)
    active = weight - index.weight
    slack = {name: cp.Variable(nonneg=True) for name in loose}

    def limit(name: str, value: float) -> Any:
        return value + slack[name] if name in slack else value

    moving = np.flatnonzero(tradable)
    limits: list[Any] = [
        cp.sum(weight) == 1.0,
        weight >= 0.0,
        cp.norm_inf(active[moving]) <= limit("active", options.active_limit),
        cp.norm_inf(_groups(index.industry) @ active) <= limit("industry", options.industry_limit),
        cp.norm2(factor @ active) <= limit("tracking_error", options.tracking_error),
    ]
    if not tradable.all():
        limits.append(weight[np.flatnonzero(~tradable)] == start[~tradable])
    if held is not None:
        limits.append(
            cp.norm1(weight - held) + max(1.0 - float(held.sum()), 0.0) <= limit("turnover", options.turnover)
        )
    utility = z @ weight - _PRICE * cp.sum(list(slack.values())) if slack else z @ weight
    problem = cp.Problem(cp.Maximize(utility), limits)
    try:
        problem.solve(solver=cp.CLARABEL, **cast("dict[str, Any]", _SOLVER))
    except SolverError:
        return None
    if problem.status != cp.OPTIMAL or weight.value is None:
        return None
    found = np.where(tradable, np.maximum(np.asarray(weight.value), 0.0), start)
    found[found < _TINY] = 0.0  # what the solver leaves of names it does not hold
    free = float(found[tradable].sum())
    return None if free <= 0.0 else np.where(tradable, found * ((1.0 - float(found[~tradable].sum())) / free), found)


def _excesses(
    weight: Floats,
    tradable: Flags,
    index: IndexState,
    held: Floats | None,
    factor: Floats,
    options: EnhancedOptions,
) -> dict[str, float]:
    """By how much each limit is exceeded, those that hold left out."""
    active = weight - index.weight
    found = {
        "turnover": _turnover(weight, held) - options.turnover,
        "industry": float(np.abs(_groups(index.industry) @ active).max()) - options.industry_limit,
        "active": float(np.abs(active[tradable]).max()) - options.active_limit,
        "tracking_error": float(np.sqrt(np.sum((factor @ active) ** 2))) - options.tracking_error,
    }
    return {name: excess for name, excess in found.items() if excess > 1e-4}


def _turnover(weight: Floats, held: Floats | None) -> float:
    """Two-sided, stocks that left the index included; 0 in the first month."""
    return 0.0 if held is None else float(np.abs(weight - held).sum()) + max(1.0 - float(held.sum()), 0.0)
