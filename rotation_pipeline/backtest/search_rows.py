"""Rows of SIGNIFICANCE about the search as a whole: is the best of all strategies luck?"""

from __future__ import annotations

import math

import numpy as np

from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.backtest.data_snooping import Indices, Snooping, reality_check, superior_predictive_ability
from rotation_pipeline.backtest.methods import method_text
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.overfitting import backtest_overfitting

_LEAST_BLOCK = 4
"""Months a block of the overfitting probability must have."""


def overfitting_row(returns: Floats, options: BacktestOptions) -> tuple[float, str]:
    """Probability of backtest overfitting of the columns of ``returns`` (n, S) and its detail; NaN below two blocks."""
    parts = min(options.overfitting_parts, 2 * (returns.shape[0] // (2 * _LEAST_BLOCK)))
    count, splits, value, loss = returns.shape[1], 0, math.nan, math.nan
    if returns.shape[0] >= options.minimum_months and parts >= 2:
        found = backtest_overfitting(returns, parts)
        splits, value, loss = found.logits.size, found.probability, found.loss_probability
    return value, method_text("overfitting", splits=splits, parts=parts, count=count, loss=f"{loss:.2f}")


def snooping_rows(
    excess: Floats, names: tuple[str, ...], indices: Indices, options: BacktestOptions
) -> list[tuple[str, float, float, str]]:
    """(statistic, value, p, detail) of the test for superior predictive ability and of the reality check.

    ``excess`` (n, S): each strategy's net return over the benchmark's; ``indices`` (B, n) resampled months.
    """
    nothing = Snooping(math.nan, -1, math.nan, math.nan, math.nan)
    spa, check = nothing, nothing
    if excess.shape[0] >= options.minimum_months:
        spa = superior_predictive_ability(excess, indices, options.mean_block)
        check = reality_check(excess, indices) if np.any(excess != 0.0) else nothing
    return [
        (
            "superior_predictive_ability",
            spa.statistic,
            spa.consistent,
            method_text(
                "predictive_ability",
                count=len(names),
                best=_name(names, spa.best),
                lower=f"{spa.lower:.3f}",
                upper=f"{spa.upper:.3f}",
            ),
        ),
        (
            "reality_check",
            check.statistic,
            check.upper,
            method_text("reality_check", count=len(names), best=_name(names, check.best)),
        ),
    ]


def _name(names: tuple[str, ...], place: int) -> str:
    return names[place] if place >= 0 else "none"
