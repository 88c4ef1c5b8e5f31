"""Every configuration ever evaluated, as rows that stay when settings change."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.frames import (
    MissingMonthError,
    Month,
    as_month,
    as_months,
    make_frame,
    numbers,
)
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.history import BENCHMARK, read_history
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.tables import TRIALS

TrialKind = Literal["book", "cell", "stock_book"]
BOOK, CELL, STOCK_BOOK = cast("tuple[TrialKind, TrialKind, TrialKind]", ("book", "cell", "stock_book"))
PARAMETERS = ("score_form", "risk_penalty", "temperature", "inertia", "tilt_scale")
"""Columns of SELECTION that say what a cell is."""


_ROUNDING = 1e-13
"""Difference of monthly returns below which a book is equal weight: weights that sum to 1 are right to about 1e-16."""


def canonical_json(configuration: Mapping[str, Any]) -> str:
    """JSON with sorted keys, no blanks and no NaN: equal configurations give equal text. TypeError or ValueError otherwise."""
    return json.dumps(configuration, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def trial_id(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(configuration).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A configuration evaluated beside the books of BACKTEST, and what it earned."""

    kind: TrialKind
    strategy: str
    configuration: Mapping[str, Any]
    months: tuple[pd.Timestamp, ...]
    """Months of returns (n,), ascending."""
    net: Floats
    """(n,) after costs, fraction per month."""
    benchmark: Floats
    """(n,) of what it is to beat: equal weight, traded in the same way."""


def trial_rows(
    backtest: pd.DataFrame,
    configurations: Mapping[str, Mapping[str, Any]],
    months: Iterable[Month],
    options: BacktestOptions,
    others: Sequence[Evaluated] = (),
) -> pd.DataFrame:
    """Rows of TRIALS for ``months``: one per configuration, its Sharpe ratio over all months up to each.

    ``backtest``: rows of BACKTEST, every month from the start on. ``configurations``: per strategy everything that shapes its book
    (settings of all stages before it); the hash covers the strategy's name too. ``others``: grid cells and stock-level books. Months
    before the backtest's start have rows with 0 months: a configuration is counted from the day it is evaluated. One that is
    evaluated twice, as a book and as a cell, is one trial: the book.
    """
    history = read_history(backtest)
    net = history.net(options.cost_bp)
    benchmark = np.ascontiguousarray(net[:, history.column(BENCHMARK)])
    evaluated = [
        Evaluated(BOOK, name, made, history.months, np.ascontiguousarray(net[:, history.column(name)]), benchmark)
        for name, made in configurations.items()
    ]
    described: dict[str, tuple[Evaluated, str]] = {}
    for one in (*evaluated, *others):
        description = {"strategy": one.strategy, "configuration": dict(one.configuration)}
        described.setdefault(trial_id(description), (one, canonical_json(description)))
    rows: list[tuple[Any, ...]] = []
    for month in as_months(months):
        history.as_of(month)  # names the month that is missing
        for identity, (one, text) in sorted(described.items()):
            known = sum(stamp <= month for stamp in one.months)
            if one.kind == STOCK_BOOK and one.months[:known] != tuple(s for s in history.months if s <= month):
                raise MissingMonthError(
                    f"marts.stock_backtest has other months of {one.strategy} up to {month:%Y-%m} than marts.backtest: what is "
                    "deflated together must be of the same months; materialise both from their first month on"
                )
            rows.append((month, identity, one.kind, one.strategy, text, known, *_ratios(one, known)))
    kinds = ("datetime64[ns]", "object", "object", "object", "object", "int32", "float64", "float64")
    columns: dict[str, object] = {
        name: np.array([row[i] for row in rows], dtype=kind)
        for i, (name, kind) in enumerate(zip(TRIALS.stored_names, kinds, strict=True))
    }
    return make_frame(columns, TRIALS.stored_names)


def _ratios(one: Evaluated, count: int) -> tuple[float, float]:
    """Sharpe and information ratio per month of the first ``count`` months, in fresh arrays."""
    if count < 3:
        return math.nan, math.nan
    net, benchmark = np.array(one.net[:count]), np.array(one.benchmark[:count])
    if np.abs(net - benchmark).max(initial=0.0) <= _ROUNDING:  # a ratio of rounding errors says nothing
        return float(m.sharpe_ratio(net, 1.0)), math.nan
    return float(m.sharpe_ratio(net, 1.0)), float(m.information_ratio(net, benchmark, 1.0))


def cell_trials(
    selection: pd.DataFrame,
    backtest: pd.DataFrame,
    configuration: Callable[[str, Mapping[str, object]], Mapping[str, Any]],
    options: BacktestOptions,
) -> list[Evaluated]:
    """Every cell of nested selection as a configuration of its own, net at the backtest's cost.

    ``selection``: rows of SELECTION, every month from the start on. ``configuration``: from a strategy and the options a cell
    sets to everything that shapes its book.
    """
    if selection.empty:
        return []
    history = read_history(backtest)
    base = np.ascontiguousarray(history.net(options.cost_bp)[:, history.column(BENCHMARK)])
    found: list[Evaluated] = []
    grouped = selection.sort_values("month").groupby(["strategy", "cell"], sort=True)
    for (strategy, _), rows in cast("Iterable[tuple[tuple[str, int], pd.DataFrame]]", grouped):
        own = pd.DataFrame(rows[rows["gross_return"].notna()])
        stamps = tuple(as_month(month) for month in own["month"])
        if stamps != history.months[: len(stamps)]:
            raise MissingMonthError(
                f"marts.selection and marts.backtest have other months of {strategy}: materialise both from their first month on"
            )
        changes = {name: rows[name].iloc[0] for name in PARAMETERS if not pd.isna(rows[name].iloc[0])}
        net = numbers(own, "gross_return") - numbers(own, "turnover") * (options.cost_bp / 1e4)
        made = configuration(str(strategy), {name: plain(value) for name, value in changes.items()})
        found.append(Evaluated(CELL, str(strategy), made, stamps, net, base[: len(stamps)]))
    return found


def plain(value: object) -> object:
    """A number or text as JSON has it."""
    return value if isinstance(value, str) else float(str(value))
