"""Raw factors of every member at each month end, from daily bars and point-in-time figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors import kernels
from rotation_pipeline.factors.definitions import INDEX_RETURN, RAW_FACTORS, RETURNS, RawFactor
from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.inputs import (
    Days,
    as_days,
    floats,
    members_of,
    ordered_months,
    require_columns,
    snapshot_of,
)
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.panel import History, Panel, panel_of, session_numbers
from rotation_pipeline.factors.pieces import Bars, Keys
from rotation_pipeline.factors.statistics import Floats

COMPILED = ("mom_20", "mom_120", "rsi_14", "volatility_60", "beta_252")
"""Factors of the compiled kernels, in their order."""
MOST_SESSIONS = 23
"""Sessions a calendar month has at most."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Windows:
    """First and last session number each month looks back on, shape (months,)."""

    opens: Ints
    closes: Ints
    calendar: Ints
    """Last session number of every calendar month the sessions touch."""


def _windows(sessions: Days, months: Sequence[date], lookback: int) -> _Windows:
    if sessions.size == 0 or not (sessions[1:] > sessions[:-1]).all():
        raise BadInput("sessions must be rising and distinct days")
    session_month = sessions.astype("datetime64[M]")
    wanted = as_days(months).astype("datetime64[M]")
    closes = np.searchsorted(session_month, wanted, side="right") - 1
    bad = (closes < 0) | (session_month[np.maximum(closes, 0)] != wanted)
    if bad.any():
        raise MissingInput(f"sessions has none in {wanted[bad][0]}; hand over the sessions of every month asked for")
    calendar = np.flatnonzero(np.append(session_month[1:] != session_month[:-1], True))
    longest = int(np.diff(calendar, prepend=-1).max())
    if longest > MOST_SESSIONS:
        raise BadInput(f"sessions has {longest} days in one month; an exchange has at most {MOST_SESSIONS}")
    return _Windows(
        np.maximum(closes - lookback + 1, 0).astype(np.int64), closes.astype(np.int64), calendar.astype(np.int64)
    )


def _index_returns(index_daily: pl.DataFrame, sessions: Days, windows: _Windows, months: Sequence[date]) -> Floats:
    table = "intermediate.index_daily"
    require_columns(index_daily, table, ("day", "ret"))
    if "index_id" in index_daily.columns and index_daily["index_id"].n_unique() > 1:
        found = sorted(index_daily["index_id"].unique().to_list())
        raise BadInput(f"{table} holds {found}; beta needs one index, filter it first")
    inside = index_daily.filter(pl.col("day").is_between(sessions[0].item(), sessions[-1].item()))
    out = np.full(sessions.size, np.nan)
    out[session_numbers(inside["day"].to_physical().to_numpy(), sessions, table)] = floats(inside, "ret")
    for month, first, last in zip(months, windows.opens, windows.closes, strict=True):
        if np.isnan(out[first : last + 1]).all():
            raise MissingInput(f"{table} has no return in the window of {month:%Y-%m}; load the index")
    return out


def _require_trading(panel: Panel, windows: _Windows, months: Sequence[date]) -> None:
    """Somebody trades on the last session of every month."""
    lacking = ~kernels.trading(panel.session, panel.start, panel.stop, windows.closes)
    if lacking.any():
        raise MissingInput(
            f"intermediate.adjusted_bars: no security trades on the last session of "
            f"{months[int(np.argmax(lacking))]:%Y-%m}; load that month's bars"
        )


@njit(cache=True)
def _fill_slots(month: Keys, key: Keys, months: Keys, asset_key: Keys, out: Keys) -> None:
    """Row of each (asset, month); rows sorted by month and key, as months and assets are."""
    m, a = 0, 0
    for row in range(month.size):
        if row and month[row] != month[row - 1]:
            a = 0
        while months[m] != month[row]:
            m += 1
        while a < asset_key.size and asset_key[a] < key[row]:
            a += 1
        if a < asset_key.size and asset_key[a] == key[row]:
            out[a, m] = row


def _slots(panel: Panel, members: pl.DataFrame, months: Sequence[date]) -> Keys:
    """Row of ``members`` of each (asset, month), −1 for none, shape (assets, months)."""
    out = np.full((panel.asset_key.size, len(months)), -1, np.int32)
    month, key = (members[name].to_physical().cast(pl.Int32).to_numpy() for name in ("month", "asset_key"))
    month.flags.writeable = key.flags.writeable = False  # copied by polars or not, one version is compiled
    _fill_slots(month, key, as_days(months).astype(np.int64).astype(np.int32), panel.asset_key, out)
    return out


