"""Out-of-sample quality of forecasts: how much better than the expanding mean, than no preference, and how certain.

References: Campbell & Thompson (2008) out-of-sample R²; Clark & West (2007) for nested models; Diebold & Mariano (1995)
with the small-sample correction of Harvey, Leybourne & Newbold (1997); Spearman rank correlation across styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.experts import column_means
from rotation_pipeline.forecasting.frames import as_months, row_of, stored
from rotation_pipeline.forecasting.mixture import forecast_cube, relative
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.forecasting.tables import SCORES
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, check_calendar

FloatArray = NDArray[np.float64]
MIXTURE = "mixture"
POOLED = "ALL"


def out_of_sample_r2(outcome: FloatArray, forecast: FloatArray, benchmark: FloatArray) -> float:
    """1 − Σ(r − f)² / Σ(r − b)² over equal arrays (Campbell & Thompson 2008, eq. 7); NaN if the benchmark is perfect."""
    reference = float(((outcome - benchmark) ** 2).sum())
    return 1.0 - float(((outcome - forecast) ** 2).sum()) / reference if reference > 0.0 else np.nan


def hit_rate(outcome: FloatArray, forecast: FloatArray) -> float:
    """Share of forecasts other than 0 whose sign is the outcome's; NaN if there is none."""
    spoken = forecast != 0.0
    return float((np.sign(outcome[spoken]) == np.sign(forecast[spoken])).mean()) if spoken.any() else np.nan


def rank_correlation(outcome: FloatArray, forecast: FloatArray) -> float:
    """Spearman correlation of two arrays, ties averaged; NaN with fewer than 3 or a constant array."""
    if len(outcome) < 3 or np.ptp(outcome) == 0.0 or np.ptp(forecast) == 0.0:
        return np.nan
    a, b = rankdata(outcome), rankdata(forecast)
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def _t_of_mean(values: FloatArray) -> float:
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / (spread / np.sqrt(len(values)))) if spread > 0.0 else np.nan


def clark_west(outcome: FloatArray, benchmark: FloatArray, forecast: FloatArray) -> tuple[float, float]:
    """MSPE-adjusted test of a model against one nested in it (Clark & West 2007, eq. 3.1–3.3), one step ahead.

    f = (r − b)² − [(r − m)² − (b − m)²]; t is that of f's mean, p one-sided normal. Arrays n, or n × styles: the mean
    over styles (NaN left out) of each month is tested, so that months and not cells are counted. NaN without variation.
    """
    adjusted = (outcome - benchmark) ** 2 - ((outcome - forecast) ** 2 - (benchmark - forecast) ** 2)
    monthly = adjusted if adjusted.ndim == 1 else column_means(adjusted.T)
    statistic = _t_of_mean(monthly[~np.isnan(monthly)])
    return statistic, float(norm.sf(statistic)) if np.isfinite(statistic) else np.nan


def diebold_mariano(loss_benchmark: FloatArray, loss_forecast: FloatArray, horizon: int = 1) -> tuple[float, float]:
    """Test of equal accuracy (Diebold & Mariano 1995), positive when the forecast loses less.

    d = loss_benchmark − loss_forecast (n); its long-run variance sums the first ``horizon − 1`` autocovariances; the
    statistic is corrected as in Harvey, Leybourne & Newbold (1997) and compared with Student's t, n − 1 degrees of
    freedom, two-sided. NaN without variation.
    """
    d = loss_benchmark - loss_forecast
    n = len(d)
    if n < 2:
        return np.nan, np.nan
    centered = d - d.mean()
    variance = float((centered**2).sum()) / n
    for lag in range(1, min(horizon, n)):
        variance += 2.0 * float((centered[lag:] * centered[:-lag]).sum()) / n
    if not variance > 0.0:
        return np.nan, np.nan
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = float(d.mean() / np.sqrt(variance / n) * np.sqrt(correction))
    return statistic, float(2.0 * student.sf(abs(statistic), n - 1))


@dataclass(frozen=True)
class _Forecaster:
    """Everything scored of one forecaster, T × K, row t: known at t, about t + 1 (NaN where there is none)."""

    name: str
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def _ranks(outcome: FloatArray, mean: FloatArray) -> FloatArray:
    """Rank correlation across styles of each month, T."""
    out = np.full(len(outcome), np.nan)
    for t in range(len(outcome)):
        good = np.isfinite(outcome[t]) & np.isfinite(mean[t])
        out[t] = rank_correlation(outcome[t, good], mean[t, good])
    return out


