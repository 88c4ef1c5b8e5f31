"""Regressions pooled over styles: one model, a row per month and style, shrinkage chosen on time-ordered folds.

Row (month s, style i), target r_i(s + 1) / σ_i. Predictors, standardised on the training rows: the style's own return
lagged 0, 1, 2 months and its means over 3, 6 and 12 months, in units of σ_i; the market features of month s; the style
dummies. How much a model may say (a penalty, a number of components or trees) is the candidate with the smallest squared
error on time-ordered folds, each predicted (and standardised) from what lies before it; ties go to the one that says less, and among the
candidates is one that forecasts zero or nearly so. The standard error is the folds' root mean squared error at that
candidate, pooled over styles in units of σ_i.

References: Hoerl & Kennard (1970); Zou & Hastie (2005), with the coordinate descent of Friedman, Hastie & Tibshirani
(2010); Wold (1966) for partial least squares; Ke et al. (2017) for LightGBM.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.forecasting.columns import MIN_ERRORS, column_means, root_mean_square
from rotation_pipeline.forecasting.errors import ForecastInputError
from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.options import ForecastOptions

FloatArray = NDArray[np.float64]
Months = NDArray[np.int64]
Predictor = Callable[[FloatArray], FloatArray]
SPANS = (3, 6, 12)
"""Months of the means among the predictors."""


@dataclass(frozen=True)
class Standard:
    """What predictors and targets are measured in: σ of each style (K; NaN where too few months are known), mean and
    standard deviation of each market feature (M)."""

    scale: FloatArray
    market_mean: FloatArray
    market_scale: FloatArray


class PooledRegression(ABC):
    """What the pooled experts share: the panel, the folds and the choice among candidates."""

    interacted = True
    """Market features interacted with style dummies, so that each style has its own slopes."""

    def __init__(self, options: ForecastOptions) -> None:
        self._options = options
        self.penalty = np.nan
        """The candidate chosen."""
        self._predictor: Predictor | None = None

    @abstractmethod
    def candidates(self) -> list[float]:
        """Candidates in the order of preference among equals: the one that says least first."""

    @abstractmethod
    def fitted(self, x: FloatArray, y: FloatArray, candidates: Sequence[float]) -> list[Predictor]:
        """The model of each candidate fitted on ``x`` (n × P) and ``y`` (n); a predictor takes rows (m × P) to m."""

    def _raw(self, history: History, months: range) -> tuple[FloatArray, FloatArray]:
        """Predictors before any statistic touches them, for month indices ``months``: own returns (n × K × 6), NaN where a
        style's past year is incomplete, and market features (n × M)."""
        styles, when = history.styles, np.arange(months.start, months.stop)
        own = [styles[when - lag] for lag in range(3)]
        own += [np.mean([styles[when - lag] for lag in range(span)], axis=0) for span in SPANS]
        return np.stack(own, axis=2), history.market[when]

    def _standard(self, history: History) -> Standard:
        """Statistics of the months given, which must all lie before what is forecast with them."""
        market = history.market
        mean = np.nan_to_num(column_means(market), nan=0.0)
        counts = (~np.isnan(market)).sum(axis=0)
        squares = np.where(np.isnan(market), 0.0, (market - mean) ** 2).sum(axis=0)
        spread = np.sqrt(squares / np.maximum(counts - 1, 1))
        scale = root_mean_square(history.styles - column_means(history.styles))
        return Standard(np.where(scale > 0.0, scale, np.nan), mean, np.where(spread > 1e-12, spread, 1.0))

    def _rows(self, own: FloatArray, market: FloatArray, standard: Standard) -> FloatArray:
        """Rows (n·K × P) of the predictors ``_raw`` gives, months outermost."""
        months, count = own.shape[:2]
        known = np.where(np.isnan(market), standard.market_mean, market)
        scaled = np.clip((known - standard.market_mean) / standard.market_scale, -4.0, 4.0)
        dummies = np.broadcast_to(np.eye(count), (months, count, count))
        if self.interacted:
            spread = (dummies[:, :, :, None] * scaled[:, None, None, :]).reshape(months, count, -1)
        else:
            spread = np.broadcast_to(scaled[:, None, :], (months, count, scaled.shape[1]))
        rows = np.concatenate([own / standard.scale[:, None], dummies, spread], axis=2)
        return rows.reshape(months * count, -1)

    def _panel(self, history: History, months: range, standard: Standard) -> tuple[FloatArray, FloatArray, Months]:
        """Complete rows x (n × P), targets y (n) in units of σ, and the month of each; x not yet divided by its spread."""
        x = self._rows(*self._raw(history, months), standard)
        y = (history.styles[months.start + 1 : months.stop + 1] / standard.scale).reshape(-1)
        when = np.repeat(np.array(months, dtype=np.int64), history.styles.shape[1])
        good = np.isfinite(x).all(axis=1) & np.isfinite(y)
        return x[good], y[good], when[good]

    def _fold_errors(self, history: History, months: range, candidates: Sequence[float]) -> tuple[FloatArray, int]:
        """Summed squared errors of each candidate on the folds, and their number. Every statistic, the units of the error
        among them, is of the months before the fold."""
        folds = self._options.ridge_validation_folds
        edges = [months[0] + round(k * len(months) / (folds + 1)) for k in range(1, folds + 2)]
        edges[-1] = months[-1] + 1
        squares = np.zeros(len(candidates))
        count = 0
        for start, stop in pairwise(edges):
            # a row stamped s has its outcome at s + 1, known before a forecast made at ``start`` if s < start
            standard = self._standard(history.until(start + 1))
            x, y, when = self._panel(history, range(months.start, stop), standard)
            past, fold = when < start, when >= start
            if not past.any() or not fold.any():
                continue
            spread = _spread(x[past])
            count += int(fold.sum())
            for k, predictor in enumerate(self.fitted(x[past] / spread, y[past], candidates)):
                squares[k] += float(((y[fold] - predictor(x[fold] / spread)) ** 2).sum())
        return squares, count

    def fit(self, history: History) -> None:
        """Choose the candidate on the past's own time-ordered folds and fit on all of it."""
        self._predictor = None
        months = range(max(SPANS) - 1, len(history.styles) - 1)
        if len(months) < 2 * (self._options.ridge_validation_folds + 1):
            return
        candidates = self.candidates()
        squares, count = self._fold_errors(history, months, candidates)
        if count < MIN_ERRORS:
            return
        self._scaling = self._standard(history)
        x, y, _ = self._panel(history, months, self._scaling)
        if len(y) < MIN_ERRORS:
            return
        self._spread = _spread(x)
        best = int(np.argmin(squares))
        self.penalty = candidates[best]
        self._error = float(np.sqrt(squares[best] / count))
        self._predictor = self.fitted(x / self._spread, y, (self.penalty,))[0]

    def predict(self, history: History) -> tuple[FloatArray, FloatArray]:
        """(forecast, standard error); all NaN when the history was too short to fit."""
        count = history.styles.shape[1]
        if self._predictor is None:
            return np.full(count, np.nan), np.full(count, np.nan)
        last = range(len(history.styles) - 1, len(history.styles))
        rows = self._rows(*self._raw(history, last), self._scaling) / self._spread
        good = np.isfinite(rows).all(axis=1)
        scale = self._scaling.scale
        mean = self._predictor(np.where(np.isfinite(rows), rows, 0.0)) * scale
        return np.where(good, mean, np.nan), np.where(good, self._error * scale, np.nan)