def _compiled(history: History, windows: _Windows, slot: Keys, rows: int, options: FactorOptions) -> Floats:
    """The kernels' factors, in the order of :data:`COMPILED`, each of shape (rows,)."""
    panel = history.panel
    return kernels.month_end_factors(
        panel.session, panel.start, panel.stop, panel.columns["adj_close"], panel.columns["ret"], history.index_return, windows.opens,
        windows.closes, windows.calendar, slot, rows, options.min_window_share, options.beta_window, options.beta_min_days,
        float(options.trading_days_per_year) ** 0.5,
    )  # fmt: skip


def _window_values(factor: RawFactor, history: History, slot: Keys, rows: int, options: FactorOptions) -> Floats:
    """A ``window`` factor: its function called for each member and month on copies of the member's last own days."""
    panel, out = history.panel, np.full(rows, np.nan)
    if factor.function is None:
        raise BadInput(f"raw factor {factor.name} has no function")
    fewest = max(int(np.ceil(options.min_window_share * factor.window - 1e-9)), 1)
    for asset in range(panel.asset_key.size):
        first, last = int(panel.start[asset]), int(panel.stop[asset])
        if first == last:
            continue
        columns = [
            kernels.spans_of_index(panel.session, first, last, history.index_return)
            if name == INDEX_RETURN
            else panel.columns[name][first:last]
            for name in factor.inputs
        ]
        own = panel.session[first:last]
        low, high = np.searchsorted(own, history.opens), np.searchsorted(own, history.closes, side="right")
        for m in np.flatnonzero(slot[asset] >= 0):
            begin = max(int(low[m]), int(high[m]) - factor.window)
            if high[m] - begin < fewest:
                continue
            windows = [column[begin : high[m]].copy() for column in columns]
            if begin == low[m]:
                for name, window in zip(factor.inputs, windows, strict=True):
                    if name in RETURNS:  # began before the lookback
                        window[0] = np.nan
            out[slot[asset, m]] = factor.function(*windows)
    return out


def _history_values(factor: RawFactor, history: History, slot: Keys, rows: int) -> Floats:
    if factor.function is None:
        raise BadInput(f"raw factor {factor.name} has no function")
    values = np.asarray(factor.function(history), dtype=np.float64)
    if values.shape != slot.shape:
        raise BadInput(f"raw factor {factor.name}: shape {values.shape} where {slot.shape} (assets, months) is due")
    out = np.full(rows, np.nan)
    out[slot[slot >= 0]] = values[slot >= 0]
    return out


def _figure_values(factor: RawFactor, figures: dict[str, Floats]) -> Floats:
    if factor.function is None:
        raise BadInput(f"raw factor {factor.name} has no function")
    inputs = [figures[name] for name in factor.inputs]
    values = np.asarray(factor.function(*inputs), dtype=np.float64)
    if values.shape != inputs[0].shape:
        raise BadInput(f"raw factor {factor.name}: {values.shape} values of {inputs[0].shape} members")
    return values


def bar_columns(factors: Sequence[RawFactor] = RAW_FACTORS) -> tuple[str, ...]:
    """Columns of intermediate.adjusted_bars the factors need."""
    own = {name for factor in factors if factor.kind != "figures" for name in factor.inputs} - {INDEX_RETURN}
    return ("day", "asset_key", "adj_close", "ret", "is_suspended", *sorted(own - {"adj_close", "ret"}))


def figure_columns(factors: Sequence[RawFactor] = RAW_FACTORS) -> tuple[str, ...]:
    """Columns of intermediate.stock_snapshot the factors need, beside month and asset_key."""
    return tuple(dict.fromkeys(name for factor in factors if factor.kind == "figures" for name in factor.inputs))


