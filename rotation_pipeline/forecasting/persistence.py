"""Experts that expect what was to go on: time-series factor momentum and the random walk of the rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from rotation_pipeline.forecasting.columns import column_means, pooled_slope, root_mean_square
from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.options import ForecastOptions

FloatArray = NDArray[np.float64]


def trailing_deviations(values: FloatArray, months: int) -> FloatArray:
    """Row t: standard deviation (ddof 1) of the last ``months`` rows up to t, T × K; NaN with fewer than half of them."""
    out = np.full(values.shape, np.nan)
    for t in range(len(values)):
        part = values[max(0, t + 1 - months) : t + 1]
        count = (~np.isnan(part)).sum(axis=0)
        squares = np.where(np.isnan(part), 0.0, (part - column_means(part)) ** 2).sum(axis=0)
        spread = np.sqrt(squares / np.maximum(count - 1, 1))
        out[t] = np.where((count >= max(2, months // 2)) & (spread > 0.0), spread, np.nan)
    return out


class TimeSeriesMomentum:
    """Time-series factor momentum (Gupta & Kelly 2019): r̂_i = b · σ_i · z_i.

    For a span of j months z = Σ of the last j returns / (σ_i √j), capped at ± ``time_series_limit``; z_i is the mean over
    the spans and σ_i the standard deviation of the last ``time_series_volatility_months`` returns. Unlike
    :class:`~rotation_pipeline.forecasting.experts.FactorMomentum` a style is measured against nothing but itself, and the
    cap keeps a single extreme month from speaking loudest. b is one slope for all styles from the pooled regression of
    next month's return on σ z in units of σ, shrunk to zero by ``momentum_shrinkage_months`` and never negative: an expert
    of momentum is silent where there is reversal.
    """

    def __init__(self, options: ForecastOptions) -> None:
        self._options = options
        self.slope = 0.0

    def signals(self, styles: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(z, σ) of every month, each T × K; NaN where a month of the longest span or σ is unknown."""
        options = self._options
        deviations = trailing_deviations(styles, options.time_series_volatility_months)
        z = np.full(styles.shape, np.nan)
        longest = max(options.momentum_spans)
        if len(styles) >= longest:
            windows = np.lib.stride_tricks.sliding_window_view(styles, longest, axis=0)
            parts = [
                np.clip(
                    windows[:, :, longest - span :].sum(axis=2) / (deviations[longest - 1 :] * np.sqrt(span)),
                    -options.time_series_limit,
                    options.time_series_limit,
                )
                for span in options.momentum_spans
            ]
            z[longest - 1 :] = np.mean(parts, axis=0)
        return z, deviations

    def _slope(self, z: FloatArray, units: FloatArray) -> float:
        return max(0.0, pooled_slope(z, units, self._options.momentum_shrinkage_months))

    def fit(self, history: History) -> None:
        """Estimate the pooled slope."""
        z, deviations = self.signals(history.styles)
        self.slope = self._slope(z[:-1], history.styles[1:] / deviations[:-1])

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(b σ z, root mean square of the errors of the same forecast made at every past month with its own slope)."""
        styles = history.styles
        z, deviations = self.signals(styles)
        units = styles[1:] / deviations[:-1]
        first = max(self._options.momentum_spans)
        past = [
            styles[t + 1] - self._slope(z[:t], units[:t]) * deviations[t] * z[t] for t in range(first, len(styles) - 1)
        ]
        return self.slope * deviations[-1] * z[-1], root_mean_square(np.array(past).reshape(-1, styles.shape[1]))


def rank_scores(values: FloatArray) -> FloatArray:
    """Normal scores of the ranks of each row, Φ⁻¹((rank − 3/8) / (n + 1/4)) (Blom 1958), ties averaged, n the values known;
    0 for all when fewer than two are known, NaN where unknown. Rows T × K."""
    out = np.full(values.shape, np.nan)
    for t, row in enumerate(values):
        known = ~np.isnan(row)
        count = int(known.sum())
        if count < 2:
            out[t, known] = 0.0
        elif count:
            out[t, known] = ndtri((rankdata(row[known]) - 0.375) / (count + 0.25))
    return out


class RankRandomWalk:
    """Next month's ranking of the styles is this month's: r̂_i = b · s · u_i.

    u is the normal score of a style's rank in the month that has closed and s the root mean square of relative returns (of
    a style against the mean of the month) so far, so s u is what a style of that rank earns against the others. b in
    [0, 1] is how much of it persists, the pooled slope of next month's relative returns on s u, shrunk to zero by
    ``momentum_shrinkage_months``; b = 1 is the random walk itself. It speaks about differences between styles only: its
    forecasts add up to zero up to ties.
    """

    def __init__(self, options: ForecastOptions) -> None:
        self._options = options
        self.persistence = 0.0

    def signals(self, styles: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(s u, relative returns), each T × K."""
        apart = styles - column_means(styles.T)[:, None]
        squares = np.cumsum(np.where(np.isnan(apart), 0.0, apart**2).sum(axis=1))
        counts = np.cumsum((~np.isnan(apart)).sum(axis=1))
        size = np.sqrt(squares / np.maximum(counts, 1))
        return size[:, None] * rank_scores(styles), apart

    def _slope(self, signals: FloatArray, outcomes: FloatArray) -> float:
        return float(np.clip(pooled_slope(signals, outcomes, self._options.momentum_shrinkage_months), 0.0, 1.0))

    def fit(self, history: History) -> None:
        """Estimate how much of a rank persists."""
        signals, apart = self.signals(history.styles)
        self.persistence = self._slope(signals[:-1], apart[1:])

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(b s u, root mean square of the errors of the same forecast made at every past month with its own b)."""
        styles = history.styles
        signals, apart = self.signals(styles)
        past = [styles[t + 1] - self._slope(signals[:t], apart[1 : t + 1]) * signals[t] for t in range(len(styles) - 1)]
        return self.persistence * signals[-1], root_mean_square(np.array(past).reshape(-1, styles.shape[1]))