def _spread(x: FloatArray) -> FloatArray:
    """Standard deviation of each column; 1 for a constant one."""
    spread = x.std(axis=0)
    return np.where(spread > 1e-12, spread, 1.0)


def _linear(beta: FloatArray, center: FloatArray | None = None, level: float = 0.0) -> Predictor:
    """rows → level + (rows − center) β."""

    def predictor(rows: FloatArray) -> FloatArray:
        return rows @ beta if center is None else level + (rows - center) @ beta

    return predictor


class PooledRidge(PooledRegression):
    """Ridge (Hoerl & Kennard 1970). The intercept is the dummies', so everything is shrunk towards zero."""

    def candidates(self) -> list[float]:
        """Penalties from the largest down."""
        return sorted(self._options.ridge_penalties, reverse=True)

    @staticmethod
    def _solve(x: FloatArray, y: FloatArray, penalty: float) -> FloatArray:
        gram = x.T @ x
        gram[np.diag_indices_from(gram)] += penalty
        return np.asarray(np.linalg.solve(gram, x.T @ y), dtype=np.float64)

    def fitted(self, x: FloatArray, y: FloatArray, candidates: Sequence[float]) -> list[Predictor]:
        """(X'X + penalty I)⁻¹ X'y for each penalty."""
        return [_linear(self._solve(x, y, penalty)) for penalty in candidates]