def _score(
    outcome: FloatArray, benchmark: FloatArray, who: _Forecaster, rows: slice, styles: slice, options: ForecastOptions
) -> dict[str, float]:
    y, b, m = outcome[rows, styles], benchmark[rows, styles], who.mean[rows, styles]
    low, high = who.low[rows, styles], who.high[rows, styles]
    good = np.isfinite(y) & np.isfinite(b) & np.isfinite(m)
    months = int(good.any(axis=1).sum())
    bounded = good & np.isfinite(low) & np.isfinite(high)
    inside = (y >= low) & (y <= high)
    row: dict[str, float] = {
        "months": months,
        "hit_rate": hit_rate(y[good], m[good]),
        "coverage": float(inside[bounded].mean()) if bounded.any() else np.nan,
        "squared_error_gain": float(((y[good] - b[good]) ** 2 - (y[good] - m[good]) ** 2).sum()),
    }
    names = (
        "r2_out_of_sample",
        "r2_relative",
        "clark_west_t",
        "clark_west_p",
        "diebold_mariano_t",
        "diebold_mariano_p",
    )
    if months < options.min_score_months:
        return row | dict.fromkeys(names, np.nan)
    # demeaned over all styles a forecaster spoke about, whichever of them are scored here
    whole = np.isfinite(outcome[rows]) & np.isfinite(who.mean[rows])
    tilt_y = relative(np.where(whole, outcome[rows], np.nan))[:, styles]
    tilt_m = relative(np.where(whole, who.mean[rows], np.nan))[:, styles]
    spoken = np.isfinite(tilt_y) & np.isfinite(tilt_m)
    keep = good.any(axis=1)
    masked = [np.where(good, v, np.nan)[keep] for v in (y, b, m)]
    against, own = (column_means(((masked[0] - v) ** 2).T) for v in masked[1:])
    scores = (
        out_of_sample_r2(y[good], m[good], b[good]),
        out_of_sample_r2(tilt_y[spoken], tilt_m[spoken], np.zeros(int(spoken.sum()))),
        *clark_west(*masked),
        *diebold_mariano(against, own),
    )
    return row | dict(zip(names, scores, strict=True))


def _forecasters(
    expert_forecasts: pd.DataFrame, mixture: pd.DataFrame, style_returns: pd.DataFrame, options: ForecastOptions
) -> tuple[FloatArray, list[_Forecaster]]:
    cube = forecast_cube(expert_forecasts, style_returns, options.experts)
    width = float(norm.ppf(0.5 + options.interval_level / 2.0))
    out = [
        _Forecaster(
            name,
            cube.mean[e],
            cube.mean[e] - width * cube.standard_error[e],
            cube.mean[e] + width * cube.standard_error[e],
        )
        for e, name in enumerate(cube.experts)
    ]
    # one sample for all: the months in which some expert has an opinion
    opinions = [np.isfinite(cube.mean[e]).any(axis=1) for e, name in enumerate(cube.experts) if name != "zero"]
    spoken = np.any(opinions, axis=0)[:, None] if opinions else np.ones((len(cube.calendar), 1), bool)
    calendar = cube.calendar
    wide = [
        mixture.pivot(index="month", columns="style", values=c).reindex(index=calendar, columns=list(STYLES))
        for c in ("mean", "low", "high")
    ]
    out.append(_Forecaster(MIXTURE, *(frame.to_numpy(float) for frame in wide)))
    return cube.returns, [
        _Forecaster(who.name, *(np.where(spoken, v, np.nan) for v in (who.mean, who.low, who.high))) for who in out
    ]


