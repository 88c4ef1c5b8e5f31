"""Walk-forward: for every month a fresh fit of every expert on months up to it, and a forecast of the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.daily_inputs import DailyInputs, daily_history
from rotation_pipeline.forecasting.errors import ForecastInputError
from rotation_pipeline.forecasting.experts import (
    DailyHistory,
    Expert,
    FactorMomentum,
    HistoricalMean,
    History,
    PooledRidge,
    RegimeMean,
    Zero,
)
from rotation_pipeline.forecasting.frames import as_months, month_at, numbers, row_of, stored
from rotation_pipeline.forecasting.jump_states import JumpModel
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.panels import TrainingPanel, known_panels
from rotation_pipeline.forecasting.persistence import RankRandomWalk, TimeSeriesMomentum
from rotation_pipeline.forecasting.pooled import PooledElasticNet, PooledLightGBM, PooledPLS
from rotation_pipeline.forecasting.tables import EXPERT_FORECASTS, LATENT, MARKET_FEATURES

if TYPE_CHECKING:  # the module imports torch
    from rotation_pipeline.forecasting.layout import Encoder

FloatArray = NDArray[np.float64]
Progress = Callable[[int, int], None]
NETWORK_PREFIX, DAILY_SUFFIX = "network_", "_daily"


def looks_at_sessions(expert: str) -> bool:
    """Whether an expert reads daily style returns."""
    return expert == "jump_model" or expert.endswith(DAILY_SUFFIX)


@dataclass(frozen=True)
class ExpertForecastResult:
    """``forecasts`` (table expert_forecasts) and ``latent`` (table latent_states), without run_id, sorted by key."""

    forecasts: pd.DataFrame
    latent: pd.DataFrame


@dataclass(frozen=True)
class MonthlyPanel:
    """Checked inputs on one calendar: ``styles`` T × K (NaN before a style exists), ``market`` T × M, and the sessions of
    the same months where an expert looks at them."""

    calendar: pd.DatetimeIndex
    names: tuple[str, ...]
    styles: FloatArray
    market: FloatArray
    daily: DailyHistory | None = None

    def position(self, month: pd.Timestamp) -> int:
        """Row of ``month``."""
        row = row_of(self.calendar, month)
        if row < 0:
            raise ForecastInputError(
                f"month {month:%Y-%m} is requested, but style_returns ends or starts elsewhere ({self.calendar[0]:%Y-%m} to {self.calendar[-1]:%Y-%m})"
            )
        return row

    def history(self, end: int, rows: int | None = None, *, sessions: bool = False) -> History:
        """The ``rows`` months (default all) that end with row ``end``; copies, so nothing later can be reached. With
        ``sessions`` those of the same months too, if there are any."""
        start = 0 if rows is None else max(0, end + 1 - rows)
        month = month_at(self.calendar, end)
        part = slice(start, end + 1)
        ordinal = month.year * 12 + month.month - 1
        daily = None
        if sessions and self.daily is not None:
            daily = self.daily.until(ordinal).since(ordinal - (end - start))
        return History(self.styles[part].copy(), self.market[part].copy(), int(month.year), int(month.month), daily)


def check_calendar(index: pd.Index, what: str) -> pd.DatetimeIndex:
    """``index`` as first days of consecutive calendar months, or an error that names ``what``."""
    if not isinstance(index, pd.DatetimeIndex) or not len(index):
        raise ForecastInputError(
            f"{what}: the index must hold months as datetime64, got {index.dtype} of length {len(index)}"
        )
    expected = pd.date_range(index[0], periods=len(index), freq="MS")
    if not index.equals(expected):
        wrong = next((i for i, (a, b) in enumerate(zip(index, expected, strict=False)) if a != b), 0)
        raise ForecastInputError(
            f"{what}: months must be consecutive first days, but position {wrong} is {index[wrong]}"
        )
    return index


def style_matrix(style_returns: pd.DataFrame) -> FloatArray:
    """T × K in the order of STYLES; NaN only before a style's first return, no infinities."""
    unknown = [name for name in STYLES if name not in style_returns.columns]
    if unknown:
        raise ForecastInputError(f"style_returns has no column {unknown}; it needs {list(STYLES)}")
    values = numbers(style_returns, STYLES)
    for k, name in enumerate(STYLES):
        known = ~np.isnan(values[:, k])
        first = int(np.argmax(known)) if known.any() else len(known)
        if not known[first:].all():
            gap = first + int(np.argmin(known[first:]))
            raise ForecastInputError(
                f"style_returns: {name} has a gap in {style_returns.index[gap]:%Y-%m}; only months before a style exists may be missing"
            )
        if np.isinf(values[:, k]).any():
            raise ForecastInputError(f"style_returns: {name} holds an infinite return")
    return values