@njit(cache=True)
def _descend(
    gram: FloatArray, moment: FloatArray, lasso: float, ridge: float, beta: FloatArray, tolerance: float, most: int
) -> int:
    """Cyclic coordinate descent on ½ β'Gβ − m'β + lasso ‖β‖₁ + ½ ridge ‖β‖², ``beta`` in place, until a whole pass moves no
    coordinate by more than ``tolerance``; returns the passes made, ``most`` + 1 if that was not enough."""
    size = beta.size
    slope = moment.copy()
    for i in range(size):
        for j in range(size):
            slope[i] -= gram[i, j] * beta[j]
    for sweep in range(most):
        moved = 0.0
        for i in range(size):
            before = beta[i]
            if gram[i, i] == 0.0:
                continue
            target = slope[i] + gram[i, i] * before
            if target > lasso:
                after = (target - lasso) / (gram[i, i] + ridge)
            elif target < -lasso:
                after = (target + lasso) / (gram[i, i] + ridge)
            else:
                after = 0.0
            if after != before:
                change = after - before
                beta[i] = after
                for j in range(size):
                    slope[j] -= gram[j, i] * change
                moved = max(moved, abs(change))
        if moved <= tolerance:
            return sweep + 1
    return most + 1


def elastic_net(
    x: FloatArray, y: FloatArray, penalty: float, l1_ratio: float, start: FloatArray | None = None
) -> FloatArray:
    """argmin ‖y − Xβ‖² / (2n) + penalty · (l1_ratio ‖β‖₁ + (1 − l1_ratio) / 2 ‖β‖²), no intercept (Zou & Hastie 2005 in the
    form of Friedman, Hastie & Tibshirani 2010, eq. 1), by coordinate descent from ``start`` (zero by default).

    ``x`` n × P, ``y`` n. Raises ArithmeticError where a million passes do not settle within 1e-12.
    """
    beta = np.zeros(x.shape[1]) if start is None else start.copy()
    gram, moment = np.ascontiguousarray(x.T @ x) / len(y), x.T @ y / len(y)
    most = 1_000_000
    if _descend(gram, moment, penalty * l1_ratio, penalty * (1.0 - l1_ratio), beta, 1e-12, most) > most:
        raise ArithmeticError(
            f"elastic net: penalty {penalty} does not settle on {x.shape[0]} rows of {x.shape[1]} predictors; leave it out of "
            "the forecast option elastic_net_penalties"
        )
    return beta


class PooledElasticNet(PooledRegression):
    """Elastic net (Zou & Hastie 2005): ridge that also drops predictors; a large penalty drops all, the zero forecast."""

    def candidates(self) -> list[float]:
        """Penalties from the largest down."""
        return sorted(self._options.elastic_net_penalties, reverse=True)

    def fitted(self, x: FloatArray, y: FloatArray, candidates: Sequence[float]) -> list[Predictor]:
        """One solution per penalty, each started from the one before."""
        found: list[Predictor] = []
        beta: FloatArray | None = None
        for penalty in candidates:
            beta = elastic_net(x, y, penalty, self._options.elastic_net_l1_ratio, beta)
            found.append(_linear(beta))
        return found


