"""Mixture of experts that returns to the zero tilt where nothing predicts.

Only differences between styles move an allocation, so experts are judged by them. With d_e,i = f_e,i − mean_i f_e the
tilt of expert e and y_i = r_i − mean_i r the relative return that followed (K styles),

    log L_e / L_0 = (Σ_i y_i² − Σ_i (y_i − d_e,i)²) / (2 σ²),   σ² = Σ past y² / (months · (K − 1)),

the Gaussian likelihood ratio against the zero-tilt expert; demeaning leaves K − 1 degrees of freedom, which σ² allows
for, and σ² knows nothing but the past. Weights follow fixed share (Herbster & Warmuth 1998, with the prior as the shared
distribution; Bousquet & Warmuth 2002):

    v_e ∝ w_e (L_e / L_0)^η,   w_e' = (1 − α) v_e + α p_e.

p_zero ≥ ½, so the zero-tilt expert never falls below α p_zero. An expert without a forecast counts as a zero tilt. The
forecast is Σ_e w_e f_e: cross-style differences shrink with the zero-tilt expert's weight, and so does the level. The
weights of month t are recomputed from the first stored forecast each time; no state is carried between runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.experts import root_mean_square
from rotation_pipeline.forecasting.frames import as_months, month_at, numbers, row_of, select, stored, texts
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.forecasting.tables import EXPERT_WEIGHTS, FORECASTS
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, check_calendar, check_options, style_matrix

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MixtureResult:
    """``forecasts`` (table forecasts) and ``expert_weights`` (table expert_weights), without run_id, sorted by key."""

    forecasts: pd.DataFrame
    expert_weights: pd.DataFrame


@dataclass(frozen=True)
class ForecastCube:
    """Stored forecasts on the calendar of the style returns: ``mean`` and ``standard_error`` E × T × K (NaN where there
    is none), ``present`` E × T, and ``returns`` T × K."""

    calendar: pd.DatetimeIndex
    experts: tuple[str, ...]
    mean: FloatArray
    standard_error: FloatArray
    present: NDArray[np.bool_]
    returns: FloatArray


def forecast_cube(expert_forecasts: pd.DataFrame, style_returns: pd.DataFrame, experts: Sequence[str]) -> ForecastCube:
    """Arrange rows of table expert_forecasts on the calendar of ``style_returns``; months outside it are an error."""
    calendar = check_calendar(style_returns.index, "style_returns")
    returns = style_matrix(style_returns)
    frame = select(expert_forecasts, [name in experts for name in texts(expert_forecasts, "expert")])
    months = pd.DatetimeIndex(frame["month"])
    t = calendar.get_indexer(months)
    if (t < 0).any():
        stray = month_at(months, int(np.argmax(t < 0)))
        raise ForecastInputError(f"expert_forecasts has {stray:%Y-%m}, style_returns does not")
    e = pd.Index(list(experts)).get_indexer(pd.Index(texts(frame, "expert")))
    k = pd.Index(STYLES).get_indexer(pd.Index(texts(frame, "style")))
    if (k < 0).any():
        stray = texts(frame, "style")[int(np.argmax(k < 0))]
        raise ForecastInputError(f"expert_forecasts names the style {stray!r}; known: {list(STYLES)}")
    shape = (len(experts), len(calendar), len(STYLES))
    count = np.zeros(shape, np.int64)
    np.add.at(count, (e, t, k), 1)
    if (count > 1).any():
        a, b, c = (int(place[0]) for place in np.nonzero(count > 1))
        raise ForecastInputError(
            f"expert_forecasts holds {experts[a]}, {STYLES[c]} twice for {month_at(calendar, b):%Y-%m}"
        )
    mean, error = np.full(shape, np.nan), np.full(shape, np.nan)
    mean[e, t, k] = numbers(frame, "mean")
    error[e, t, k] = numbers(frame, "standard_error")
    return ForecastCube(calendar, tuple(experts), mean, error, np.asarray((count == 1).all(axis=2)), returns)


def prior_weights(experts: Sequence[str], zero_prior: float) -> FloatArray:
    """``zero_prior`` on the zero-tilt expert, the rest in equal parts; all of it on ``zero`` when it is alone."""
    others = len(experts) - 1
    prior = np.full(len(experts), (1.0 - zero_prior) / others if others else 0.0)
    prior[list(experts).index("zero")] = zero_prior if others else 1.0
    return prior


def relative(values: FloatArray) -> FloatArray:
    """Differences from the mean over the last axis of what is known; NaN stays NaN."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1, keepdims=True)
    mean = np.where(known, values, 0.0).sum(axis=-1, keepdims=True) / np.maximum(count, 1)
    return values - mean


