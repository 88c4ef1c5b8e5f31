"""Experts: forecasters with one interface, ``fit(history)`` then ``predict(history) -> mean, standard error``.

A history ends with the month that has just closed. Fitting may use all of it; the forecast is of the month after its
last row. Means and standard errors are arrays over styles in fractions per month; NaN says that the expert needs more
history for that style. Unless an expert says otherwise, its standard error is the root mean square of its own past
one-month-ahead errors, recomputed from the history with nothing later than each forecast.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.forecasting.columns import (
    MIN_ERRORS,
    column_means,
    expanding_means,
    pooled_slope,
    root_mean_square,
)
from rotation_pipeline.forecasting.history import DailyHistory, History
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.forecasting.pooled import PooledRidge

__all__ = [
    "MIN_ERRORS",
    "DailyHistory",
    "Expert",
    "FactorMomentum",
    "HistoricalMean",
    "History",
    "PooledRidge",
    "RegimeMean",
    "Zero",
    "column_means",
    "expanding_means",
    "root_mean_square",
]

FloatArray = NDArray[np.float64]


class Expert(Protocol):
    """A forecaster of next month's style returns."""

    def fit(self, history: History) -> None:
        """Estimate from the history up to the fit month."""
        ...

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(mean, standard error), each K, of the month after the history's last; the history may be longer than the one
        fitted on, never shorter."""
        ...


class Zero:
    """No style earns anything: the zero-tilt expert. Its error is the return itself."""

    def fit(self, history: History) -> None:
        """Nothing to estimate."""

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(0, root mean square of past returns)."""
        return np.zeros(history.styles.shape[1]), root_mean_square(history.styles)


class HistoricalMean:
    """The expanding mean, the benchmark of Welch & Goyal (2008) and Campbell & Thompson (2008)."""

    def fit(self, history: History) -> None:
        """Nothing beyond the mean itself."""

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(mean of all months, root mean square of the errors the expanding mean made from the second month on)."""
        styles = history.styles
        means = expanding_means(styles)
        return means[-1], root_mean_square(styles[1:] - means[:-1])


class FactorMomentum:
    """Time-series factor momentum (Gupta & Kelly 2019; Ehsani & Linnainmaa 2022): r̂_i = m_i + b · s_i.

    s_i is the average over the spans of style i's exponentially weighted mean return of the last span's months, minus
    its expanding mean m_i; b is one slope for all styles, from the pooled regression through the origin of next month's
    return (minus the m_i of the time) on s_i, each style in units of its standard deviation, shrunk to zero by prior
    observations: b = Σ s y / (Σ s² · (1 + prior / n)), n the number of months. Negative slopes (reversal) are allowed.
    """

    def __init__(self, options: ForecastOptions) -> None:
        self._options = options
        self._weights = [
            0.5 ** (np.arange(span - 1, -1, -1) / options.momentum_halflife) for span in options.momentum_spans
        ]
        self.slope = 0.0

    def signals(self, styles: FloatArray) -> FloatArray:
        """s of every month, T × K; NaN where any month of the longest span is unknown."""
        out = np.full(styles.shape, np.nan)
        longest = max(self._options.momentum_spans)
        if len(styles) < longest:
            return out
        windows = np.lib.stride_tricks.sliding_window_view(styles, longest, axis=0)
        means = [(windows[:, :, longest - len(w) :] * (w / w.sum())).sum(axis=2) for w in self._weights]
        out[longest - 1 :] = np.mean(means, axis=0)
        return out - expanding_means(styles)

    def _pairs(self, styles: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(signal of month t, surprise of month t + 1 against m_t), each (T − 1) × K."""
        return self.signals(styles)[:-1], styles[1:] - expanding_means(styles)[:-1]

    def _slope(self, signals: FloatArray, surprises: FloatArray) -> float:
        scale = root_mean_square(surprises)
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y = signals / scale, surprises / scale
        return pooled_slope(x, y, self._options.momentum_shrinkage_months)

    def fit(self, history: History) -> None:
        """Estimate the pooled slope and, for the standard error, the slopes one would have had at each past month."""
        self.slope = self._slope(*self._pairs(history.styles))

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(m + b s, root mean square of the errors of the same forecast made at every past month with its own slope)."""
        styles = history.styles
        signals, surprises = self._pairs(styles)
        first = max(self._options.momentum_spans)
        past = [surprises[t] - self._slope(signals[:t], surprises[:t]) * signals[t] for t in range(first, len(signals))]
        errors = np.array(past).reshape(-1, styles.shape[1])
        mean = expanding_means(styles)[-1] + self.slope * self.signals(styles)[-1]
        return mean, root_mean_square(errors)


class RegimeMean:
    """Regime-conditional mean by filtered probabilities, shrunk to zero: r̂_i = Σ_k p_k(t) μ_ik with

        μ_ik = Σ_s p_k(s) r_i(s + 1) / (Σ_s p_k(s) + prior),

    the posterior mean of a Gaussian premium with prior mean 0 worth ``prior`` months, months counted by how surely they
    belonged to the regime. Months with an unknown probability or return are left out. Probabilities are the last columns
    of the market features.
    """

    def __init__(self, options: ForecastOptions, regimes: int) -> None:
        self._prior = options.regime_shrinkage_months
        self._regimes = regimes
        self._means: FloatArray | None = None

    def _conditional(self, styles: FloatArray, probabilities: FloatArray) -> FloatArray:
        """Running μ after each pair (s, s + 1): row t uses pairs with s + 1 ≤ t; T × regimes × K."""
        known = np.isfinite(probabilities[:-1].sum(axis=1, keepdims=True)) & np.isfinite(styles[1:])
        p = np.where(known[:, None, :], probabilities[:-1, :, None], 0.0)
        total = np.cumsum(p * np.where(known, styles[1:], 0.0)[:, None, :], axis=0)
        means = total / (np.cumsum(p, axis=0) + self._prior)
        return np.concatenate([np.zeros((1, *means.shape[1:])), means])

    def fit(self, history: History) -> None:
        """Estimate μ from all pairs inside the history."""
        market = history.market
        self._means = self._conditional(history.styles, market[:, market.shape[1] - self._regimes :])[-1]

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(Σ p μ, root mean square of the errors of the same forecast at every past month); NaN without probabilities."""
        if self._means is None:
            raise RuntimeError("RegimeMean.predict needs fit before it")
        probabilities = history.market[:, history.market.shape[1] - self._regimes :]
        running = self._conditional(history.styles, probabilities)
        past = (probabilities[:, :, None] * running).sum(axis=1)
        mean = (probabilities[-1][:, None] * self._means).sum(axis=0)
        error = root_mean_square(history.styles[1:] - past[:-1])
        return mean, np.where(np.isfinite(mean), error, np.nan)