def partial_least_squares(x: FloatArray, y: FloatArray, components: int) -> list[FloatArray]:
    """Coefficients (P) of partial least squares with 1 … ``components`` components for one target (NIPALS: Wold 1966;
    β = W (P'W)⁻¹ q), on centred ``x`` (n × P) and ``y`` (n). Fewer where nothing is left to explain."""
    left, outcome = x - x.mean(axis=0), y - y.mean()
    limit = 1e-12 * float(np.abs(left.T @ outcome).max(initial=0.0))
    weights: list[FloatArray] = []
    loadings: list[FloatArray] = []
    slopes: list[float] = []
    found: list[FloatArray] = []
    for _ in range(components):
        direction = left.T @ outcome
        length = float(np.sqrt(direction @ direction))
        if not length > limit:
            break
        direction = direction / length
        score = left @ direction
        power = float(score @ score)
        if not power > 0.0:
            break
        weights.append(direction)
        loadings.append(left.T @ score / power)
        slopes.append(float(score @ outcome) / power)
        left = left - np.outer(score, loadings[-1])
        outcome = outcome - slopes[-1] * score
        w, p = np.array(weights).T, np.array(loadings).T
        found.append(np.asarray(w @ np.linalg.solve(p.T @ w, np.array(slopes)), dtype=np.float64))
    return found


class PooledPLS(PooledRegression):
    """Partial least squares: a few combinations of the predictors that covary most with the target; 0 components: zero."""

    def candidates(self) -> list[float]:
        """Numbers of components from 0 up."""
        return [float(count) for count in range(self._options.pls_components + 1)]

    def fitted(self, x: FloatArray, y: FloatArray, candidates: Sequence[float]) -> list[Predictor]:
        """ȳ + (x − x̄) β with each number of components; the zero forecast with none."""
        paths = partial_least_squares(x, y, int(max(candidates)))
        center, level, nothing = x.mean(axis=0), float(y.mean()), np.zeros(x.shape[1])
        found: list[Predictor] = []
        for count in candidates:
            available = paths[: int(count)]
            found.append(_linear(available[-1], center, level) if available else _linear(nothing))
        return found


class PooledLightGBM(PooledRegression):
    """Gradient boosting of small trees (Ke et al. 2017) on one thread, no sampling of rows or columns, so no random number
    is drawn; it starts at zero, and 0 trees is the zero forecast. Trees find interactions themselves."""

    interacted = False

    def candidates(self) -> list[float]:
        """Numbers of trees from 0 up."""
        return [0.0, *sorted(float(count) for count in self._options.lightgbm_trees)]

    def _parameters(self) -> dict[str, Any]:
        options = self._options
        return {
            "objective": "regression",
            "boost_from_average": False,
            "num_leaves": options.lightgbm_leaves,
            "min_data_in_leaf": options.lightgbm_leaf_rows,
            "learning_rate": options.lightgbm_learning_rate,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "seed": 0,
            "verbosity": -1,
        }

    def fitted(self, x: FloatArray, y: FloatArray, candidates: Sequence[float]) -> list[Predictor]:
        """One booster of the most trees, read at each number of them."""
        try:
            import lightgbm
        except ImportError as error:
            raise ForecastInputError(
                "the expert pooled_lightgbm needs the package lightgbm: install it or leave the expert out of the forecast "
                "option experts"
            ) from error

        most = int(max(candidates))
        if most == 0 or len(y) < 2 * self._options.lightgbm_leaf_rows:  # not enough rows for a single split
            return [_linear(np.zeros(x.shape[1])) for _ in candidates]
        booster = lightgbm.train(self._parameters(), lightgbm.Dataset(x, y), num_boost_round=most)

        def reading(trees: int) -> Predictor:
            def predictor(rows: FloatArray) -> FloatArray:
                if trees == 0:  # LightGBM takes 0 for all
                    return np.zeros(len(rows))
                return np.asarray(booster.predict(rows, num_iteration=trees, num_threads=1), dtype=np.float64)

            return predictor

        return [reading(int(count)) for count in candidates]