def compute_raw_factors(
    bars: Bars | Panel,
    index_daily: pl.DataFrame,
    snapshot: pl.DataFrame,
    universe: pl.DataFrame,
    sessions: Sequence[date] | NDArray[np.datetime64],
    months: Sequence[date],
    options: FactorOptions,
    factors: Sequence[RawFactor] = RAW_FACTORS,
) -> pl.DataFrame:
    """Raw factors of every universe member at the last close of each month, before any preprocessing.

    Windows count a security's own trading days inside the last ``options.lookback_sessions`` sessions and look at
    nothing older or later, so a month equals itself in any larger request, bit for bit. A member suspended at the
    month end has the value of its last own trading day in that window; one without any has null.

    Args:
        bars: intermediate.adjusted_bars (:func:`bar_columns`): a frame, or pieces of one in order of day; or the panel of
            them, made with the same sessions.
        index_daily: intermediate.index_daily of one index: day, ret (fraction).
        snapshot: intermediate.stock_snapshot of the months: :func:`figure_columns`.
        universe: intermediate.universe of the months.
        sessions: sessions of the exchange, rising, from the start of the first window to the end of the last month.
        months: first days of the months wanted.
        factors: definitions, all of them by default.

    Returns:
        month, asset_key and the factors by name in their own units, sorted by month, asset_key; null is too little
        data, an undefined ratio (division by 0) or an unknown figure.

    Raises:
        MissingInput: a month without sessions, universe, snapshot, bars or index returns.
        BadInput: doubled rows, prices ≤ 0, days that are no session, several indices.
    """
    wanted = ordered_months(months)
    if not wanted:
        names = [factor.name for factor in factors]
        return pl.DataFrame(schema={"month": pl.Date, "asset_key": pl.Int32, **dict.fromkeys(names, pl.Float64)})
    days = as_days(sessions)
    members = members_of(universe, wanted, ())
    windows = _windows(days, wanted, options.lookback_sessions)
    rows = members.height
    figures = snapshot_of(members, snapshot, figure_columns(factors))
    index_return = _index_returns(index_daily, days, windows, wanted)
    extra = [
        name for name in bar_columns(factors) if name not in ("day", "asset_key", "adj_close", "ret", "is_suspended")
    ]
    panel = bars if isinstance(bars, Panel) else panel_of(bars, days, extra, first=int(windows.opens.min()))
    _require_trading(panel, windows, wanted)
    history = History(panel, index_return, windows.opens, windows.closes)
    slot = _slots(panel, members, wanted)
    compiled = _compiled(history, windows, slot, rows, options)
    values: dict[str, Floats] = {}
    for factor in factors:
        if factor.kind == "compiled":
            values[factor.name] = compiled[COMPILED.index(factor.name)]
        elif factor.kind == "window":
            values[factor.name] = _window_values(factor, history, slot, rows, options)
        elif factor.kind == "history":
            values[factor.name] = _history_values(factor, history, slot, rows)
        else:
            values[factor.name] = _figure_values(factor, figures)
    return members.select("month", pl.col("asset_key").cast(pl.Int32)).with_columns(
        pl.Series(name, column, nan_to_null=True) for name, column in values.items()
    )


def unequal_on_replay(
    bars: pl.DataFrame, index_daily: pl.DataFrame, snapshot: pl.DataFrame, universe: pl.DataFrame,
    sessions: Sequence[date] | NDArray[np.datetime64], months: Sequence[date], options: FactorOptions,
    factors: Sequence[RawFactor] = RAW_FACTORS,
) -> dict[str, date]:  # fmt: skip
    """Factors that look ahead, or carry something from one month to the next: name → first month that shows it.

    Each of ``months`` is computed along with all others from all rows, and again alone from its own lookback and
    nothing later; values must be the same bit for bit. Arguments as for :func:`compute_raw_factors`.
    """
    days = as_days(sessions)
    windows = _windows(days, ordered_months(months), options.lookback_sessions)
    together = compute_raw_factors(bars, index_daily, snapshot, universe, days, months, options, factors)
    found: dict[str, date] = {}
    for month, opens, closes in zip(ordered_months(months), windows.opens, windows.closes, strict=True):
        own = days[opens : closes + 1]
        inside, this = pl.col("day").is_between(own[0].item(), own[-1].item()), pl.col("month") == month
        alone = compute_raw_factors(
            bars.filter(inside), index_daily.filter(inside), snapshot.filter(this), universe.filter(this), own, [month],
            options, factors,
        )  # fmt: skip
        here = together.filter(this)
        for factor in factors:
            if not here[factor.name].equals(alone[factor.name]):
                found.setdefault(factor.name, month)
    return found
