"""The names of market regimes, and the rule that gives them to the states of a detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

REGIMES: tuple[str, ...] = ("slow_bull", "bear", "range")
"""Slow bull: low volatility, rising. Bear: high volatility, falling. Range: low volatility, flat."""


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Position of each value between the lowest (0) and the highest (1); all 0 when they are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def name_states(returns: Sequence[float], volatilities: Sequence[float]) -> tuple[str, ...]:
    """Regime names of 2 to 4 states from each one's mean return and volatility on past data.

    1. Bear is the state with the worst balance of return and risk: the largest volatility minus return, both placed
       between the lowest (0) and highest (1) state. Ties go to the lower return, then to the first state.
    2. Slow bull is the best return among the others (ties: the lower volatility, then the first), unless two states
       are all there are and its return is not positive: then it is range.
    3. Range is the third state.
    4. A fourth state shares a name: bear if it falls and is at least as volatile as the middle between the calmest
       and the wildest state; slow bull if it earns more than half of the slow bull's positive return; else range.
       Steps 3 and 4 look at the two states left over: the one with the lower absolute return is the third.

    With three states each name is given once. Probabilities of states with one name are to be added.

    Args:
        returns: mean return of each state, any unit, finite.
        volatilities: volatility of each state, any unit, finite.

    Raises:
        ValueError: not 2 to 4 states, unequal lengths, or a value that is not finite.
    """
    mean, risk = np.asarray(returns, dtype=np.float64), np.asarray(volatilities, dtype=np.float64)
    if mean.shape != risk.shape or mean.ndim != 1 or not 2 <= mean.size <= 4:
        raise ValueError(f"2 to 4 states can be named, got {mean.shape} returns and {risk.shape} volatilities")
    if not (np.isfinite(mean).all() and np.isfinite(risk).all()):
        raise ValueError(f"returns and volatilities must be finite, got {mean.tolist()} and {risk.tolist()}")
    states = range(mean.size)
    badness = _spread(risk) - _spread(mean)
    bear = min(states, key=lambda k: (-badness[k], mean[k], k))
    others = [k for k in states if k != bear]
    bull = min(others, key=lambda k: (-mean[k], risk[k], k))
    names = ["range"] * mean.size
    names[bear] = "bear"
    if mean.size > 2 or mean[bull] > 0.0:
        names[bull] = "slow_bull"
    left = sorted((k for k in others if k != bull), key=lambda k: (abs(mean[k]), k))
    for k in left[1:]:
        if mean[k] < 0.0 and risk[k] >= (risk.min() + risk.max()) / 2.0:
            names[k] = "bear"
        elif mean[bull] > 0.0 and mean[k] > mean[bull] / 2.0:
            names[k] = "slow_bull"
    return tuple(names)
