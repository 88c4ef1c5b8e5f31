"""Experts: forecasters with one interface, ``fit(history)`` then ``predict(history) -> mean, standard error``.

A history ends with the month that has just closed. Fitting may use all of it; the forecast is of the month after its
last row. Means and standard errors are arrays over styles in fractions per month; NaN says that the expert needs more
history for that style. Unless an expert says otherwise, its standard error is the root mean square of its own past
one-month-ahead errors, recomputed from the history with nothing later than each forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.forecasting.options import ForecastOptions

FloatArray = NDArray[np.float64]
MIN_ERRORS = 6
"""Past errors before a standard error is reported: half a year."""


@dataclass(frozen=True)
class History:
    """All that is known at a month's close: ``styles`` T × K long-short returns (fraction per month; NaN before a style
    exists) and ``market`` T × M features (NaN where unknown), oldest first, last row the month itself (``year``,
    ``month``)."""

    styles: FloatArray
    market: FloatArray
    year: int
    month: int

    def until(self, rows: int) -> History:
        """The first ``rows`` months; the calendar date is that of the full history's end minus the months cut."""
        ordinal = self.year * 12 + self.month - 1 - (len(self.styles) - rows)
        return History(self.styles[:rows].copy(), self.market[:rows].copy(), ordinal // 12, ordinal % 12 + 1)


class Expert(Protocol):
    """A forecaster of next month's style returns."""

    def fit(self, history: History) -> None:
        """Estimate from the history up to the fit month."""
        ...

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(mean, standard error), each K, of the month after the history's last; the history may be longer than the one
        fitted on, never shorter."""
        ...


def root_mean_square(errors: FloatArray) -> FloatArray:
    """Column-wise root mean square of what is known; NaN where fewer than six errors are."""
    counts = (~np.isnan(errors)).sum(axis=0)
    total = np.where(np.isnan(errors), 0.0, errors**2).sum(axis=0)
    return np.where(counts >= MIN_ERRORS, np.sqrt(total / np.maximum(counts, 1)), np.nan)


def column_means(values: FloatArray) -> FloatArray:
    """Column-wise mean of what is known; NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis=0)
    total = np.where(np.isnan(values), 0.0, values).sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def expanding_means(values: FloatArray) -> FloatArray:
    """Row t: column-wise mean of what is known in rows 0 … t; NaN where nothing is."""
    counts = np.cumsum(~np.isnan(values), axis=0)
    totals = np.cumsum(np.where(np.isnan(values), 0.0, values), axis=0)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


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
        good = np.isfinite(x) & np.isfinite(y)
        months = int(good.any(axis=1).sum())
        if months < MIN_ERRORS:
            return 0.0
        x, y = np.where(good, x, 0.0), np.where(good, y, 0.0)
        power = float((x * x).sum()) * (1.0 + self._options.momentum_shrinkage_months / months)
        return float((x * y).sum()) / power if power > 0.0 else 0.0

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


