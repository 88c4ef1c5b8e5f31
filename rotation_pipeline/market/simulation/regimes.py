"""The planted truth: a Markov chain of three regimes, the market's drift and volatility, and each style's premium.

A style's premium is quoted as the expected return of its top fifth minus its bottom fifth of names over a month. The
stationary mean over regimes is close to zero for every style, so holding one style for ever earns little and only
knowing the regime pays. With ``premium_strength`` 0 every premium is exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.market.simulation.options import Stream, generator

REGIMES: tuple[str, ...] = ("slow_bull", "bear", "range")
STYLES: tuple[str, ...] = ("MOM", "VAL", "QLTY", "VOL", "SIZE")
"""VOL is low volatility and SIZE is small size; the factor stage's names and order."""

TRANSITION = np.array(
    [
        [1 - 1 / 14, 0.4 / 14, 0.6 / 14],
        [0.45 / 7, 1 - 1 / 7, 0.55 / 7],
        [0.6 / 10, 0.4 / 10, 1 - 1 / 10],
    ]
)
"""P(next regime | regime) a month, rows and columns in the order of ``REGIMES``: expected stays of 14, 7 and 10 months.
Chinese bear phases are shorter and sharper than bull phases; 6 to 18 months is what monthly regime models report."""


@dataclass(frozen=True, slots=True)
class RegimeTraits:
    """What a regime does: market drift a month, market volatility a year, multipliers of other volatilities."""

    drift: float
    volatility: float
    idiosyncratic: float
    style: float
    turnover: float


TRAITS: dict[str, RegimeTraits] = {
    "slow_bull": RegimeTraits(0.021, 0.18, 1.0, 1.0, 0.10),
    "bear": RegimeTraits(-0.025, 0.36, 1.35, 1.5, 0.25),
    "range": RegimeTraits(0.003, 0.17, 0.9, 0.9, -0.20),
}
"""Every stock has the same expected market return whatever its beta: a beta-proportional drift would be a style
premium of its own (low volatility would pay in bear months even at strength 0)."""

QUINTILE_SPREAD = 2.8
"""Distance in standard deviations between the means of the top and bottom fifths of a normal cross-section (2 × 1.40)."""

LONG_SHORT_PREMIA = np.array(
    [
        # MOM, VAL, QLTY, VOL, SIZE
        [0.014, -0.009, -0.006, -0.012, 0.006],
        [-0.020, 0.014, 0.016, 0.022, -0.018],
        [-0.008, 0.005, 0.000, 0.005, 0.002],
    ]
)
"""Expected top-minus-bottom-fifth return a month at strength 1, regimes × styles, fractions."""


def premia(regime: str, strength: float) -> NDArray[np.float64]:
    """Expected monthly return of one standard deviation of each style's score, shape (5,), fractions."""
    return strength * LONG_SHORT_PREMIA[REGIMES.index(regime)] / QUINTILE_SPREAD


def stationary() -> NDArray[np.float64]:
    """Share of months spent in each regime in the long run, shape (3,)."""
    n = len(REGIMES)
    system = np.vstack([TRANSITION.T - np.eye(n), np.ones(n)])
    return np.asarray(np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0], dtype=np.float64)


def next_regime(previous: str | None, seed: int, month: date) -> str:
    """The regime of ``month`` given that of the month before; None draws the first from the stationary shares."""
    chances = stationary() if previous is None else TRANSITION[REGIMES.index(previous)]
    draw = generator(seed, Stream.REGIME, month).random()
    return REGIMES[min(int(np.searchsorted(np.cumsum(chances), draw, side="right")), len(REGIMES) - 1)]
