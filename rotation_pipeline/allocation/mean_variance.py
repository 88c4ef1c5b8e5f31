"""Mean-variance weights of a few styles: one small convex problem a month.

    maximise    μ'w − γ/2 w'Σw − c ½ ‖w − w⁺‖₁
    subject to  Σ w = 1,  floor ≤ w_i ≤ cap,  ½ ‖w − w⁺‖₁ ≤ turnover cap

Markowitz (1952); trading cost and limits inside the problem as in Boyd et al. (2017, Multi-Period Trading via Convex
Optimization, chapter 4). The problem is solved by an interior-point method (Clarabel, one thread, no warm start), so the
weights depend on nothing but the numbers handed in. Without limits and costs it has the closed form of
:func:`unconstrained_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from rotation_pipeline.allocation.limits import project_to_bounds
from rotation_pipeline.allocation.scores import Floats

SOLVER = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12, "max_iter": 200, "max_threads": 1}
"""Settings of the interior-point solver."""
_SCALE = 100.0
"""Returns are put in percent for the solver, so that its tolerances are far below any weight that matters."""


class OptimisationError(ArithmeticError):
    """The solver found no solution of a problem that has one."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the weights must satisfy; fractions. ``turnover`` None: as much as you like."""

    floor: float = 0.0
    cap: float = 1.0
    turnover: float | None = None


def unconstrained_weights(mean: Floats, covariance: Floats, risk_aversion: float) -> Floats:
    """argmax μ'w − γ/2 w'Σw with Σ w = 1 and nothing else, (K,): Σ⁻¹(μ − ν 1)/γ with ν such that the sum is 1."""
    solved = np.linalg.solve(covariance, np.column_stack([mean, np.ones(mean.size)]))
    towards, minimum = solved[:, 0], solved[:, 1]
    excess = (float(towards.sum()) - risk_aversion) / float(minimum.sum())
    return (towards - excess * minimum) / risk_aversion


def least_turnover(held: Floats, floor: float, cap: float) -> float:
    """The least ½ Σ|w − h| with which ``held`` (K,), summing to 1, comes within floor and cap."""
    below, above = np.maximum(floor - held, 0.0), np.maximum(held - cap, 0.0)
    return max(float(below.sum()), float(above.sum()))


def mean_variance_weights(
    mean: Floats,
    covariance: Floats,
    risk_aversion: float,
    held: Floats | None = None,
    cost_bp: float = 0.0,
    bounds: Bounds | None = None,
) -> Floats:
    """Solution of the problem above, (K,) within the bounds and summing to 1.

    Args:
        mean: (K,) forecast returns, fraction per month, finite.
        covariance: (K, K) per month, positive definite.
        risk_aversion: γ > 0.
        held: (K,) weights traded from, summing to 1; None: nothing is charged and turnover is free.
        cost_bp: c, basis points per unit of turnover ½ Σ|w − h|.
        bounds: limits; None: long only. Where ``held`` has drifted so far beyond floor or cap that the turnover cap does not allow the way
            back, the cap on turnover wins: the step to the solution without it is scaled (see ``limit_turnover``).

    Raises:
        ValueError: bad numbers. InfeasibleLimitsError: floor and cap leave no weights that sum to 1. OptimisationError: the
            solver gave up.
    """
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()) or covariance.shape != (mean.size, mean.size):
        raise ValueError(f"mean-variance needs finite forecasts and a square covariance, got {mean} and {covariance}")
    bounds = bounds or Bounds()
    project_to_bounds(np.full(mean.size, 1.0 / mean.size), bounds.floor, bounds.cap)  # is anything feasible?
    limit = bounds.turnover
    if held is not None and limit is not None and least_turnover(held, bounds.floor, bounds.cap) > limit:
        limit = None
    try:
        factor = np.linalg.cholesky(covariance * (risk_aversion / 2.0)).T
    except np.linalg.LinAlgError as error:
        raise OptimisationError(
            f"mean-variance needs a positive definite covariance, its diagonal is {np.diag(covariance).tolist()}; use more months"
        ) from error
    form = "free" if held is None else "costed" if limit is None else "capped"
    problem = _problem(mean.size, form)
    problem.values["mean"].value = _SCALE * mean
    problem.values["factor"].value = np.sqrt(_SCALE) * factor
    problem.values["floor"].value, problem.values["cap"].value = bounds.floor, bounds.cap
    if held is not None:
        problem.values["held"].value = held
        problem.values["cost"].value = _SCALE * cost_bp / 1e4
    if form == "capped":
        problem.values["limit"].value = limit
    found = problem.solve()
    if found is None:
        raise OptimisationError(
            f"mean-variance: the solver gave up on forecasts {mean.tolist()}; look at them, or use another allocation.book"
        )
    return project_to_bounds(found, bounds.floor, bounds.cap)  # rounding only


@dataclass(frozen=True, slots=True)
class _Problem:
    """A compiled problem: its parameters by name and its variable."""

    problem: Any
    values: dict[str, Any]
    weights: Any

    def solve(self) -> Floats | None:
        """The solution for the current values of the parameters; None without one."""
        import cvxpy as cp
        from cvxpy.error import SolverError

        try:
            self.problem.solve(solver=cp.CLARABEL, warm_start=False, **SOLVER)
        except SolverError:
            return None
        if self.problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or self.weights.value is None:
            return None
        return np.array(self.weights.value, dtype=np.float64)


@cache
def _problem(count: int, form: str) -> _Problem:
    """The problem for ``count`` styles, compiled once; every number is a parameter."""
    import cvxpy as cp

    weights = cp.Variable(count)
    values: dict[str, Any] = {
        "mean": cp.Parameter(count),
        "factor": cp.Parameter((count, count)),
        "floor": cp.Parameter(),
        "cap": cp.Parameter(),
    }
    utility = values["mean"] @ weights - cp.sum_squares(values["factor"] @ weights)
    limits: list[Any] = [cp.sum(weights) == 1.0, weights >= values["floor"], weights <= values["cap"]]
    if form != "free":
        values["held"], values["cost"] = cp.Parameter(count), cp.Parameter(nonneg=True)
        step = cp.Variable(count)  # |w − h|; a product of two parameters would not be compiled once
        limits += [weights - values["held"] <= step, values["held"] - weights <= step]
        turnover = cp.sum(step) / 2.0
        utility = utility - values["cost"] * turnover
        if form == "capped":
            values["limit"] = cp.Parameter(nonneg=True)
            limits.append(turnover <= values["limit"])
    return _Problem(cp.Problem(cp.Maximize(utility), limits), values, weights)
