"""Every configuration ever evaluated, as rows that stay when settings change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.frames import Month, as_months, make_frame
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.history import BENCHMARK, ORDER, read_history
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.tables import TRIALS


def canonical_json(configuration: Mapping[str, Any]) -> str:
    """JSON with sorted keys, no blanks and no NaN: equal configurations give equal text. TypeError or ValueError otherwise."""
    return json.dumps(configuration, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def trial_id(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(configuration).encode()).hexdigest()


def trial_rows(
    backtest: pd.DataFrame,
    configurations: Mapping[str, Mapping[str, Any]],
    months: Iterable[Month],
    options: BacktestOptions,
) -> pd.DataFrame:
    """Rows of TRIALS for ``months``: one per strategy, its Sharpe ratio over all months up to each.

    ``backtest``: rows of BACKTEST, every month from the start on. ``configurations``: per strategy everything that shapes its book
    (settings of all stages before it); the hash covers the strategy's name too. Months before the backtest's start have
    rows with 0 months: the configuration is counted from the day it is evaluated.
    """
    history = read_history(backtest)
    described = {
        name: {"strategy": name, "configuration": dict(configuration)} for name, configuration in configurations.items()
    }
    rows: list[tuple[Any, ...]] = []
    for month in as_months(months):
        known = history.as_of(month)
        net = np.empty((0, len(ORDER))) if known is None else known.net(options.cost_bp)
        benchmark = np.ascontiguousarray(net[:, ORDER.index(BENCHMARK)])
        found: list[tuple[Any, ...]] = []
        for name, description in described.items():
            returns = np.ascontiguousarray(net[:, ORDER.index(name)])
            sharpe = information = float("nan")
            if returns.size >= 3:
                sharpe = float(m.sharpe_ratio(returns, 1.0))
                information = float(m.information_ratio(returns, benchmark, 1.0))
            found.append(
                (month, trial_id(description), name, canonical_json(description), returns.size, sharpe, information)
            )
        rows += sorted(found, key=lambda row: row[1])
    kinds = ("datetime64[ns]", "object", "object", "object", "int32", "float64", "float64")
    columns: dict[str, object] = {
        name: np.array([row[i] for row in rows], dtype=kind)
        for i, (name, kind) in enumerate(zip(TRIALS.stored_names, kinds, strict=True))
    }
    return make_frame(columns, TRIALS.stored_names)