def monthly_panel(style_returns: pd.DataFrame, market: pd.DataFrame, daily: DailyInputs | None = None) -> MonthlyPanel:
    """Check and align the inputs; months before the first style return, and their sessions, are dropped."""
    calendar = check_calendar(style_returns.index, "style_returns")
    styles = style_matrix(style_returns)
    unknown = [name for name in MARKET_FEATURES if name not in market.columns]
    if unknown:
        raise ForecastInputError(f"market has no column {unknown}; it needs {list(MARKET_FEATURES)}")
    absent = calendar.difference(check_calendar(market.index, "market"))
    if len(absent):
        raise ForecastInputError(
            f"market has no row for {absent[0]:%Y-%m} ({len(absent)} months absent); unknown features must be rows of NaN"
        )
    features = numbers(market.loc[calendar], MARKET_FEATURES)
    if np.isinf(features).any():
        raise ForecastInputError(
            f"market: {MARKET_FEATURES[int(np.argmax(np.isinf(features).any(axis=0)))]} holds an infinity"
        )
    alive = np.asarray((~np.isnan(styles)).any(axis=1))
    first = int(np.argmax(alive)) if alive.any() else len(alive)
    if first == len(alive):
        raise ForecastInputError("style_returns holds no return at all")
    return MonthlyPanel(
        pd.DatetimeIndex(calendar[first:]),
        STYLES,
        np.ascontiguousarray(styles[first:]),
        np.ascontiguousarray(features[first:]),
        None if daily is None else daily_history(daily, pd.DatetimeIndex(calendar[first:])),
    )


def _simple_expert(name: str, options: ForecastOptions) -> Expert:
    if name == "zero":
        return Zero()
    if name == "historical_mean":
        return HistoricalMean()
    if name == "factor_momentum":
        return FactorMomentum(options)
    if name == "regime_mean":
        return RegimeMean(options, sum(feature.startswith("p_") for feature in MARKET_FEATURES))
    plain = {
        "time_series_momentum": TimeSeriesMomentum,
        "rank_random_walk": RankRandomWalk,
        "jump_model": JumpModel,
        "pooled_ridge": PooledRidge,
        "pooled_elastic_net": PooledElasticNet,
        "pooled_pls": PooledPLS,
        "pooled_lightgbm": PooledLightGBM,
    }
    if name in plain:
        return plain[name](options)
    raise ForecastInputError(f"forecast option experts names {name!r}, which no expert answers to")


def refit_row(panel: MonthlyPanel, row: int, every: int) -> int:
    """Row of the last refit month at or before ``row``: January and every ``every``-th calendar month after it;
    negative if it lies before the data."""
    return row - (month_at(panel.calendar, row).month - 1) % every


def _every(name: str, options: ForecastOptions, network_options: NetworkOptions) -> int:
    """Months between refits of a network."""
    return network_options.daily_refit_every if name.endswith(DAILY_SUFFIX) else options.refit_every


def _enough(history: FloatArray, options: ForecastOptions) -> NDArray[np.bool_]:
    """Styles with ``min_train_months`` of returns (K)."""
    return (~np.isnan(history)).sum(axis=0) >= options.min_train_months


def _long(month: pd.Timestamp, expert: str, mean: FloatArray, error: FloatArray) -> pd.DataFrame:
    return pd.DataFrame({"month": month, "expert": expert, "style": STYLES, "mean": mean, "standard_error": error})


def _no_forecasts() -> pd.DataFrame:
    return _long(as_months([0])[0], "", np.zeros(len(STYLES)), np.zeros(len(STYLES))).head(0)


def _no_latent() -> pd.DataFrame:
    row = {"month": pd.Timestamp(0), "expert": "", "dimension": np.zeros(1, np.int32), "value": np.zeros(1)}
    return pd.DataFrame(row).head(0)


def _fit_groups(
    panel: MonthlyPanel,
    rows: Sequence[int],
    names: Sequence[str],
    options: ForecastOptions,
    network_options: NetworkOptions,
) -> dict[tuple[int, str], list[int]]:
    """Rows by the fit (row, expert) they are forecast from; rows without enough history for one are left out."""
    groups: dict[tuple[int, str], list[int]] = {}
    for row in rows:
        for name in names:
            fit = refit_row(panel, row, _every(name, options, network_options))
            if fit >= 0 and _enough(panel.styles[: fit + 1], options).any():
                groups.setdefault((fit, name), []).append(row)
    return groups


