"""Tables of the allocation stage. Weights stamped t are set at the close of t and earn over t+1."""

from __future__ import annotations

from typing import get_args

from rotation_pipeline.allocation.options import AllocationOptions, Alternative
from rotation_pipeline.market.schema import MONTH, Column, Table, reading
from rotation_pipeline.regimes.tables import STYLE

HEADLINE = "rotation"
ALTERNATIVES: tuple[str, ...] = get_args(Alternative)
"""Every book that may be computed beside the headline; ``allocation.books`` says which are."""
STRATEGIES = (HEADLINE, *AllocationOptions().books)
"""The headline and the alternatives computed by default; all that are computed are shown and counted as trials."""
BASELINES = (
    "equal_weight",
    "only_MOM",
    "only_VAL",
    "only_QLTY",
    "only_VOL",
    "only_SIZE",
    "rule_based",
    "risk_parity",
    "factor_momentum",
)
"""Books against which they are judged. The oracle and the index have no weights known at t and exist in the backtest only."""
BOOK = Column("strategy", "VARCHAR", "category", "book", allowed=(HEADLINE, *ALTERNATIVES, *BASELINES))
_INPUTS = (
    "marts.forecasts.mean",
    "marts.forecasts.standard_error",
    "marts.forecasts.volatility",
    "marts.factor_longshort.long_short",
    "marts.factor_longshort.book_turnover",
    "marts.expert_forecasts.mean",
    "intermediate.index_features.trend",
    "intermediate.index_features.volatility",
    "intermediate.index_features.index_return",
)

WEIGHTS = Table(
    "marts",
    "weights",
    "weight of each style in each book",
    ("month", "strategy", "style"),
    reading(
        (
            MONTH,
            BOOK,
            STYLE,
            Column(
                "score",
                "DOUBLE",
                "standard deviations",
                "standardised score the target was made from",
                "the book uses none, has no forecast yet, or the style lacks history and is held neutral",
            ),
            Column("target", "DOUBLE", "fraction", "weight before inertia and limits", minimum=-5.0, maximum=5.0),
            Column("weight", "DOUBLE", "fraction", "weight held over the next month", minimum=-5.0, maximum=5.0),
            Column(
                "drifted",
                "DOUBLE",
                "fraction",
                "last month's weight after this month's returns; what is traded from",
                "first month",
                minimum=-5.0,
                maximum=5.0,
            ),
        ),
        *_INPUTS,
    ),
    minimum_rows=1,
)
BOOKS = Table(
    "marts",
    "books",
    "one row per book and month: how much it trades and how far it is from equal weight",
    ("month", "strategy"),
    reading(
        (
            MONTH,
            BOOK,
            Column(
                "turnover",
                "DOUBLE",
                "fraction",
                "½ Σ|weight − drifted|; 0 in the first month, when entering is charged as the long-short books' own first turnover",
                minimum=0.0,
            ),
            Column("active_share", "DOUBLE", "fraction", "½ Σ|weight − 1/K|", minimum=0.0),
            Column("is_equal_weight_clone", "BOOLEAN", "flag", "mean active share so far is under 1 %"),
        ),
        "marts.weights.weight",
        "marts.weights.drifted",
    ),
    minimum_rows=1,
)
SELECTION = Table(
    "marts",
    "selection",
    "cells of the parameter grid of nested selection: what each earned, and which one was chosen; no rows where parameters are fixed",
    ("month", "strategy", "cell"),
    reading(
        (
            MONTH,
            Column("strategy", "VARCHAR", "category", "book", allowed=(HEADLINE, *ALTERNATIVES)),
            Column("cell", "INTEGER", "count", "place in the grid, from 0", minimum=0.0),
            Column("score_form", "VARCHAR", "category", "score form", allowed=("ratio", "penalty", "raw")),
            Column("risk_penalty", "DOUBLE", "per unit of volatility", "λ", "the score form has none", minimum=0.0),
            Column("temperature", "DOUBLE", "standard deviations", "τ", "an anchored book", minimum=0.0),
            Column("inertia", "DOUBLE", "fraction", "α", "an anchored book", minimum=0.0, maximum=1.0),
            Column("tilt_scale", "DOUBLE", "weight per standard deviation", "κ", "a softmax book", minimum=0.0),
            Column(
                "gross_return",
                "DOUBLE",
                "fraction per month",
                "what the cell's book earned over the month before costs",
                "before the first month of returns",
            ),
            Column(
                "turnover",
                "DOUBLE",
                "fraction",
                "what was traded for it, between styles and inside their books",
                "before the first month of returns",
                minimum=0.0,
            ),
            Column("months", "INTEGER", "count", "months of returns behind the criterion", minimum=0.0),
            Column(
                "criterion",
                "DOUBLE",
                "by setting",
                "mean − γ/2 variance, or Sharpe ratio, of the net returns of those months, per month",
                "too few months, or no variance",
            ),
            Column(
                "is_chosen",
                "BOOLEAN",
                "flag",
                "the weights set at this close use this cell; false for all while the fixed settings hold",
            ),
        ),
        *_INPUTS,
    ),
)
TABLES: tuple[Table, ...] = (WEIGHTS, BOOKS, SELECTION)
