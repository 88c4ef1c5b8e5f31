"""Where the excess over equal weight came from: forecast, risk scaling, inertia and costs, by style, summing exactly.

With u the target from raw forecasts, g the book's target, w its weight, e equal weight and r the style's return, the month's
net excess is Σ_i (u − e) r + (g − u) r + (w − g) r − (cost − cost of equal weight), every term belonging to one style.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.frames import (
    MissingMonthError,
    Month,
    as_months,
    by_month,
    make_frame,
    month_before,
    require,
    wide_by_month,
)
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.tables import ATTRIBUTION, EFFECTS, TIMED
from rotation_pipeline.factors.styles import STYLES

BENCHMARK = "equal_weight"
_ALONE = "style by itself"
_EXACT = 1e-9
_COMPLETE = ("target", "weight", "unscaled")
"""Columns that every style has a number in."""


def decompose_excess(
    weight: Floats, target: Floats, unscaled: Floats, equal: Floats, returns: Floats, cost: Floats, equal_cost: Floats
) -> Floats:
    """Effects (4, K) in the order of EFFECTS, fraction per month; their sum is the net excess over equal weight.

    All (K,): weights, targets and equal weights of t − 1; ``returns`` of t, NaN = no book, earning 0; ``cost`` and
    ``equal_cost``, what each style's trading cost the book and equal weight.
    """
    earned = np.nan_to_num(returns, nan=0.0)
    return np.stack(
        [(unscaled - equal) * earned, (target - unscaled) * earned, (weight - target) * earned, equal_cost - cost]
    )


def style_costs(weight: Floats, drifted: Floats | None, book_turnover: Floats, cost_bp: float) -> Floats:
    """Cost of each style (K,): (½ |w − w⁺| + |w| × turnover of its book) × cost; ``drifted`` None: nothing moved."""
    moved = np.zeros(weight.shape) if drifted is None else 0.5 * np.abs(weight - drifted)
    return (moved + np.abs(weight) * np.nan_to_num(book_turnover, nan=0.0)) * (cost_bp / 1e4)


def attribution_table(
    weights: pd.DataFrame,
    unscaled: pd.DataFrame,
    longshort: pd.DataFrame,
    backtest: pd.DataFrame,
    regimes: pd.DataFrame,
    months: Iterable[Month],
    options: BacktestOptions,
) -> pd.DataFrame:
    """Rows of ATTRIBUTION for ``months``.

    ``weights``: WEIGHTS of every month before one asked for. ``unscaled``: see ``unscaled_targets``, the same months.
    ``longshort``: style rows of LONGSHORT of ``months``. ``backtest``: BACKTEST, every month from the start on. ``regimes``:
    REGIMES of one detector; the regime of a month is the one that stood at the close before. Months before the backtest's
    start have no rows.

    Raises MissingMonthError for a missing month, ValueError where the effects do not sum to the backtest's excess, because
    its rows were made from other weights or costs.
    """
    books = by_month(backtest)
    each = longshort.assign(style=longshort["factor"], book=_ALONE)
    earned = wide_by_month(each, ("long_short", "book_turnover"), "book", STYLES)
    held = wide_by_month(weights, ("target", "weight", "drifted"), "strategy", STYLES)
    aimed = wide_by_month(unscaled, ("unscaled",), "strategy", STYLES)
    labels = {month: str(rows["regime"].iloc[-1]) for month, rows in by_month(regimes).items()}
    rows: list[tuple[pd.Timestamp, str, str, str, str | None, float]] = []
    first = min(books, default=None)
    for month in as_months(months):
        if first is None or month < first:
            continue
        before = month_before(month)
        needed = f"to attribute {month:%Y-%m}"
        positions = _positions("marts.weights", held, before, needed)
        targets = _positions("marts.forecasts", aimed, before, needed)["unscaled"]
        own = _positions("marts.factor_longshort", earned, month, needed)
        returns, turnover = own["long_short"][_ALONE], own["book_turnover"][_ALONE]
        stored = require("marts.backtest", books, month, needed)
        net = dict(zip(stored["strategy"], stored["net_return"], strict=True))
        timed = [book for book in TIMED if book in positions["weight"]]
        cost = {
            book: style_costs(
                positions["weight"][book],
                None if month == first or np.isnan(positions["drifted"][book]).any() else positions["drifted"][book],
                np.where(np.isnan(returns), 0.0, turnover),
                options.cost_bp,
            )
            for book in (*timed, BENCHMARK)
        }
        equal = positions["weight"][BENCHMARK]
        for book in sorted(timed):
            effects = decompose_excess(
                positions["weight"][book], positions["target"][book], targets[book], equal, returns, cost[book],
                cost[BENCHMARK],
            )  # fmt: skip
            _require_sum(effects, float(net[book]) - float(net[BENCHMARK]), month, book)
            for effect in sorted(EFFECTS):
                values = dict(zip(STYLES, effects[EFFECTS.index(effect)].tolist(), strict=True))
                rows += [(month, book, effect, style, labels.get(before), values[style]) for style in sorted(STYLES)]
    columns: dict[str, object] = {name: [row[i] for row in rows] for i, name in enumerate(ATTRIBUTION.stored_names)}
    columns["month"] = np.array(columns["month"], dtype="datetime64[ns]")
    columns["value"] = np.array(columns["value"], dtype=np.float64)
    for name in ("strategy", "effect", "style", "regime"):
        columns[name] = np.array(columns[name], dtype=object)
    return make_frame(columns, ATTRIBUTION.stored_names)


def _require_sum(effects: Floats, excess: float, month: pd.Timestamp, book: str) -> None:
    """ValueError unless the effects sum to the stored excess return."""
    if abs(float(effects.sum()) - excess) > _EXACT:
        raise ValueError(
            f"marts.attribution, {month:%Y-%m}, {book}: effects sum to {float(effects.sum()):.3e}, marts.backtest "
            f"says {excess:.3e}: materialise factor_backtest of that month again"
        )


def _positions(
    table: str, wide: Mapping[pd.Timestamp, dict[str, dict[str, Floats]]], month: pd.Timestamp, needed: str
) -> dict[str, dict[str, Floats]]:
    """One month of ``wide_by_month``; MissingMonthError if it or a style is missing."""
    if month not in wide:
        raise MissingMonthError(f"{table} has no rows for {month:%Y-%m}, needed {needed}: materialise that month first")
    for name, books in wide[month].items():
        if name in _COMPLETE and any(np.isnan(values).any() for values in books.values()):
            raise MissingMonthError(
                f"{name} lacks a style of {list(STYLES)}: materialise the weights of that month again"
            )
    return wide[month]