def _run_networks(
    panel: MonthlyPanel,
    rows: Sequence[int],
    options: ForecastOptions,
    network_options: NetworkOptions,
    panels: Sequence[TrainingPanel],
    done: Callable[[], None],
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Forecast and latent frames of every network expert and month; the import of torch happens here."""
    names = [name for name in options.experts if name.startswith(NETWORK_PREFIX)]
    if not names:
        return [], []
    from rotation_pipeline.forecasting.layout import ENCODERS
    from rotation_pipeline.forecasting.training_pool import NetworkTask, run_tasks

    encoders: dict[str, Encoder] = {
        f"{NETWORK_PREFIX}{encoder}{form}": encoder for encoder in ENCODERS for form in ("", DAILY_SUFFIX)
    }

    window = None if options.window == "expanding" else options.rolling_months
    # months that surely hold the sessions of one window: the shortest has more than ten
    recent = network_options.daily_lookback * network_options.daily_step // 10 + 2
    groups = _fit_groups(panel, rows, names, options, network_options)
    starts = _encoder_starts(panel, list(groups), encoders, options, network_options, panels)
    tasks = [
        NetworkTask(
            encoders[name],
            panel.history(fit, window, sessions=name.endswith(DAILY_SUFFIX)),
            tuple(
                panel.history(row, max(options.lookback, recent), sessions=name.endswith(DAILY_SUFFIX))
                for row in members
            ),
            options.lookback,
            network_options,
            daily=name.endswith(DAILY_SUFFIX),
            encoder_start=starts.get((fit, name)),
        )
        for (fit, name), members in groups.items()
    ]
    answers = run_tasks(tasks, network_options.workers, done)
    found = {
        (row, name): forecast
        for ((_, name), members), answer in zip(groups.items(), answers, strict=True)
        for row, forecast in zip(members, answer, strict=True)
    }
    forecasts: list[pd.DataFrame] = []
    latent: list[pd.DataFrame] = []
    nothing = np.full(len(STYLES), np.nan)
    for row in rows:
        for name in names:
            month = month_at(panel.calendar, row)
            if (row, name) not in found:
                forecasts.append(_long(month, name, nothing, nothing))
                continue
            forecast = found[row, name]
            fit = refit_row(panel, row, _every(name, options, network_options))
            enough = _enough(panel.styles[: fit + 1], options)
            forecasts.append(
                _long(
                    month,
                    name,
                    np.where(enough, forecast.mean, np.nan),
                    np.where(enough, forecast.standard_error, np.nan),
                )
            )
            dimensions = np.arange(len(forecast.latent), dtype=np.int32)
            latent.append(
                pd.DataFrame({"month": month, "expert": name, "dimension": dimensions, "value": forecast.latent})
            )
    return forecasts, latent


def _encoder_starts(
    panel: MonthlyPanel,
    fits: Sequence[tuple[int, str]],
    encoders: Mapping[str, Encoder],
    options: ForecastOptions,
    network_options: NetworkOptions,
    panels: Sequence[TrainingPanel],
) -> dict[tuple[int, str], NDArray[np.float32]]:
    """Encoders trained on panels for the monthly networks among ``fits`` (fit row, expert); none without panels.

    A fit takes the encoder of the last panel refit month at or before it, or of its own month where the target had too
    little history then: either way a function of the fit month alone.
    """
    from rotation_pipeline.forecasting.training_pool import EncoderTask, run_encoder_tasks

    if not panels:
        return {}
    window = None if options.window == "expanding" else options.rolling_months
    trained_at: dict[tuple[int, str], int] = {}
    for fit, name in fits:
        if not name.endswith(DAILY_SUFFIX):
            row = refit_row(panel, fit, options.panel_refit_every)
            early = row < 0 or not _enough(panel.styles[: row + 1], options).any()
            trained_at[fit, name] = fit if early else row
    tasks: dict[tuple[int, str], EncoderTask] = {}
    for row, name in sorted({(row, name) for (_, name), row in trained_at.items()}):
        history = panel.history(row, window)
        known = known_panels(panels, history.ordinal)
        if known:  # panels that begin later have nothing to say yet
            tasks[row, name] = EncoderTask(encoders[name], history, known, options.lookback, network_options)
    answers = run_encoder_tasks(list(tasks.values()), network_options.workers)
    found = dict(zip(tasks, answers, strict=True))
    return {(fit, name): found[row, name] for (fit, name), row in trained_at.items() if (row, name) in found}


def _run_simple(panel: MonthlyPanel, row: int, options: ForecastOptions) -> list[pd.DataFrame]:
    window = None if options.window == "expanding" else options.rolling_months
    history = panel.history(row, window, sessions="jump_model" in options.experts)
    enough = _enough(panel.styles[: row + 1], options)
    out: list[pd.DataFrame] = []
    for name in options.experts:
        if name.startswith(NETWORK_PREFIX):
            continue
        mean, error = np.full(len(STYLES), np.nan), np.full(len(STYLES), np.nan)
        if name == "zero" or enough.any():  # no preference needs no history
            expert = _simple_expert(name, options)
            expert.fit(history)
            mean, error = expert.predict(history)
        if name != "zero":
            mean, error = np.where(enough, mean, np.nan), np.where(enough, error, np.nan)
        out.append(_long(month_at(panel.calendar, row), name, mean, error))
    return out


def check_options(options: ForecastOptions) -> None:
    if "zero" not in options.experts:
        raise ForecastInputError("forecast option experts must hold 'zero', the expert the mixture returns to")
    if len(set(options.experts)) != len(options.experts):
        raise ForecastInputError(f"forecast option experts names an expert twice: {list(options.experts)}")
    if options.window == "rolling" and options.rolling_months < options.min_train_months:
        raise ForecastInputError(
            f"forecast option rolling_months={options.rolling_months} is shorter than min_train_months={options.min_train_months}"
        )


def expert_forecasts(
    style_returns: pd.DataFrame,
    market: pd.DataFrame,
    months: Sequence[pd.Timestamp],
    options: ForecastOptions,
    network_options: NetworkOptions,
    on_progress: Progress | None = None,
    daily: DailyInputs | None = None,
    panels: Sequence[TrainingPanel] = (),
) -> ExpertForecastResult:
    """Forecasts of the month after each of ``months`` by every expert, each fitted on months up to it only.

    Parameters
    ----------
    style_returns: index month (first days, consecutive), columns STYLES, fraction per month; NaN only before a style
        exists. Rows after a requested month are never read for it.
    market: index month, columns MARKET_FEATURES, a row for every month of ``style_returns``; NaN where unknown.
    months: the months to forecast from, each a row of ``style_returns``.
    on_progress: called with (done, total) units; a unit is a month of the simple experts or one network fit.
    daily: sessions of the same months, needed by ``jump_model`` and the daily networks only.
    panels: extra training panels of the monthly networks; a panel's rows after a month never enter its fit.

    Returns
    -------
    One forecast row per month, expert and style: null mean and standard error where the expert (or the style) has fewer
    than ``min_train_months`` returns. A training pair (inputs up to s, return of s + 1) is used for month t only if
    s + 1 ≤ t. ``latent`` has rows for fitted networks only.

    Raises
    ------
    ForecastInputError for gaps, missing columns or months; NetworkTrainingError from a fit, with its month.
    """
    check_options(options)
    watching = [name for name in options.experts if looks_at_sessions(name)]
    if watching and daily is None:
        raise ForecastInputError(f"the experts {watching} look at sessions: give daily (DailyInputs) or leave them out")
    if options.panels and len(panels) != len(options.panels):
        raise ForecastInputError(
            f"forecast option panels names {len(options.panels)} training panels, {len(panels)} are given: pass them as panels"
        )
    panel = monthly_panel(style_returns, market, daily if watching else None)
    rows = [panel.position(month) for month in as_months(months)]
    networks = [name for name in options.experts if name.startswith(NETWORK_PREFIX)]
    fits = {
        (fit, name)
        for row in rows
        for name in networks
        if (fit := refit_row(panel, row, _every(name, options, network_options))) >= 0
        and _enough(panel.styles[: fit + 1], options).any()
    }
    total, finished = len(rows) + len(fits), 0

    def done() -> None:
        nonlocal finished
        finished += 1
        if on_progress is not None:
            on_progress(finished, total)

    frames: list[pd.DataFrame] = []
    for row in rows:
        frames += _run_simple(panel, row, options)
        done()
    network_frames, latent_frames = _run_networks(panel, rows, options, network_options, panels, done)
    return ExpertForecastResult(
        stored(pd.concat([*frames, *network_frames], ignore_index=True), EXPERT_FORECASTS) if rows else _no_forecasts(),
        stored(pd.concat(latent_frames, ignore_index=True), LATENT) if latent_frames else _no_latent(),
    )
