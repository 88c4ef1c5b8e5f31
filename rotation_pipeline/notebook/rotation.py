"""Index state, regimes, forecasts, weights and what they would have earned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import pandas as pd

from rotation_pipeline.allocation.books import AllocationResult
from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.daily_inputs import DailyInputs
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.tables import MARKET_FEATURES
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.notebook.frames import Months, NotebookError, checked, keyed_by_month, months_of, plain, read
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.walk_forward import Detection


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts stamped t are of the returns of t + 1.

    Attributes:
        forecasts: the mixture, a row per month and style: ``mean`` (fraction per month), ``standard_error``, ``low``,
            ``high``, ``volatility``. experts: each expert's ``mean`` and ``standard_error``, null without enough history.
        expert_weights: the experts' weights, summing to 1 each month. latent: states of the networks.
        scores: out-of-sample quality of every expert and the mixture over all months with a known outcome.
    """

    forecasts: pd.DataFrame
    experts: pd.DataFrame
    expert_weights: pd.DataFrame
    latent: pd.DataFrame
    scores: pd.DataFrame


def index_features(index: pd.DataFrame, months: Months | None = None) -> pd.DataFrame:
    """State of the index on each session: rows of intermediate.index_features.

    Args:
        index: ``day``, ``close`` (points), ``amount`` (CNY, nullable or absent); ``ret`` is made from the closes.
        months: months wanted; None: all.

    Returns:
        ``month``, ``day``, ``index_return`` (21 sessions), ``volatility`` (a year), ``downside_deviation``,
        ``turnover_ratio``, ``drawdown`` (≤ 0), ``trend``, ``half_year_trend``; fractions, null: too little history.

    >>> import pandas as pd, rotation_pipeline as rp
    >>> index = pd.DataFrame({"day": pd.bdate_range("2020-01-01", periods=40), "close": 100.0})
    >>> rp.index_features(index).volatility.tolist()[20:23]
    [nan, 0.0, 0.0]
    """
    from rotation_pipeline.regimes.features import index_features as compute

    daily = plain(read(index, "index", {"day": "day", "close": "number", "amount": "number?"}))
    daily["ret"] = daily["close"] / daily["close"].shift(1) - 1.0
    daily["amount"] = daily["amount"].astype("float64")
    wanted = months_of(daily["day"]) if months is None else months_of(months)
    return compute(daily, wanted)


def monthly_index(index: pd.DataFrame) -> pd.DataFrame:
    """``month``, ``close`` (last of the month) and ``ret`` (fraction per month, null in the first) of a daily index."""
    daily = plain(read(index, "index", {"day": "day", "close": "number"}).sort("day"))
    daily["month"] = daily["day"].dt.to_period("M").dt.to_timestamp().astype("datetime64[ns]")
    ends = pd.DataFrame(daily.groupby("month", as_index=False)[["close"]].last())
    ends["ret"] = ends["close"] / ends["close"].shift(1) - 1.0
    return ends


def month_ends(features: pd.DataFrame) -> pd.DataFrame:
    """The rows of each month's last session."""
    rows = keyed_by_month(features, "features", ("day",))
    return rows.sort_values("day").groupby("month", as_index=False).tail(1).reset_index(drop=True)


def detect_regimes(
    features: pd.DataFrame, months: Months | None = None, options: RegimeOptions | None = None
) -> Detection:
    """Market regime at each month's close by every detector, refitted each month, filtered: nothing later is used.

    Args:
        features: result of :func:`index_features`, all sessions from the first on.
        months: consecutive months from the first on; None: all. Months with too little history
            (``options.min_history`` sessions) have no rows.

    Returns:
        ``.regimes``: ``month``, ``detector``, ``regime`` (slow_bull, bear, range), ``p_slow_bull``, ``p_bear``, ``p_range``
        (probabilities), ``months_in_regime``; ``.models``: the fitted parameters as JSON.

    >>> import numpy as np, pandas as pd, rotation_pipeline as rp
    >>> days = pd.bdate_range("2018-01-01", "2020-03-31")
    >>> index = pd.DataFrame({"day": days, "close": 100.0 * 1.001 ** np.arange(len(days)) + np.arange(len(days)) % 2})
    >>> found = rp.detect_regimes(rp.index_features(index), options=rp.RegimeOptions(detectors=("hmm",)))
    >>> probabilities = found.regimes[["p_slow_bull", "p_bear", "p_range"]]
    >>> bool((probabilities.sum(axis=1).round(12) == 1.0).all())
    True
    """
    from rotation_pipeline.regimes.walk_forward import detect

    rows = keyed_by_month(features, "features", ("day",))
    wanted = months_of(rows["month"]) if months is None else months_of(months)
    return detect(rows, wanted, checked(options or RegimeOptions()))