def forecast_scores(
    expert_forecasts: pd.DataFrame,
    mixture: pd.DataFrame,
    style_returns: pd.DataFrame,
    months: Sequence[pd.Timestamp],
    options: ForecastOptions,
) -> pd.DataFrame:
    """Table forecast_scores: quality of every expert and the mixture over all forecasts whose outcome is known at each of
    ``months``, per style and pooled (``ALL``).

    ``expert_forecasts`` and ``mixture`` are rows of tables expert_forecasts and forecasts; ``style_returns`` as in
    :func:`rotation_pipeline.forecasting.walk_forward.expert_forecasts`. A forecast stamped s counts at month t if s + 1 ≤
    t and some expert other than zero forecast in s, so that all forecasters are judged on the same months. R² and the tests are against the expanding mean, ``r2_relative`` against no preference; they are null before
    ``min_score_months`` forecasts and where forecaster and benchmark are the same. An expert's interval is mean ± normal
    quantile × standard error, the mixture's is stored.
    """
    calendar = check_calendar(style_returns.index, "style_returns")
    returns, forecasters = _forecasters(expert_forecasts, mixture, style_returns, options)
    count = returns.shape[1]
    outcome = np.concatenate([returns[1:], np.full((1, count), np.nan)])
    benchmark = np.array([column_means(returns[: t + 1]) for t in range(len(returns))])
    ranks = {who.name: _ranks(outcome, who.mean) for who in forecasters}
    records: list[dict[str, object]] = []
    for month in as_months(months):
        position = row_of(calendar, month)
        if position < 0:
            raise ForecastInputError(f"month {month:%Y-%m} is requested, but style_returns has no such month")
        rows = slice(0, position)
        for who in forecasters:
            for k, style in enumerate((*STYLES, POOLED)):
                styles = slice(0, count) if style == POOLED else slice(k, k + 1)
                scores = _score(outcome, benchmark, who, rows, styles, options)
                known = ranks[who.name][rows]
                known = known[~np.isnan(known)].copy()
                rank = float(known.mean()) if style == POOLED and len(known) else np.nan
                records.append({"month": month, "expert": who.name, "style": style, "rank_correlation": rank, **scores})
    if not records:
        raise ForecastInputError("no month is requested of the scores")
    return stored(pd.DataFrame(records).astype({"months": np.int32}), SCORES)


@dataclass(frozen=True)
class ComparedLosses:
    """Losses of the forecasters that can be compared at one month: ``members`` are positions in ``names``; by kind of
    loss ``count`` × len(members), one row a month in which all of them forecast."""

    names: tuple[str, ...]
    members: list[int]
    count: int
    losses: dict[str, FloatArray]


@dataclass(frozen=True)
class ForecasterLosses:
    """Outcome (T × K, row t: the return of t + 1) and forecasts (E × T × K), NaN where there is none."""

    names: tuple[str, ...]
    outcome: FloatArray
    means: FloatArray

    def until(self, position: int, minimum: int) -> ComparedLosses:
        """Losses of the rows before ``position``, whose outcomes are known there.

        Compared are forecasters with ``minimum`` months or more, on the cells (month, style) for which all of them
        forecast. A month's loss is the mean over its styles of (r − f)² (``squared_error``), and of the same with
        returns and forecasts as differences from their means over those styles (``relative_squared_error``), which is
        what an allocation can use.
        """
        outcome, means = self.outcome[:position].copy(), self.means[:, :position].copy()
        known = np.isfinite(outcome) & np.isfinite(means)
        members = [e for e in range(len(self.names)) if int(known[e].any(axis=1).sum()) >= minimum]
        if not members:
            return ComparedLosses(self.names, [], 0, {})
        cells = known[members].all(axis=0)
        months = np.asarray(cells.any(axis=-1))
        y = np.where(cells, outcome, np.nan)[months]
        f = np.where(cells, means[members], np.nan)[:, months]
        kinds = {
            "squared_error": [column_means(((y - own) ** 2).T) for own in f],
            "relative_squared_error": [column_means(((relative(y) - relative(own)) ** 2).T) for own in f],
        }
        losses = {kind: np.ascontiguousarray(np.array(found).T) for kind, found in kinds.items()}
        return ComparedLosses(self.names, members, int(months.sum()), losses)


def forecaster_losses(
    expert_forecasts: pd.DataFrame, mixture: pd.DataFrame, style_returns: pd.DataFrame, options: ForecastOptions
) -> ForecasterLosses:
    """What every expert and the mixture forecast beside what came, on the months that :func:`forecast_scores` counts."""
    returns, found = _forecasters(expert_forecasts, mixture, style_returns, options)
    outcome = np.concatenate([returns[1:], np.full((1, returns.shape[1]), np.nan)])
    return ForecasterLosses(tuple(who.name for who in found), outcome, np.stack([who.mean for who in found]))
