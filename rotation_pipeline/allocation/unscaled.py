"""What each strategy would have aimed at from its forecasts alone, without dividing them by risk."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rotation_pipeline.allocation import baselines
from rotation_pipeline.allocation.anchored import anchored_target, interval_shrinkage
from rotation_pipeline.allocation.books import NETWORK
from rotation_pipeline.allocation.frames import by_month, make_frame, numbers, rows_where
from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.allocation.scores import Floats, neutral, raw_scores, standardise
from rotation_pipeline.allocation.softmax import softmax_weights
from rotation_pipeline.allocation.tables import STRATEGIES
from rotation_pipeline.factors.styles import STYLES

COLUMNS = ("month", "strategy", "style", "unscaled")


def unscaled_target(
    kind: str, mean: Floats, standard_error: Floats, volatility: Floats, options: AllocationOptions
) -> Floats:
    """The target of one strategy made from raw forecasts (score form ``raw``), all else as the book does it: (K,).

    ``kind``: anchored or softmax. ``mean``, ``standard_error`` and ``volatility`` (K,), fraction per month, NaN = unknown;
    equal weight where no style has a forecast. With the score form ``raw`` it is the book's own target.
    """
    if np.isnan(mean).all():
        return baselines.equal_weight(mean.size)
    scores = neutral(standardise(raw_scores(mean, volatility, "raw", options.risk_penalty)))
    if kind == "anchored":
        kept = interval_shrinkage(mean, standard_error, options.shrinkage)
        return anchored_target(scores, kept, options.tilt_scale, options.tilt_cap, options.floor, options.cap)
    return softmax_weights(scores, options.temperature)


def unscaled_targets(
    forecasts: pd.DataFrame, expert_forecasts: pd.DataFrame, options: AllocationOptions
) -> pd.DataFrame:
    """Unscaled targets of every strategy for the months of ``forecasts``: month, strategy, style, unscaled.

    Inputs as in :func:`rotation_pipeline.allocation.books.allocate`.
    """
    experts = by_month(rows_where(expert_forecasts, "expert", NETWORK))
    rows: list[tuple[pd.Timestamp, str, str, float]] = []
    for month, mixture in sorted(by_month(forecasts).items()):
        ordered = _ordered(mixture)
        volatility = numbers(ordered, "volatility")
        for strategy in STRATEGIES:
            kind = options.book if strategy == "rotation" else "softmax"
            view = ordered
            if strategy == "softmax_network":
                view = _ordered(experts[month]) if month in experts else None
            mean = error = np.full(len(STYLES), np.nan)
            if view is not None:
                mean, error = numbers(view, "mean"), numbers(view, "standard_error")
            target = unscaled_target(kind, mean, error, volatility, options)
            rows += [(month, strategy, style, float(value)) for style, value in zip(STYLES, target, strict=True)]
    columns: dict[str, object] = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    return make_frame(columns, COLUMNS)


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one month in the order of STYLES; ValueError if a style is missing or twice."""
    if sorted(rows["style"]) != sorted(STYLES):
        raise ValueError(f"forecasts: expected one row for each of {STYLES}, got {sorted(rows['style'])}")
    return pd.DataFrame(rows.set_index("style").loc[list(STYLES)])