def market_state(features: pd.DataFrame, regimes: pd.DataFrame, detector: str = "hmm") -> pd.DataFrame:
    """What forecasters see of the market: index ``month``, index state and regime probabilities at each month's close."""
    state = month_ends(features).set_index("month")
    own = of_detector(regimes, detector).set_index("month")
    joined = state.join(own, how="left", rsuffix="_regime")
    absent = [name for name in MARKET_FEATURES if name not in joined.columns]
    if absent:
        raise NotebookError(f"features or regimes: column {absent[0]!r} is missing")
    return pd.DataFrame(joined[list(MARKET_FEATURES)])


def of_detector(regimes: pd.DataFrame, detector: str) -> pd.DataFrame:
    """Rows of one detector; NotebookError naming those there are."""
    rows = keyed_by_month(regimes, "regimes", ("detector", "regime"))
    own = cast(pd.DataFrame, rows[rows["detector"] == detector])
    if own.empty:
        raise NotebookError(f"regimes: no row of detector {detector!r}; there are {sorted(set(rows['detector']))}")
    return own


def styles_by_month(returns: pd.DataFrame) -> pd.DataFrame:
    """``returns`` with an index of first days; NotebookError naming a style that is missing."""
    absent = [name for name in STYLES if name not in returns.columns]
    if absent:
        raise NotebookError(f"returns: column {absent[0]!r} is missing; all of {', '.join(STYLES)} are needed")
    months = months_of(returns.index, "returns: index")
    if len(months) != len(returns):
        raise NotebookError("returns: the index has a month twice")
    stamps = pd.DatetimeIndex(months).astype("datetime64[ns]").rename("month")
    return returns.set_axis(stamps, axis=0)


def _sessions(daily: pd.DataFrame, features: pd.DataFrame) -> DailyInputs:
    """Daily style returns, wide, and the index state on the same sessions."""
    rows = keyed_by_month(daily, "daily", ("day", "factor", "long_short"))
    wide = rows.pivot(index="day", columns="factor", values="long_short").reindex(columns=list(STYLES))
    state = keyed_by_month(features, "features", ("day",)).set_index("day")
    return DailyInputs(pd.DataFrame(wide), pd.DataFrame(state.reindex(state.index.union(wide.index))))


def stamps_of(months: list[date]) -> list[pd.Timestamp]:
    """Months as timestamps."""
    return [cast(pd.Timestamp, pd.Timestamp(month)) for month in months]


def forecast(
    returns: pd.DataFrame,
    features: pd.DataFrame,
    regimes: pd.DataFrame,
    months: Months | None = None,
    options: ForecastOptions | None = None,
    network: NetworkOptions | None = None,
    *,
    detector: str = "hmm",
    daily: pd.DataFrame | None = None,
) -> Forecast:
    """Forecast next month's style returns, walk-forward: every expert fitted afresh on the months so far.

    Args:
        returns: index of consecutive months, columns MOM, VAL, QLTY, VOL, SIZE, fraction per month; NaN only before a
            style exists.
        features: result of :func:`index_features`, daily or month ends. regimes: ``.regimes`` of :func:`detect_regimes`.
        months: months to forecast from; None: all of ``returns``. The mixture's weights start at the first.
        options: the experts and the mixture. All seven by default; the two networks take minutes and import torch, and
            ``ForecastOptions(experts=("zero", "historical_mean", "factor_momentum", "regime_mean", "pooled_ridge"))`` takes
            seconds.
        daily: rows of marts.factor_longshort_daily (``.daily`` of :func:`long_short_returns`), needed by the experts
            ``jump_model`` and ``network_…_daily`` alone, and then ``features`` of every session.
        network: the networks. They train in processes of their own: a script (not a notebook) calls this under
            ``if __name__ == "__main__":`` or with ``NetworkOptions(workers=1)``.

    Raises:
        NotebookError, ForecastInputError: a column, a month or a gap, by name.

    >>> import numpy as np, pandas as pd, rotation_pipeline as rp
    >>> months = pd.period_range("2018-01", periods=24, freq="M")
    >>> names = ["MOM", "VAL", "QLTY", "VOL", "SIZE"]
    >>> returns = pd.DataFrame({name: 0.01 * np.cos(np.arange(24.0) + k) for k, name in enumerate(names)}, index=months)
    >>> index = pd.DataFrame({"day": pd.bdate_range("2016-01-01", "2019-12-31")})
    >>> index["close"] = 100.0 + np.arange(len(index)) % 7
    >>> features = rp.index_features(index)
    >>> regimes = rp.detect_regimes(features, options=rp.RegimeOptions(detectors=("rules",), active="rules")).regimes
    >>> simple = rp.ForecastOptions(experts=("zero", "historical_mean"), min_train_months=12)
    >>> found = rp.forecast(returns, features, regimes, options=simple, detector="rules")
    >>> found.forecasts.groupby("month").size().unique().tolist()
    [5]
    """
    from rotation_pipeline.forecasting.mixture import mix
    from rotation_pipeline.forecasting.scores import forecast_scores
    from rotation_pipeline.forecasting.walk_forward import expert_forecasts

    chosen, networks = checked(options or ForecastOptions()), checked(network or NetworkOptions())
    own, market = styles_by_month(returns), market_state(features, regimes, detector)
    wanted = stamps_of(months_of(own.index) if months is None else months_of(months))
    market = market.reindex(market.index.union(own.index))  # a month without a state is a row of NaN
    sessions = None if daily is None else _sessions(daily, features)
    experts = expert_forecasts(own, market, wanted, chosen, networks, daily=sessions)
    mixed = mix(experts.forecasts, own, wanted, chosen)
    scores = forecast_scores(experts.forecasts, mixed.forecasts, own, wanted[-1:], chosen)
    return Forecast(mixed.forecasts, experts.forecasts, mixed.expert_weights, experts.latent, scores)