class PooledRidge:
    """One ridge regression (Hoerl & Kennard 1970) for all styles.

    Row (month s, style i), target r_i(s + 1) / σ_i. Predictors, standardised on the training rows: the style's own
    return lagged 0, 1, 2 months and its means over 3, 6 and 12 months, in units of σ_i; the market features of month s
    interacted with style dummies; the style dummies. The penalty is the candidate with the smallest squared error on
    time-ordered folds, each predicted from what lies before it (ties: the larger penalty); the intercept of the
    standardised problem is the dummies', so everything is shrunk towards zero. The standard error is the validation
    folds' root mean squared error at that penalty, pooled over styles in units of σ_i.
    """

    def __init__(self, options: ForecastOptions) -> None:
        self._options = options
        self._spans = (3, 6, 12)
        self.penalty = np.nan
        self._coefficients: FloatArray | None = None

    def _rows(self, history: History, scale: FloatArray, t: int) -> FloatArray:
        """Predictors at month index t: K × P; NaN where a style's own past year is incomplete."""
        styles = history.styles[: t + 1] / scale
        count = styles.shape[1]
        own = [styles[t - lag] for lag in range(3)] + [
            styles[t + 1 - span : t + 1].mean(axis=0) for span in self._spans
        ]
        market = history.market[t]
        known = np.where(np.isnan(market), self._market_mean, market)
        scaled = np.clip((known - self._market_mean) / self._market_scale, -4.0, 4.0)
        dummies = np.eye(count)
        interacted = (dummies[:, :, None] * scaled).reshape(count, -1)
        return np.concatenate([np.array(own).T, dummies, interacted], axis=1)

    def _statistics(self, history: History) -> FloatArray:
        market = history.market
        self._market_mean = np.nan_to_num(column_means(market), nan=0.0)
        counts = (~np.isnan(market)).sum(axis=0)
        squares = np.where(np.isnan(market), 0.0, (market - self._market_mean) ** 2).sum(axis=0)
        spread = np.sqrt(squares / np.maximum(counts - 1, 1))
        self._market_scale = np.where(spread > 1e-12, spread, 1.0)
        scale = root_mean_square(history.styles - column_means(history.styles))
        return np.where(scale > 0.0, scale, np.nan)

    @staticmethod
    def _solve(x: FloatArray, y: FloatArray, penalty: float) -> FloatArray:
        gram = x.T @ x
        gram[np.diag_indices_from(gram)] += penalty
        return np.asarray(np.linalg.solve(gram, x.T @ y), dtype=np.float64)

    def _panel(
        self, history: History, scale: FloatArray, months: range
    ) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
        x = np.concatenate([self._rows(history, scale, t) for t in months])
        y = np.concatenate([history.styles[t + 1] / scale for t in months])
        when = np.repeat(np.array(months, dtype=np.int64), history.styles.shape[1])
        good = np.isfinite(x).all(axis=1) & np.isfinite(y)
        return x[good], y[good], when[good]

    def fit(self, history: History) -> None:
        """Choose the penalty on the past's own time-ordered folds and fit on all of it."""
        self._coefficients = None
        months = range(max(self._spans) - 1, len(history.styles) - 1)
        folds = self._options.ridge_validation_folds
        if len(months) < 2 * (folds + 1):
            return
        self._scale = self._statistics(history)
        x, y, when = self._panel(history, self._scale, months)
        if len(y) < MIN_ERRORS:
            return
        spread = x.std(axis=0)
        self._x_scale = np.where(spread > 1e-12, spread, 1.0)
        x = x / self._x_scale
        edges = [months[0] + round(k * len(months) / (folds + 1)) for k in range(1, folds + 2)]
        edges[-1] = months[-1] + 1
        candidates = sorted(self._options.ridge_penalties, reverse=True)
        squares = np.zeros(len(candidates))
        count = 0
        for start, stop in pairwise(edges):
            # a row stamped s has its outcome at s + 1, known before a forecast made at ``start`` if s < start
            past, fold = when < start, (when >= start) & (when < stop)
            if not past.any() or not fold.any():
                continue
            count += int(fold.sum())
            for k, penalty in enumerate(candidates):
                beta = self._solve(x[past], y[past], penalty)
                squares[k] += float(((y[fold] - x[fold] @ beta) ** 2).sum())
        if count < MIN_ERRORS:
            return
        best = int(np.argmin(squares))
        self.penalty = candidates[best]
        self._error = float(np.sqrt(squares[best] / count))
        self._coefficients = self._solve(x, y, self.penalty)

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(forecast, standard error); all NaN when the history was too short to fit."""
        count = history.styles.shape[1]
        if self._coefficients is None:
            return np.full(count, np.nan), np.full(count, np.nan)
        rows = self._rows(history, self._scale, len(history.styles) - 1) / self._x_scale
        good = np.isfinite(rows).all(axis=1)
        mean = (np.where(np.isfinite(rows), rows, 0.0) @ self._coefficients) * self._scale
        return np.where(good, mean, np.nan), np.where(good, self._error * self._scale, np.nan)
