"""Walk-forward on return series of any number and name, for studies outside the graph.

The experts are those of the graph; what is missing here is what other markets have not: regime probabilities and so the
regime-conditional mean. A forecast of month t + 1 is made from rows up to t; the ridge and the networks are fitted at
refit months only and forecast from current inputs in between, the other experts are fitted every month.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.forecasting.experts import (
    Expert,
    FactorMomentum,
    HistoricalMean,
    History,
    PooledRidge,
    Zero,
    expanding_means,
    root_mean_square,
)
from rotation_pipeline.forecasting.mixture import ForecastCube, completed, mixture_means, weight_paths
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, MonthlyPanel, refit_row

FloatArray = NDArray[np.float64]
MIXTURE = "mixture"
MIXED = ("zero", "historical_mean", "factor_momentum", "pooled_ridge", "network_lstm", "network_transformer")
"""Members of the mixture: the graph's, less the regime-conditional mean."""
_ENCODERS: dict[str, Literal["lstm", "transformer"]] = {"network_lstm": "lstm", "network_transformer": "transformer"}


@dataclass(frozen=True)
class SeriesForecasts:
    """Forecasts by forecaster, T × K, row t known at t and about t + 1; NaN before the first forecast month."""

    panel: MonthlyPanel
    first: int
    means: dict[str, FloatArray]
    weights: FloatArray
    """Weights of :data:`MIXED` in the mixture, T × E."""


def forecasters(options: ForecastOptions) -> tuple[str, ...]:
    """Names in the order they are reported: every momentum span alone beside the graph's mean of all."""
    spans = (f"factor_momentum_{span}" for span in options.momentum_spans)
    return ("historical_mean", *spans, "factor_momentum", "pooled_ridge", *_ENCODERS, MIXTURE)


def walk_series(
    panel: MonthlyPanel,
    first: int,
    options: ForecastOptions,
    network_options: NetworkOptions,
    listen: Callable[[str], None] = lambda _text: None,
) -> SeriesForecasts:
    """Forecast from every row ``first`` … T − 1 of ``panel`` with each of :func:`forecasters`.

    ``panel``: complete returns (no NaN), fraction per month; market features may be NaN. ForecastInputError when
    ``first`` leaves fewer than ``min_train_months`` rows for the first forecast or the first refit month is after ``first``.
    """
    if first + 1 < options.min_train_months or first >= len(panel.calendar):
        raise ForecastInputError(
            f"the first forecast is made from {first + 1} months, but an expert needs {options.min_train_months} and the "
            f"data have {len(panel.calendar)}: begin later or take a longer file"
        )
    if refit_row(panel, first, options.refit_every) < 0 or np.isnan(panel.styles).any():
        raise ForecastInputError("the first forecast lies before the first refit month, or a return is missing")
    means: dict[str, FloatArray] = {}
    for name in ("zero", *forecasters(options)[:-1]):
        listen(name)
        means[name] = (
            _networks(panel, first, _ENCODERS[name], options, network_options)
            if name in _ENCODERS
            else _simple(panel, first, name, options)
        )
    cube = _cube(panel, means)
    weights = weight_paths(cube, options)
    mixed = mixture_means(cube, weights)
    mixed[:first] = np.nan
    return SeriesForecasts(panel, first, {**means, MIXTURE: mixed}, weights)


def past_errors(forecasts: FloatArray, returns: FloatArray, memory: int) -> FloatArray:
    """Root mean square, T × K, of the errors of the last ``memory`` months known at each row, as the mixture's standard
    error is made: months without a forecast count as forecasts of 0. NaN with fewer than six."""
    before = np.concatenate([np.zeros((1, returns.shape[1])), completed(forecasts)[:-1]])
    errors = returns - before
    return np.array([root_mean_square(errors[max(0, t + 1 - memory) : t + 1]) for t in range(len(returns))])


def _cube(panel: MonthlyPanel, means: dict[str, FloatArray]) -> ForecastCube:
    mean = np.stack([means[name] for name in MIXED])
    return ForecastCube(
        panel.calendar, MIXED, mean, np.full(mean.shape, np.nan), ~np.isnan(mean[:, :, 0]), panel.styles
    )


def _expert(name: str, options: ForecastOptions) -> Expert:
    if name == "zero":
        return Zero()
    if name == "historical_mean":
        return HistoricalMean()
    if name == "pooled_ridge":
        return PooledRidge(options)
    if name == "factor_momentum":
        return FactorMomentum(options)
    return FactorMomentum(replace(options, momentum_spans=(int(name.rpartition("_")[2]),)))


def _simple(panel: MonthlyPanel, first: int, name: str, options: ForecastOptions) -> FloatArray:
    out = np.full(panel.styles.shape, np.nan)
    expert, fitted = _expert(name, options), -1
    for row in range(first, len(panel.calendar)):
        fit = refit_row(panel, row, options.refit_every) if name == "pooled_ridge" else row
        if fit != fitted:
            expert.fit(panel.history(fit))
            fitted = fit
        out[row] = _mean(expert, panel.history(row))
    return out


def _mean(expert: Expert, history: History) -> FloatArray:
    """The expert's mean; for factor momentum without the standard error, whose past errors take 50 times as long."""
    if isinstance(expert, FactorMomentum):
        return expanding_means(history.styles)[-1] + expert.slope * expert.signals(history.styles)[-1]
    return expert.predict(history)[0]


def _networks(
    panel: MonthlyPanel,
    first: int,
    encoder: Literal["lstm", "transformer"],
    options: ForecastOptions,
    network_options: NetworkOptions,
) -> FloatArray:
    from rotation_pipeline.forecasting.training_pool import NetworkTask, run_tasks

    groups: dict[int, list[int]] = {}
    for row in range(first, len(panel.calendar)):
        groups.setdefault(refit_row(panel, row, options.refit_every), []).append(row)
    tasks = [
        NetworkTask(
            encoder,
            panel.history(fit),
            tuple(panel.history(row, options.lookback) for row in rows),
            options.lookback,
            network_options,
        )
        for fit, rows in groups.items()
    ]
    out = np.full(panel.styles.shape, np.nan)
    for rows, answers in zip(groups.values(), run_tasks(tasks, network_options.workers), strict=True):
        for row, answer in zip(rows, answers, strict=True):
            out[row] = answer.mean
    return out


def market_state(market: FloatArray, months: int = 12) -> FloatArray:
    """What the graph tells its experts of an index, from its monthly returns (T) alone: T × 4, row t from months up to t.

    The return, its standard deviation and mean over the last ``months`` (NaN before), and the fall of compounded wealth
    below its highest value so far.
    """
    windows = [market[t + 1 - months : t + 1] if t + 1 >= months else None for t in range(len(market))]
    wealth = np.cumprod(1.0 + market)
    spread = [np.nan if window is None else float(window.std(ddof=1)) for window in windows]
    mean = [np.nan if window is None else float(window.mean()) for window in windows]
    return np.column_stack([market, spread, mean, wealth / np.maximum(np.maximum.accumulate(wealth), 1.0) - 1.0])
