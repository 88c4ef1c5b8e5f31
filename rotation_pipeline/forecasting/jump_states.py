"""Online jump-model state of each style from its own daily returns (Shu & Mulvey 2024; Shu, Yu & Mulvey 2024).

Features of a session: the downside deviation and Sortino ratios of the style's daily returns, exponentially weighted,
standardised over the sessions so far and clamped. Two states by the statistical jump model of the regime stage. The state
of a session is the end of the cheapest path through the sessions up to it: it is never revised.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.forecasting.columns import root_mean_square
from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.regimes.jump import jump_loss, online_path
from rotation_pipeline.regimes.jump_detector import best_jump_fit

FloatArray = NDArray[np.float64]
Path = NDArray[np.int64]
FEATURE_LIMIT = 3.0
"""Features are clamped to ± this many standard deviations, so that a crash is a bad day and not all there is."""
WARM_UP = 20
"""First sessions left out: exponential means of fewer are noise."""
STATES = 2


@njit(cache=True)
def _weighted(returns: FloatArray, halflives: FloatArray, out: FloatArray) -> None:
    for i in range(halflives.size):
        keep = 0.5 ** (1.0 / halflives[i])
        weight = 0.0
        mean = 0.0
        square = 0.0
        for t in range(returns.size):
            r = returns[t]
            loss = min(r, 0.0)
            weight = keep * weight + 1.0
            mean = keep * mean + r
            square = keep * square + loss * loss
            deviation = np.sqrt(square / weight)
            out[t, i] = deviation if i == 0 else mean / weight / max(deviation, 1e-8)


def features(returns: FloatArray, halflives: tuple[float, ...]) -> FloatArray:
    """Sessions × len(halflives), from daily returns (D) without gaps, each row from itself and those before it: the downside
    deviation √(Σ w min(r, 0)² / Σ w) over the first half-life, over the others the Sortino ratio Σ w r / Σ w over its own
    downside deviation; w = ½^(age / half-life). Downside alone when there is one half-life."""
    out = np.empty((len(returns), len(halflives)))
    _weighted(np.ascontiguousarray(returns), np.array(halflives), out)
    return out


def conditional_means(states: Path, returns: FloatArray, prior_months: float) -> FloatArray:
    """Row t: Σ of returns s + 1 ≤ t that followed the state of t, / (their number + prior), T; NaN where the state of t is
    unknown (−1). ``states`` (T): state at each month's last session; ``returns`` (T), NaN before the style exists."""
    out = np.full(len(states), np.nan)
    total, count = np.zeros(STATES), np.zeros(STATES)
    for t in range(len(states)):
        if t and states[t - 1] >= 0 and not np.isnan(returns[t]):
            total[states[t - 1]] += returns[t]
            count[states[t - 1]] += 1.0
        if states[t] >= 0:
            out[t] = total[states[t]] / (count[states[t]] + prior_months)
    return out


class _Sessions:
    """One style's sessions with a return: features and, for each month of the history, the last session in it."""

    def __init__(
        self, returns: FloatArray, months: NDArray[np.int64], first: int, count: int, halflives: tuple[float, ...]
    ):
        known = ~np.isnan(returns)
        raw = features(returns[known], halflives)
        self.features, own = raw[WARM_UP:], months[known][WARM_UP:]
        self.ends = np.searchsorted(own, first + np.arange(count), side="right").astype(np.int64) - 1
        """Row of the last session up to the end of each month, −1 before the first."""
        self.spoken = np.isin(first + np.arange(count), own)
        """Months with a session."""

    def states(self, fit: int, penalty: float) -> Path:
        """Online state at the end of every month under the model fitted on the sessions up to month row ``fit``; −1 where the
        month has none."""
        past = self.features[: self.ends[fit] + 1]
        center, spread = past.mean(axis=0), past.std(axis=0)
        x = np.clip((self.features - center) / np.where(spread > 1e-12, spread, 1.0), -FEATURE_LIMIT, FEATURE_LIMIT)
        seen = np.ascontiguousarray(x[: len(past)])
        # starts: halves by the slowest and by the fastest feature
        halves = [seen[:, column] > np.median(seen[:, column]) for column in (-1, 0)]
        starts = [
            np.array([seen[half].mean(axis=0), seen[~half].mean(axis=0)])
            for half in halves
            if half.any() and not half.all()
        ]
        if not starts:
            return np.where(self.spoken & (self.ends >= 0), 0, -1)
        path = online_path(jump_loss(x, best_jump_fit(seen, starts, penalty).centres), penalty)
        return np.where(self.spoken & (self.ends >= 0), path[np.maximum(self.ends, 0)], -1)


class JumpModel:
    """Mean return after months that ended in the state the style is in now, shrunk to zero by
    ``regime_shrinkage_months``, states by an online jump model on the style's own daily returns.

    Centres are fitted on all sessions up to t. For the standard error the forecasts of past months are made again with
    models fitted on sessions up to the last January before them, so that no error knows what came after its forecast.
    """

    def __init__(self, options: ForecastOptions) -> None:
        self._options = options
        self._month: int | None = None

    def _style(self, sessions: _Sessions, returns: FloatArray, first: int, fitted: int) -> tuple[float, FloatArray]:
        """(forecast, errors of past forecasts) of one style; ``first``: calendar number of month row 0, ``fitted``: row of
        the last month the models may be fitted on."""
        options, last = self._options, len(returns) - 1
        errors = np.full(last, np.nan)
        fits = [
            row
            for row in range(fitted + 1)
            if sessions.ends[row] + 1 >= options.jump_min_sessions and ((first + row) % 12 == 0 or row == fitted)
        ]
        now = np.nan
        for fit, until in zip(fits, [*fits, last + 1][1:], strict=True):
            states = sessions.states(fit, options.jump_penalty)
            means = conditional_means(states, returns, options.regime_shrinkage_months)
            stop = min(until, last)
            errors[fit:stop] = returns[fit + 1 : stop + 1] - means[fit:stop]
            now = float(means[last])
        return now, errors

    def fit(self, history: History) -> None:
        """Take the history's last month as the last whose sessions the models see."""
        self._month = history.ordinal

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(mean after months in the present state, root mean square of past errors); NaN for a style without a year of
        sessions or without one in the last month. ValueError for a history without sessions."""
        if self._month is None:
            raise RuntimeError("JumpModel.predict needs fit before it")
        daily = history.sessions()
        months, count = history.styles.shape
        first = history.ordinal - months + 1
        mean, past = np.full(count, np.nan), np.full((months - 1, count), np.nan)
        for k in range(count):
            sessions = _Sessions(daily.styles[:, k], daily.months, first, months, self._options.jump_halflives)
            mean[k], past[:, k] = self._style(sessions, history.styles[:, k], first, self._month - first)
        return mean, np.where(np.isfinite(mean), root_mean_square(past), np.nan)
