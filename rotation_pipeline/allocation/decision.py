"""A decision-focused book: the map from signals to scores is trained for the net utility of the weights it leads to.

At the close of t each style has four signals, all in fractions per month: the mixture's forecast, the network's, a quarter
of the mean of its last twelve months, and a tenth of its last month. Its score is s_i = Σ_k θ_k x_ik, and the weights are

    w(θ) = argmax s'w − γ/2 w'Σw   subject to   Σ w = 1,  floor ≤ w_i ≤ cap

with Σ the shrunk covariance of the months up to t. θ is fitted to what those weights earned, not to the forecast error:

    maximise  mean(net) − γ/2 variance(net) − penalty ‖θ − θ₀‖²,   net = Σ w LS − costs of both kinds

through the derivative of the argmax (Amos & Kolter 2017; Agrawal et al. 2019, cvxpylayers; Elmachtoub & Grigas 2022 and
Butler & Kwon 2023 for the idea in portfolios). θ₀ = (1, 0, 0, 0) is the mean-variance book on the mixture. Four coefficients
shared by all styles, because a hundred months do not fit more. A training at the close of r sees weights of months before r and
returns up to r; it depends on nothing but these, the options and the seed, so that a month alone repeats it bit for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.mean_variance import Bounds, mean_variance_weights
from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.allocation.risk import complete_rows
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.allocation.states import State, States
from rotation_pipeline.allocation.strategies import shrunk_covariance

SIGNALS = ("mixture", "network", "momentum", "reversal")
START: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
_MOMENTUM_MONTHS = 12
_SCALE = 100.0
_SOLVER: dict[str, object] = {
    "solve_method": "Clarabel", "n_jobs_forward": 1, "n_jobs_backward": 1, "mode": "dense",
    "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10, "max_threads": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """What a training sees, oldest month first: T months of decisions and what each month after them brought."""

    signals: Floats
    """(T, K, 4) at the closes t."""
    covariance: Floats
    """(T, K, K) per month, of the months up to t."""
    returns: Floats
    """(T, K) of t + 1; 0 where there is no book."""
    turnover: Floats
    """(T, K) inside the styles' books over t + 1; 0 where there is none."""


def signals(state: State) -> Floats:
    """(K, 4) signals at the close of t, 0 where unknown."""
    recent = state.returns[-_MOMENTUM_MONTHS:]
    known = ~np.isnan(recent)
    count = known.sum(axis=0)
    mean = np.where(known, recent, 0.0).sum(axis=0) / np.maximum(count, 1)
    momentum = np.where(count == _MOMENTUM_MONTHS, 0.25 * mean, 0.0)
    found = np.stack([state.mixture.mean, state.network.mean, momentum, 0.1 * state.returns[-1]], axis=1)
    return np.ascontiguousarray(np.where(np.isnan(found), 0.0, found))


class Decider:
    """Targets of the decision-focused book, each from the last training at or before its month."""

    def __init__(self, states: States, options: AllocationOptions) -> None:
        self._states, self._options = states, options
        self._trained: dict[pd.Timestamp, Floats] = {}

    def target(self, month: pd.Timestamp) -> Floats | None:
        """Weights (K,) aimed at at the close of ``month``; None before the first training."""
        refit = self._last_refit(month)
        state = self._states.at(month)
        covariance = shrunk_covariance(state.returns, self._options)
        if refit is None or covariance is None:
            return None
        if refit not in self._trained:
            self._trained[refit] = train(self._sample(refit), refit, self._options)
        scores = (signals(state) * self._trained[refit]).sum(axis=1)
        bounds = Bounds(self._options.floor, self._options.cap)
        return mean_variance_weights(scores, covariance, self._options.decision.risk_aversion, bounds=bounds)

    def _last_refit(self, month: pd.Timestamp) -> pd.Timestamp | None:
        """The last month to train at, up to ``month``; None if there were too few returns at every one."""
        wanted = self._options.decision
        # a month is a sample once it has a covariance and a month after it; the variance of net returns takes two
        least = max(wanted.minimum_months, self._options.minimum_months + 2)
        for stamp in reversed(self._states.months_until(month)):
            if stamp.month in wanted.refit_months:
                known = complete_rows(self._states.at(stamp).returns, None).shape[0]
                return stamp if known >= least else None
        return None

    def _sample(self, refit: pd.Timestamp) -> Sample:
        stamps = self._states.months_until(refit)
        rows: list[tuple[Floats, Floats, Floats, Floats]] = []
        for stamp, after in pairwise(stamps):
            state, then = self._states.at(stamp), self._states.at(after)
            covariance = shrunk_covariance(state.returns, self._options)
            if covariance is None:
                continue
            absent = np.isnan(then.returns[-1])
            if np.isnan(then.book_turnover[~absent]).any():
                raise ValueError(
                    f"{after:%Y-%m} has style returns without book_turnover: pass style_turnover with every month's turnover"
                )
            earned = np.where(absent, 0.0, then.returns[-1])
            rows.append((signals(state), covariance, earned, np.where(absent, 0.0, then.book_turnover)))
        return Sample(*(np.stack(part) for part in zip(*rows, strict=True)))


