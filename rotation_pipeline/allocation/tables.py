"""Tables of the allocation stage. Weights stamped t are set at the close of t and earn over t+1."""

from __future__ import annotations

from rotation_pipeline.market.schema import MONTH, Column, Table, reading
from rotation_pipeline.regimes.tables import STYLE

STRATEGIES = ("rotation", "softmax_mixture", "softmax_network")
"""Books that time styles: ``rotation`` is the headline; the others are shown and counted as trials."""
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
BOOK = Column("strategy", "VARCHAR", "category", "book", allowed=(*STRATEGIES, *BASELINES))
_INPUTS = (
    "marts.forecasts.mean",
    "marts.forecasts.standard_error",
    "marts.forecasts.volatility",
    "marts.factor_longshort.long_short",
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
TABLES: tuple[Table, ...] = (WEIGHTS, BOOKS)
