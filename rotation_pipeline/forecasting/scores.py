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
from scipy.special import ndtr, stdtr
from scipy.stats import norm, rankdata

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
    return _clark_west_test(_clark_west_terms(outcome, benchmark, forecast))


def _clark_west_terms(outcome: FloatArray, benchmark: FloatArray, forecast: FloatArray) -> FloatArray:
    """f of each month, n."""
    adjusted = (outcome - benchmark) ** 2 - ((outcome - forecast) ** 2 - (benchmark - forecast) ** 2)
    return adjusted if adjusted.ndim == 1 else column_means(adjusted.T)


def _clark_west_test(monthly: FloatArray) -> tuple[float, float]:
    statistic = _t_of_mean(monthly[~np.isnan(monthly)])
    return statistic, float(ndtr(-statistic)) if np.isfinite(statistic) else np.nan


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
    return statistic, float(2.0 * stdtr(n - 1, -abs(statistic)))


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


class _Known:
    """What one forecaster is judged by, on some styles, in time order: any month's scores are those of a beginning of it.

    Cells (month, style) are laid out month by month; ``cells``, ``months``, ``bounded`` and ``spoken`` count, through row t,
    cells with outcome, benchmark and forecast, months that have one, cells with an interval and cells with a tilt.
    """

    def __init__(
        self, outcome: FloatArray, benchmark: FloatArray, who: _Forecaster, tilts: FloatArray, styles: slice
    ) -> None:
        y, b, m = outcome[:, styles], benchmark[:, styles], who.mean[:, styles]
        low, high = who.low[:, styles], who.high[:, styles]
        good = np.isfinite(y) & np.isfinite(b) & np.isfinite(m)
        bounded = good & np.isfinite(low) & np.isfinite(high)
        keep = good.any(axis=1)
        self.cells, self.months = np.cumsum(good.sum(axis=1)), np.cumsum(keep)
        self.y, self.b, self.m = y[good], b[good], m[good]
        self.gain = (self.y - self.b) ** 2 - (self.y - self.m) ** 2
        self.bounded, self.inside = np.cumsum(bounded.sum(axis=1)), ((y >= low) & (y <= high))[bounded]
        spoken = np.isfinite(tilts[:, :, styles]).all(axis=0)
        self.spoken, self.tilts = np.cumsum(spoken.sum(axis=1)), tilts[:, :, styles][:, spoken]
        masked = [np.where(good, v, np.nan)[keep] for v in (y, b, m)]
        self.clark_west = _clark_west_terms(*masked)
        self.against, self.own = (column_means(((masked[0] - v) ** 2).T) for v in masked[1:])

    def until(self, position: int, options: ForecastOptions) -> dict[str, float]:
        """Scores of the rows before ``position``."""
        row = position - 1
        cells, months, bounded, spoken = (
            int(count[row]) if position else 0 for count in (self.cells, self.months, self.bounded, self.spoken)
        )
        y, b, m = self.y[:cells], self.b[:cells], self.m[:cells]
        scores: dict[str, float] = {
            "months": months,
            "hit_rate": hit_rate(y, m),
            "coverage": float(self.inside[:bounded].mean()) if bounded else np.nan,
            "squared_error_gain": float(self.gain[:cells].sum()),
        }
        names = ("clark_west_t", "clark_west_p", "diebold_mariano_t", "diebold_mariano_p")
        if months < options.min_score_months:
            return scores | dict.fromkeys(("r2_out_of_sample", "r2_relative", *names), np.nan)
        tilt_y, tilt_m = self.tilts[:, :spoken]
        tests = (
            *_clark_west_test(self.clark_west[:months]),
            *diebold_mariano(self.against[:months], self.own[:months]),
        )
        return scores | {
            "r2_out_of_sample": out_of_sample_r2(y, m, b),
            "r2_relative": out_of_sample_r2(tilt_y, tilt_m, np.zeros(spoken)),
            **dict(zip(names, tests, strict=True)),
        }


def _tilts(outcome: FloatArray, mean: FloatArray) -> FloatArray:
    """Outcome and forecast, demeaned over all styles a forecaster spoke about, whichever are scored: (2, T, K)."""
    whole = np.isfinite(outcome) & np.isfinite(mean)
    return np.stack([relative(np.where(whole, values, np.nan)) for values in (outcome, mean)])


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
    parts = {style: slice(k, k + 1) for k, style in enumerate(STYLES)} | {POOLED: slice(0, count)}
    ranks: dict[str, FloatArray] = {}
    known: dict[tuple[str, str], _Known] = {}
    for who in forecasters:
        ranks[who.name], tilts = _ranks(outcome, who.mean), _tilts(outcome, who.mean)
        for style, styles in parts.items():
            known[who.name, style] = _Known(outcome, benchmark, who, tilts, styles)
    records: list[dict[str, object]] = []
    for month in as_months(months):
        position = row_of(calendar, month)
        if position < 0:
            raise ForecastInputError(f"month {month:%Y-%m} is requested, but style_returns has no such month")
        for who in forecasters:
            ranked = ranks[who.name][:position]
            ranked = ranked[~np.isnan(ranked)]
            for style in parts:
                scores = known[who.name, style].until(position, options)
                rank = float(ranked.mean()) if style == POOLED and len(ranked) else np.nan
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
