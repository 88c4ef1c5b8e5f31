"""The rows a detector is fitted on: which sessions, which transforms, scaled by their own past."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.frames import Month, days, floats, months_of
from rotation_pipeline.regimes.options import RegimeOptions

Array = NDArray[np.float64]
_TABLE = "intermediate.index_features"
LOGARITHMS = frozenset({"volatility", "turnover_ratio"})
"""Features taken as logarithms: positive and skewed, they are near normal only then (Andersen et al. 2001)."""
NAMING = ("index_return", "volatility")
"""What states are named by."""


@njit(cache=True)
def _moments(x: Array, centre: Array, scale: Array) -> None:
    """Mean and standard deviation (n in the denominator) of each column, summed first to last, in two passes."""
    n, size = x.shape
    for i in range(size):
        total = 0.0
        for t in range(n):
            total += x[t, i]
        centre[i] = total / n
        squares = 0.0
        for t in range(n):
            squares += (x[t, i] - centre[i]) ** 2
        scale[i] = np.sqrt(squares / n)


def moments_of(x: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column of ``x`` (T, F), shape (F,) each."""
    centre, scale = np.empty((x.shape[1],)), np.empty((x.shape[1],))
    _moments(np.ascontiguousarray(x), centre, scale)
    return centre, scale


@dataclass(frozen=True)
class TrainingRows:
    """Rows up to the close of one month: transformed features (T, F), and the 21-day return and volatility (T,)."""

    months: NDArray[np.datetime64]
    is_month_end: NDArray[np.bool_]
    x: Array
    returns: Array
    volatilities: Array

    def scaling(self, features: Sequence[str]) -> tuple[Array, Array]:
        """Centre and scale (F,) of these rows and no others; RegimeInputError for a feature that does not vary."""
        centre, scale = moments_of(self.x)
        flat = np.flatnonzero(~(scale > 1e-12 * np.maximum(np.abs(centre), 1.0)))
        if flat.size:
            raise RegimeInputError(
                f"{_TABLE}: {features[flat[0]]} is constant up to {self.months[-1]}; drop it from the regime features"
            )
        return centre, scale


class FeatureRows:
    """All sessions of the features in time order; hands out what was known at a month's close."""

    def __init__(self, frame: pd.DataFrame, features: Sequence[str]) -> None:
        """Takes ``FEATURES`` rows in any order; RegimeInputError for repeated days or an impossible value."""
        stamps = days(frame, "day", _TABLE)
        order = np.argsort(stamps, kind="stable")
        self.days = stamps[order]
        if self.days.size > 1 and not (np.diff(self.days) > np.timedelta64(0, "D")).all():
            raise RegimeInputError(f"{_TABLE}: a day occurs twice; pass the rows of one index")
        self.months = months_of(frame, _TABLE)[order]
        self.features = tuple(features)
        self.x = np.ascontiguousarray(np.stack([self._values(frame, name)[order] for name in features], axis=1))
        self.returns, self.volatilities = (floats(frame, name, _TABLE)[order] for name in NAMING)
        everything = np.column_stack([self.x, self.returns, self.volatilities])
        self.complete: NDArray[np.bool_] = np.asarray(np.isfinite(everything).all(axis=1), dtype=np.bool_)
        self._last: NDArray[np.bool_] = (
            np.append(self.months[1:] != self.months[:-1], True) if self.days.size else self.complete
        )

    @staticmethod
    def _values(frame: pd.DataFrame, name: str) -> Array:
        values = floats(frame, name, _TABLE)
        if name not in LOGARITHMS:
            return values
        if (values <= 0.0).any():
            day = days(frame, "day", _TABLE)[int(np.flatnonzero(values <= 0.0)[0])]
            raise RegimeInputError(f"{_TABLE}: {name} of {day} is not positive, its logarithm is undefined")
        # one value at a time: vectorised logarithms may round differently by position in the array
        return np.array([math.log(value) if value == value else math.nan for value in values])

    def history(self, month: Month) -> int:
        """Sessions with all needed features up to the month's close."""
        return int(self.complete[self.months <= month].sum())

    def known(self, month: Month, options: RegimeOptions) -> TrainingRows:
        """The rows of ``month``'s fit, its close the last one.

        Raises:
            RegimeInputError: no session in the month, or a gap in the features after they began.
        """
        upto = np.flatnonzero(self.months <= month)
        if upto.size == 0 or self.months[upto[-1]] != month:
            raise RegimeInputError(f"{_TABLE}: no session in {month}; materialise that month first")
        last = int(upto[-1])
        spaced = np.arange(last, -1, -options.stride, dtype=np.int64)[::-1]
        chosen = upto[self._last[upto]] if options.form == "monthly" else spaced
        if options.window == "rolling":
            chosen = chosen[self.months[chosen] > month - options.rolling_months]
        usable = self.complete[chosen]
        began = int(np.argmax(usable)) if usable.any() else chosen.size
        gap = np.flatnonzero(~usable[began:])
        if gap.size or began == chosen.size:
            day = self.days[chosen[began + gap[0]]] if gap.size else self.days[last]
            raise RegimeInputError(f"{_TABLE}: a feature of {', '.join(self.features)} is missing on {day}")
        kept = chosen[began:]
        return TrainingRows(
            self.months[kept],
            self._month_ends(kept, last),
            np.ascontiguousarray(self.x[kept]),
            self.returns[kept].copy(),
            self.volatilities[kept].copy(),
        )

    def _month_ends(self, kept: NDArray[np.int64], last: int) -> NDArray[np.bool_]:
        """Whether a row is its month's last chosen one; the month's state is read there."""
        if kept[-1] != last:
            raise RegimeInputError(f"{_TABLE}: the close of {self.months[last]} is not among its own training rows")
        months = self.months[kept]
        return np.append(months[1:] != months[:-1], True)
