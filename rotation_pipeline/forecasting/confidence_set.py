"""Model confidence set: the forecasters that cannot be told from the best (Hansen, Lunde & Nason 2011, Econometrica 79).

Equal predictive ability is tested on the set that is left; while it is rejected, the worst is dropped. With d̄_ij the mean
loss of i less that of j and d̄_i· its mean over j, both divided by their bootstrap standard deviations,

    T_R = max_ij t_ij,   T_max = max_i t_i·.

The p value of a forecaster is the largest p of the tests up to the one after which it was dropped, 1 for the last one
left; the set of confidence 1 − α holds those with p > α. A wide set says that the data cannot tell, not that all are good.
All tests share the same resamples: stationary blocks of months (Politis & Romano 1994), every forecaster's loss of a
month together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.forecasting.frames import as_months, row_of, stored
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.forecasting.scores import ComparedLosses, forecaster_losses
from rotation_pipeline.forecasting.tables import CONFIDENCE_SET, LOSSES, SET_STATISTICS
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, check_calendar
from rotation_pipeline.regimes.statistics import stationary_bootstrap_indices

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
SetStatistic = Literal["T_max", "T_R"]
_NOISE = 1e-12
"""Difference of mean losses, relative to the largest, below which it is rounding."""


@njit(cache=True)
def _resampled_means(values: FloatArray, indices: Indices) -> FloatArray:
    """Column means of ``values`` (n, k) over the rows of each resample (B, n), summed in order: (B, k)."""
    resamples, length = indices.shape
    columns = values.shape[1]
    out = np.zeros((resamples, columns))
    for r in range(resamples):
        for i in range(length):
            row = indices[r, i]
            for c in range(columns):
                out[r, c] += values[row, c]
        for c in range(columns):
            out[r, c] /= length
    return out


def model_confidence_set(losses: FloatArray, indices: Indices, statistic: SetStatistic) -> FloatArray:
    """p value (k) of every forecaster.

    ``losses``: n × k, one row a month, complete. ``indices``: B × n resampled rows. A p of 1 for all when their mean
    losses are equal; ties are dropped in the order of the columns. ValueError for gaps or fewer than two months.
    """
    if losses.ndim != 2 or losses.shape[0] < 2 or not losses.shape[1] or not np.isfinite(losses).all():
        raise ValueError(f"losses must be (n, k) without gaps, n at least 2, got shape {losses.shape}")
    if indices.ndim != 2 or indices.shape[1] != len(losses):
        raise ValueError(f"indices must be (B, {len(losses)}), got {indices.shape}")
    values = np.ascontiguousarray(losses, dtype=np.float64)
    mean = values.sum(axis=0) / len(values)
    drawn = _resampled_means(np.ascontiguousarray(values - mean), indices)
    step = _range_test(mean, drawn) if statistic == "T_R" else _max_test(mean, drawn)
    p_values = np.ones(values.shape[1])
    included = np.arange(values.shape[1])
    largest = 0.0
    while included.size > 1:
        value, simulated, worst = step(included)
        if not value > 0.0:  # mean losses are equal: nobody is worse
            break
        largest = max(largest, float((simulated > value).mean()))
        p_values[included[worst]] = largest
        included = np.delete(included, worst)
    p_values[included] = 1.0
    return p_values


Step = Callable[[Indices], tuple[float, FloatArray, int]]
"""Included columns → statistic, its resampled values (B), and the position of the worst among them."""


def _ratio(value: FloatArray, deviation: FloatArray, floor: float) -> FloatArray:
    """Quotient, 0 where nothing but rounding differs or nothing varies."""
    out = np.zeros(value.shape)
    return np.divide(value, deviation, out=out, where=np.broadcast_to(deviation > floor, value.shape))


def _max_test(mean: FloatArray, drawn: FloatArray) -> Step:
    floor = _NOISE * float(np.abs(mean).max())

    def step(included: Indices) -> tuple[float, FloatArray, int]:
        own, others = mean[included], drawn[:, included]
        own = own - own.sum() / own.size
        others = others - others.sum(axis=1, keepdims=True) / own.size
        deviation = np.sqrt((others**2).sum(axis=0) / len(others))
        t = _ratio(own, deviation, floor)
        return float(t.max()), _ratio(others, deviation, floor).max(axis=1), int(np.argmax(t))

    return step


def _range_test(mean: FloatArray, drawn: FloatArray) -> Step:
    floor = _NOISE * float(np.abs(mean).max())
    pairs = drawn[:, :, None] - drawn[:, None, :]
    deviation = np.sqrt((pairs**2).sum(axis=0) / len(drawn))
    t, resampled = _ratio(mean[:, None] - mean, deviation, floor), _ratio(pairs, deviation, floor)

    def step(included: Indices) -> tuple[float, FloatArray, int]:
        inside = t[np.ix_(included, included)]
        simulated = resampled[:, included][:, :, included].reshape(len(resampled), -1).max(axis=1)
        return float(inside.max()), simulated, int(np.argmax(inside.max(axis=1)))

    return step


def confidence_set_rows(
    expert_forecasts: pd.DataFrame,
    mixture: pd.DataFrame,
    style_returns: pd.DataFrame,
    months: Sequence[pd.Timestamp],
    options: ForecastOptions,
) -> pd.DataFrame:
    """Table forecast_confidence_set for each of ``months``, from all forecasts whose outcome is known there.

    Arguments as in :func:`rotation_pipeline.forecasting.scores.forecast_scores`. Compared are the forecasters with
    ``min_score_months`` outcomes or more, on the months and styles for which all of them forecast; the others, and
    everyone before there are as many such months, have a null p.
    """
    calendar = check_calendar(style_returns.index, "style_returns")
    losses = forecaster_losses(expert_forecasts, mixture, style_returns, options)
    records: list[dict[str, object]] = []
    for month in as_months(months):
        position = row_of(calendar, month)
        if position < 0:
            raise ForecastInputError(f"month {month:%Y-%m} is requested, but style_returns has no such month")
        rows = _month(losses.until(position, options.min_score_months), month, options)
        records += [{"month": month, **row} for row in rows]
    if not records:
        raise ForecastInputError("no month is requested of the confidence set")
    frame = pd.DataFrame(records).astype({"months": np.int32, "in_set": pd.BooleanDtype()})
    return stored(frame, CONFIDENCE_SET)


def _month(compared: ComparedLosses, month: pd.Timestamp, options: ForecastOptions) -> list[dict[str, object]]:
    members, count = compared.members, compared.count
    drawn: Indices | None = None
    if count >= options.min_score_months and len(members) > 1:
        seed = (options.confidence_seed, month.year, month.month, count)
        drawn = stationary_bootstrap_indices(count, options.confidence_block, options.confidence_resamples, seed)
    rows: list[dict[str, object]] = []
    for loss in LOSSES:
        for statistic in SET_STATISTICS:
            mean, p = np.full(len(compared.names), np.nan), np.full(len(compared.names), np.nan)
            if drawn is not None:
                mean[members] = compared.losses[loss].sum(axis=0) / count
                p[members] = model_confidence_set(compared.losses[loss], drawn, statistic)
            for e, name in enumerate(compared.names):
                known = bool(np.isfinite(p[e]))
                rows.append(
                    {
                        "loss": loss,
                        "statistic": statistic,
                        "expert": name,
                        "months": count if known else 0,
                        "mean_loss": mean[e],
                        "p_value": p[e],
                        "in_set": bool(p[e] > 1.0 - options.confidence_level) if known else None,
                    }
                )
    return rows