def completed(means: FloatArray) -> FloatArray:
    """Forecasts with gaps filled so that they prefer nothing: a missing style gets its expert's mean over the others, an
    expert with none forecasts 0. Last axis: styles."""
    known = ~np.isnan(means)
    count = known.sum(axis=-1, keepdims=True)
    level = np.where(known, means, 0.0).sum(axis=-1, keepdims=True) / np.maximum(count, 1)
    return np.where(known, means, level)


def log_likelihood_ratios(forecasts: FloatArray, outcome: FloatArray, variance: float) -> FloatArray:
    """log L_e / L_0 (E) of completed forecasts E × K for the returns ``outcome`` (K, NaN left out); ``variance`` is σ²
    of one style's relative return with the K − 1 correction. 0 without variance or with fewer than two outcomes."""
    known = ~np.isnan(outcome)
    if known.sum() < 2 or not variance > 0.0:
        return np.zeros(len(forecasts))
    y = relative(outcome[known])
    d = relative(forecasts[:, known])
    return (float((y * y).sum()) - ((y - d) ** 2).sum(axis=1)) / (2.0 * variance)


def _variances(returns: FloatArray, memory: int) -> FloatArray:
    """σ² known at each month (T): from the last ``memory`` months up to and including it; NaN without any."""
    y = relative(returns)
    squares = np.where(np.isnan(y), 0.0, y * y).sum(axis=1)
    freedom = np.maximum((~np.isnan(y)).sum(axis=1) - 1, 0)
    out = np.full(len(returns), np.nan)
    for t in range(len(returns)):
        part = slice(max(0, t + 1 - memory), t + 1)
        if freedom[part].sum() > 0:
            out[t] = squares[part].sum() / freedom[part].sum()
    return out


def weight_paths(cube: ForecastCube, options: ForecastOptions) -> FloatArray:
    """Weights at the close of each month, T × E, by the recursion of this module."""
    prior = prior_weights(cube.experts, options.zero_prior)
    variance = _variances(cube.returns, options.loss_memory_months)
    forecasts = completed(cube.mean)
    weights = np.empty((len(cube.calendar), len(prior)))
    weights[0] = prior
    for t in range(1, len(weights)):
        ratio = options.learning_rate * log_likelihood_ratios(forecasts[:, t - 1], cube.returns[t], variance[t - 1])
        grown = weights[t - 1] * np.exp(ratio - ratio.max())
        weights[t] = (1.0 - options.fixed_share) * (grown / grown.sum()) + options.fixed_share * prior
    return weights


def mixture_means(cube: ForecastCube, weights: FloatArray) -> FloatArray:
    """Σ_e w_e f_e, T × K; 0 in months without stored forecasts."""
    return (weights.T[:, :, None] * completed(cube.mean)).sum(axis=0)


def interval_half_width(errors: FloatArray, standard_error: float, options: ForecastOptions) -> float:
    """Half of the interval from past errors (n, NaN-free): with ``min_interval_errors`` or more the split-conformal
    quantile, the ⌈(n + 1) · level⌉-th smallest absolute error (Vovk, Gammerman & Shafer 2005); with fewer, or when that
    rank exceeds n, the normal quantile times ``standard_error``."""
    n = len(errors)
    rank = int(np.ceil((n + 1) * options.interval_level))
    if n >= options.min_interval_errors and rank <= n:
        return float(np.sort(np.abs(errors))[rank - 1])
    return float(norm.ppf(0.5 + options.interval_level / 2.0)) * standard_error