def allocate(
    predicted: Forecast,
    returns: pd.DataFrame,
    features: pd.DataFrame,
    months: Months | None = None,
    options: AllocationOptions | None = None,
    *,
    turnover: pd.DataFrame | None = None,
) -> AllocationResult:
    """Style weights of the strategies and the baselines: ``.weights`` stamped t, held over t + 1, and ``.books``.

    Args:
        predicted: result of :func:`forecast`. returns, features: as for :func:`forecast`.
        months: consecutive months; None: all that were forecast. In the first, every strategy starts at equal weight.
        turnover: of each style's long-short book, a table like ``returns``; nested selection and the decision-focused book
            charge it and need it.

    Returns:
        ``.weights``: ``month``, ``strategy`` (rotation is the headline; equal_weight the benchmark), ``style``, ``score``,
        ``target``, ``weight``, ``drifted`` (fractions). ``.books``: ``turnover``, ``active_share``, is_equal_weight_clone.

    Raises:
        MissingMonthError: a month without forecast, returns or index features.
    """
    from rotation_pipeline.allocation.books import allocate as compute

    wanted = months_of(predicted.forecasts["month"]) if months is None else months_of(months)
    return compute(
        forecasts=predicted.forecasts,
        expert_forecasts=predicted.experts,
        style_returns=styles_by_month(returns),
        index_features=month_ends(features),
        months=wanted,
        first_month=wanted[0],
        previous_weights=None,
        previous_books=None,
        options=checked(options or AllocationOptions()),
        style_turnover=None if turnover is None else styles_by_month(turnover),
    )


def run_backtest(
    weights: pd.DataFrame,
    longshort: pd.DataFrame,
    index: pd.DataFrame,
    months: Months | None = None,
    options: BacktestOptions | None = None,
) -> pd.DataFrame:
    """What the weights of t − 1 earned over t, before and after both kinds of costs: rows of marts.backtest.

    Args:
        weights: ``.weights`` of :func:`allocate`. longshort: ``.longshort`` of :func:`long_short_returns` or
            :func:`longshort_rows`. index: daily ``day``, ``close``.
        months: consecutive months after the first with weights; None: all of them that have returns.

    Returns:
        ``month``, ``strategy`` (all books, the oracle and the index), ``role``, ``gross_return``, ``factor_turnover``,
        ``book_turnover``, ``uninvested``, ``factor_cost``, ``book_cost``, ``net_return`` (fractions per month),
        ``net_value`` (starts from 1), ``peak``, ``drawdown`` (≤ 0).
    """
    from rotation_pipeline.backtest.factor_level import run_backtest as compute

    held = keyed_by_month(weights, "weights", ("strategy", "style", "weight", "drifted"))
    rows = keyed_by_month(longshort, "longshort", ("factor", "long_short", "book_turnover"))
    rows = cast(pd.DataFrame, rows[rows["factor"].isin(STYLES)])
    begin = months_of(held["month"])
    known = set(months_of(rows["month"]))
    wanted = [add_months(month, 1) for month in begin if add_months(month, 1) in known]
    if months is not None:
        wanted = months_of(months)
    if not wanted:
        raise NotebookError("longshort: it has no month that follows a month of weights")
    market: Any = monthly_index(index)
    chosen = checked(options or BacktestOptions())
    return compute(held, rows, market, wanted, begin[0], None, chosen)