def train(sample: Sample, month: pd.Timestamp, options: AllocationOptions) -> Floats:
    """Coefficients θ (4,) of the training at the close of ``month``: Adam on all months together, one thread."""
    import torch

    wanted = options.decision
    random = np.random.default_rng((wanted.seed, month.year, month.month))
    start = torch.tensor(START, dtype=torch.float64)
    jitter = torch.from_numpy(random.normal(0.0, 1.0, len(START)) * wanted.jitter)
    coefficients = (start + jitter).requires_grad_()
    optimiser = torch.optim.Adam([coefficients], lr=wanted.learning_rate)
    data = _tensors(sample, options)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(wanted.epochs):
            optimiser.zero_grad()
            loss = -net_utility(coefficients, data, options)
            loss = loss + wanted.penalty * torch.sum((coefficients - start) ** 2)
            with _quiet():
                loss.backward()
            optimiser.step()
    finally:
        torch.set_num_threads(threads)
    return np.array(coefficients.detach().numpy(), dtype=np.float64)


def _tensors(sample: Sample, options: AllocationOptions) -> dict[str, Any]:
    import torch

    half = options.decision.risk_aversion / 2.0
    factors = np.stack([np.linalg.cholesky(half * matrix).T for matrix in sample.covariance]) * np.sqrt(_SCALE)
    arrays = {"signals": sample.signals, "factors": factors, "returns": sample.returns, "turnover": sample.turnover}
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}


def net_utility(coefficients: Any, data: dict[str, Any], options: AllocationOptions) -> Any:
    """mean(net) − γ/2 variance(net) per month of the weights the coefficients (4,) lead to; a torch scalar."""
    import torch

    scores = torch.einsum("tik,k->ti", data["signals"], coefficients)
    layer = _layer(scores.shape[1], options.floor, options.cap)
    with _quiet():
        (weights,) = layer(_SCALE * scores, data["factors"], solver_args=_SOLVER)
    gross = torch.sum(weights * data["returns"], dim=1)
    grown = weights * (1.0 + data["returns"]) / (1.0 + gross)[:, None]
    moved = 0.5 * torch.sum(torch.abs(weights[1:] - grown[:-1]), dim=1)
    inside = torch.sum(weights * data["turnover"], dim=1)
    cost = options.cost_bp / 1e4
    net = gross - cost * inside - cost * torch.cat([torch.zeros(1, dtype=torch.float64), moved])
    return net.mean() - 0.5 * options.decision.risk_aversion * net.var()


@cache
def _layer(count: int, floor: float, cap: float) -> Any:
    """The differentiable problem for ``count`` styles: scores (count,) and factor of γ/2 Σ in, weights out."""
    import cvxpy as cp

    with _quiet():
        from cvxpylayers.torch import CvxpyLayer  # pyright: ignore[reportPrivateImportUsage]

    weights, scores, factor = cp.Variable(count), cp.Parameter(count), cp.Parameter((count, count))
    utility = scores @ weights - cp.sum_squares(factor @ weights)
    limits: list[Any] = [cp.sum(weights) == 1.0, weights >= floor, weights <= cap]
    problem = cp.Problem(cp.Maximize(utility), limits)
    with _quiet():
        return CvxpyLayer(problem, parameters=[scores, factor], variables=[weights])


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Without what the layer's packages say of their own code: escapes in docstrings, arrays made in an older way."""
    with warnings.catch_warnings():
        for kind in (SyntaxWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        yield