def trailing_volatility(returns: FloatArray, options: ForecastOptions) -> FloatArray:
    """Standard deviation (ddof 1) of the last ``volatility_months`` rows, K; NaN with too few known."""
    recent = returns[max(0, len(returns) - options.volatility_months) :]
    out = np.full(returns.shape[1], np.nan)
    for k in range(returns.shape[1]):
        values = recent[~np.isnan(recent[:, k]), k].copy()
        if len(values) >= options.min_volatility_months:
            out[k] = values.std(ddof=1)
    return out


def _month_rows(cube: ForecastCube, means: FloatArray, row: int, options: ForecastOptions) -> pd.DataFrame:
    first = max(0, row + 1 - options.loss_memory_months)
    before = np.concatenate([np.zeros((1, means.shape[1])), means[:-1]])  # the first month was forecast by nobody: 0
    errors = (cube.returns - before)[first : row + 1].copy()
    spread = root_mean_square(errors)
    half = np.full(len(STYLES), np.nan)
    for k in range(len(STYLES)):
        if np.isfinite(spread[k]):
            half[k] = interval_half_width(errors[~np.isnan(errors[:, k]), k], float(spread[k]), options)
    mean = means[row]
    volatility = trailing_volatility(cube.returns[: row + 1].copy(), options)
    return pd.DataFrame(
        {
            "month": cube.calendar[row],
            "style": STYLES,
            "mean": mean,
            "standard_error": spread,
            "low": mean - half,
            "high": mean + half,
            "volatility": volatility,
        }
    )


def requested_rows(cube: ForecastCube, months: Sequence[pd.Timestamp]) -> list[int]:
    """Rows of ``months`` in order; an error where an expert's forecast of a month is not stored."""
    rows: list[int] = []
    for month in as_months(months):
        row = row_of(cube.calendar, month)
        if row < 0:
            raise ForecastInputError(f"month {month:%Y-%m} is requested, but style_returns has no such month")
        absent = [name for name, there in zip(cube.experts, cube.present[:, row], strict=True) if not there]
        if absent:
            raise ForecastInputError(
                f"expert_forecasts has no row of {absent} for {month:%Y-%m}; run the experts for that month first"
            )
        rows.append(row)
    return rows


def mix(
    expert_forecasts: pd.DataFrame,
    style_returns: pd.DataFrame,
    months: Sequence[pd.Timestamp],
    options: ForecastOptions,
) -> MixtureResult:
    """Mixture forecast of the month after each of ``months`` and the experts' weights behind it.

    Parameters
    ----------
    expert_forecasts: rows of table expert_forecasts for every month stored so far; those after a requested month are
        not read for it. Months before the first stored one count as zero forecasts.
    style_returns: index month (consecutive first days), columns STYLES, fraction per month; NaN before a style exists.
    months: months to forecast from; every expert of ``options.experts`` needs its rows there.

    Returns
    -------
    forecasts: mean, its standard error (root mean square of the mixture's errors in the last ``loss_memory_months``
        months), the interval (conformal from the same errors) and the trailing volatility; standard error, low and high
        are null for a style with fewer than six past returns, volatility by its own rule.
    expert_weights: one row per expert; they sum to 1 and zero's is at least fixed_share × zero_prior.
    """
    check_options(options)
    cube = forecast_cube(expert_forecasts, style_returns, options.experts)
    rows = requested_rows(cube, months)
    weights = weight_paths(cube, options)
    means = mixture_means(cube, weights)
    if not rows:
        raise ForecastInputError("no month is requested of the mixture")
    forecasts = [_month_rows(cube, means, row, options) for row in rows]
    shares = [
        pd.DataFrame({"month": cube.calendar[row], "expert": cube.experts, "weight": weights[row]}) for row in rows
    ]
    return MixtureResult(
        stored(pd.concat(forecasts, ignore_index=True), FORECASTS),
        stored(pd.concat(shares, ignore_index=True), EXPERT_WEIGHTS),
    )
