"""Tables of the forecasting stage. A row stamped t forecasts the return of t+1 and was known at the close of t."""

from __future__ import annotations

from rotation_pipeline.market.schema import MONTH, Column, Table, reading
from rotation_pipeline.regimes.tables import FEATURE_COLUMNS, STYLE

MARKET_FEATURES = ("index_return", "volatility", "turnover_ratio", "drawdown", "p_slow_bull", "p_bear", "p_range")
"""Market inputs of the forecasters: the index state at the month's last close and the filtered regime probabilities."""
_INPUTS = (
    "marts.factor_longshort.long_short",
    *(f"intermediate.index_features.{name}" for name in FEATURE_COLUMNS if name in MARKET_FEATURES),
    *(f"marts.regimes.{name}" for name in MARKET_FEATURES if name.startswith("p_")),
)
EXPERTS = (
    "zero",
    "historical_mean",
    "factor_momentum",
    "regime_mean",
    "pooled_ridge",
    "network_lstm",
    "network_transformer",
)
"""``zero`` is the zero-tilt expert: no style is preferred."""
EXPERT = Column("expert", "VARCHAR", "category", "forecaster", allowed=EXPERTS)

EXPERT_FORECASTS = Table(
    "marts",
    "expert_forecasts",
    "each expert's forecast of next month's long-short returns",
    ("month", "expert", "style"),
    reading(
        (
            MONTH,
            EXPERT,
            STYLE,
            Column("mean", "DOUBLE", "fraction per month", "forecast", "the expert needs more history"),
            Column(
                "standard_error",
                "DOUBLE",
                "fraction per month",
                "standard deviation of the forecast error the expert expects",
                "the expert needs more history",
                minimum=0.0,
            ),
        ),
        *_INPUTS,
    ),
    minimum_rows=1,
)
LATENT = Table(
    "marts",
    "latent_states",
    "h_t, the encoder's picture of the market at t: the first seed's, because axes of different seeds cannot be averaged",
    ("month", "expert", "dimension"),
    reading(
        (
            MONTH,
            EXPERT,
            Column("dimension", "INTEGER", "index", "component of h", minimum=0.0),
            Column("value", "DOUBLE", "activation", "its value"),
        ),
        *_INPUTS,
    ),
)
EXPERT_WEIGHTS = Table(
    "marts",
    "expert_weights",
    "weight of each expert in the mixture",
    ("month", "expert"),
    reading(
        (
            MONTH,
            EXPERT,
            Column(
                "weight",
                "DOUBLE",
                "fraction",
                "weight, from past out-of-sample errors only; sums to 1",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        "marts.expert_forecasts.mean",
        "marts.factor_longshort.long_short",
    ),
    minimum_rows=1,
)
FORECASTS = Table(
    "marts",
    "forecasts",
    "the mixture's forecast of next month's long-short return of each style",
    ("month", "style"),
    reading(
        (
            MONTH,
            STYLE,
            Column("mean", "DOUBLE", "fraction per month", "forecast"),
            Column(
                "standard_error",
                "DOUBLE",
                "fraction per month",
                "standard deviation of its error, from past errors",
                "fewer than 6 past returns",
                minimum=0.0,
            ),
            Column(
                "low", "DOUBLE", "fraction per month", "lower end of the 80 % interval", "fewer than 6 past returns"
            ),
            Column(
                "high", "DOUBLE", "fraction per month", "upper end of the 80 % interval", "fewer than 6 past returns"
            ),
            Column(
                "volatility",
                "DOUBLE",
                "fraction per month",
                "standard deviation of the last 12 monthly returns",
                "fewer than 6 months",
                minimum=0.0,
            ),
        ),
        "marts.expert_forecasts.mean",
        "marts.expert_weights.weight",
        "marts.factor_longshort.long_short",
    ),
    minimum_rows=1,
)
SCORES = Table(
    "marts",
    "forecast_scores",
    "out-of-sample quality of each expert and the mixture over all months up to this one",
    ("month", "expert", "style"),
    reading(
        (
            MONTH,
            Column("expert", "VARCHAR", "category", "forecaster, or mixture", allowed=(*EXPERTS, "mixture")),
            Column("style", "VARCHAR", "category", "style, or ALL pooled"),
            Column("months", "INTEGER", "count", "forecasts with a known outcome", minimum=0.0),
            Column(
                "r2_out_of_sample",
                "DOUBLE",
                "fraction",
                "1 − SSE / SSE of the expanding mean (Campbell-Thompson 2008)",
                "too few months",
            ),
            Column(
                "r2_relative",
                "DOUBLE",
                "fraction",
                "1 − SSE / SSE of no preference, forecasts and outcomes as differences from the mean over styles: what an allocation can use",
                "too few months",
            ),
            Column(
                "hit_rate",
                "DOUBLE",
                "fraction",
                "share of forecasts with the right sign",
                "no forecast other than 0",
                minimum=0.0,
                maximum=1.0,
            ),
            Column(
                "rank_correlation",
                "DOUBLE",
                "correlation",
                "mean over months of the Spearman correlation across styles; ALL rows only",
                "a single style, or constant forecasts",
                minimum=-1.0,
                maximum=1.0,
            ),
            Column(
                "clark_west_t",
                "DOUBLE",
                "t",
                "against the expanding mean (Clark-West 2007)",
                "too few months or no difference",
            ),
            Column("clark_west_p", "DOUBLE", "probability", "one-sided", "the same", minimum=0.0, maximum=1.0),
            Column(
                "diebold_mariano_t",
                "DOUBLE",
                "t",
                "squared errors against the expanding mean's, positive if smaller (Diebold-Mariano 1995, Harvey et al. 1997)",
                "too few months or no difference",
            ),
            Column("diebold_mariano_p", "DOUBLE", "probability", "two-sided", "the same", minimum=0.0, maximum=1.0),
            Column(
                "squared_error_gain",
                "DOUBLE",
                "squared fraction",
                "cumulative squared error of the expanding mean minus the forecaster's; over months it is the difference's path",
            ),
            Column(
                "coverage",
                "DOUBLE",
                "fraction",
                "share of outcomes inside the 80 % interval",
                "no interval",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        "marts.expert_forecasts.mean",
        "marts.expert_forecasts.standard_error",
        "marts.forecasts.mean",
        "marts.factor_longshort.long_short",
    ),
)
TABLES: tuple[Table, ...] = (EXPERT_FORECASTS, LATENT, EXPERT_WEIGHTS, FORECASTS, SCORES)
